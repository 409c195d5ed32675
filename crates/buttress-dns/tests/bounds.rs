//! What is bounded, and what outlives nothing.

mod fake;

use std::sync::Arc;

use buttress_dns::{Answer, DnsError, DnsErrorKind, Family, Records, Side};
use fake::{Fake, SECOND, Say, dns, found, layer, look, ms, none};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};
use tower_layer::Layer;

const A: &[&str] = &["192.0.2.1"];

fn anything() -> Fake {
    Fake::new(|_, family| match family {
        Family::V4 => Say::Now(found(A, 300)),
        Family::V6 => Say::Now(none(300)),
    })
}

#[tokio::test(start_paused = true)]
async fn hot_names_survive_a_flood_of_random_ones() {
    let fake = anything();
    let dns = layer().capacity(1_000).unwrap().layer(fake.clone());
    let hot: Vec<String> = (0..100).map(|number| format!("hot{number}.example")).collect();
    for _ in 0..3 {
        for name in &hot {
            look(&dns, name).await.unwrap();
        }
    }
    let asked = |fake: &Fake| hot.iter().map(|name| fake.asked(name, Family::V4)).sum::<usize>();
    assert_eq!(asked(&fake), 100);
    for number in 0..10_000 {
        look(&dns, &format!("{:x}.victim.example", number * 7_919)).await.unwrap();
        // Hot means that they are looked up now and then.
        look(&dns, &hot[number % hot.len()]).await.unwrap();
    }
    assert!(dns.len() <= 1_000, "{}", dns.len());
    assert!(dns.tasks() <= 1_000, "{}", dns.tasks());
    let again = asked(&fake) - 100;
    assert!(again <= 5, "{again} lookups of hot names had to be made again");
}

#[tokio::test(start_paused = true)]
async fn flights_are_bounded_however_many_names_hang() {
    let fake = Fake::new(|_, _| Say::Never);
    let dns = layer().max_flights(16).unwrap().layer(fake.clone());
    for number in 0..10_000 {
        drop(dns.resolve(&format!("{number}.victim.example")));
    }
    sleep(ms(1)).await;
    assert_eq!(fake.asked_in_all(), 32);
    assert_eq!(dns.tasks(), 16);
}

#[tokio::test(start_paused = true)]
async fn nothing_outlives_the_last_handle() {
    let alive = Arc::new(());
    let fake = Fake::new({
        let alive = Arc::clone(&alive);
        move |_, _| {
            let _ = &alive;
            Say::Never
        }
    });
    let dns = dns(&fake);
    let waiting = dns.resolve("a.example");
    sleep(ms(1)).await;
    drop((dns, fake));
    // The caller holds it as well.
    sleep(ms(1)).await;
    assert!(Arc::strong_count(&alive) > 1);
    drop(waiting);
    sleep(ms(1)).await;
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_runtime_that_goes_down_leaves_no_name_behind_that_cannot_be_asked_for() {
    let fake = Fake::new(|_, _| Say::Never);
    let dns = dns(&fake);
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    first.block_on(async {
        assert!(timeout(ms(10), look(&dns, "a.example")).await.is_err());
    });
    assert_eq!(dns.tasks(), 1);
    drop(first);
    assert_eq!(dns.tasks(), 0);

    fake.say(|_, family| match family {
        Family::V4 => Say::Now(found(A, 300)),
        Family::V6 => Say::Now(none(300)),
    });
    let second = Builder::new_current_thread().enable_all().build().unwrap();
    let found = second.block_on(async { timeout(SECOND, look(&dns, "a.example")).await });
    assert_eq!(found.unwrap().unwrap(), A);
}

#[test]
fn a_runtime_that_nobody_drives_any_more_is_given_up() {
    let fake = Fake::new(|_, _| Say::Never);
    let dns = layer().lookup_timeout(ms(50)).unwrap().layer(fake.clone());
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    first.block_on(async {
        assert!(timeout(ms(10), look(&dns, "a.example")).await.is_err());
    });
    fake.say(|_, family| match family {
        Family::V4 => Say::Now(found(A, 300)),
        Family::V6 => Say::Now(none(300)),
    });
    let second = Builder::new_current_thread().enable_all().build().unwrap();
    let found = second.block_on(async {
        // A second later the flight must have ended, and has not.
        sleep(ms(1_060)).await;
        look(&dns, "a.example").await
    });
    assert_eq!(found.unwrap(), A);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_panics_is_one_that_failed() {
    let fake = Fake::new(|_, _| panic!("what a resolver"));
    let dns = dns(&fake);
    for _ in 0..3 {
        assert_eq!(look(&dns, "a.example").await, Err(DnsErrorKind::Cancelled));
    }
    assert_eq!(fake.asked_in_all(), 1);
    fake.say(|_, family| match family {
        Family::V4 => Say::Now(found(A, 300)),
        Family::V6 => Say::Now(none(300)),
    });
    sleep(2 * SECOND).await;
    assert_eq!(look(&dns, "a.example").await.unwrap(), A);
}

#[test]
fn without_a_runtime_a_lookup_says_so() {
    let dns = dns(&anything());
    let lookup = dns.resolve("a.example");
    let kind = futures_util::FutureExt::now_or_never(lookup).unwrap().unwrap_err().kind();
    assert_eq!(kind, DnsErrorKind::Cancelled);
    assert_eq!(dns.tasks(), 0);
}

/// A resolver that blocks a thread for each lookup, as `getaddrinfo` does.
#[derive(Clone)]
struct Blocking(Arc<std::sync::Barrier>);

impl tower_service::Service<hyper_util::client::legacy::connect::dns::Name> for Blocking {
    type Response = Answer;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Answer, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper_util::client::legacy::connect::dns::Name) -> Self::Future {
        let barrier = Arc::clone(&self.0);
        let hang = tokio::task::spawn_blocking(move || barrier.wait().is_leader());
        let side = Side::coming(async move {
            hang.await.map_err(DnsError::from_resolver)?;
            Ok(Records::none(None))
        });
        std::future::ready(Ok(Answer::new(side, Side::here(Ok(Records::none(None))))))
    }
}

#[tokio::test]
async fn lookups_that_block_threads_leave_some_to_others() {
    let places = 128;
    let barrier = Arc::new(std::sync::Barrier::new(places + 1));
    let dns = layer().max_flights(places).unwrap().layer(Blocking(Arc::clone(&barrier)));
    for number in 0..600 {
        drop(dns.resolve(&format!("{number}.example")));
    }
    // tokio has 512 of these threads. A lookup for each call would have taken them all.
    timeout(SECOND, tokio::task::spawn_blocking(|| ())).await.expect("a thread is free").unwrap();
    tokio::task::spawn_blocking(move || barrier.wait().is_leader()).await.unwrap();
}
