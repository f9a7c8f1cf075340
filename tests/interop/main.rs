//! Judges that nobody here wrote: Open vSwitch, scapy, the kernel's vxlan device and tshark, each
//! as a peer of real forwarders, in namespaces of their own.
//!
//! What they need is in `tests/setup.sh`; where something is missing a test fails, except for the
//! right to make namespaces, without which it is skipped and says so.

#![expect(clippy::unwrap_used, reason = "a test program")]

mod congestion;
mod decode;
mod kernel_vxlan;
mod oam;
mod open_vswitch;
mod ovs_ethernet;
mod ovs_gpe;
mod scapy;
mod site;
mod underlay;
mod wire;
