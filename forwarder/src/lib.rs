//! `kc-forwarder`: classifier, SFF, SFC proxy and plain-VXLAN overlay in user space.

mod classifier;
pub mod frame;
mod limits;
mod overlay;
pub mod pipeline;
pub mod port;
mod proxy;
mod sff;
mod stats;
pub mod tables;
pub mod wire;
