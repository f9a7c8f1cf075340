//! `kc-agent`.
fn main() {}
