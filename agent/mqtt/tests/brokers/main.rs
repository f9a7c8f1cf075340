//! The link against brokers that are killed, cut off, that refuse, and that misbehave.
#![cfg(test)]

mod mosquitto;
mod probe;
mod process;
mod proxy;
mod rumqttd;
mod storm;
mod support;
mod unruly;
