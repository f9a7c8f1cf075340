//! Clamps the TCP maximum segment size to what a path carries, so that packets that are too long
//! are hardly ever sent. RFC 9293 section 3.7.1, RFC 6691.

use crate::pipeline::Ip;
use crate::wire::tcp;

/// Lowers the MSS option of a SYN or SYN-ACK so that a full segment fits an IP packet of `mtu`
/// octets; says whether it had to. The checksum, complete before, is complete after.
pub(crate) fn clamp(frame: &mut [u8], ip: &Ip, mtu: u16) -> bool {
    if ip.protocol != 6 || ip.fragment {
        return false;
    }
    // RFC 6691 section 2: "the value to be sent in an MSS option should be equal to the effective
    // MTU minus the fixed IP and TCP headers", whatever options either has.
    let limit = mtu.saturating_sub(if ip.v6 { 60 } else { 40 });
    let segment = frame.get_mut(ip.l4..ip.end).unwrap_or_default();
    tcp::Packet::new_checked(segment).is_ok_and(|mut tcp| tcp.clamp_mss(limit))
}
