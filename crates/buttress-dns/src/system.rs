//! The system's own resolver, with a bound on the threads that it holds up.

use std::{
    fmt,
    future::{Ready, ready},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::SettingError;
use dns_lookup::{LookupError, LookupErrorKind};
use futures_util::FutureExt as _;
use hyper_util::client::legacy::connect::dns;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tower_service::Service;

use crate::{Answer, DnsError, DnsErrorKind, Learned, Name, Observer, Queried, Records, Side};

/// By this name the system's resolver goes before observers.
pub(crate) const LABEL: &str = "system";

/// Addresses of one name that are taken.
const MOST: usize = 64;

/// Told of every question to a server.
pub(crate) type Tell = Arc<dyn Fn(&Queried<'_>) + Send + Sync>;

/// Resolves names as every other program on the machine does: by `getaddrinfo`, and so with the
/// hosts file, the search list and whatever else is set up.
///
/// `getaddrinfo` holds up a thread for as long as it takes, which is many seconds when a name
/// server is gone, and it cannot be cancelled. Here at most so many [`threads`](Self::threads) are
/// held up at once; whoever comes next waits for one of them, and no longer than the
/// [`patience`](Self::patience), so that the runtime's other blocking work is not held up with them.
///
/// Both families are asked for together, so neither is there before the other. No TTL is known.
///
/// ```
/// use std::time::Duration;
///
/// let resolver = buttress_dns::System::new().threads(16)?.patience(Duration::from_secs(3))?;
/// # drop(resolver);
/// # Ok::<(), buttress_dns::SettingError>(())
/// ```
#[derive(Clone)]
pub struct System {
    look_up: Arc<LookUp>,
    threads: Arc<Semaphore>,
    patience: Duration,
    tell: Tell,
}

type LookUp = dyn Fn(&str) -> Result<Vec<IpAddr>, DnsError> + Send + Sync;

impl System {
    /// At most 64 threads, and 10 s of patience.
    #[must_use]
    pub fn new() -> Self {
        Self {
            look_up: Arc::new(getaddrinfo),
            threads: Arc::new(Semaphore::new(64)),
            patience: Duration::from_secs(10),
            tell: Arc::new(|_| {}),
        }
    }

    /// How many threads may be held up at once. Default: 64, an eighth of what the runtime has
    /// unless it is told otherwise.
    ///
    /// # Errors
    ///
    /// If there are none, or more than a runtime could have.
    pub fn threads(self, threads: usize) -> Result<Self, SettingError> {
        if threads == 0 || threads > Semaphore::MAX_PERMITS {
            let reason = format!("{threads}, not between 1 and {}", Semaphore::MAX_PERMITS);
            return Err(SettingError::new("system.threads", reason));
        }
        Ok(Self { threads: Arc::new(Semaphore::new(threads)), ..self })
    }

    /// How long an answer is waited for. Default: 10 s. The thread is held up for longer, if the
    /// system takes longer.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn patience(self, patience: Duration) -> Result<Self, SettingError> {
        if patience.is_zero() {
            let reason = "zero, so nothing could ever succeed";
            return Err(SettingError::new("system.patience", reason));
        }
        Ok(Self { patience, ..self })
    }

    /// Who is told of each lookup. Default: nobody.
    #[must_use]
    pub fn observer(self, observer: impl Observer) -> Self {
        self.tell(Arc::new(move |event: &Queried<'_>| observer.queried(event)))
    }

    pub(crate) fn tell(self, tell: Tell) -> Self {
        Self { tell, ..self }
    }

    /// All addresses of a name, in the system's order.
    pub(crate) async fn look_up(&self, name: &Name) -> Result<Vec<SocketAddr>, DnsError> {
        let start = Instant::now();
        let looked_up = match timeout(self.patience, self.wait_for(name.to_question())).await {
            Ok(looked_up) => looked_up,
            Err(_) => Err(DnsError::new(DnsErrorKind::Timeout)),
        };
        let mut event = Queried::new(LABEL, name.as_str(), "address");
        event.duration = start.elapsed();
        match &looked_up {
            Ok(_) => event.rcode = Some(0),
            Err(error) => (event.rcode, event.error) = (error.rcode(), Some(error)),
        }
        (self.tell)(&event);
        let addresses = looked_up.map_err(|error| error.of_name(name.as_str()))?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
    }

    async fn wait_for(&self, question: String) -> Result<Vec<IpAddr>, DnsError> {
        let gone = |_| DnsError::new(DnsErrorKind::Cancelled);
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(gone)?;
        let look_up = Arc::clone(&self.look_up);
        let looking = tokio::task::spawn_blocking(move || {
            // The thread has it until it is free again, whoever waits for the answer.
            let _permit = permit;
            look_up(&question)
        });
        looking.await.map_err(|error| DnsError::new(DnsErrorKind::Cancelled).from_source(error))?
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Service<dns::Name> for System {
    type Response = Answer;
    type Error = DnsError;
    type Future = Ready<Result<Answer, DnsError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        ready(Name::new(name.as_str()).map(|name| self.answer(name)))
    }
}

impl System {
    fn answer(&self, name: Name) -> Answer {
        if let Some(address) = name.address() {
            return Answer::of([address], None);
        }
        let system = self.clone();
        // One lookup for both sides, begun by the side that is polled first.
        let both = async move { system.look_up(&name).await }.boxed().shared();
        Answer::new(
            Side::coming(both.clone().map(|found| of_family(found, SocketAddr::is_ipv4))),
            Side::coming(both.map(|found| of_family(found, SocketAddr::is_ipv6))),
        )
    }
}

/// The addresses of one family; that there is none, if only the other has some.
pub(crate) fn of_family(
    found: Result<Vec<SocketAddr>, DnsError>,
    is_family: fn(&SocketAddr) -> bool,
) -> Learned {
    let mut addresses = found?;
    addresses.retain(is_family);
    Ok(Records::new(addresses, None))
}

fn getaddrinfo(question: &str) -> Result<Vec<IpAddr>, DnsError> {
    match dns_lookup::lookup_host(question) {
        Ok(found) => {
            let mut addresses = Vec::new();
            for address in found.take(MOST) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Err(error) => Err(failure(error)),
    }
}

fn failure(error: LookupError) -> DnsError {
    let kind = match error.kind() {
        LookupErrorKind::NoName => DnsErrorKind::NxDomain,
        LookupErrorKind::NoData => DnsErrorKind::NoData,
        LookupErrorKind::Fail => DnsErrorKind::ServFail,
        _ => DnsErrorKind::Io,
    };
    match kind {
        // The system would only say the same once more.
        DnsErrorKind::NxDomain | DnsErrorKind::NoData => DnsError::new(kind),
        _ => DnsError::new(kind).from_source(io::Error::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn system(
        look_up: impl Fn(&str) -> Result<Vec<IpAddr>, DnsError> + Send + Sync + 'static,
    ) -> System {
        System { look_up: Arc::new(look_up), ..System::new() }
    }

    fn name(written: &str) -> Name {
        Name::new(written).unwrap()
    }

    #[tokio::test]
    async fn hundreds_of_hung_lookups_leave_the_blocking_threads_to_others() {
        let (release, hung) = mpsc::channel::<()>();
        let hung = std::sync::Mutex::new(hung);
        let system = system(move |_| {
            let _ = hung.lock().map(|hung| hung.recv());
            Ok(Vec::new())
        });
        let lookups: Vec<_> = (0..600)
            .map(|_| {
                let system = system.clone();
                tokio::spawn(async move { system.look_up(&name("hung.test")).await })
            })
            .collect();
        // Until all that may are on a thread.
        while system.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let unrelated = tokio::task::spawn_blocking(|| 7);
        assert_eq!(timeout(Duration::from_secs(5), unrelated).await.unwrap().unwrap(), 7);
        for lookup in lookups {
            lookup.abort();
        }
        drop(release);
    }

    #[tokio::test]
    async fn a_lookup_that_waits_for_a_thread_does_not_wait_for_ever() {
        let (release, hung) = mpsc::channel::<()>();
        let hung = std::sync::Mutex::new(hung);
        let system = system(move |_| {
            let _ = hung.lock().map(|hung| hung.recv());
            Ok(Vec::new())
        });
        let system = system.threads(1).unwrap().patience(Duration::from_millis(20)).unwrap();
        for _ in 0..2 {
            let error = system.look_up(&name("hung.test")).await.unwrap_err();
            assert_eq!(error.kind(), DnsErrorKind::Timeout);
            assert_eq!(error.name(), Some("hung.test"));
        }
        drop(release);
    }

    #[tokio::test]
    async fn both_sides_come_of_one_lookup_that_begins_when_one_is_polled() {
        let (asked, log) = mpsc::channel();
        let mut system = system(move |question| {
            asked.send(question.to_owned()).unwrap();
            Ok(vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()])
        });
        let answer = system.call("Api.Test.".parse().unwrap()).await.unwrap();
        assert!(log.try_recv().is_err(), "asked before anybody waited");
        let (v4, v6) = answer.into_sides();
        let (v4, v6) = tokio::join!(v4, v6);
        assert_eq!(&v4.unwrap().addresses()[..], ["192.0.2.1:0".parse().unwrap()]);
        assert_eq!(&v6.unwrap().addresses()[..], ["[2001:db8::1]:0".parse().unwrap()]);
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["api.test."]);
    }

    #[tokio::test]
    async fn the_machine_knows_itself() {
        let (v4, v6) = System::new().call("localhost".parse().unwrap()).await.unwrap().into_sides();
        let found = [v4.await.unwrap(), v6.await.unwrap()];
        assert!(found.iter().any(|side| !side.is_empty()));
        assert!(
            found.iter().flat_map(|side| side.addresses().iter()).all(|at| at.ip().is_loopback())
        );
    }

    #[test]
    fn wrong_settings_are_named() {
        let refused = System::new().threads(0).unwrap_err();
        assert_eq!(refused.setting(), "system.threads");
        let refused = System::new().patience(Duration::ZERO).unwrap_err();
        assert_eq!(refused.setting(), "system.patience");
    }
}
