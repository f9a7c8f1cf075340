//! What an interface's driver says of itself: its name, its receive queues, and whether it takes
//! VLAN tags out of frames.
#![expect(
    unsafe_code,
    reason = "ethtool's ioctl takes a structure that holds a pointer"
)]

use crate::port::Facts;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// SIOCETHTOOL.
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// Commands of linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// ETH_FLAG_RXVLAN.
const RECEIVE_VLAN: u32 = 1 << 8;

/// Words of the largest question: `struct ethtool_drvinfo`, of 196 octets.
const WORDS: usize = 49;

/// Place of `rx_count` and `combined_count` in `struct ethtool_channels`, in words.
const RX_COUNT: usize = 5;
const COMBINED_COUNT: usize = 8;

/// One interface's driver.
pub(super) struct Nic<'a> {
    facts: &'a Facts,
    socket: OwnedFd,
}

impl<'a> Nic<'a> {
    /// Of the interface that `facts` describes.
    pub(super) fn new(facts: &'a Facts) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        Ok(Self { facts, socket })
    }

    /// Asks `command`, and returns the structure that it is about as words.
    fn ask(&self, command: u32) -> io::Result<[u32; WORDS]> {
        let mut words = [0; WORDS];
        words[0] = command;
        // SAFETY: ifreq is plain data for which all zeroes is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (place, octet) in request.ifr_name.iter_mut().zip(self.facts.name.bytes()) {
            *place = libc::c_char::from_ne_bytes([octet]);
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the commands of this module write structures of at most `WORDS` words, to which
        // `ifru_data` leads; both structures outlive the call.
        let answer =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        crate::port::socket::check(answer).map(|_| words)
    }

    /// The driver's name; empty where there is none.
    pub(super) fn driver(&self) -> io::Result<String> {
        let words = match self.ask(ETHTOOL_GDRVINFO) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => [0; WORDS],
            words => words?,
        };
        let name = words.iter().skip(1).take(8);
        let octets = name.flat_map(|word| word.to_ne_bytes());
        let octets: Vec<u8> = octets.take_while(|&octet| octet != 0).collect();
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }

    /// Whether it takes VLAN tags out of the frames that it receives.
    pub(super) fn takes_tags_out(&self) -> io::Result<bool> {
        Ok(self.ask(ETHTOOL_GFLAGS)?[1] & RECEIVE_VLAN != 0)
    }

    /// Number of its receive queues.
    pub(super) fn queues(&self) -> u32 {
        if let Ok(channels) = self.ask(ETHTOOL_GCHANNELS) {
            return (channels[RX_COUNT] + channels[COMBINED_COUNT]).max(1);
        }
        let Some(queues) = self
            .sysfs()
            .and_then(|at| at.join("queues").read_dir().ok())
        else {
            return 1;
        };
        let is_receive = |name: &OsStr| name.as_encoded_bytes().starts_with(b"rx-");
        let count = queues
            .flatten()
            .filter(|queue| is_receive(&queue.file_name()));
        u32::try_from(count.count()).unwrap_or(u32::MAX).max(1)
    }

    /// Whether the host has an address on it, other than the one that IPv6 makes for every link.
    pub(super) fn has_address(&self) -> io::Result<bool> {
        let ours = nix::ifaddrs::getifaddrs()?.filter(|one| one.interface_name == self.facts.name);
        let mut addresses = ours.filter_map(|one| one.address);
        Ok(addresses.any(|address| {
            address.as_sockaddr_in().is_some()
                || address
                    .as_sockaddr_in6()
                    .is_some_and(|address| !address.ip().is_unicast_link_local())
        }))
    }

    /// Whether it is hardware, or looks so to this machine.
    pub(super) fn is_hardware(&self) -> bool {
        self.sysfs().is_some_and(|at| at.join("device").exists())
    }

    /// Its folder below /sys, where that shows our network namespace.
    fn sysfs(&self) -> Option<PathBuf> {
        let folder = PathBuf::from("/sys/class/net").join(&self.facts.name);
        let index = std::fs::read_to_string(folder.join("ifindex")).ok()?;
        (index.trim().parse() == Ok(self.facts.index)).then_some(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_hardware_and_has_a_queue() {
        let facts = match Facts::read("lo") {
            Ok(facts) => facts,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let nic = Nic::new(&facts).unwrap();
        assert!(!nic.is_hardware());
        assert_eq!(nic.queues(), 1);
        assert_ne!(nic.driver().unwrap(), "veth");
    }
}
