//! The files by which a machine names others.

mod hosts;
mod resolv_conf;
mod watch;

pub(crate) use self::watch::{Files, INTERVAL, Paths, Snapshot};
pub use self::{hosts::Hosts, resolv_conf::ResolvConf};
