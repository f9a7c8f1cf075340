//! SFC proxy (RFC 7665 section 4.6): what it takes to put back the NSH that was removed for a
//! function that knows none. Remembers by flow; what to do with the answer is the pipeline's.

mod held;
mod memory;

pub(crate) use held::Held;
pub(crate) use memory::{Memory, Recall, Side};
