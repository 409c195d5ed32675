//! A resolver that does as it is told, and counts.

#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, pending, ready},
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_dns::{Answer, Dns, DnsError, DnsErrorKind, DnsLayer, Family, Learned, Records, Side};
use hyper_util::client::legacy::connect::dns::Name as Host;
use tokio::time::sleep;
use tower_layer::Layer;
use tower_service::Service;

/// What the resolver says to one question.
pub(crate) enum Say {
    /// At once.
    Now(Learned),
    /// After a while.
    After(Duration, Learned),
    /// Nothing, ever.
    Never,
}

type Script = dyn Fn(&str, Family) -> Say + Send + Sync;

/// Answers by a script that can be changed, and counts the questions that were really asked.
#[derive(Clone)]
pub(crate) struct Fake {
    script: Arc<Mutex<Arc<Script>>>,
    asked: Arc<Mutex<HashMap<(String, Family), usize>>>,
}

impl Fake {
    pub(crate) fn new(script: impl Fn(&str, Family) -> Say + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(Mutex::new(Arc::new(script))), asked: Arc::default() }
    }

    /// From now on it answers by this one.
    pub(crate) fn say(&self, script: impl Fn(&str, Family) -> Say + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// How often it was asked for a family of a name.
    pub(crate) fn asked(&self, name: &str, family: Family) -> usize {
        self.asked.lock().unwrap().get(&(name.to_owned(), family)).copied().unwrap_or_default()
    }

    /// How often it was asked for anything.
    pub(crate) fn asked_in_all(&self) -> usize {
        self.asked.lock().unwrap().values().sum()
    }

    /// The names that it was asked for.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.asked.lock().unwrap().keys().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Service<Host> for Fake {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Host) -> Self::Future {
        let side = |family| {
            let (fake, name) = (self.clone(), host.as_str().to_owned());
            Side::coming(async move {
                let script = Arc::clone(&*fake.script.lock().unwrap());
                *fake.asked.lock().unwrap().entry((name.clone(), family)).or_default() += 1;
                match script(&name, family) {
                    Say::Now(learned) => learned,
                    Say::After(time, learned) => {
                        sleep(time).await;
                        learned
                    }
                    Say::Never => pending().await,
                }
            })
        };
        ready(Ok(Answer::new(side(Family::V4), side(Family::V6))))
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// These addresses, for so many seconds.
pub(crate) fn found(addresses: &[&str], ttl: u64) -> Learned {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address_of(address)).collect();
    Ok(Records::new(addresses, Some(Duration::from_secs(ttl))))
}

/// None of the family, for so many seconds.
pub(crate) fn none(ttl: u64) -> Learned {
    Ok(Records::none(Some(Duration::from_secs(ttl))))
}

pub(crate) fn failed(kind: DnsErrorKind) -> Learned {
    Err(DnsError::new(kind))
}

pub(crate) fn address_of(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
}

/// A layer that knows no files of this machine.
pub(crate) fn layer() -> DnsLayer {
    DnsLayer::new().hosts(None).resolv_conf(None)
}

pub(crate) fn dns(fake: &Fake) -> Dns<Fake> {
    layer().layer(fake.clone())
}

/// The addresses of a name, as text.
pub(crate) async fn look<S, O: buttress_dns::Observer>(
    dns: &Dns<S, O>,
    host: &str,
) -> Result<Vec<String>, DnsErrorKind> {
    match dns.resolve(host).await {
        Ok(found) => Ok(found.map(|address| address.ip().to_string()).collect()),
        Err(error) => Err(error.kind()),
    }
}
