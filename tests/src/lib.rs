//! What end-to-end tests share: the programs under test, a playground that is taken away
//! whatever happens, traffic, captures judged by tshark, and a look at what is left afterwards; and
//! the lab, namespaces with forwarders of their own, for tests that need no playground.
//!
//! What the benchmark against peers computes is in `bench`.
//!
//! Nothing here knows how the programs work inside; they are run the way a person runs them.

pub mod bench;
pub mod capture;
pub mod cost;
pub mod daemon;
pub mod kc;
pub mod lab;
pub mod namespace;
pub mod playground;
pub mod process;
pub mod programs;
pub mod remains;
pub mod story;
pub mod traffic;
pub mod wait;
pub mod watch;
