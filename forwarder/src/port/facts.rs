//! What the kernel says of an interface before it is opened: index, address, MTU, state.
#![expect(
    unsafe_code,
    reason = "the answers of the SIOCGIF ioctls come in a C union"
)]

use super::{PortError, socket};
use kc_forwarder_api::MacAddr;
use nix::sys::socket::{AddressFamily, SockFlag, SockType};
use std::mem::zeroed;
use std::os::fd::AsFd;

/// One interface as of now.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Kernel interface.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its address.
    pub mac: MacAddr,
    /// Largest IP packet in bytes; 65,535 for anything larger.
    pub mtu: u16,
    /// IFF_ flags.
    pub flags: u32,
}

impl Facts {
    /// Whether somebody is at the other end.
    pub const fn has_carrier(&self) -> bool {
        self.flags & libc::IFF_RUNNING.cast_unsigned() != 0
    }

    /// Asks for `interface`, which must exist, be up and carry Ethernet.
    ///
    /// # Errors
    /// It does not, or the kernel refused to answer.
    pub fn read(interface: &str) -> Result<Self, PortError> {
        // SAFETY: ifreq is plain data for which all zeroes is a valid value.
        let mut request: libc::ifreq = unsafe { zeroed() };
        if interface.is_empty() || interface.len() >= request.ifr_name.len() {
            return Err(PortError::Absent {
                interface: interface.to_owned(),
            });
        }
        for (place, octet) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *place = libc::c_char::from_ne_bytes([octet]);
        }
        let failed = |step| PortError::io(interface, step);
        let socket = nix::sys::socket::socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(|errno| failed("socket")(errno.into()))?;
        let ask = |question, step| {
            socket::ask(socket.as_fd(), question, request).map_err(PortError::io(interface, step))
        };
        // SAFETY: after a successful SIOCGIFINDEX the union holds the index, and so on below;
        // every member is plain data, valid for any bytes.
        let index = unsafe {
            ask(libc::SIOCGIFINDEX as _, "ask for its index")?
                .ifr_ifru
                .ifru_ifindex
        };
        // SAFETY: as above, for SIOCGIFFLAGS.
        let flags = unsafe {
            ask(libc::SIOCGIFFLAGS as _, "ask for its flags")?
                .ifr_ifru
                .ifru_flags
        };
        // SAFETY: as above, for SIOCGIFMTU.
        let mtu = unsafe {
            ask(libc::SIOCGIFMTU as _, "ask for its MTU")?
                .ifr_ifru
                .ifru_mtu
        };
        // SAFETY: as above, for SIOCGIFHWADDR.
        let address = unsafe {
            ask(libc::SIOCGIFHWADDR as _, "ask for its address")?
                .ifr_ifru
                .ifru_hwaddr
        };

        let flags = u32::from(flags.cast_unsigned());
        if flags & libc::IFF_UP.cast_unsigned() == 0 {
            return Err(PortError::Down {
                interface: interface.to_owned(),
            });
        }
        let hardware = address.sa_family;
        if hardware != libc::ARPHRD_ETHER && hardware != libc::ARPHRD_LOOPBACK {
            return Err(PortError::NotEthernet {
                interface: interface.to_owned(),
                hardware,
            });
        }
        let mut mac = [0; 6];
        for (octet, sent) in mac.iter_mut().zip(address.sa_data) {
            *octet = u8::from_ne_bytes(sent.to_ne_bytes());
        }
        Ok(Self {
            name: interface.to_owned(),
            index: u32::try_from(index).unwrap_or(0),
            mac: MacAddr(mac),
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_index_and_mtu() {
        match Facts::read("lo") {
            Ok(facts) => assert!(facts.index > 0 && facts.mtu > 0),
            Err(error) => assert!(matches!(error, PortError::Down { .. }), "{error}"),
        }
    }

    #[test]
    fn an_unknown_interface_is_absent() {
        for name in ["", "kc-no-such-if", "a-name-that-is-far-too-long"] {
            assert!(
                matches!(Facts::read(name), Err(PortError::Absent { .. })),
                "{name}"
            );
        }
    }
}
