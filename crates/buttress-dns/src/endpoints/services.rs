//! The places of a service: its SRV records, and the addresses of their targets.

use std::future::poll_fn;

use buttress_core::BoxError;
use futures_util::future::select_all;
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service;

use super::{
    Endpoints, Place,
    glance::{Glance, glance},
    roster::Roster,
    stream::{Look, Looking, Seen, Wake},
};
use crate::{Dns, DnsError, DnsErrorKind, Observer, ServiceName, ServiceRecord, ServiceRecords};

/// No more records of a service than this are taken.
const MOST: usize = 64;

struct Services<S, O: Observer> {
    dns: Dns<S, O>,
    name: ServiceName,
    records: Vec<ServiceRecord>,
    /// When the records are asked for again.
    due: Instant,
    failures: u32,
    /// Why there are no newer ones.
    error: Option<DnsError>,
    /// The newest answer of each target that was taken in.
    versions: Vec<u64>,
}

impl<S, O> Services<S, O>
where
    S: Service<ServiceName, Response = ServiceRecords> + Clone,
    S::Error: Into<BoxError>,
    O: Observer,
{
    /// Asks for the records if it is time.
    async fn refresh(&mut self) {
        if Instant::now() < self.due {
            return;
        }
        let limit = self.dns.core().lookup_timeout;
        let late = || DnsError::new(DnsErrorKind::Timeout);
        let asked = timeout(limit, self.ask()).await.unwrap_or_else(|_| Err(late()));
        let rules = &self.dns.core().rules;
        self.error = match asked {
            Ok(found) if found.records().is_empty() => {
                self.due = Instant::now() + rules.negative(found.ttl());
                let error = DnsError::new(DnsErrorKind::NoData).of_name(self.name.name().as_str());
                Some(error.because("the service is not offered"))
            }
            Ok(found) => {
                let ttl = rules.positive(found.ttl());
                self.due = Instant::now() + rules.refresh(ttl, fastrand::f64());
                self.failures = 0;
                self.records = found.records().iter().take(MOST).cloned().collect();
                // With other records, all targets speak anew.
                self.versions = vec![0; self.records.len()];
                None
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.due = Instant::now() + rules.backoff(self.failures, fastrand::f64());
                Some(error.of_name(self.name.name().as_str()))
            }
        };
    }

    async fn ask(&self) -> Result<ServiceRecords, DnsError> {
        let mut resolver = self.dns.inner().clone();
        poll_fn(|cx| resolver.poll_ready(cx)).await.map_err(DnsError::from_resolver)?;
        resolver.call(self.name.clone()).await.map_err(DnsError::from_resolver)
    }

    async fn see(&mut self, roster: &mut Roster) -> Seen {
        self.refresh().await;
        let mut error = self.error.clone();
        let mut places = Vec::new();
        let (mut news, mut whole) = (false, true);
        let mut wakes: Vec<Wake> = vec![Box::pin(sleep_until(self.due))];
        for (record, version) in self.records.iter().zip(&mut self.versions) {
            let target = record.target.clone().absolute().to_question();
            let Glance { families, error: failed, again } = glance(self.dns.core(), &target);
            wakes.push(Box::pin(again.wake()));
            let newest = families.iter().flatten().map(|(version, _)| *version).max();
            news |= newest.is_some_and(|newest| newest != *version);
            *version = newest.unwrap_or(*version);
            whole &= newest.is_some();
            let addresses = families.into_iter().flatten().flat_map(|(_, addresses)| addresses);
            places.extend(addresses.map(|mut address| {
                address.set_port(record.port);
                Place::new(address, record.priority, record.weight)
            }));
            error = error.or(failed);
        }
        if news {
            // A target that cannot be looked up takes nothing away.
            if whole { roster.answer(0, places) } else { roster.add(0, places) }
        }
        let wake = async { drop(select_all(wakes).await) };
        let well = error.is_none() && whole;
        Seen { error, well, until: Box::pin(wake) }
    }
}

impl<S, O> Look for Services<S, O>
where
    S: Service<ServiceName, Response = ServiceRecords> + Clone + Send + Sync,
    S::Error: Into<BoxError>,
    S::Future: Send,
    O: Observer,
{
    fn look<'a>(&'a mut self, roster: &'a mut Roster) -> Looking<'a> {
        Box::pin(self.see(roster))
    }
}

impl<S, O> Dns<S, O>
where
    S: Service<ServiceName, Response = ServiceRecords> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    O: Observer,
{
    /// The places at which a service is offered, by its SRV records (`_grpc._tcp.example.com`) and
    /// the addresses of their targets, anew whenever they change.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](DnsErrorKind::InvalidName) if it is no name of a service.
    pub fn service_endpoints(&self, service: &str) -> Result<Endpoints, DnsError> {
        let name = ServiceName::new(service)?;
        let (dns, records, versions) = (self.clone(), Vec::new(), Vec::new());
        let due = Instant::now();
        Ok(Endpoints::new(Services { dns, name, records, due, failures: 0, error: None, versions }))
    }
}
