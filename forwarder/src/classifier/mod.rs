//! First match over the classifier rules (RFC 7665 section 4.4), and a cache of what recent
//! flows were found to be. Decides which rule; what a rule does is not known here.
//!
//! Rules that look at the same bits form a group with one hash table, so a lookup costs a probe
//! a group, whatever the number of rules; groups are asked in the order of their first rule, and
//! the search ends where no later group can hold an earlier rule.

mod cache;
mod fields;
mod prefilter;
mod ranges;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use cache::{Choice, FlowCache, FlowId, Sought};
pub(crate) use fields::Subject;
pub(crate) use search::{Classifier, Condition};
