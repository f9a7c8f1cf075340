//! VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe section 3). The view starts where the UDP payload starts.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-----------------------------+-----------------+
//! |R|R|Ver|I|P|B|O|       Reserved              | Next Protocol   |
//! +-+-+-+-+-+-+-+-+-----------------------------+-+---------------+
//! |                VXLAN Network Identifier       |   Reserved    |
//! +-----------------------------------------------+---------------+
//! ```

use super::field::{put, u24_at};
use super::{Error, illegal, require};
use kc_forwarder_api::Vni;

/// Octets of the header.
pub const HEADER_LEN: usize = 8;

const VERSION_MASK: u8 = 0x30;
const FLAG_VNI: u8 = 0x08;
const FLAG_NEXT_PROTOCOL: u8 = 0x04;
const FLAG_OAM: u8 = 0x01;

/// What follows the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextProtocol {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Ethernet; also what a header without the P bit means.
    Ethernet,
    /// NSH.
    Nsh,
    /// Something else.
    Other(u8),
}

impl From<u8> for NextProtocol {
    fn from(value: u8) -> Self {
        match value {
            1 => Self::Ipv4,
            2 => Self::Ipv6,
            3 => Self::Ethernet,
            4 => Self::Nsh,
            other => Self::Other(other),
        }
    }
}

impl From<NextProtocol> for u8 {
    fn from(value: NextProtocol) -> Self {
        match value {
            NextProtocol::Ipv4 => 1,
            NextProtocol::Ipv6 => 2,
            NextProtocol::Ethernet => 3,
            NextProtocol::Nsh => 4,
            NextProtocol::Other(other) => other,
        }
    }
}

/// The header's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Network identifier.
    pub vni: Vni,
    /// What follows.
    pub next: NextProtocol,
    /// Operations, administration and maintenance.
    pub oam: bool,
}

impl Repr {
    /// Reads a header.
    ///
    /// Section 3.1: the I bit "MUST be set to indicate a valid VNI"; "If a receiver does not
    /// support the version indicated it MUST drop the packet." Section 3.2: "When UDP dest
    /// port=4790, P = 0 the "Next Protocol" field must be set to zero and the payload MUST be
    /// ETHERNET(L2)".
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        require("VXLAN-GPE", data, HEADER_LEN)?;
        let flags = data[0];
        if flags & VERSION_MASK != 0 || flags & FLAG_VNI == 0 {
            return Err(illegal("VXLAN-GPE", "flags", u32::from(flags)));
        }
        let number = u24_at(data, 4);
        let vni = Vni::new(number).map_err(|_| illegal("VXLAN-GPE", "VNI", number))?;
        let next = if flags & FLAG_NEXT_PROTOCOL == 0 {
            NextProtocol::Ethernet
        } else {
            data[3].into()
        };
        Ok(Self {
            vni,
            next,
            oam: flags & FLAG_OAM != 0,
        })
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let oam = if self.oam { FLAG_OAM } else { 0 };
        put(
            buffer,
            0,
            &[FLAG_VNI | FLAG_NEXT_PROTOCOL | oam, 0, 0, self.next.into()],
        );
        put(buffer, 4, &(self.vni.get() << 8).to_be_bytes());
    }
}
