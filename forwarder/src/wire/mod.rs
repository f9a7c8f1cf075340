//! Header formats, a file each. No I/O, no allocation, no policy.
//!
//! Each file has two ways to look at its header:
//!
//! - `Packet<T>`, a view of octets. `new_checked` proves that every accessor stays inside the
//!   buffer; after it none of them panics. Setters exist where `T: AsMut<[u8]>`.
//! - `Repr`, the plain meaning. `parse` reads it from a checked view and refuses what it cannot
//!   say; `emit` writes it into `buffer_len` octets. `parse(emit(repr)) == repr`.
//!
//! Reserved bits are ignored on receipt and zero when sent, where the RFC says so.

pub mod arp;
pub mod checksum;
pub mod context;
pub mod ethernet;
pub mod flow;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod nsh;
pub mod quoted;
pub mod sfc_echo;
pub mod sfc_oam;
pub mod sfc_tlv;
pub mod summary;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;
pub mod vxlan_gpe;

mod field;

/// Why octets are not the header they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The buffer ends too early.
    #[error("{header}: {have} octets where {need} are needed")]
    Truncated {
        /// The header.
        header: &'static str,
        /// Octets needed.
        need: usize,
        /// Octets there.
        have: usize,
    },
    /// A field holds what it must not.
    #[error("{header}: {field} {value:#x} is not legal")]
    Illegal {
        /// The header.
        header: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
}

/// `Ok` when `data` has at least `need` octets.
const fn require(header: &'static str, data: &[u8], need: usize) -> Result<(), Error> {
    if data.len() < need {
        Err(Error::Truncated {
            header,
            need,
            have: data.len(),
        })
    } else {
        Ok(())
    }
}

const fn illegal(header: &'static str, field: &'static str, value: u32) -> Error {
    Error::Illegal {
        header,
        field,
        value,
    }
}
