//! What the seat of a resolver cannot see: hosts that are addresses, connections that were made or
//! not, and those that are kept.

mod dial;
mod guard;
mod race;
mod retire;

pub use self::{
    dial::{Dialer, Dialing},
    guard::{GuardConnector, GuardLayer, Guarded},
    retire::{Retire, RetireLayer, Retiring},
};
