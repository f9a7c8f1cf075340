//! Frames for the generator: one template, and what it has to change in it from packet to packet.
//! Written octet by octet, not with the forwarder's own code, which is what is being measured.

use std::fmt::Write as _;

/// Addresses of the site. The contestant stands between two links.
pub mod site {
    /// Sends, and is the VTEP or SFF before the contestant.
    pub const GENERATOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
    /// The contestant's interface towards the generator.
    pub const IN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0d];
    /// The contestant's interface towards the sink.
    pub const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0c];
    /// The VTEP or SFF behind the contestant.
    pub const NEXT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0e];
    /// Source of inner frames.
    pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
    /// Destination of inner frames.
    pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0f];
    /// The generator's VTEP.
    pub const GENERATOR: [u8; 4] = [10, 1, 0, 1];
    /// The contestant's VTEP towards the generator.
    pub const IN: [u8; 4] = [10, 1, 0, 2];
    /// VNI on both links.
    pub const VNI: u8 = 100;
    /// First service path; a table with N paths has the N that follow.
    pub const SPI: u32 = 100;
    /// Service index of arriving packets.
    pub const SI: u8 = 255;
}

/// What is around the inner frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// Nothing.
    Plain,
    /// VXLAN, UDP 4789.
    Vxlan,
    /// NSH of MD type 1 in VXLAN-GPE, UDP 4790.
    Gpe,
    /// NSH of MD type 1 in Ethernet, type 0x894F.
    Ethernet,
}

impl Wrap {
    /// Octets in front of the inner frame.
    pub const fn overhead(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Vxlan => 14 + 28 + 8,
            Self::Gpe => 14 + 28 + 8 + 24,
            Self::Ethernet => 14 + 24,
        }
    }

    /// Octets in front of what an inner UDP datagram carries.
    pub const fn payload(self) -> u16 {
        self.overhead() + INNER
    }
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Around the inner frames.
    pub wrap: Wrap,
    /// Octets of inner frames.
    pub sizes: Sizes,
    /// Inner flows: UDP source ports, and beyond 16,384 source addresses. The outer source port
    /// follows the flow.
    pub flows: u32,
    /// Service paths, spread over by packet.
    pub paths: u32,
    /// A complete outer UDP checksum instead of zero.
    pub checksum: bool,
}

/// Octets of inner frames, FCS not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// All alike.
    One(u16),
    /// 9 of 64, 5 of 594 and 2 of 1400 octets, in no order.
    Mix,
}

impl Sizes {
    /// The longest first, with how many of 16 packets have it.
    fn shares(self) -> Vec<(u16, usize)> {
        match self {
            Self::One(size) => vec![(size, 16)],
            Self::Mix => vec![(1400, 2), (594, 5), (64, 9)],
        }
    }
}

/// Ethernet and IPv4 and UDP.
const INNER: u16 = 14 + 20 + 8;

/// Smallest inner frame: headers and the 16 octets of a latency stamp.
pub const SMALLEST: u16 = INNER + 16;

impl Traffic {
    /// The generator's input, lines of a word and numbers:
    ///
    /// ```text
    /// frame HEX                        the longest frame, of flow 0 on the first path
    /// layout OUTER-IP OUTER-UDP NSH INNER-IP INNER-UDP    offsets; 0 where there is none
    /// flows N
    /// paths N FIRST
    /// checksum 0|1                     whether the outer UDP checksum is kept complete
    /// size CUT OUTER-LEN OUTER-IP-SUM OUTER-UDP-LEN INNER-LEN INNER-IP-SUM INNER-UDP-LEN UDP-SUM
    /// slots S * 16                     which size the 16 kinds of packets have
    /// ```
    ///
    /// Sums are ones' complement sums, not complemented, without the fields that vary: INNER-IP-SUM
    /// and UDP-SUM lack the low half of the inner source address, source ports, and SPI.
    pub fn plan(&self) -> String {
        let shares = self.sizes.shares();
        let longest = shares.first().map_or(SMALLEST, |(size, _)| *size);
        let frame = self.frame(longest);
        let at = self.layout();
        let mut text = String::from("frame ");
        for octet in &frame {
            let _ = write!(text, "{octet:02x}");
        }
        let _ = writeln!(
            text,
            "\nlayout {} {} {} {} {}\nflows {}\npaths {} {}\nchecksum {}",
            at.outer_ip,
            at.outer_udp,
            at.nsh,
            at.inner_ip,
            at.inner_udp,
            self.flows,
            self.paths,
            site::SPI,
            u8::from(self.checksum)
        );
        for (size, _) in &shares {
            let words = self.words(&self.frame(*size), at);
            let _ = write!(text, "size {}", longest - size);
            for word in words {
                let _ = write!(text, " {word}");
            }
            text.push('\n');
        }
        text.push_str("slots");
        for (place, (_, share)) in shares.iter().enumerate() {
            for _ in 0..*share {
                let _ = write!(text, " {place}");
            }
        }
        text.push('\n');
        text
    }

    /// Octets that the wire carries for an inner frame of `size`.
    pub fn wire_length(&self, size: u16) -> usize {
        self.frame(size).len()
    }

    /// A frame of flow 0 on the first path.
    pub fn frame(&self, size: u16) -> Vec<u8> {
        let size = size.max(SMALLEST);
        let mut frame = Vec::new();
        let outer = [site::IN_MAC, site::GENERATOR_MAC].concat();
        match self.wrap {
            Wrap::Plain => {}
            Wrap::Vxlan => {
                frame.extend(&outer);
                frame.extend([0x08, 0x00]);
                let addresses = (site::GENERATOR, site::IN);
                ip_udp(&mut frame, addresses, (FIRST_OUTER, 4789), 8 + size);
                frame.extend([0x08, 0, 0, 0, 0, 0, site::VNI, 0]);
            }
            Wrap::Gpe => {
                frame.extend(&outer);
                frame.extend([0x08, 0x00]);
                let addresses = (site::GENERATOR, site::IN);
                ip_udp(&mut frame, addresses, (FIRST_OUTER, 4790), 8 + 24 + size);
                frame.extend([0x0c, 0, 0, 4, 0, 0, site::VNI, 0]);
                nsh(&mut frame);
            }
            Wrap::Ethernet => {
                frame.extend(&outer);
                frame.extend([0x89, 0x4f]);
                nsh(&mut frame);
            }
        }
        frame.extend([site::SERVER_MAC, site::CLIENT_MAC].concat());
        frame.extend([0x08, 0x00]);
        let payload = size - INNER;
        let addresses = ([192, 168, 0, 0], [192, 168, 255, 2]);
        ip_udp(&mut frame, addresses, (FIRST_INNER, 9), payload);
        frame.resize(frame.len() + usize::from(payload), 0x5a);
        let at = self.layout();
        if self.checksum && at.outer_udp > 0 {
            let sum = self.words(&frame, at)[6];
            let sum = u32::from(sum) + u32::from(FIRST_OUTER) + u32::from(FIRST_INNER);
            let sum = sum + if at.nsh > 0 { spi_sum(site::SPI) } else { 0 };
            let sum = match !fold(sum) {
                0 => 0xffff,
                sum => sum,
            };
            let at = usize::from(at.outer_udp) + 6;
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        frame
    }

    fn layout(&self) -> Layout {
        let inner = self.wrap.overhead();
        let (outer_ip, outer_udp, nsh) = match self.wrap {
            Wrap::Plain => (0, 0, 0),
            Wrap::Vxlan => (14, 34, 0),
            Wrap::Gpe => (14, 34, 50),
            Wrap::Ethernet => (0, 0, 14),
        };
        Layout {
            outer_ip,
            outer_udp,
            nsh,
            inner_ip: inner + 14,
            inner_udp: inner + 34,
        }
    }

    /// The numbers of a `size` line behind its first.
    fn words(&self, frame: &[u8], at: Layout) -> [u16; 7] {
        let word = |place: u16| {
            let place = usize::from(place);
            u16::from_be_bytes([frame[place], frame[place + 1]])
        };
        let inner_sum = {
            let start = usize::from(at.inner_ip);
            let mut header = frame[start..start + 20].to_vec();
            header[10..12].fill(0);
            header[14..16].fill(0);
            sum(&header)
        };
        let mut outer = [0; 3];
        let mut udp_sum = 0;
        if at.outer_udp > 0 {
            outer = [at.outer_ip + 2, at.outer_ip + 10, at.outer_udp + 4].map(word);
            let start = usize::from(at.outer_udp);
            let mut datagram = frame[start..].to_vec();
            let place = |offset: u16| usize::from(offset) - start;
            datagram[0..2].fill(0);
            datagram[6..8].fill(0);
            datagram[place(at.inner_udp)..place(at.inner_udp) + 2].fill(0);
            if at.nsh > 0 {
                datagram[place(at.nsh + 4)..place(at.nsh + 7)].fill(0);
            }
            let addresses = usize::from(at.outer_ip) + 12;
            let pseudo = u32::from(sum(&frame[addresses..addresses + 8]));
            let pseudo = pseudo + 17 + u32::from(outer[2]);
            udp_sum = fold(pseudo + u32::from(sum(&datagram)));
        }
        [
            outer[0],
            outer[1],
            outer[2],
            word(at.inner_ip + 2),
            inner_sum,
            word(at.inner_udp + 4),
            udp_sum,
        ]
    }
}

/// Where headers are; 0 where there is none.
#[derive(Debug, Clone, Copy)]
struct Layout {
    outer_ip: u16,
    outer_udp: u16,
    nsh: u16,
    inner_ip: u16,
    inner_udp: u16,
}

/// Inner source port of flow 0.
const FIRST_INNER: u16 = 10_000;

/// Outer source port of flow 0.
const FIRST_OUTER: u16 = 49_152;

fn ip_udp(
    frame: &mut Vec<u8>,
    (from, to): ([u8; 4], [u8; 4]),
    (source, destination): (u16, u16),
    payload: u16,
) {
    let mut ip = vec![0x45, 0];
    ip.extend((28 + payload).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend([from, to].concat());
    let checksum = !sum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);
    for word in [source, destination, 8 + payload, 0] {
        frame.extend(word.to_be_bytes());
    }
}

/// MD type 1, TTL 63, Ethernet inside.
fn nsh(frame: &mut Vec<u8>) {
    let path = site::SPI << 8 | u32::from(site::SI);
    frame.extend([0x0f, 0xc6, 0x01, 0x03]);
    frame.extend(path.to_be_bytes());
    for context in 1..=4_u32 {
        frame.extend(context.to_be_bytes());
    }
}

/// What an SPI adds to a sum, as it lies across two words.
fn spi_sum(spi: u32) -> u32 {
    (spi >> 8) + ((spi & 0xff) << 8)
}

/// Ones' complement sum.
fn sum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    fold(words.sum())
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder::wire::{checksum, nsh, udp, vxlan_gpe};

    fn traffic(wrap: Wrap, checksum: bool) -> Traffic {
        Traffic {
            wrap,
            sizes: Sizes::Mix,
            flows: 1000,
            paths: 10,
            checksum,
        }
    }

    #[test]
    fn the_forwarder_reads_a_generated_packet_of_its_path() {
        let frame = traffic(Wrap::Gpe, true).frame(64);
        assert_eq!(frame.len(), 14 + 28 + 8 + 24 + 64);
        let datagram = udp::Packet::new_checked(&frame[34..]).unwrap();
        assert_eq!(datagram.destination(), 4790);
        let gpe = vxlan_gpe::Repr::parse(datagram.payload()).unwrap();
        assert_eq!(gpe.vni.get(), 100);
        let nsh = nsh::Packet::new_checked(&datagram.payload()[8..]).unwrap();
        assert_eq!((nsh.spi().get(), nsh.si().get()), (site::SPI, site::SI));
    }

    #[test]
    fn checksums_are_complete_where_they_are_asked_for() {
        for wrap in [Wrap::Vxlan, Wrap::Gpe] {
            let frame = traffic(wrap, true).frame(594);
            let mut filled = frame[14..].to_vec();
            filled[26..28].fill(0);
            assert!(checksum::fill(&mut filled));
            assert_eq!(filled[26..28], frame[40..42]);
        }
    }

    #[test]
    fn a_plan_names_every_size_and_sixteen_slots() {
        let plan = traffic(Wrap::Ethernet, false).plan();
        let sizes: Vec<_> = plan.lines().filter(|l| l.starts_with("size ")).collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes[2].starts_with("size 1336 0 0 0 50 "), "{}", sizes[2]);
        let slots = plan.lines().last().unwrap();
        assert_eq!(slots.split(' ').count(), 17);
    }
}
