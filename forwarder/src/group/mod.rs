//! Groups of next hops: which member a flow goes to, and where its answers went through before.
//! Pure; who is alive is told from outside.

mod log2;
mod returns;
mod spread;

pub(crate) use returns::Returns;
pub(crate) use spread::{Share, Spread};
