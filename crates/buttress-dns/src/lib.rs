//! Names that never stall a call: cached, refreshed ahead, raced and served stale.

mod addrs;
mod answer;
mod ask;
mod cache;
mod clock;
mod connect;
mod core;
mod endpoints;
mod error;
mod files;
mod future;
mod guard;
mod hint;
mod layer;
mod memory;
mod name;
mod observe;
mod order;
#[cfg(feature = "reqwest")]
mod reqwest;
mod search;
mod service;
mod service_record;
mod system;
mod tasks;
#[cfg(feature = "upstreams")]
mod upstream;
mod wait;

pub use buttress_core::SettingError;

pub use self::{
    addrs::Addrs,
    answer::{Answer, Family, IntoAnswer, Learned, Records, Side},
    connect::{
        Dialer, Dialing, GuardConnector, GuardLayer, Guarded, Retire, RetireLayer, Retiring,
    },
    endpoints::{Endpoints, Place},
    error::{DnsError, DnsErrorKind},
    files::{Hosts, ResolvConf},
    future::Lookup,
    guard::Guard,
    hint::{Ahead, ahead, is_ahead},
    layer::DnsLayer,
    name::Name,
    observe::{Fetched, LookedUp, Observer, Queried, Source},
    order::Order,
    service::Dns,
    service_record::{ServiceName, ServiceRecord, ServiceRecords},
    system::System,
};

#[cfg(feature = "upstreams")]
pub use self::upstream::{Privacy, Public, Server, Upstreams};
