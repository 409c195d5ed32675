//! `ReplayBody`: every attempt gets the bytes of the source, once each, whatever the one before did.

mod attempts;
mod failures;
mod framing;
mod memory;
mod properties;
mod support;
mod taking_over;
mod types;
mod unrecorded;
