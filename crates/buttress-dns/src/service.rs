//! The handle, which is a resolver itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::client::legacy::connect::dns::Name as Host;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    Addrs, DnsError, Guard, LookedUp, Lookup, Observer, Source,
    cache::{Decision, Entry},
    core::{Core, Found},
    wait::wait,
};

/// Resolves names from its cache, and keeps that filled from the resolver `S` under it.
///
/// A cheap handle: its clones share everything. It is a resolver for hyper-util's `HttpConnector`
/// and whatever stands on that. Its tasks end with the last clone.
#[derive(Debug)]
pub struct Dns<S, O: Observer = ()> {
    inner: S,
    handle: Arc<Alive<O>>,
}

/// Ends the tasks when the last handle goes. The tasks themselves hold only the core.
#[derive(Debug)]
struct Alive<O: Observer>(Arc<Core<O>>);

impl<O: Observer> Drop for Alive<O> {
    fn drop(&mut self) {
        self.0.tasks.close();
    }
}

impl<S: Clone, O: Observer> Clone for Dns<S, O> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), handle: Arc::clone(&self.handle) }
    }
}

impl<S, O: Observer> Dns<S, O> {
    pub(crate) fn new(inner: S, core: Core<O>) -> Self {
        Self { inner, handle: Arc::new(Alive(Arc::new(core))) }
    }

    /// Looks a host up: a name or an address, with or without brackets.
    pub fn resolve(&self, host: &str) -> Lookup {
        let core = self.core();
        core.watch_files();
        let entry = match core.find(host) {
            Ok(Found::Entry(entry)) => entry,
            Ok(Found::Known(addresses, source)) => return self.ready(host, addresses, source),
            Err(error) => return self.refused(host, error),
        };
        let (decision, errand) = entry.look(core.now(), core.lost(), core.arrange);
        core.run(&entry, errand);
        match decision {
            Decision::Serve(addresses, source) => self.ready(host, addresses, source),
            Decision::Fail(error) => self.refused(host, error.of_name(entry.name().as_str())),
            Decision::Wait { .. } => self.wait(host, entry),
        }
    }

    /// Tells that no connection could be made to an address: for a while it comes last in answers.
    pub fn failed(&self, address: IpAddr) {
        self.core().memory.failed(address, self.core().now());
    }

    /// Tells that a connection was made to an address: what was told of its failures is forgotten.
    pub fn worked(&self, address: IpAddr) {
        self.core().memory.worked(address);
    }

    /// Whether an address is missing from the last so many answers for a host, as far as these hold.
    /// It counts as a lookup. 8 answers are looked back at the most.
    ///
    /// [`RetireLayer`](crate::RetireLayer) asks this of each connection that is in use.
    #[must_use]
    pub fn has_left(&self, host: &str, address: IpAddr, answers: usize) -> bool {
        let core = self.core();
        core.watch_files();
        match core.find(host) {
            Ok(Found::Entry(entry)) => {
                let now = core.now();
                let (_, errand) = entry.look(now, core.lost(), core.arrange);
                core.run(&entry, errand);
                entry.has_left(address, answers, now)
            }
            Ok(Found::Known(addresses, _)) => {
                !addresses.iter().any(|known| known.ip().to_canonical() == address.to_canonical())
            }
            Err(_) => false,
        }
    }

    /// Looks everything up anew. Until that is done, what was known serves as the last resort.
    pub fn expire(&self) {
        let now = self.core().now();
        self.core().table.each(|entry| entry.age(now));
    }

    /// How many names are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.core().table.len()
    }

    /// Whether no name is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many questions and refreshes are under way or wait for their time.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.core().tasks.len()
    }

    /// What keeps away from addresses, if anything does.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.core().guard.as_ref()
    }

    /// The resolver under the cache.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    pub(crate) fn core(&self) -> &Arc<Core<O>> {
        &self.handle.0
    }

    fn ready(&self, host: &str, addresses: Arc<[SocketAddr]>, source: Source) -> Lookup {
        Lookup::ready(Ok(self.handle.tell(host, addresses, source, Duration::ZERO)))
    }

    #[cold]
    fn refused(&self, host: &str, error: DnsError) -> Lookup {
        self.handle.tell_error(host, &error, Source::Hit, Duration::ZERO);
        Lookup::ready(Err(error))
    }

    #[cold]
    fn wait(&self, host: &str, entry: Arc<Entry>) -> Lookup {
        let (handle, host) = (Arc::clone(&self.handle), Box::<str>::from(host));
        Lookup::waiting(async move {
            let begun = Instant::now();
            match wait(&handle.0, &entry).await {
                Ok((found, source)) => Ok(handle.tell(&host, found, source, begun.elapsed())),
                Err(error) => {
                    handle.tell_error(&host, &error, Source::Miss, begun.elapsed());
                    Err(error)
                }
            }
        })
    }
}

impl<O: Observer> Alive<O> {
    /// Puts the addresses in the caller's order, and tells the observer.
    fn tell(&self, name: &str, found: Arc<[SocketAddr]>, source: Source, time: Duration) -> Addrs {
        let core = &self.0;
        let addresses =
            if core.memory.is_empty() { found } else { core.memory.order(found, core.now()) };
        core.observer.looked_up(&LookedUp {
            name,
            source,
            duration: time,
            addresses: &addresses,
            error: None,
        });
        Addrs::new(addresses)
    }

    fn tell_error(&self, name: &str, error: &DnsError, source: Source, duration: Duration) {
        let error = Some(error);
        self.0.observer.looked_up(&LookedUp { name, source, duration, addresses: &[], error });
    }
}

impl<S, O: Observer> Service<Host> for Dns<S, O> {
    type Response = Addrs;
    type Error = DnsError;
    type Future = Lookup;

    /// Always ready: a hit must not wait for a resolver that is busy.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Host) -> Lookup {
        self.resolve(host.as_str())
    }
}
