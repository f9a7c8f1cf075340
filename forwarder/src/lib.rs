//! `kc-forwarder`: classifier, SFF, SFC proxy and plain-VXLAN overlay in user space.

pub mod frame;
pub mod port;
pub mod wire;
