//! The rules of RFC 9111 and its relatives: what may be stored, for how long, and for whom.
//!
//! Nothing here does I/O or asks for the time.

mod policy;
mod vary;

pub use self::{
    policy::{Flags, Policy},
    vary::Vary,
};
