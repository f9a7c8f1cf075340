//! The tables of each box of a [`Site`]: what a controller would render for its routes.

use crate::site::{Placed, Route, Site};
use std::fmt::Write;

/// Outer IPv4 and UDP, VXLAN-GPE, NSH with MD type 1, inner Ethernet.
const OVERHEAD: u16 = 20 + 8 + 8 + 24 + 14;

/// Where a hop leads.
enum Next {
    Box(usize),
    Function(usize),
    Egress,
}

impl Site {
    /// What box `at` is told.
    pub(super) fn tables(&self, at: usize) -> String {
        let mut text = format!(
            "[underlay]\naddress = \"192.168.50.{}\"\nmtu = {}\n",
            at + 1,
            self.mtus[at]
        );
        let on_lan = |other| {
            let pair = self.by_ethernet;
            pair == Some([at, other]) || pair == Some([other, at])
        };
        for other in (0..self.boxes.len()).filter(|&other| other != at) {
            let remote = other + 1;
            let transport = if on_lan(other) {
                format!("ethernet = {{ port = \"lan\", next-hop = \"192.168.60.{remote}\" }}")
            } else {
                format!("vxlan-gpe = {{ remote = \"192.168.50.{remote}\", vni = 100 }}")
            };
            writeln!(
                text,
                "[[tunnels]]\nname = \"box{other}\"\ntransport = {{ {transport} }}"
            )
            .unwrap();
        }
        if (0..self.boxes.len()).any(on_lan) {
            let own = at + 1;
            writeln!(
                text,
                "[[ports]]\nname = \"lan\"\ninterface = \"l0\"\naddresses = [\"192.168.60.{own}\"]"
            )
            .unwrap();
        }
        let backend = self.backend;
        let mut port = |name: &str| {
            writeln!(
                text,
                "[[ports]]\nname = \"{name}\"\nbackend = \"{backend}\""
            )
            .unwrap();
        };
        let last = self.boxes.len() - 1;
        for number in 0..self.ends {
            for (place, letter) in [(0, 'c'), (last, 's')] {
                if place == at {
                    port(&format!("{letter}{number}"));
                }
            }
        }
        let here = || self.functions.iter().filter(|placed| placed.at == at);
        here()
            .flat_map(|placed| &placed.legs)
            .for_each(|leg| port(leg));
        for placed in here() {
            let Placed {
                name, attachment, ..
            } = placed;
            writeln!(
                text,
                "[[functions]]\nname = \"{name}\"\nattachment = {attachment}"
            )
            .unwrap();
        }
        if let Some(first) = self.group.first().map(|&first| &self.functions[first])
            && first.at == at
        {
            let name = |&number: &usize| self.functions[number].name.as_str();
            let members = self.group.iter().map(name);
            let members: Vec<_> = members
                .map(|name| format!("{{ to = {{ function = {{ name = \"{name}\" }} }} }}"))
                .collect();
            let members = members.join(", ");
            writeln!(text, "[[groups]]\nname = \"group\"\nmembers = [{members}]").unwrap();
        }
        for (number, route) in self.routes.iter().enumerate() {
            let spi = Self::spi(number);
            for (back, place) in [(false, 0), (true, last)] {
                self.part(&mut text, at, route, spi, back, place);
            }
        }
        text
    }

    /// Rule and hops of one direction of a route, as far as they concern box `at`; it begins at
    /// box `from`.
    fn part(&self, text: &mut String, at: usize, route: &Route, spi: u32, back: bool, from: usize) {
        let ports = [format!("c{}", route.ends), format!("s{}", route.ends)];
        let (own, other, direction) = if back {
            (spi + 1, spi, "reverse")
        } else {
            (spi, spi + 1, "forward")
        };
        let [enters, leaves] = if back {
            [&ports[1], &ports[0]]
        } else {
            [&ports[0], &ports[1]]
        };
        if at == from {
            let condition = &route.conditions[usize::from(back)];
            writeln!(
                text,
                "[[rules]]\nname = \"{enters}-{own}\"\nmatch = {{ port = \"{enters}\"{condition} }}\n\
                 action = {{ path = {{ spi = {own}, si = 255 }} }}"
            )
            .unwrap();
        }
        let hops = self.hops(route, back);
        writeln!(text, "[[paths]]\nspi = {own}\nreverse = {other}").unwrap();
        let passed = hops.iter().map(|(place, ..)| self.mtus[*place]);
        if self.tells_mtu && self.boxes.len() > 1 {
            let least = passed.min().unwrap() - OVERHEAD;
            writeln!(text, "mtu = {least}").unwrap();
        }
        let own_hops = hops.iter().filter(|(place, ..)| *place == at);
        let list: Vec<String> = own_hops
            .map(|(_, si, next)| {
                let to = match next {
                    Next::Box(number) => format!("tunnel = {{ name = \"box{number}\" }}"),
                    Next::Function(number) if self.group.first() == Some(number) => {
                        format!("group = {{ name = \"group\", direction = \"{direction}\" }}")
                    }
                    Next::Function(number) => format!(
                        "function = {{ name = \"{}\", direction = \"{direction}\" }}",
                        self.functions[*number].name
                    ),
                    Next::Egress => format!("egress = {{ port = \"{leaves}\" }}"),
                };
                format!("{{ si = {si}, to = {{ {to} }} }}")
            })
            .collect();
        writeln!(text, "hops = [{}]", list.join(", ")).unwrap();
    }

    /// All hops of one direction: at which box, at which index, where to.
    fn hops(&self, route: &Route, back: bool) -> Vec<(usize, u8, Next)> {
        let last = self.boxes.len() - 1;
        let mut functions = route.functions.clone();
        let (mut place, end) = if back { (last, 0) } else { (0, last) };
        if back {
            functions.reverse();
        }
        let (mut hops, mut si) = (Vec::new(), 255);
        for function in functions {
            let at = self.functions[function].at;
            if at != place {
                hops.push((place, si, Next::Box(at)));
                place = at;
            }
            hops.push((place, si, Next::Function(function)));
            si -= 1;
        }
        if place != end {
            hops.push((place, si, Next::Box(end)));
        }
        hops.push((end, si, Next::Egress));
        hops
    }
}
