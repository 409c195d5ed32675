//! The guard around a connector.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use http::{Extensions, Uri};
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{DnsError, Guard, Name};

/// Puts a [`Guard`] around a connector, because a resolver is not asked for a host that is an
/// address: those are refused here, in every spelling.
///
/// The names are the business of the resolver below; with
/// [`DnsLayer::guard`](crate::DnsLayer::guard) no address that the guard denies is dialled. Should
/// one be dialled nevertheless, by a connector with another resolver, the connection is closed
/// before anything is sent on it, as far as the connector tells its peer
/// ([`HttpInfo`](hyper_util::client::legacy::connect::HttpInfo)).
#[must_use]
#[derive(Clone, Debug)]
pub struct GuardLayer {
    guard: Arc<Guard>,
}

impl GuardLayer {
    /// Refuses what `guard` denies.
    pub fn new(guard: Guard) -> Self {
        Self { guard: Arc::new(guard) }
    }
}

impl<C> Layer<C> for GuardLayer {
    type Service = GuardConnector<C>;

    fn layer(&self, inner: C) -> GuardConnector<C> {
        GuardConnector { inner, guard: Arc::clone(&self.guard) }
    }
}

/// A connector with a [`Guard`] around it. Made by [`GuardLayer`].
#[derive(Clone, Debug)]
pub struct GuardConnector<C> {
    inner: C,
    guard: Arc<Guard>,
}

impl<C> Service<Uri> for GuardConnector<C>
where
    C: Service<Uri>,
    C::Response: Connection,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Guarded<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let guard = Arc::clone(&self.guard);
        let state = match check(&guard, uri.host()) {
            Ok(()) => State::Connecting { connecting: self.inner.call(uri) },
            Err(error) => State::Refused { error: Some(error) },
        };
        Guarded { guard, state }
    }
}

/// Refuses a host that is an address which the guard denies, or that is no host at all.
pub(super) fn check(guard: &Guard, host: Option<&str>) -> Result<(), DnsError> {
    match Name::new(host.unwrap_or_default())?.address() {
        Some(address) => guard.check(address.ip()),
        None => Ok(()),
    }
}

pin_project! {
    /// A connection under way.
    #[derive(Debug)]
    pub struct Guarded<F> {
        guard: Arc<Guard>,
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Refused { error: Option<DnsError> },
        Connecting {
            #[pin]
            connecting: F,
        },
    }
}

impl<F, T, E> Future for Guarded<F>
where
    F: Future<Output = Result<T, E>>,
    T: Connection,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            // Refused => done
            StateProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => panic!("polled after it was ready"),
            },
            // Connecting => done
            StateProj::Connecting { connecting } => {
                let connection = ready!(connecting.poll(cx)).map_err(Into::into)?;
                if let Some(peer) = peer(&connection) {
                    this.guard.check(peer)?;
                }
                Poll::Ready(Ok(connection))
            }
        }
    }
}

/// The other end of a connection, if it tells.
fn peer(connection: &impl Connection) -> Option<IpAddr> {
    let mut extensions = Extensions::new();
    connection.connected().get_extras(&mut extensions);
    extensions.get::<HttpInfo>().map(|info| info.remote_addr().ip())
}
