//! The set of servers as a resolver of names, and of services.

use std::{
    future::{Ready, ready},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt as _;
use hickory_proto::rr::RecordType;
use hyper_util::client::legacy::connect::dns;
use tower_service::Service;

use super::{
    Upstreams,
    member::{Asking, Both},
    question::Question,
    reading::{Data, Found},
};
use crate::{
    Answer, DnsError, DnsErrorKind, Learned, Name, Records, ServiceName, ServiceRecord,
    ServiceRecords, Side,
};

impl Service<dns::Name> for Upstreams {
    type Response = Answer;
    type Error = DnsError;
    type Future = Ready<Result<Answer, DnsError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        ready(Name::new(name.as_str()).and_then(|name| self.answer(&name)))
    }
}

impl Service<ServiceName> for Upstreams {
    type Response = ServiceRecords;
    type Error = DnsError;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceRecords, DnsError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, service: ServiceName) -> Self::Future {
        let upstreams = self.of_name(service.name()).clone();
        Box::pin(async move {
            let asking = upstreams.asking(service.name(), RecordType::SRV, None)?;
            match upstreams.find(asking).await {
                Ok(found) => services(&found),
                Err(error) if error.kind() == DnsErrorKind::NoData => {
                    Ok(ServiceRecords::new(Vec::new(), error.ttl()))
                }
                Err(error) => Err(error.of_name(service.name().as_str())),
            }
        })
    }
}

impl Upstreams {
    fn answer(&self, name: &Name) -> Result<Answer, DnsError> {
        if let Some(address) = name.address() {
            return Ok(Answer::of([address], None));
        }
        let upstreams = self.of_name(name);
        let both = upstreams.own_system().cloned().map(|system| {
            let name = name.clone();
            async move { system.look_up(&name).await }.boxed().shared()
        });
        let side = |kind| {
            let asking = upstreams.asking(name, kind, both.clone())?;
            Ok(Side::coming(learn(upstreams.clone(), asking)))
        };
        Ok(Answer::new(side(RecordType::A)?, side(RecordType::AAAA)?))
    }

    fn asking(
        &self,
        name: &Name,
        kind: RecordType,
        both: Option<Both>,
    ) -> Result<Asking, DnsError> {
        let question = Question::parse(name.as_str(), kind)?;
        Ok(Asking { question, name: name.clone(), both, tell: self.tell() })
    }
}

async fn learn(upstreams: Upstreams, asking: Asking) -> Learned {
    let name = asking.name.clone();
    match upstreams.find(asking).await {
        Ok(found) => Ok(Records::new(addresses(&found), found.ttl)),
        Err(error) if error.kind() == DnsErrorKind::NoData => Ok(Records::none(error.ttl())),
        Err(error) => Err(error.of_name(name.as_str())),
    }
}

fn addresses(found: &Found) -> Arc<[SocketAddr]> {
    let address = |data: &Data| match data {
        Data::Address(address) => Some(SocketAddr::new(*address, 0)),
        Data::Service { .. } => None,
    };
    found.data.iter().filter_map(address).collect()
}

/// RFC 2782: the root as the only target says that the service is decidedly not offered.
fn services(found: &Found) -> Result<ServiceRecords, DnsError> {
    let mut records = Vec::new();
    for data in &found.data {
        let Data::Service { priority, weight, port, target } = data else { continue };
        if target.is_root() {
            continue;
        }
        let target = Name::new(&target.to_ascii())?;
        records.push(ServiceRecord::new(target, *port).priority(*priority).weight(*weight));
    }
    Ok(ServiceRecords::new(records, found.ttl))
}
