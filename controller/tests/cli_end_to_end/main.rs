//! `kc` against a real `kc-controller`, a real broker and boxes that only pretend: nothing runs
//! on them, but they take documents and acknowledge them as agents do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, in its helpers too"
)]

mod agent;
mod apply;
mod codes;
mod compose;
mod copies;
mod doctor;
mod exec;
mod inside;
mod logs;
mod nodes;
mod output;
mod restart;
mod secrets;
mod site;
mod stacks;
mod terminal;
mod top;
mod updates;
mod web;
