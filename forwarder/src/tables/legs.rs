//! Functions and their attachment circuits: a port each, or a VLAN of a port that several
//! entries share.

use super::build::Scope;
use super::compiled::{Circuit, CompiledFunction, CompiledPort, Leg, Role, Tagging, Trunk, Wiring};
use super::error::{Entry, PortRole, TableError};
use kc_forwarder_api::{Attachment, Backend, Function, MacAddr, PortName, SfName, Tables, Vid};
use rustc_hash::FxHashMap;

/// Compiles all functions; tells `ports` whose legs they are. Legs that share a port are in the
/// trunks.
pub(super) fn build(
    tables: &Tables,
    scope: &mut Scope,
    ports: &mut [CompiledPort],
) -> Result<(Vec<CompiledFunction>, Vec<Trunk>), TableError> {
    let mut plugs = Plugs {
        tables,
        scope,
        ports,
        trunks: Vec::new(),
        owners: FxHashMap::default(),
    };
    let mut functions = Vec::with_capacity(tables.functions.len());
    for (number, function) in (0..).zip(&tables.functions) {
        functions.push(CompiledFunction {
            name: function.name.clone(),
            wiring: plugs.wire(number, function)?,
            bindings: Default::default(),
            newest: [None; 2],
        });
    }
    // Only now it is known who shares a port.
    let Plugs { ports, trunks, .. } = plugs;
    for function in &mut functions {
        function.wiring.circuits_mut().for_each(|circuit| {
            let role = ports.get(circuit.port.at()).map(|port| port.role);
            if circuit.tagging == Tagging::Open && matches!(role, Some(Role::Trunk(_))) {
                circuit.tagging = Tagging::Untagged;
            }
        });
    }
    Ok((functions, trunks))
}

struct Plugs<'a> {
    tables: &'a Tables,
    scope: &'a mut Scope,
    ports: &'a mut [CompiledPort],
    trunks: Vec<Trunk>,
    /// Who has a port, or a VLAN of it.
    owners: FxHashMap<(PortName, Option<Vid>), SfName>,
}

impl Plugs<'_> {
    fn wire(&mut self, number: u16, function: &Function) -> Result<Wiring, TableError> {
        let unicast = |mac: &MacAddr| match mac.is_group() {
            true => Err(TableError::GroupMac {
                entry: Entry::Function(function.name.clone()),
                mac: *mac,
            }),
            false => Ok(mac.0),
        };
        let mut plug = |port, vlan, leg| self.plug(number, function, port, vlan, leg);
        Ok(match &function.attachment {
            Attachment::TwoLeg {
                inside,
                outside,
                vlan,
            } => Wiring::TwoLeg {
                inside: plug(inside, *vlan, Leg::Inside)?,
                outside: plug(outside, *vlan, Leg::Outside)?,
            },
            Attachment::VlanPair {
                port,
                inside,
                outside,
            } => Wiring::TwoLeg {
                inside: plug(port, Some(*inside), Leg::Inside)?,
                outside: plug(port, Some(*outside), Leg::Outside)?,
            },
            Attachment::OneLeg { port, mac, vlan } => Wiring::OneLeg {
                leg: plug(port, *vlan, Leg::Only)?,
                mac: unicast(mac)?,
            },
            Attachment::NshAware { port, mac, vlan } => Wiring::NshAware {
                leg: plug(port, *vlan, Leg::Aware)?,
                mac: unicast(mac)?,
            },
        })
    }

    /// Makes a port, or a VLAN of it, a function's leg.
    fn plug(
        &mut self,
        number: u16,
        function: &Function,
        name: &PortName,
        vlan: Option<Vid>,
        leg: Leg,
    ) -> Result<Circuit, TableError> {
        let entry = || Entry::Function(function.name.clone());
        let role = |owner: &SfName| match vlan {
            None => PortRole::Leg(owner.clone()),
            Some(vlan) => PortRole::TaggedLeg(owner.clone(), vlan),
        };
        if let Some(owner) = self
            .owners
            .insert((name.clone(), vlan), function.name.clone())
        {
            return Err(TableError::PortRole {
                port: name.clone(),
                first: role(&owner),
                second: role(&function.name),
            });
        }
        let port = self.scope.leg(name, entry, role(&function.name))?;
        let backend = self.tables.ports.get(port.at()).map(|port| port.backend);
        if vlan.is_some() && backend == Some(Backend::Pnet) {
            let (entry, port) = (entry(), name.clone());
            return Err(TableError::TagHidden { entry, port });
        }
        if let Some(port) = self.ports.get_mut(port.at()) {
            let trunk = match port.role {
                Role::Access if vlan.is_none() => {
                    port.role = Role::Leg(number, leg);
                    None
                }
                Role::Trunk(trunk) => Some(trunk),
                before => {
                    let trunk = u16::try_from(self.trunks.len()).unwrap_or(u16::MAX);
                    self.trunks.push(Trunk {
                        untagged: match before {
                            Role::Leg(number, leg) => Some((number, leg)),
                            _ => None,
                        },
                        tagged: FxHashMap::default(),
                    });
                    port.role = Role::Trunk(trunk);
                    Some(trunk)
                }
            };
            if let Some(trunk) = trunk.and_then(|trunk| self.trunks.get_mut(usize::from(trunk))) {
                match vlan {
                    Some(vlan) => drop(trunk.tagged.insert(vlan.get(), (number, leg))),
                    None => trunk.untagged = Some((number, leg)),
                }
            }
        }
        let tagging = vlan.map_or(Tagging::Open, Tagging::Vlan);
        Ok(Circuit { port, tagging })
    }
}
