//! Asks name servers.

mod dial;
mod health;
mod link;
mod member;
mod order;
mod presets;
mod question;
mod race;
mod reading;
mod server;
mod service;
mod trust;
mod udp;
mod upstreams;

pub use self::{
    presets::Public,
    server::Server,
    upstreams::{Privacy, Upstreams},
};
