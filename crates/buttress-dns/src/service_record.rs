//! SRV records: which hosts and ports offer a service (RFC 2782).

use std::time::Duration;

use crate::{DnsError, DnsErrorKind, Name};

/// The name of a service, as `_grpc._tcp.example.com`: what a resolver is asked for SRV records.
///
/// A resolver that can look services up is a `Service<ServiceName>` with the response
/// [`ServiceRecords`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName(Name);

impl ServiceName {
    /// Reads the name of a service.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](DnsErrorKind::InvalidName) if it is an address or nobody could be asked for it.
    pub fn new(name: &str) -> Result<Self, DnsError> {
        let name = Name::new(name)?;
        if name.address().is_some() {
            let invalid = DnsError::new(DnsErrorKind::InvalidName).of_name(name.as_str());
            return Err(invalid.because("a service has a name, not an address"));
        }
        Ok(Self(name.absolute()))
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.0
    }
}

/// One place where a service is offered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ServiceRecord {
    /// The host. Its addresses are looked up by name.
    pub target: Name,
    /// The port.
    pub port: u16,
    /// Lower ones come first; the others are for when those are out.
    pub priority: u16,
    /// The share among those with the same priority.
    pub weight: u16,
}

impl ServiceRecord {
    /// A place with priority and weight 0.
    #[must_use]
    pub const fn new(target: Name, port: u16) -> Self {
        Self { target, port, priority: 0, weight: 0 }
    }

    /// With this priority.
    #[must_use]
    pub const fn priority(mut self, priority: u16) -> Self {
        self.priority = priority;
        self
    }

    /// With this weight.
    #[must_use]
    pub const fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }
}

/// Where a service is offered, and for how long that holds.
///
/// Without records it says that the service is not offered: no such record, or the target `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecords {
    records: Vec<ServiceRecord>,
    ttl: Option<Duration>,
}

impl ServiceRecords {
    /// These records. Without a TTL, they hold for as long as the layer's default says.
    #[must_use]
    pub const fn new(records: Vec<ServiceRecord>, ttl: Option<Duration>) -> Self {
        Self { records, ttl }
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[ServiceRecord] {
        &self.records
    }

    /// For how long they hold.
    #[must_use]
    pub const fn ttl(&self) -> Option<Duration> {
        self.ttl
    }
}
