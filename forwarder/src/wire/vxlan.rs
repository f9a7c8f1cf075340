//! Plain VXLAN (RFC 7348 section 5). The view starts where the UDP payload starts.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-----------------------------------------------+
//! |R|R|R|R|I|R|R|R|            Reserved                           |
//! +-+-+-+-+-+-+-+-+-------------------------------+---------------+
//! |                VXLAN Network Identifier       |   Reserved    |
//! +-----------------------------------------------+---------------+
//! ```

use super::field::{put, u24_at};
use super::{Error, illegal, require};
use kc_forwarder_api::Vni;

/// Octets of the header.
pub const HEADER_LEN: usize = 8;

const FLAG_VNI: u8 = 0x08;

/// The header's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Network identifier.
    pub vni: Vni,
}

impl Repr {
    /// Reads a header.
    ///
    /// RFC 7348 section 5: "the I flag MUST be set to 1 for a valid VXLAN Network ID (VNI). The
    /// other 7 bits (designated "R") are reserved fields and MUST be set to zero on transmission
    /// and ignored on receipt."
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        require("VXLAN", data, HEADER_LEN)?;
        if data[0] & FLAG_VNI == 0 {
            return Err(illegal("VXLAN", "flags", u32::from(data[0])));
        }
        let number = u24_at(data, 4);
        let vni = Vni::new(number).map_err(|_| illegal("VXLAN", "VNI", number))?;
        Ok(Self { vni })
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        put(buffer, 0, &[FLAG_VNI, 0, 0, 0]);
        put(buffer, 4, &(self.vni.get() << 8).to_be_bytes());
    }
}
