//! Whatever a resolver answers, in whatever order and time: nothing that is denied is served, and
//! nothing grows beyond its bound.

#![no_main]

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, pending, ready},
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_dns::{
    Answer, Dns, DnsError, DnsErrorKind, DnsLayer, Endpoints, Guard, Learned, Records, Side,
};
use futures_util::{FutureExt, StreamExt};
use hyper_util::client::legacy::connect::dns::Name;
use libfuzzer_sys::fuzz_target;
use tokio::time::{advance, sleep};
use tower_layer::Layer;
use tower_service::Service;

const CAPACITY: usize = 8;

/// What is left of the input; both the resolver and the caller live on it.
#[derive(Clone)]
struct Input(Arc<Mutex<VecDeque<u8>>>);

impl Input {
    fn byte(&self) -> u8 {
        self.0.lock().unwrap().pop_front().unwrap_or_default()
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    fn learned(&self, v6: bool) -> Learned {
        const KINDS: [DnsErrorKind; 8] = [
            DnsErrorKind::NxDomain,
            DnsErrorKind::NoData,
            DnsErrorKind::ServFail,
            DnsErrorKind::Refused,
            DnsErrorKind::Timeout,
            DnsErrorKind::Malformed,
            DnsErrorKind::InvalidName,
            DnsErrorKind::Io,
        ];
        let ttl = match self.byte() {
            255 => None,
            254 => Some(Duration::MAX),
            253 => Some(Duration::from_secs(1 << 31)),
            seconds => Some(Duration::from_secs(seconds.into())),
        };
        let kind = self.byte();
        if kind >= 128 {
            let error = DnsError::new(KINDS[usize::from(kind) % KINDS.len()]);
            return Err(ttl.map_or(error.clone(), |ttl| error.valid_for(ttl)));
        }
        let address = |_| -> SocketAddr {
            match (v6, self.byte()) {
                (false, last) if last < 64 => ([10, 0, 0, last], 0).into(),
                (false, last) => ([8, 8, 8, last], last.into()).into(),
                (true, last) if last < 64 => {
                    ([0, 0, 0, 0, 0, 0xffff, 0x0a00, last.into()], 0).into()
                }
                (true, last) => ([0x2606, 0, 0, 0, 0, 0, 0, last.into()], 0).into(),
            }
        };
        Ok(Records::new((0..kind % 9).map(address).collect::<Vec<_>>(), ttl))
    }

    fn side(&self, v6: bool) -> Side {
        match self.byte() % 4 {
            0 => Side::here(self.learned(v6)),
            1 => Side::coming(pending()),
            _ => {
                let (delay, learned) = (self.byte(), self.learned(v6));
                Side::coming(async move {
                    sleep(Duration::from_millis(u64::from(delay) * 40)).await;
                    learned
                })
            }
        }
    }
}

impl Service<Name> for Input {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(Answer::new(self.side(false), self.side(true))))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run(Input(Arc::new(Mutex::new(bytes.iter().copied().collect())))));
});

async fn run(input: Input) {
    let settings = input.byte();
    let layer = DnsLayer::new().hosts(None).resolv_conf(None).guard(Guard::new());
    let layer = layer.capacity(CAPACITY).and_then(|layer| layer.max_flights(4)).unwrap();
    let layer = if settings & 1 == 0 { layer } else { layer.prefer_positive() };
    let layer = if settings & 2 == 0 { layer } else { layer.rotate() };
    let dns = layer.layer(input.clone());
    let mut endpoints = dns.endpoints("h0.example", 443);
    let mut known = 0;
    while !input.is_over() {
        step(&input, &dns, &mut endpoints, &mut known).await;
        assert!(dns.len() <= CAPACITY);
        assert!(dns.tasks() <= CAPACITY + 4);
    }
}

async fn step(input: &Input, dns: &Dns<Input>, endpoints: &mut Endpoints, known: &mut usize) {
    let host = format!("h{}.example", input.byte() % 16);
    match input.byte() % 6 {
        0 | 1 => {
            if let Ok(found) = dns.resolve(&host).await {
                let found: Vec<SocketAddr> = found.collect();
                assert!(!found.is_empty() && found.len() <= 8);
                assert!(found.iter().all(|address| Guard::new().allows(address.ip())));
            }
        }
        2 => drop(dns.resolve(&host)),
        3 => advance(Duration::from_millis(u64::from(input.byte()) * 500)).await,
        4 => {
            let address = SocketAddr::from(([8, 8, 8, input.byte()], 0)).ip();
            if input.byte() & 1 == 0 { dns.failed(address) } else { dns.worked(address) }
        }
        _ => {
            sleep(Duration::from_millis(10)).await;
            if let Some(Some(Ok(places))) = endpoints.next().now_or_never() {
                assert!(!places.is_empty(), "it had {known} places");
                assert!(places.iter().all(|place| Guard::new().allows(place.address().ip())));
                *known = places.len();
            }
        }
    }
}
