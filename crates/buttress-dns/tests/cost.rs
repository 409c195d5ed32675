//! What a hit allocates.

mod fake;

use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use buttress_dns::{Dns, Family};
use fake::{Fake, SECOND, Say, dns, failed, found, look, none};
use hyper_util::client::legacy::connect::dns::Name as Host;
use tokio::time::advance;
use tower_service::Service;

/// One hit, polled once.
fn hit(dns: &mut Dns<Fake>, host: Host) -> usize {
    let mut lookup = dns.call(host);
    let polled = std::pin::Pin::new(&mut lookup).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(found)) = polled else { panic!("no hit: {polled:?}") };
    found.count()
}

#[tokio::test(start_paused = true)]
async fn a_hit_allocates_nothing() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::Now(found(&["192.0.2.1", "192.0.2.2"], 60)),
        Family::V6 => Say::Now(found(&["2001:db8::1"], 60)),
    });
    let mut dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    // The first hit after an answer arms the refresh.
    look(&dns, "a.example").await.unwrap();
    let host: Host = "a.example".parse().unwrap();
    let mut count = 0;
    let info = measure(|| count = hit(&mut dns, host.clone()));
    assert_eq!(count, 3);
    // One, for the name: hyper makes it, and here the clone does.
    assert_eq!(info.count_total, 1);
    assert_eq!(fake.asked_in_all(), 2);
}

#[tokio::test(start_paused = true)]
async fn serving_old_addresses_allocates_nothing_either() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::Now(found(&["192.0.2.1"], 10)),
        Family::V6 => Say::Now(none(10)),
    });
    let mut dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    fake.say(|_, _| Say::Now(failed(buttress_dns::DnsErrorKind::ServFail)));
    advance(12 * SECOND).await;
    look(&dns, "a.example").await.unwrap();
    tokio::task::yield_now().await;
    look(&dns, "a.example").await.unwrap();
    let host: Host = "a.example".parse().unwrap();
    let mut count = 0;
    let info = measure(|| count = hit(&mut dns, host.clone()));
    assert_eq!((count, info.count_total), (1, 1));
}
