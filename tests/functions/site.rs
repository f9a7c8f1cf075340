//! Boxes on one underlay, each with a forwarder: what the scheduler and the controller would have
//! told them for the chains of a test.

use kc_forwarder_api::{Backend, Counters};
use kc_tests::lab::{Forwarder, Lab, Namespace};

/// A service function in a namespace of its own.
pub(crate) struct Function {
    /// Where it runs: its legs are `i0` and `o0`, or `e0` where it has one.
    pub(crate) namespace: Namespace,
    number: usize,
}

/// Both ends of a chain.
pub(crate) struct Ends {
    /// Behind the first box, by `e0`.
    pub(crate) client: Namespace,
    /// Behind the last box, by `e0`.
    pub(crate) server: Namespace,
    number: usize,
}

/// What the tables say of a function.
pub(super) struct Placed {
    pub(super) name: String,
    pub(super) at: usize,
    pub(super) legs: Vec<String>,
    pub(super) attachment: String,
}

/// A path and its return path between the ends of this number.
pub(super) struct Route {
    pub(super) ends: usize,
    pub(super) functions: Vec<usize>,
    /// More conditions of the classifier's rules, out and back, each with a comma in front.
    pub(super) conditions: [String; 2],
}

/// The boxes, in a row: clients are behind the first, servers behind the last.
pub(crate) struct Site {
    /// The right to make namespaces.
    pub(crate) lab: Lab,
    pub(super) boxes: Vec<Namespace>,
    forwarders: Vec<Forwarder>,
    pub(super) mtus: Vec<u16>,
    leg_mtu: u16,
    pub(super) tells_mtu: bool,
    pub(super) backend: Backend,
    pub(super) by_ethernet: Option<[usize; 2]>,
    pub(super) functions: Vec<Placed>,
    pub(super) ends: usize,
    pub(super) routes: Vec<Route>,
    pub(super) group: Vec<usize>,
    /// Held, not used: its bridge forwards by itself.
    _underlay: Namespace,
}

impl Site {
    /// A box for each underlay MTU; `None`, with the reason printed, where there is no right to.
    pub(crate) fn build(mtus: &[u16]) -> Option<Self> {
        let lab = Lab::open()?;
        let underlay = lab.namespace();
        let most = mtus.iter().max().unwrap();
        underlay.run("ip link add br0 type bridge stp_state 0 mcast_snooping 0");
        let mut boxes = Vec::new();
        for (number, mtu) in mtus.iter().enumerate() {
            let node = lab.namespace();
            node.join("u0", &underlay, &format!("p{number}"));
            node.run(&format!("ip link set u0 mtu {mtu}"));
            node.address("u0", &format!("192.168.50.{}/24", number + 1));
            underlay.run(&format!("ip link set p{number} mtu {mtu} master br0"));
            boxes.push(node);
        }
        underlay.run(&format!("ip link set br0 mtu {most} up"));
        Some(Self {
            lab,
            boxes,
            forwarders: Vec::new(),
            mtus: mtus.to_vec(),
            leg_mtu: 1500,
            tells_mtu: true,
            backend: Backend::Auto,
            by_ethernet: None,
            functions: Vec::new(),
            ends: 0,
            routes: Vec::new(),
            group: Vec::new(),
            _underlay: underlay,
        })
    }

    /// The MTU of everything that is joined to a box from now on.
    pub(crate) fn leg_mtu(&mut self, mtu: u16) {
        self.leg_mtu = mtu;
    }

    /// The packet I/O of all ports.
    pub(crate) fn backend(&mut self, backend: Backend) {
        self.backend = backend;
    }

    /// Between these two boxes NSH goes in Ethernet over a cable of its own, not in UDP: where
    /// both share an interface, the LAN's port sees a copy of everything and has no use for it.
    pub(crate) fn ethernet_between(&mut self, boxes: [usize; 2]) {
        assert!(self.by_ethernet.is_none(), "one cable only");
        let [one, other] = boxes.map(|number| &self.boxes[number]);
        // Their kernels have nothing to say there.
        for node in [one, other] {
            node.run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
        }
        one.join("l0", other, "l0");
        self.by_ethernet = Some(boxes);
    }

    /// Tells the forwarders nothing of a path's MTU: each knows its own link only.
    pub(crate) fn keep_mtu_untold(&mut self) {
        self.tells_mtu = false;
    }

    fn join(&self, namespace: &Namespace, interface: &str, at: usize, port: &str) {
        let node = &self.boxes[at];
        namespace.join(interface, node, port);
        namespace.run(&format!("ip link set {interface} mtu {}", self.leg_mtu));
        node.run(&format!("ip link set {port} mtu {}", self.leg_mtu));
    }

    /// A bump in the wire of box `at`, with the legs `i0` and `o0`.
    pub(crate) fn two_leg(&mut self, at: usize, name: &str) -> Function {
        let legs = vec![format!("{name}-i"), format!("{name}-o")];
        let attachment = format!(
            "{{ two-leg = {{ inside = \"{}\", outside = \"{}\" }} }}",
            legs[0], legs[1]
        );
        self.function(at, name, legs, attachment, &["i0", "o0"])
    }

    /// A function that frames are addressed to, by its leg `e0`.
    pub(crate) fn one_leg(&mut self, at: usize, name: &str) -> Function {
        let mac = format!("02:00:00:00:01:{:02x}", self.functions.len());
        let legs = vec![format!("{name}-e")];
        let attachment = format!(
            "{{ one-leg = {{ port = \"{}\", mac = \"{mac}\" }} }}",
            legs[0]
        );
        let function = self.function(at, name, legs, attachment, &["e0"]);
        let line = format!("ip link set e0 address {mac}");
        function.namespace.run(&line);
        function
    }

    fn function(
        &mut self,
        at: usize,
        name: &str,
        legs: Vec<String>,
        attachment: String,
        interfaces: &[&str],
    ) -> Function {
        let number = self.functions.len();
        self.functions.push(Placed {
            name: name.to_owned(),
            at,
            legs,
            attachment,
        });
        let namespace = self.lab.namespace();
        let function = Function { namespace, number };
        self.wire(&function, interfaces);
        function
    }

    fn wire(&self, function: &Function, interfaces: &[&str]) {
        let placed = &self.functions[function.number];
        for (interface, leg) in interfaces.iter().zip(&placed.legs) {
            self.join(&function.namespace, interface, placed.at, leg);
        }
    }

    /// Takes a two-leg function away, legs and all, and leaves an empty namespace in its place.
    pub(crate) fn unplug(&self, function: &mut Function) {
        function.namespace = self.lab.namespace();
    }

    /// Gives a function that was unplugged its legs again.
    pub(crate) fn plug(&self, function: &Function) {
        self.wire(function, &["i0", "o0"]);
    }

    /// Functions of one box that share the flows of every path through the first of them.
    pub(crate) fn group(&mut self, functions: &[&Function]) {
        let numbers = functions.iter().map(|function| function.number);
        self.group = numbers.collect();
    }

    /// A client behind the first box and a server behind the last.
    pub(crate) fn ends(&mut self) -> Ends {
        let number = self.ends;
        self.ends += 1;
        let [client, server] = std::array::from_fn(|_| self.lab.namespace());
        self.join(&client, "e0", 0, &format!("c{number}"));
        let last = self.boxes.len() - 1;
        self.join(&server, "e0", last, &format!("s{number}"));
        Ends {
            client,
            server,
            number,
        }
    }

    /// Everything between new ends passes these functions, and comes back through them.
    pub(crate) fn chain(&mut self, functions: &[&Function]) -> Ends {
        let ends = self.ends();
        self.route(&ends, functions, ["", ""]);
        ends
    }

    /// What meets the conditions (out, back) passes these functions; the first route that a
    /// frame meets is its own.
    pub(crate) fn route(&mut self, ends: &Ends, functions: &[&Function], conditions: [&str; 2]) {
        self.routes.push(Route {
            ends: ends.number,
            functions: functions.iter().map(|function| function.number).collect(),
            conditions: conditions.map(str::to_owned),
        });
    }

    /// Service path out of the route of this number; the one back is the next.
    pub(crate) fn spi(route: usize) -> u32 {
        u32::try_from(route * 10 + 10).unwrap()
    }

    /// Starts the forwarders and waits until all ports are up.
    pub(crate) fn start(&mut self) {
        for (at, node) in self.boxes.iter().enumerate() {
            let (name, tables) = (format!("box{at}"), self.tables(at));
            self.forwarders
                .push(Forwarder::start(&self.lab, node, &name, &tables));
        }
    }

    /// The forwarder of a box.
    pub(crate) fn forwarder(&self, at: usize) -> &Forwarder {
        &self.forwarders[at]
    }

    /// All counters of all boxes.
    pub(crate) fn counters(&self) -> Vec<Counters> {
        self.forwarders.iter().map(Forwarder::counters).collect()
    }
}

impl Ends {
    /// Both ends in one network: client 10.0.0.1 and fd00::1, server 10.0.0.2 and fd00::2.
    pub(crate) fn neighbours(&self) {
        for (end, host) in [(&self.client, 1), (&self.server, 2)] {
            end.address("e0", &format!("10.0.0.{host}/24"));
            end.address("e0", &format!("fd00::{host}/64"));
        }
    }

    /// The client in 10.1.0.0/24 with a router 10.1.0.254; the server 10.2.0.2 knows no way back.
    pub(crate) fn behind_a_router(&self) {
        self.client.address("e0", "10.1.0.1/24");
        self.client.run("ip route add default via 10.1.0.254");
        self.server.address("e0", "10.2.0.2/24");
    }

    /// Three answers in ten seconds: a busy machine may lose a packet in some queue of its own.
    pub(crate) fn ping(&self, arguments: &str) {
        let line = format!("ping -n -c 3 -i 0.05 -w 10 {arguments}");
        let output = self.client.output(&line);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {text}");
    }
}

/// Packets that a box looked up on a service path, all indices together.
pub(crate) fn on_path(counters: &Counters, spi: u32) -> u64 {
    let paths = counters.paths.iter();
    paths
        .filter(|path| path.spi.get() == spi)
        .map(|path| path.packets)
        .sum()
}
