//! Three boxes on a path, and OAM packets as a stranger would make them.

use kc_forwarder::wire::nsh::{self, MetadataRepr, NextProtocol};
use kc_forwarder::wire::sfc_echo::{self, Kind, ReplyMode};
use kc_forwarder::wire::sfc_oam::{self, Message};
use kc_forwarder::wire::sfc_tlv::Tlv;
use kc_forwarder::wire::vxlan_gpe;
use kc_forwarder_api::{Si, Spi, Ttl, Vni};

pub(crate) fn spi(number: u32) -> Spi {
    Spi::new(number).unwrap()
}

/// Boxes 1 to 3 with a function each; path 100 goes there and 101 comes back.
pub(crate) fn box_of(number: u8, reverse: bool) -> String {
    let back = if reverse { "reverse = 101" } else { "" };
    let (forward, backward) = match number {
        1 => (
            r#"{ si = 255, to = { function = { name = "f1" } } },
               { si = 254, to = { tunnel = { name = "b2" } } }"#,
            r#"{ si = 253, to = { function = { name = "f1", direction = "reverse" } } },
               { si = 252, to = { egress = { port = "end" } } }"#,
        ),
        2 => (
            r#"{ si = 254, to = { function = { name = "f2" } } },
               { si = 253, to = { tunnel = { name = "b3" } } }"#,
            r#"{ si = 254, to = { function = { name = "f2", direction = "reverse" } } },
               { si = 253, to = { tunnel = { name = "b1" } } }"#,
        ),
        _ => (
            r#"{ si = 253, to = { function = { name = "f3" } } },
               { si = 252, to = { egress = { port = "end" } } }"#,
            r#"{ si = 255, to = { function = { name = "f3", direction = "reverse" } } },
               { si = 254, to = { tunnel = { name = "b2" } } }"#,
        ),
    };
    let others = (1..=3).filter(|other| *other != number && other.abs_diff(number) == 1);
    let tunnels: String = others
        .map(|other| {
            format!(
                r#"
                [[tunnels]]
                name = "b{other}"
                transport = {{ vxlan-gpe = {{ remote = "192.0.2.{other}", vni = 7 }} }}
                "#
            )
        })
        .collect();
    let backward = if reverse {
        format!("[[paths]]\nspi = 101\nreverse = 100\nhops = [{backward}]")
    } else {
        String::new()
    };
    format!(
        r#"
        generation = 1
        name = "box-{number}"
        ports = [{{ name = "in" }}, {{ name = "out" }}, {{ name = "end" }}]
        [underlay]
        address = "192.0.2.{number}"
        {tunnels}
        [[functions]]
        name = "f{number}"
        attachment = {{ two-leg = {{ inside = "in", outside = "out" }} }}
        [[paths]]
        spi = 100
        {back}
        hops = [{forward}]
        {backward}
        "#
    )
}

/// An OAM packet in VXLAN-GPE, as a stranger would make it.
pub(crate) struct Forged<'a> {
    pub(crate) kind: Kind,
    pub(crate) mode: ReplyMode,
    pub(crate) key: (u32, u32),
    pub(crate) path: (u32, u8),
    pub(crate) ttl: u8,
    pub(crate) tlvs: &'a [Tlv<'a>],
    /// Context headers of an NSH of MD type 2, where it is one.
    pub(crate) contexts: &'a [u8],
}

impl Default for Forged<'_> {
    fn default() -> Self {
        Self {
            kind: Kind::Request,
            mode: ReplyMode::Link,
            key: (1, 2),
            path: (100, 254),
            ttl: 1,
            tlvs: &[],
            contexts: &[],
        }
    }
}

impl Forged<'_> {
    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut message = vec![0; 16];
        sfc_echo::Repr {
            kind: self.kind,
            mode: self.mode,
            code: 0,
            subcode: 0,
            handle: self.key.0,
            sequence: self.key.1,
        }
        .emit(&mut message);
        for tlv in self.tlvs {
            let before = message.len();
            message.resize(before + tlv.buffer_len(), 0);
            tlv.emit(&mut message[before..]);
        }
        let header = nsh::Repr {
            oam: true,
            ttl: Ttl::new(self.ttl).unwrap(),
            next: NextProtocol::Other(sfc_oam::NEXT_PROTOCOL),
            spi: spi(self.path.0),
            si: Si::new(self.path.1).unwrap(),
            metadata: match self.contexts {
                [] => MetadataRepr::One([0; 16]),
                contexts => MetadataRepr::Two(contexts),
            },
        };
        let behind = 8 + header.buffer_len();
        let mut octets = vec![0; behind + 4];
        vxlan_gpe::Repr {
            vni: Vni::new(7).unwrap(),
            next: vxlan_gpe::NextProtocol::Nsh,
            oam: false,
        }
        .emit(&mut octets);
        header.emit(&mut octets[8..]);
        sfc_oam::Repr {
            message: Message::Echo,
            length: u16::try_from(message.len()).unwrap(),
        }
        .emit(&mut octets[behind..]);
        octets.extend(message);
        octets
    }
}
