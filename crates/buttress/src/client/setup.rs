//! The one builder: every setting of the client and of the transport under it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use buttress_core::BoxError;
use buttress_retry::{CommitLayer, Held, HttpPolicy, RetryLayer};
use bytes::Bytes;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{Bodies, Client, ClientPolicy};
use crate::{
    Body, SettingError,
    transport::{Name, Settings, Speak, Transport},
};

/// The settings of a [`Client`], or of a [`Transport`] alone.
///
/// `L` is the layer that goes outermost, which retries; `B` the one between it and the transport,
/// which balances; `()` is none.
#[must_use]
#[derive(Clone)]
pub struct Setup<L = (), B = ()> {
    pub(super) settings: Settings,
    pub(super) layer: L,
    pub(super) balance: B,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self { settings: Settings::default(), layer: (), balance: () }
    }
}

impl<L, B> Setup<L, B> {
    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// How long a connection may take in all: name lookup, TCP and TLS. Default: 5 s.
    ///
    /// Past it the call fails with [`TimedOut`](buttress_core::TimedOut). Nothing was sent then, so
    /// any request may go again.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        self.set(|settings| settings.connect_timeout = limit)
    }

    /// How long a request may wait for the head of its response: for a connection, and for the
    /// server's work. Default: no limit.
    ///
    /// The time counts from the call, and anew from each piece of a streamed request body that is
    /// taken to be sent, so that a slow upload is not cut off. With retries it counts for each
    /// attempt.
    pub fn first_byte_timeout(self, limit: Duration) -> Self {
        self.set(|settings| settings.first_byte_timeout = Some(limit))
    }

    /// How long a response body may stay silent between two pieces. Default: no limit.
    ///
    /// Past it the body ends with [`TimedOut`](buttress_core::TimedOut). A whole body may take as
    /// long as it likes, and so may the caller between two reads.
    pub fn idle_read_timeout(self, limit: Duration) -> Self {
        self.set(|settings| settings.idle_read_timeout = Some(limit))
    }

    /// How many idle connections are kept for each host. Default: 512; 0 opens a connection for
    /// each request.
    ///
    /// It bounds what is kept after a burst, not how many connections are open at once. A process
    /// may often have no more than 1024 open files.
    pub fn pool_max_idle_per_host(self, connections: usize) -> Self {
        self.set(|settings| settings.pool_max_idle_per_host = connections)
    }

    /// How long an idle connection is kept. Default: 90 s.
    ///
    /// Best a little less than the server's own limit: a connection that the server closes just as
    /// a request is written fails that request.
    pub fn pool_idle_timeout(self, limit: Duration) -> Self {
        self.set(|settings| settings.pool_idle_timeout = limit)
    }

    /// Whether small writes leave at once (`TCP_NODELAY`). Default: yes.
    ///
    /// Off, a request in two writes can wait 40 ms for an acknowledgement.
    pub fn tcp_nodelay(self, at_once: bool) -> Self {
        self.set(|settings| settings.tcp_nodelay = at_once)
    }

    /// How long a connection is silent before TCP asks whether the peer is there, and the time
    /// between such questions. Default: 30 s; `None` never asks.
    pub fn tcp_keepalive(self, idle: impl Into<Option<Duration>>) -> Self {
        let idle = idle.into();
        self.set(|settings| settings.tcp_keepalive = idle)
    }

    /// The head start that each address of a name has over the next (RFC 8305). Default: 250 ms;
    /// at least 10 ms.
    ///
    /// IPv6 and IPv4 take turns. The first address that answers wins and the others are dropped,
    /// so an address that is dead costs the head start and not the connect timeout.
    pub fn happy_eyeballs_delay(self, head_start: Duration) -> Self {
        self.set(|settings| settings.happy_eyeballs_delay = head_start)
    }

    /// The local address that connections come from. Default: the system chooses.
    ///
    /// Only targets of the same address family can be reached then.
    pub fn local_address(self, address: IpAddr) -> Self {
        self.set(|settings| settings.local_address = Some(address))
    }

    /// Looks names up. Default: the system's resolver (`getaddrinfo`), with the feature `dns` under
    /// a cache that is refreshed ahead and served stale: see `dns`.
    ///
    /// Asked once for each new connection, within the connect timeout; not for addresses written
    /// in the URI. At most 32 addresses are used. A port in the answer counts where the URI names
    /// none.
    ///
    /// ```
    /// use buttress::{Client, transport::Name};
    /// use std::{convert::Infallible, net::SocketAddr};
    ///
    /// let local = tower::service_fn(|_: Name| async {
    ///     Ok::<_, Infallible>([SocketAddr::from(([127, 0, 0, 1], 0))])
    /// });
    /// assert!(Client::builder().resolver(local).build().is_ok());
    /// ```
    pub fn resolver<R>(self, resolver: R) -> Self
    where
        R: Service<Name> + Clone + Send + Sync + 'static,
        R::Response: IntoIterator<Item = SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        self.set(|settings| settings.set_resolver(resolver))
    }

    /// Looks names up with this handle, tells it which addresses could be connected to, asks its
    /// guard about each address, and retires connections whose address has left the last three
    /// answers. Default: one over the system's resolver, for this client alone.
    ///
    /// ```
    /// use buttress::{Client, DnsLayer, dns::System};
    /// use tower::Layer;
    ///
    /// // One cache for several clients.
    /// let dns = DnsLayer::new().layer(System::new());
    /// let (one, other) = (Client::builder().dns(dns.clone()), Client::builder().dns(dns));
    /// # assert!(one.build().is_ok() && other.build().is_ok());
    /// ```
    #[cfg(feature = "dns")]
    pub fn dns<S, O>(self, dns: buttress_dns::Dns<S, O>) -> Self
    where
        S: Clone + Send + Sync + 'static,
        O: buttress_dns::Observer,
    {
        self.set(|settings| settings.resolver = crate::transport::Resolver::of_names(dns))
    }

    /// Speaks HTTP/1.1 only. Default: HTTP/2 where TLS agrees on it, HTTP/1.1 elsewhere. Of this
    /// and [`http2_prior_knowledge`](Self::http2_prior_knowledge) the last one counts.
    pub fn http1_only(self) -> Self {
        self.set(|settings| settings.speak = Speak::Http1)
    }

    /// Speaks HTTP/2 only, without asking: over `http` as well (RFC 9113 section 3.3). All requests
    /// to a host share one connection.
    pub fn http2_prior_knowledge(self) -> Self {
        self.set(|settings| settings.speak = Speak::Http2)
    }

    /// Whether HTTP/1 header names keep the case in which a hyper server read them, for a request
    /// that is passed on, and in which the response had them. Default: no, they are lower case.
    pub fn http1_preserve_header_case(self, preserve: bool) -> Self {
        self.set(|settings| settings.http1_preserve_header_case = preserve)
    }

    /// Sends an HTTP/2 ping when a connection with open requests was silent for `interval`, and
    /// closes it if no answer comes within `timeout`. Default: no pings.
    ///
    /// It finds a dead peer under a long wait for an answer, where TCP may take minutes. Some
    /// servers close connections that ping too often: 30 s is taken well.
    pub fn http2_keep_alive(self, interval: Duration, timeout: Duration) -> Self {
        self.set(|settings| settings.http2_keep_alive = Some((interval, timeout)))
    }

    /// Whether pings go on while no request is open. Default: no.
    pub fn http2_keep_alive_while_idle(self, ping: bool) -> Self {
        self.set(|settings| settings.http2_keep_alive_while_idle = ping)
    }

    /// Sends failed requests again as `layer` says, in the place of what was set before.
    ///
    /// The layer is one of those that come with [`RetryLayer`], changed as you like; streams are
    /// recorded so that they can go again ([`Bodies`]). Default: [`http`](Self::http).
    pub fn retry<P, O, C>(self, layer: RetryLayer<P, O, C>) -> Setup<RetryLayer<P::Policy, O, C>, B>
    where
        P: ClientPolicy,
    {
        self.layer(layer.map_policy(P::client_policy))
    }

    /// Retries as is safe for any HTTP service: [`RetryLayer::http`].
    pub fn http(self) -> Setup<RetryLayer<HttpPolicy<Bodies>>, B> {
        self.retry(RetryLayer::http())
    }

    /// Retries as is right for an LLM API: [`RetryLayer::llm`].
    pub fn llm(self) -> Setup<RetryLayer<HttpPolicy<Bodies, Held>, (), CommitLayer>, B> {
        self.retry(RetryLayer::llm())
    }

    /// Sends every request once.
    pub fn no_retry(self) -> Setup<(), B> {
        self.layer(())
    }

    /// Puts any layer around all that is inside of it, in the place of what was set to retry: a
    /// stack of several, or a policy of your own.
    pub fn layer<L2>(self, layer: L2) -> Setup<L2, B> {
        Setup { settings: self.settings, layer, balance: self.balance }
    }

    /// Chooses an endpoint for each attempt, as `layer` says: a `BalanceLayer`, or one of your own
    /// that stands between the retries and the transport.
    pub fn balance<B2>(self, layer: B2) -> Setup<L, B2> {
        Setup { settings: self.settings, layer: self.layer, balance: layer }
    }

    /// Makes the client. Opens no connection.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used; the error names it.
    pub fn build<ResBody>(self) -> Result<Client, SettingError>
    where
        B: Layer<Transport>,
        L: Layer<B::Service>,
        L::Service:
            Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<Body>>>::Future: Send,
        ResBody: http_body::Body<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        self.settings.check()?;
        Ok(Client::over(&self.layer, &self.balance, self.settings.make()))
    }
}

impl Setup {
    /// Makes the transport alone, for layers of your own. Opens no connection.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used; the error names it.
    pub fn transport(self) -> Result<Transport, SettingError> {
        self.settings.check()?;
        Ok(self.settings.make())
    }
}

impl<L: fmt::Debug, B: fmt::Debug> fmt::Debug for Setup<L, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("settings", &self.settings)
            .field("layer", &self.layer)
            .field("balance", &self.balance)
            .finish()
    }
}
