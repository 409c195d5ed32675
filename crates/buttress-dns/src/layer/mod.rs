//! The layer, which is its own builder.

mod times;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use buttress_core::{BoxError, SettingError};
use hyper_util::client::legacy::connect::dns::Name as Host;
use tokio::sync::Semaphore;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Dns, Guard, IntoAnswer, Name, Observer, Order,
    ask::Resolver,
    cache::{Rules, Table},
    clock::Clock,
    core::Core,
    files::{Files, Paths},
    memory::Memory,
    order::Arrange,
};

/// Puts a cache over a resolver, such that no lookup of a known name ever waits.
///
/// The layer is its own builder. What it makes, [`Dns`], is the handle to be cloned: each call of
/// `layer` makes another cache.
#[must_use]
#[derive(Clone, Debug)]
pub struct DnsLayer<O = ()> {
    rules: Rules,
    arrange: Arrange,
    budget: Duration,
    patience: Duration,
    lookup_timeout: Duration,
    resolution_delay: Duration,
    capacity: usize,
    max_flights: usize,
    search: bool,
    guard: Option<Guard>,
    overrides: HashMap<Arc<str>, Arc<[SocketAddr]>>,
    routes: Vec<(Name, Resolver)>,
    paths: Paths,
    observer: O,
}

impl Default for DnsLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl DnsLayer {
    /// A layer with the defaults of every setting below.
    pub fn new() -> Self {
        let paths = Paths {
            hosts: Some(PathBuf::from("/etc/hosts")),
            resolv_conf: Some(PathBuf::from("/etc/resolv.conf")),
        };
        Self {
            rules: Rules::default(),
            arrange: Arrange { order: Order::default(), most: 4, rotate: false },
            budget: Duration::from_secs(5),
            patience: Duration::from_millis(300),
            lookup_timeout: Duration::from_secs(5),
            resolution_delay: Duration::from_millis(50),
            capacity: 10_000,
            max_flights: 128,
            search: false,
            guard: None,
            overrides: HashMap::new(),
            routes: Vec::new(),
            paths,
            observer: (),
        }
    }
}

impl<O> DnsLayer<O> {
    /// How many names are kept. Default: 10 000.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn capacity(mut self, names: usize) -> Result<Self, SettingError> {
        self.capacity = at_least_one("dns.capacity", names)?;
        Ok(self)
    }

    /// How many lookups are under way at the most. Callers beyond that wait for a place, within
    /// their budget. Default: 128.
    ///
    /// A resolver that blocks a thread for each lookup, as hyper-util's `GaiResolver`, blocks no
    /// more than so many at a time.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn max_flights(mut self, lookups: usize) -> Result<Self, SettingError> {
        let lookups = lookups.min(Semaphore::MAX_PERMITS);
        self.max_flights = at_least_one("dns.max_flights", lookups)?;
        Ok(self)
    }

    /// In which order addresses come. Default: [`Order::Interleave`].
    pub const fn order(mut self, order: Order) -> Self {
        self.arrange.order = order;
        self
    }

    /// Begins with another address for each lookup, among those that are equally good. Default: no.
    pub const fn rotate(mut self) -> Self {
        self.arrange.rotate = true;
        self
    }

    /// How many addresses of each family an answer has at the most. Default: 4, because connectors
    /// divide their time among all of them.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn max_addresses(mut self, addresses: usize) -> Result<Self, SettingError> {
        self.arrange.most = at_least_one("dns.max_addresses", addresses)?;
        Ok(self)
    }

    /// Gives a host these addresses; nobody is asked for it. A port other than 0 holds where the
    /// URI has none.
    ///
    /// # Errors
    ///
    /// If the host is no name, or without addresses.
    pub fn override_host(
        mut self,
        host: &str,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, SettingError> {
        let name = name("dns.override_host", host)?;
        let addresses: Arc<[SocketAddr]> = addresses.into_iter().collect();
        if addresses.is_empty() {
            let reason = format!("without an address for `{host}`");
            return Err(SettingError::new("dns.override_host", reason));
        }
        self.overrides.insert(name.as_str().into(), addresses);
        Ok(self)
    }

    /// Sends the names within a suffix to another resolver: private zones to the system's, say. The
    /// longest suffix counts.
    ///
    /// # Errors
    ///
    /// If the suffix is no name.
    pub fn route<R>(mut self, suffix: &str, resolver: R) -> Result<Self, SettingError>
    where
        R: Service<Host> + Clone + Send + Sync + 'static,
        R::Response: IntoAnswer,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        let suffix = name("dns.route", suffix.trim_start_matches('.'))?;
        self.routes.push((suffix, Resolver::new(resolver)));
        self.routes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.labels()));
        Ok(self)
    }

    /// Which file to read as the hosts file, if any; a change is seen within 5 seconds. Default:
    /// `/etc/hosts`. A name that is in it has the addresses that stand there and no others.
    pub fn hosts(mut self, path: impl Into<Option<PathBuf>>) -> Self {
        self.paths.hosts = path.into();
        self
    }

    /// Which file to watch as `resolv.conf`, if any. Default: `/etc/resolv.conf`. When it changes,
    /// the network is another one, and everything is looked up anew.
    pub fn resolv_conf(mut self, path: impl Into<Option<PathBuf>>) -> Self {
        self.paths.resolv_conf = path.into();
        self
    }

    /// Applies the search list and `ndots` of the `resolv.conf`: all candidates are asked for at
    /// once, and the first by right that exists wins. Default: no, since the system's resolver does
    /// that itself and others mean names as they are.
    pub const fn search(mut self) -> Self {
        self.search = true;
        self
    }

    /// Takes addresses out of answers that are not of the public internet; a host left without any
    /// is [denied](crate::DnsErrorKind::Denied). Default: none are.
    ///
    /// A connector does not ask for a host that is an address. [`GuardLayer`](crate::GuardLayer)
    /// around the connector sees that as well.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Who is told what becomes of lookups. Default: nobody.
    pub fn observer<O2: Observer>(self, observer: O2) -> DnsLayer<O2> {
        DnsLayer {
            rules: self.rules,
            arrange: self.arrange,
            budget: self.budget,
            patience: self.patience,
            lookup_timeout: self.lookup_timeout,
            resolution_delay: self.resolution_delay,
            capacity: self.capacity,
            max_flights: self.max_flights,
            search: self.search,
            guard: self.guard,
            overrides: self.overrides,
            routes: self.routes,
            paths: self.paths,
            observer,
        }
    }
}

impl<S, O> Layer<S> for DnsLayer<O>
where
    S: Service<Host> + Clone + Send + Sync + 'static,
    S::Response: IntoAnswer,
    S::Error: Into<BoxError>,
    S::Future: Send,
    O: Observer,
{
    type Service = Dns<S, O>;

    fn layer(&self, inner: S) -> Dns<S, O> {
        let core = Core {
            rules: self.rules.clone(),
            arrange: self.arrange,
            budget: self.budget,
            patience: self.patience,
            lookup_timeout: self.lookup_timeout,
            resolution_delay: self.resolution_delay,
            search: self.search,
            observer: self.observer.clone(),
            guard: self.guard.clone(),
            overrides: self.overrides.clone(),
            resolver: Resolver::new(inner.clone()),
            routes: self.routes.clone(),
            table: Table::new(self.capacity),
            files: Files::new(self.paths.clone()),
            flights: Arc::new(Semaphore::new(self.max_flights)),
            armed: Arc::new(Semaphore::new(self.capacity.min(Semaphore::MAX_PERMITS))),
            tasks: Arc::default(),
            memory: Memory::default(),
            clock: Clock::start(),
            watching: AtomicBool::new(false),
        };
        Dns::new(inner, core)
    }
}

fn at_least_one(setting: &'static str, count: usize) -> Result<usize, SettingError> {
    if count == 0 {
        return Err(SettingError::new(setting, "0, so that nothing could ever be found"));
    }
    Ok(count)
}

fn name(setting: &'static str, host: &str) -> Result<Name, SettingError> {
    let refused = |error: &dyn std::fmt::Display| {
        SettingError::new(setting, format!("for a host that makes no sense: {error}"))
    };
    let name = Name::new(host).map_err(|error| refused(&error))?;
    if name.address().is_some() {
        return Err(refused(&"it is an address"));
    }
    Ok(name)
}
