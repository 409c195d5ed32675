//! The pooled client under the layers: connections, their timeouts, bodies from the wire.
//!
//! [`Transport`] is HTTP/1.1 and HTTP/2 over TCP and TLS, made of hyper and rustls. What it adds
//! to them is time limits where something can stall, and a race between the addresses of a name:
//!
//! | waits for | limit | ends with |
//! |---|---|---|
//! | a connection: name lookup, TCP, TLS | `connect_timeout`, 5 s | [`Phase::Connect`], nothing was sent |
//! | the head of the response | `first_byte_timeout`, none | [`Phase::FirstByte`] |
//! | the next piece of the body | `idle_read_timeout`, none | [`Phase::IdleRead`], in the body |
//!
//! All settings are methods of [`Setup`](crate::Setup).
//!
//! [`Phase::Connect`]: buttress_core::Phase::Connect
//! [`Phase::FirstByte`]: buttress_core::Phase::FirstByte
//! [`Phase::IdleRead`]: buttress_core::Phase::IdleRead

mod alarm;
mod attempt;
mod body;
mod connect;
mod dial;
mod future;
#[cfg_attr(not(feature = "dns"), path = "system.rs")]
mod names;
mod resolve;
mod retire;
mod service;
mod settings;
mod target;
#[cfg_attr(not(feature = "tls"), path = "plain.rs")]
mod tls;
mod upload;

/// The addresses of a connection's two ends, in the extensions of its responses.
pub use hyper_util::client::legacy::connect::HttpInfo;
/// The name that a [resolver](crate::Setup::resolver) looks up.
pub use hyper_util::client::legacy::connect::dns::Name;

pub use body::TransportBody;
pub use future::ResponseFuture;
pub use service::Transport;

#[cfg(feature = "dns")]
pub(crate) use resolve::Resolver;
pub(crate) use settings::{Settings, Speak};
