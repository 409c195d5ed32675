//! A name server in this process, the certificates it shows, and sockets that lie.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each family of tests uses another part of this"
)]
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

pub mod certificates;
pub mod gate;
pub mod hostile;
pub mod lookups;
pub mod names;
pub mod reply;

pub use self::{
    certificates::Authority,
    gate::Gate,
    hostile::Hostile,
    names::{Asked, NameServer},
    reply::Reply,
};
