//! The stream of a name's addresses.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::BoxError;
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::{
    glance::{Glance, glance},
    roster::{Place, Roster},
};
use crate::{Dns, DnsError, Observer};

/// The places of a name or a service, anew whenever they change. Made by
/// [`Dns::endpoints`] and [`Dns::service_endpoints`].
///
/// A failed or an empty answer takes nothing away, and an address goes only after it was missing
/// from several answers. The stream does not end; dropping it ends the refreshes that it asks for.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Endpoints {
    linger: u32,
    debounce: Duration,
    state: State,
}

enum State {
    /// Nobody has polled it.
    New(Box<dyn FnOnce(Roster, Duration) -> Follow + Send>),
    Following(Pin<Box<dyn Future<Output = (Follow, Told)> + Send>>),
    Over,
}

type Told = Result<Vec<Place>, DnsError>;

impl Endpoints {
    pub(super) fn new(source: impl Look + 'static) -> Self {
        let follow = |roster, debounce| Follow {
            source: Box::new(source),
            roster,
            debounce,
            next: Instant::now(),
            failing: false,
        };
        let state = State::New(Box::new(follow));
        Self { linger: 3, debounce: Duration::from_secs(1), state }
    }

    /// From how many answers in a row an address may be missing before it goes. Default: 3, and
    /// more once addresses have been seen to come back.
    pub const fn linger(mut self, answers: u32) -> Self {
        self.linger = answers;
        self
    }

    /// How far apart changes are told. Default: 1 second.
    pub const fn debounce(mut self, time: Duration) -> Self {
        self.debounce = time;
        self
    }

    /// The same stream of something else, made from each place: the endpoints of a balancer, say.
    pub fn each<T, E: Into<BoxError>>(
        self,
        mut make: impl FnMut(&Place) -> Result<T, E> + Send,
    ) -> impl Stream<Item = Result<Vec<T>, BoxError>> + Send {
        self.map(move |told| {
            let places = told?;
            places.iter().map(|place| make(place).map_err(Into::into)).collect()
        })
    }
}

impl Stream for Endpoints {
    type Item = Result<Vec<Place>, DnsError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.state, State::Over) {
                // New => Following
                State::New(follow) => {
                    let follow = follow(Roster::new(this.linger), this.debounce);
                    this.state = State::Following(Box::pin(follow.next()));
                }
                // Following => Following
                State::Following(mut following) => {
                    let polled = following.as_mut().poll(cx);
                    if polled.is_pending() {
                        this.state = State::Following(following);
                    }
                    let (follow, told) = ready!(polled);
                    this.state = State::Following(Box::pin(follow.next()));
                    return Poll::Ready(Some(told));
                }
                // Over: only if a poll has panicked.
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("linger", &self.linger)
            .field("debounce", &self.debounce)
            .finish_non_exhaustive()
    }
}

/// Where the places come from.
pub(super) trait Look: Send {
    /// Brings the roster up to date. Returns what went wrong, and when to look again.
    fn look<'a>(&'a mut self, roster: &'a mut Roster) -> Looking<'a>;
}

pub(super) type Looking<'a> = Pin<Box<dyn Future<Output = Seen> + Send + 'a>>;

/// What a look came to.
pub(super) struct Seen {
    /// What is wrong.
    pub(super) error: Option<DnsError>,
    /// Whether all is well; while a question is under way, neither may be known.
    pub(super) well: bool,
    pub(super) until: Wake,
}

/// Ends when it is time to look again.
pub(super) type Wake = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Follow {
    source: Box<dyn Look>,
    roster: Roster,
    debounce: Duration,
    /// When the next change may be told.
    next: Instant,
    failing: bool,
}

impl Follow {
    /// Goes on until there is something to tell.
    async fn next(mut self) -> (Self, Told) {
        loop {
            let seen = self.source.look(&mut self.roster).await;
            self.failing &= !seen.well;
            if let Some(error) = seen.error.filter(|_| !self.failing) {
                self.failing = true;
                return (self, Err(error));
            }
            if !self.roster.has_changed() {
                seen.until.await;
                continue;
            }
            if Instant::now() >= self.next {
                self.next = Instant::now() + self.debounce;
                let places = self.roster.take();
                return (self, Ok(places));
            }
            tokio::select! {
                () = seen.until => {}
                () = sleep_until(self.next) => {}
            }
        }
    }
}

/// The addresses of a host, at one port.
struct Host<S, O: Observer> {
    dns: Dns<S, O>,
    host: String,
    port: u16,
    versions: [u64; 2],
}

impl<S: Send + Sync, O: Observer> Look for Host<S, O> {
    fn look<'a>(&'a mut self, roster: &'a mut Roster) -> Looking<'a> {
        let seen = self.see(roster);
        Box::pin(std::future::ready(seen))
    }
}

impl<S, O: Observer> Host<S, O> {
    fn see(&mut self, roster: &mut Roster) -> Seen {
        let Glance { families, error, again } = glance(self.dns.core(), &self.host);
        let well = error.is_none() && families.iter().any(Option::is_some);
        for (part, family) in families.into_iter().enumerate() {
            let Some((version, addresses)) = family else { continue };
            if version != self.versions[part] {
                self.versions[part] = version;
                roster.answer(part, addresses.into_iter().map(|at| at_port(at, self.port)));
            }
        }
        Seen { error, well, until: Box::pin(again.wake()) }
    }
}

impl<S, O> Dns<S, O>
where
    S: Clone + Send + Sync + 'static,
    O: Observer,
{
    /// The places of a host at a port, anew whenever they change. An answer that chooses the port
    /// keeps it.
    ///
    /// Fits a balancer's set:
    ///
    /// ```no_run
    /// # use buttress_dns::DnsLayer;
    /// # use hyper_util::client::legacy::connect::dns::GaiResolver;
    /// # use tower_layer::Layer;
    /// let dns = DnsLayer::new().layer(GaiResolver::new());
    /// let endpoints = dns.endpoints("api.example", 443);
    /// // set.watch(endpoints.each(|place| Endpoint::new(format!("https://{}", place.address()))))
    /// # drop(endpoints);
    /// ```
    pub fn endpoints(&self, host: impl Into<String>, port: u16) -> Endpoints {
        let (dns, host) = (self.clone(), host.into());
        Endpoints::new(Host { dns, host, port, versions: [0; 2] })
    }
}

fn at_port(mut address: SocketAddr, port: u16) -> Place {
    if address.port() == 0 {
        address.set_port(port);
    }
    Place::new(address, 0, 0)
}
