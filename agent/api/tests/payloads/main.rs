//! Every payload between agent and controller: what is written is read back, what is wrong is
//! refused, and nothing whatever makes a reader panic.
#![cfg(test)]

mod container;
mod golden;
mod hostile;
mod round_trip;
mod sealing;
mod strategies;
mod updates;
