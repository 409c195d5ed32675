//! Names that never stall a call: cached, refreshed ahead, raced and served stale.
//!
//! ```
//! use buttress_dns::DnsLayer;
//! use hyper_util::client::legacy::connect::dns::Name;
//! use std::{convert::Infallible, iter, net::SocketAddr};
//! use tower::{Layer, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), buttress_dns::DnsError> {
//! // Any resolver of hyper-util, or `Upstreams`; here one that always has the same answer.
//! let resolver = service_fn(|_: Name| async {
//!     Ok::<_, Infallible>(iter::once(SocketAddr::from(([192, 0, 2, 1], 0))))
//! });
//! let dns = DnsLayer::new().layer(resolver);
//!
//! let mut found = dns.resolve("api.example").await?;
//! assert_eq!(found.next(), Some("192.0.2.1:0".parse().unwrap()));
//! // From now on the answer is there: nobody is asked, nothing is allocated.
//! assert_eq!(dns.resolve("API.example.").await?.len(), 1);
//! assert_eq!(dns.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! Under a client, with servers of one's own choice:
//!
//! ```no_run
//! # #[cfg(feature = "upstreams")] {
//! use buttress_dns::{Dialer, DnsLayer, Guard, Public, RetireLayer, Server, Upstreams};
//! use hyper_util::{client::legacy::{Client, connect::HttpConnector}, rt::TokioExecutor};
//! use tower::Layer;
//!
//! # fn run() -> Result<(), buttress_dns::SettingError> {
//! // Encrypted and raced; the company's own names by the system.
//! let servers = Upstreams::new([Public::Cloudflare.https(), Public::Quad9.https()])?
//!     .route("corp.example", Upstreams::new([Server::system()])?)?;
//! let dns = DnsLayer::new().guard(Guard::new().allow("10.0.0.0/8")?).layer(servers);
//!
//! // For hyper-util, tonic and reqwest it is a resolver;
//! let connector = HttpConnector::new_with_resolver(dns.clone());
//! // its own connector remembers which addresses did not answer;
//! let connector = Dialer::new(dns.clone());
//! let client = Client::builder(TokioExecutor::new()).build::<_, String>(connector);
//! // and connections to an address that the name no longer has are retired.
//! let client = RetireLayer::new(dns.clone()).layer(client);
//! // For a balancer it is a stream of places.
//! let endpoints = dns.endpoints("api.example", 443);
//! # drop((client, endpoints));
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # What it does
//!
//! - **A hit never waits.** The [cache](DnsLayer::capacity) is bounded, and names in use outlive those that
//!   are asked for once. What is in use is [asked for again](DnsLayer::refresh_ahead) before it ends.
//! - **Stale rather than failing.** When the resolver is down, addresses are served
//!   [after their end](DnsLayer::max_stale), for a bounded time. That a name does not exist does count, unless
//!   [addresses are preferred](DnsLayer::prefer_positive).
//! - **One flight for all.** Everybody who asks for a name waits for one question. It outlives those who
//!   asked, not the last handle; there is a [bound](DnsLayer::max_flights) on how many are under way.
//! - **Families apart.** A and AAAA have their own time, their own failures and their own
//!   [backoff](DnsLayer::failure_backoff). Neither delays the other by more than
//!   [50 ms](DnsLayer::resolution_delay).
//! - **Names as the machine knows them.** [Overrides](DnsLayer::override_host), [suffixes](DnsLayer::route)
//!   with resolvers of their own, the [hosts file](DnsLayer::hosts), a [search list](DnsLayer::search). The
//!   files are read again when they change.
//! - **Order.** As the system would sort them, families in turn, few enough for a connector, and those that
//!   [failed](Dns::failed) lately last.
//!
//! # Where it stands
//!
//! Under the connector, innermost of all. Like the connector's time limit it belongs to an attempt, so a
//! retry stands outside of both.
//!
//! The handle needs a tokio runtime where it is used, and none where it is made. It survives that runtime.
//!
//! # Errors
//!
//! [`DnsError`], found with [`cause`](buttress_core::cause) in what a client fails with. It keeps the response
//! code, and those kinds which the same request would meet again are marked so that a retry leaves them alone.
//!
//! # Features
//!
//! - `upstreams` (default): asks name servers itself, over UDP, TCP, TLS and HTTPS; without it there is
//!   [`System`];
//! - `reqwest`: [`Dns`] as the resolver of a reqwest client.

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
