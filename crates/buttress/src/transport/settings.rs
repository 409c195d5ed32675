//! What a transport is made of, before it is made.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use buttress_core::BoxError;
use hyper_util::{
    client::legacy::{self, connect::dns::Name},
    rt::{TokioExecutor, TokioTimer},
};
use tower_service::Service;

use super::{
    Transport,
    connect::Connector,
    dial::{Dial, Tcp},
    resolve::Resolver,
    tls::Tls,
};
use crate::SettingError;

/// The settings below every layer. Their documentation is at the methods of
/// [`Setup`](crate::Setup).
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Duration,
    pub(crate) first_byte_timeout: Option<Duration>,
    pub(crate) idle_read_timeout: Option<Duration>,
    pub(crate) pool_max_idle_per_host: usize,
    pub(crate) pool_idle_timeout: Duration,
    pub(crate) tcp_nodelay: bool,
    pub(crate) tcp_keepalive: Option<Duration>,
    pub(crate) happy_eyeballs_delay: Duration,
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) speak: Speak,
    pub(crate) http1_preserve_header_case: bool,
    pub(crate) http2_keep_alive: Option<(Duration, Duration)>,
    pub(crate) http2_keep_alive_while_idle: bool,
    pub(crate) resolver: Resolver,
    pub(crate) tls: Tls,
}

/// Which version of HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speak {
    /// HTTP/1.1, and HTTP/2 where TLS agrees on it.
    Either,
    Http1,
    Http2,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: None,
            idle_read_timeout: None,
            pool_max_idle_per_host: 512,
            pool_idle_timeout: Duration::from_secs(90),
            tcp_nodelay: true,
            tcp_keepalive: Some(Duration::from_secs(30)),
            happy_eyeballs_delay: Duration::from_millis(250),
            local_address: None,
            speak: Speak::Either,
            http1_preserve_header_case: false,
            http2_keep_alive: None,
            http2_keep_alive_while_idle: false,
            resolver: Resolver::default(),
            tls: Tls::default(),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), SettingError> {
        let (interval, timeout) = self.http2_keep_alive.unzip();
        let limits = [
            ("connect_timeout", Some(self.connect_timeout)),
            ("first_byte_timeout", self.first_byte_timeout),
            ("idle_read_timeout", self.idle_read_timeout),
            ("pool_idle_timeout", Some(self.pool_idle_timeout)),
            ("tcp_keepalive", self.tcp_keepalive),
            ("http2_keep_alive", interval),
            ("http2_keep_alive", timeout),
        ];
        for (setting, limit) in limits {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(SettingError::new(setting, "zero, so nothing could ever succeed"));
            }
        }
        // RFC 8305 section 5 sets this bound; below it every address would be tried at once.
        if self.happy_eyeballs_delay < Duration::from_millis(10) {
            let reason = format!("{:?}, less than 10ms", self.happy_eyeballs_delay);
            return Err(SettingError::new("happy_eyeballs_delay", reason));
        }
        Ok(())
    }

    pub(crate) fn set_resolver<R>(&mut self, resolver: R)
    where
        R: Service<Name> + Clone + Send + Sync + 'static,
        R::Response: IntoIterator<Item = SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        self.resolver = Resolver::new(resolver);
    }

    /// What opens TCP connections.
    pub(super) fn dial(&self) -> Dial {
        let tcp = Tcp {
            nodelay: self.tcp_nodelay,
            keepalive: self.tcp_keepalive,
            local_address: self.local_address,
            head_start: self.happy_eyeballs_delay,
        };
        Dial::new(self.resolver.clone(), tcp)
    }

    /// Makes the transport. Opens nothing.
    pub(crate) fn make(self) -> Transport {
        let dial = self.dial();
        let resolver = self.resolver.clone();
        let mut hyper = legacy::Client::builder(TokioExecutor::new());
        hyper
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(self.pool_idle_timeout)
            .pool_max_idle_per_host(self.pool_max_idle_per_host)
            .http1_preserve_header_case(self.http1_preserve_header_case)
            .http2_only(self.speak == Speak::Http2);
        if let Some((interval, timeout)) = self.http2_keep_alive {
            hyper
                .http2_keep_alive_interval(interval)
                .http2_keep_alive_timeout(timeout)
                .http2_keep_alive_while_idle(self.http2_keep_alive_while_idle);
        }
        let connector = Connector::new(self.tls.connector(dial, self.speak), self.connect_timeout);
        let (first_byte, idle_read) = (self.first_byte_timeout, self.idle_read_timeout);
        Transport::new(hyper.build(connector), resolver, first_byte, idle_read)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("connect_timeout", &self.connect_timeout)
            .field("first_byte_timeout", &self.first_byte_timeout)
            .field("idle_read_timeout", &self.idle_read_timeout)
            .field("pool_max_idle_per_host", &self.pool_max_idle_per_host)
            .field("pool_idle_timeout", &self.pool_idle_timeout)
            .field("speak", &self.speak)
            .finish_non_exhaustive()
    }
}
