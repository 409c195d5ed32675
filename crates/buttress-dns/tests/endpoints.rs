//! A name and a service as streams of places.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_dns::{
    Answer, DnsErrorKind, Endpoints, Family, Guard, Name, ServiceName, ServiceRecord,
    ServiceRecords,
};
use fake::{Fake, SECOND, Say, dns, failed, found, layer, ms, none};
use futures_util::{FutureExt, StreamExt};
use hyper_util::client::legacy::connect::dns::Name as Host;
use tokio::time::{Instant, sleep, timeout};
use tower_layer::Layer;
use tower_service::Service;

/// An IPv4 answer that can be changed.
fn v4_of(fake: &Fake, addresses: &[&str], ttl: u64) {
    let learned = found(addresses, ttl);
    fake.say(move |_, family| match family {
        Family::V4 => Say::Now(learned.clone()),
        Family::V6 => Say::Now(none(300)),
    });
}

async fn places(endpoints: &mut Endpoints) -> Vec<String> {
    let told = endpoints.next().await.unwrap().unwrap();
    told.iter().map(|place| place.address().to_string()).collect()
}

/// Whether the stream tells nothing for so many seconds.
async fn is_quiet(endpoints: &mut Endpoints, seconds: u32) -> bool {
    timeout(seconds * SECOND, endpoints.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_what_has_changed_and_nothing_else() {
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["192.0.2.1", "192.0.2.2"], 10);
    let dns = dns(&fake);
    let mut endpoints = dns.endpoints("a.example", 443);
    assert_eq!(places(&mut endpoints).await, ["192.0.2.1:443", "192.0.2.2:443"]);

    // The same, in another order, again and again.
    v4_of(&fake, &["192.0.2.2", "192.0.2.1"], 10);
    assert!(is_quiet(&mut endpoints, 100).await);
    let asked = fake.asked("a.example", Family::V4);
    assert!(asked >= 10, "{asked}: it asks by itself");

    v4_of(&fake, &["192.0.2.2", "192.0.2.1", "192.0.2.3"], 10);
    let start = Instant::now();
    assert_eq!(places(&mut endpoints).await.len(), 3);
    assert!(start.elapsed() <= 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn neither_a_failure_nor_an_empty_answer_takes_anything_away() {
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["192.0.2.1"], 10);
    let dns = dns(&fake);
    let mut endpoints = dns.endpoints("a.example", 443);
    places(&mut endpoints).await;
    for kind in [DnsErrorKind::ServFail, DnsErrorKind::NxDomain, DnsErrorKind::Timeout] {
        fake.say(move |_, _| Say::Now(failed(kind)));
        let mut failures = 0;
        let end = Instant::now() + 7_300 * SECOND;
        while let Ok(told) = tokio::time::timeout_at(end, endpoints.next()).await {
            // It is told once that there is nothing new.
            assert!(told.unwrap().is_err(), "{kind}");
            failures += 1;
        }
        assert_eq!(failures, 1, "{kind}");
        v4_of(&fake, &["192.0.2.1"], 10);
        assert!(is_quiet(&mut endpoints, 100).await, "{kind}: back to what it was is no change");
    }
    fake.say(|_, _| Say::Now(none(10)));
    assert!(endpoints.next().await.unwrap().is_err());
    v4_of(&fake, &["192.0.2.1", "192.0.2.2"], 10);
    assert_eq!(places(&mut endpoints).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rotating_part_of_the_addresses_does_not_churn() {
    let turn = Arc::new(Mutex::new(0_u32));
    let fake = Fake::new({
        let turn = Arc::clone(&turn);
        move |_, family| match family {
            Family::V4 => {
                let mut turn = turn.lock().unwrap();
                *turn += 1;
                let part: Vec<String> =
                    (0..8).map(|number| format!("192.0.2.{}", (*turn * 8 + number) % 32)).collect();
                Say::Now(found(&part.iter().map(String::as_str).collect::<Vec<_>>(), 10))
            }
            Family::V6 => Say::Now(none(300)),
        }
    });
    let mut endpoints = dns(&fake).endpoints("a.example", 80);
    for count in [8, 16, 24, 32] {
        assert_eq!(places(&mut endpoints).await.len(), count);
    }
    assert!(is_quiet(&mut endpoints, 600).await);
    assert!(*turn.lock().unwrap() > 40);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_stays_away_goes() {
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["192.0.2.1", "192.0.2.2"], 10);
    let dns = dns(&fake);
    let mut endpoints = dns.endpoints("a.example", 443);
    places(&mut endpoints).await;
    v4_of(&fake, &["192.0.2.2"], 10);
    let start = Instant::now();
    assert_eq!(places(&mut endpoints).await, ["192.0.2.2:443"]);
    assert!((25..=45).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_aaaa_that_comes_late_is_told_later() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::After(ms(10), found(&["192.0.2.1"], 300)),
        Family::V6 => Say::After(ms(200), found(&["2001:db8::1"], 300)),
    });
    let mut endpoints = dns(&fake).endpoints("a.example", 443);
    let start = Instant::now();
    assert_eq!(places(&mut endpoints).await, ["192.0.2.1:443"]);
    assert_eq!(start.elapsed(), ms(60));
    assert_eq!(places(&mut endpoints).await, ["192.0.2.1:443", "[2001:db8::1]:443"]);
    // Changes are a second apart.
    assert_eq!(start.elapsed(), ms(1_060));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_ends_the_refreshes() {
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["192.0.2.1"], 10);
    let dns = dns(&fake);
    let mut endpoints = dns.endpoints("a.example", 443);
    places(&mut endpoints).await;
    drop(endpoints);
    sleep(30 * SECOND).await;
    let asked = fake.asked("a.example", Family::V4);
    sleep(300 * SECOND).await;
    assert_eq!(fake.asked("a.example", Family::V4), asked);
    assert_eq!(dns.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_bound_to_a_private_address_is_never_told() {
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["1.1.1.1"], 10);
    let dns = layer().guard(Guard::new()).layer(fake.clone());
    let mut endpoints = dns.endpoints("a.example", 443);
    assert_eq!(places(&mut endpoints).await, ["1.1.1.1:443"]);
    v4_of(&fake, &["10.0.0.1"], 10);
    assert_eq!(endpoints.next().await.unwrap().unwrap_err().kind(), DnsErrorKind::Denied);
    assert!(is_quiet(&mut endpoints, 600).await);
    v4_of(&fake, &["10.0.0.1", "1.0.0.1"], 10);
    assert_eq!(places(&mut endpoints).await, ["1.0.0.1:443", "1.1.1.1:443"]);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_its_own_place() {
    let fake = Fake::new(|_, _| Say::Never);
    let mut endpoints = dns(&fake).endpoints("192.0.2.7", 8080);
    assert_eq!(places(&mut endpoints).await, ["192.0.2.7:8080"]);
    assert!(is_quiet(&mut endpoints, 100).await);
    assert_eq!(fake.asked_in_all(), 0);
}

/// A resolver that knows services as well.
#[derive(Clone)]
struct WithServices {
    hosts: Fake,
    services: Arc<Mutex<Result<ServiceRecords, DnsErrorKind>>>,
}

impl Service<Host> for WithServices {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, host: Host) -> Self::Future {
        self.hosts.call(host)
    }
}

impl Service<ServiceName> for WithServices {
    type Response = ServiceRecords;
    type Error = buttress_dns::DnsError;
    type Future = Ready<Result<ServiceRecords, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, service: ServiceName) -> Self::Future {
        assert_eq!(service.name().as_str(), "_grpc._tcp.example");
        ready(self.services.lock().unwrap().clone().map_err(buttress_dns::DnsError::new))
    }
}

fn record(target: &str, port: u16) -> ServiceRecord {
    ServiceRecord::new(Name::new(target).unwrap(), port)
}

#[tokio::test(start_paused = true)]
async fn a_service_is_its_records_and_their_addresses() {
    let hosts = Fake::new(|name, family| match (name, family) {
        ("one.example.", Family::V4) => Say::Now(found(&["192.0.2.1"], 60)),
        ("two.example.", Family::V4) => Say::Now(found(&["192.0.2.2"], 60)),
        ("two.example.", Family::V6) => Say::Now(found(&["2001:db8::2"], 60)),
        _ => Say::Now(none(60)),
    });
    let both = vec![
        record("one.example", 50_051).weight(7),
        record("two.example", 50_052).priority(1).weight(3),
    ];
    let services = Arc::new(Mutex::new(Ok(ServiceRecords::new(both.clone(), Some(20 * SECOND)))));
    let dns = layer().layer(WithServices { hosts: hosts.clone(), services: Arc::clone(&services) });
    let mut endpoints = dns.service_endpoints("_grpc._tcp.example").unwrap();
    let mut told = endpoints.next().await.unwrap().unwrap();
    while told.len() < 3 {
        told = endpoints.next().await.unwrap().unwrap();
    }
    let seen: Vec<_> = told
        .iter()
        .map(|place| (place.address().to_string(), place.priority(), place.weight()))
        .collect();
    assert_eq!(seen[0], ("192.0.2.1:50051".to_owned(), 0, 7));
    assert_eq!(seen[1], ("192.0.2.2:50052".to_owned(), 1, 3));
    assert_eq!(seen[2], ("[2001:db8::2]:50052".to_owned(), 1, 3));

    // Neither a failure nor the word that there is no such service takes anything away.
    *services.lock().unwrap() = Err(DnsErrorKind::ServFail);
    assert!(endpoints.next().await.unwrap().is_err());
    *services.lock().unwrap() = Ok(ServiceRecords::new(Vec::new(), Some(20 * SECOND)));
    assert!(is_quiet(&mut endpoints, 600).await);

    // A record that stays away goes.
    *services.lock().unwrap() = Ok(ServiceRecords::new(both[..1].to_vec(), Some(20 * SECOND)));
    let told = timeout(300 * SECOND, endpoints.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_looked_up_takes_nothing_away() {
    let hosts = Fake::new(|name, family| match (name, family) {
        ("one.example.", Family::V4) => Say::Now(found(&["192.0.2.1"], 10)),
        ("two.example.", Family::V4) => Say::Now(found(&["192.0.2.2"], 10)),
        _ => Say::Now(none(10)),
    });
    let both = vec![record("one.example", 1), record("two.example", 2)];
    let services = Arc::new(Mutex::new(Ok(ServiceRecords::new(both, Some(10 * SECOND)))));
    let dns = layer().layer(WithServices { hosts: hosts.clone(), services });
    let mut endpoints = dns.service_endpoints("_grpc._tcp.example").unwrap();
    while endpoints.next().await.unwrap().unwrap().len() < 2 {}
    hosts.say(|name, family| match (name, family) {
        ("one.example.", Family::V4) => Say::Now(found(&["192.0.2.1"], 10)),
        ("one.example.", Family::V6) => Say::Now(none(10)),
        _ => Say::Now(failed(DnsErrorKind::NxDomain)),
    });
    let told = timeout(900 * SECOND, endpoints.next()).await.unwrap().unwrap();
    assert_eq!(told.unwrap_err().kind(), DnsErrorKind::NxDomain);
    assert!(is_quiet(&mut endpoints, 900).await);
}

#[test]
fn a_service_has_a_name() {
    let services = Arc::new(Mutex::new(Err(DnsErrorKind::Io)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let dns = layer().layer(WithServices { hosts: Fake::new(|_, _| Say::Never), services });
    for wrong in ["", "10.0.0.1", "_grpc..example"] {
        assert_eq!(dns.service_endpoints(wrong).unwrap_err().kind(), DnsErrorKind::InvalidName);
    }
    // It asks nobody before it is polled.
    assert!(dns.endpoints("a.example", 1).next().now_or_never().is_none());
}
