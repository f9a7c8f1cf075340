//! What is asked of the kernel by netlink, octet by octet: routes, stations of the underlay, and
//! what interfaces do for XDP. Numbers are those of linux/rtnetlink.h, neighbour.h and netdev.h.
//!
//! ```text
//! +---------------+---------------+---------------+---------------+
//! |             Length            |      Type     |     Flags     |
//! +---------------+---------------+---------------+---------------+
//! |            Sequence           |              Port             |
//! +-------------------------------+-------------------------------+
//! |  family header … attributes: length, type, value, padding …   |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 16;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;

mod kind {
    pub(super) const ERROR: u16 = 2;
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const GET_ROUTE: u16 = 26;
    pub(super) const NEW_NEIGHBOUR: u16 = 28;
    pub(super) const GET_NEIGHBOUR: u16 = 30;
    pub(super) const GENERIC_CONTROL: u16 = 16;
}

/// NUD_REACHABLE, STALE, DELAY, PROBE, NOARP and PERMANENT: the address may be used.
const USABLE: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;

/// NUD_NOARP and PERMANENT: nobody has to be asked, ever.
const FIXED: u16 = 0x40 | 0x80;

/// NTF_USE: somebody sends there, so it is to be found and probed.
const USE: u8 = 1;

/// RTN_UNICAST.
const UNICAST: u8 = 1;

/// A request.
struct Request(Vec<u8>);

impl Request {
    fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut octets = vec![0; 4];
        octets.extend(kind.to_ne_bytes());
        octets.extend((REQUEST | flags).to_ne_bytes());
        octets.extend([0; 8]);
        octets.extend(fixed);
        Self(octets)
    }

    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if let Some(field) = self.0.first_chunk_mut() {
            *field = length.to_ne_bytes();
        }
        self.0
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// AF_INET or AF_INET6.
fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// The route that a datagram from `own` to `remote` takes.
pub(crate) fn route(own: IpAddr, remote: IpAddr) -> Vec<u8> {
    let bits = if remote.is_ipv4() { 32 } else { 128 };
    let fixed = [family(remote), bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Request::new(kind::GET_ROUTE, 0, &fixed)
        .with(1, &octets(remote))
        .with(2, &octets(own))
        .finish()
}

fn neighbour_header(address: IpAddr, ifindex: u32, flags: u8) -> Vec<u8> {
    let mut fixed = vec![family(address), 0, 0, 0];
    fixed.extend(ifindex.to_ne_bytes());
    fixed.extend([0, 0, flags, 0]);
    fixed
}

/// What is known of a station.
pub(crate) fn neighbour(address: IpAddr, ifindex: u32) -> Vec<u8> {
    Request::new(
        kind::GET_NEIGHBOUR,
        0,
        &neighbour_header(address, ifindex, 0),
    )
    .with(1, &octets(address))
    .finish()
}

/// Packets go to a station: it is to be found where it is not known, and asked where it was not
/// heard of lately. Not for one that is [fixed](Neighbour::fixed): the kernel would forget what it
/// was told of it.
pub(crate) fn used(address: IpAddr, ifindex: u32) -> Vec<u8> {
    let fixed = neighbour_header(address, ifindex, USE);
    Request::new(kind::NEW_NEIGHBOUR, CREATE | ACK, &fixed)
        .with(1, &octets(address))
        .finish()
}

/// The number of a family of generic netlink.
pub(crate) fn generic_family(name: &str) -> Vec<u8> {
    let mut name = name.as_bytes().to_vec();
    name.push(0);
    Request::new(kind::GENERIC_CONTROL, 0, &[3, 1, 0, 0])
        .with(2, &name)
        .finish()
}

/// What an interface does for XDP, by the family `netdev`.
pub(crate) fn device(family: u16, ifindex: u32) -> Vec<u8> {
    Request::new(family, 0, &[1, 1, 0, 0])
        .with(1, &ifindex.to_ne_bytes())
        .finish()
}

/// The first message of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// An error number; 0 for none.
    Error(i32),
    /// Kind and content.
    Message(u16, &'a [u8]),
}

/// Reads the first message; `None` when it makes no sense.
pub(crate) fn answer(octets: &[u8]) -> Option<Answer<'_>> {
    let length = usize::try_from(u32::from_ne_bytes(*octets.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*octets.get(4..)?.first_chunk()?);
    let content = octets.get(HEADER..length)?;
    if kind == kind::ERROR {
        return Some(Answer::Error(-i32::from_ne_bytes(*content.first_chunk()?)));
    }
    Some(Answer::Message(kind, content))
}

/// All attributes, as far as they make sense.
fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*octets.first_chunk()?));
        let kind = u16::from_ne_bytes(*octets.get(2..)?.first_chunk()?);
        let value = octets.get(4..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The upper two bits say how the value is coded.
        Some((kind & 0x3fff, value))
    })
}

fn attribute(octets: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(octets)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets)
            .ok()
            .map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(octets)
            .ok()
            .map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// A unicast route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The interface.
    pub(crate) ifindex: u32,
    /// The router; `None` on the interface's own network.
    pub(crate) gateway: Option<IpAddr>,
    /// Largest packet, where the route says.
    pub(crate) mtu: Option<u32>,
}

/// Reads the answer to [`route`].
pub(crate) fn read_route(octets: &[u8]) -> Option<Found> {
    let Answer::Message(kind::NEW_ROUTE, content) = answer(octets)? else {
        return None;
    };
    let (fixed, rest) = content.split_at_checked(12)?;
    if *fixed.get(7)? != UNICAST {
        return None;
    }
    // RTA_VIA has its family in front.
    let via = attribute(rest, 18).and_then(|value| address(value.get(2..)?));
    let gateway = attribute(rest, 5).and_then(address).or(via);
    let mtu = attribute(rest, 8).and_then(|metrics| attribute(metrics, 2));
    Some(Found {
        ifindex: u32::from_ne_bytes(attribute(rest, 4)?.try_into().ok()?),
        gateway,
        mtu: mtu.and_then(|mtu| Some(u32::from_ne_bytes(mtu.try_into().ok()?))),
    })
}

/// A station that may be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) mac: [u8; 6],
    /// Somebody has noted it by hand, for good.
    pub(crate) fixed: bool,
}

/// Reads the answer to [`neighbour`], if there is one that may be used.
pub(crate) fn read_neighbour(octets: &[u8]) -> Option<Neighbour> {
    let Answer::Message(kind::NEW_NEIGHBOUR, content) = answer(octets)? else {
        return None;
    };
    let (fixed, rest) = content.split_at_checked(12)?;
    let state = u16::from_ne_bytes(*fixed.get(8..)?.first_chunk()?);
    let mac = attribute(rest, 2).filter(|_| state & USABLE != 0)?;
    Some(Neighbour {
        mac: mac.try_into().ok()?,
        fixed: state & FIXED != 0,
    })
}

/// Reads the answer to [`generic_family`].
pub(crate) fn read_family(octets: &[u8]) -> Option<u16> {
    let Answer::Message(kind::GENERIC_CONTROL, content) = answer(octets)? else {
        return None;
    };
    let value = attribute(content.get(4..)?, 1)?;
    Some(u16::from_ne_bytes(value.try_into().ok()?))
}

/// What an interface does for XDP, `NETDEV_XDP_ACT_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features(pub(crate) u64);

impl Features {
    /// It takes redirected frames.
    pub(crate) const fn takes_frames(self) -> bool {
        self.0 & 4 != 0
    }

    /// In several buffers too.
    pub(crate) const fn takes_fragments(self) -> bool {
        self.0 & 64 != 0
    }
}

/// Reads the answer to [`device`].
pub(crate) fn read_features(octets: &[u8]) -> Option<Features> {
    let Answer::Message(_, content) = answer(octets)? else {
        return None;
    };
    let value = attribute(content.get(4..)?, 3)?;
    Some(Features(u64::from_ne_bytes(value.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_length_and_its_attributes_padded() {
        let asked = route([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert_eq!(asked.len(), 16 + 12 + 8 + 8);
        assert_eq!(asked[..4], 44_u32.to_ne_bytes());
        assert_eq!(asked[28..36], [8, 0, 1, 0, 10, 0, 0, 2]);
        let family = generic_family("netdev");
        assert_eq!(family.len(), 16 + 4 + 12);
    }

    fn message(kind: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let request = Request::new(kind, 0, fixed);
        let whole = attributes
            .iter()
            .fold(request, |so_far, (kind, value)| so_far.with(*kind, value));
        whole.finish()
    }

    #[test]
    fn a_route_is_read_with_gateway_and_mtu() {
        let fixed = [2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let metrics = [8, 0, 2, 0, 0xdc, 5, 0, 0];
        let oif = 7_u32.to_ne_bytes();
        let told = message(
            24,
            &fixed,
            &[(4, &oif), (5, &[10, 0, 0, 9]), (0x8008, &metrics)],
        );
        let found = read_route(&told).unwrap();
        assert_eq!((found.ifindex, found.mtu), (7, Some(1500)));
        assert_eq!(found.gateway, Some([10, 0, 0, 9].into()));
        let mut local = fixed;
        local[7] = 2;
        assert_eq!(read_route(&message(24, &local, &[(4, &oif)])), None);
        for length in 0..told.len() {
            assert!(read_route(&told[..length]).is_none());
        }
    }

    #[test]
    fn a_station_that_did_not_answer_has_no_address() {
        let told = |state: u8| {
            let fixed = [2, 0, 0, 0, 7, 0, 0, 0, state, 0, 0, 0];
            message(28, &fixed, &[(1, &[10, 0, 0, 9]), (2, &[2, 0, 0, 0, 0, 9])])
        };
        let mac = [2, 0, 0, 0, 0, 9];
        let known = |fixed| Some(Neighbour { mac, fixed });
        assert_eq!(read_neighbour(&told(4)), known(false));
        assert_eq!(read_neighbour(&told(0x80)), known(true));
        assert_eq!(read_neighbour(&told(0x20)), None);
        assert_eq!(
            read_neighbour(&message(2, &[0xfe, 0xff, 0xff, 0xff], &[])),
            None
        );
    }
}
