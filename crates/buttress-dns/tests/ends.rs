//! What happens when the time of an answer is over, and the resolver is no help.

mod fake;

use buttress_dns::{DnsErrorKind, Family};
use fake::{Fake, SECOND, Say, dns, failed, found, layer, look, ms, none};
use tokio::time::{Instant, advance, sleep};
use tower_layer::Layer;

const A: &[&str] = &["192.0.2.1"];
const B: &[&str] = &["192.0.2.2"];

fn v4(learned: buttress_dns::Learned) -> impl Fn(&str, Family) -> Say + Send + Sync {
    move |_, family| match family {
        Family::V4 => Say::Now(learned.clone()),
        Family::V6 => Say::Now(none(3_600)),
    }
}

/// A way in which a resolver can be gone.
type Gone = (&'static str, fn() -> Say);

fn gone() -> Vec<Gone> {
    vec![
        ("black hole", || Say::Never),
        ("SERVFAIL", || Say::Now(failed(DnsErrorKind::ServFail))),
        ("REFUSED", || Say::Now(failed(DnsErrorKind::Refused))),
        ("port closed", || Say::Now(failed(DnsErrorKind::Io))),
        ("no TLS", || Say::Now(failed(DnsErrorKind::Tls))),
    ]
}

#[tokio::test(start_paused = true)]
async fn when_the_resolver_is_gone_old_addresses_are_served_at_once_and_not_for_ever() {
    for (what, say) in gone() {
        let fake = Fake::new(v4(found(A, 10)));
        let dns = dns(&fake);
        assert_eq!(look(&dns, "a.example").await.unwrap(), A);
        fake.say(move |_, _| say());
        advance(11 * SECOND).await;
        let start = Instant::now();
        assert_eq!(look(&dns, "a.example").await.unwrap(), A, "{what}");
        assert_eq!(start.elapsed(), ms(0), "{what}");

        // In half an hour it is asked no more often than the backoff allows.
        for _ in 0..1_800 {
            sleep(SECOND).await;
            let start = Instant::now();
            assert_eq!(look(&dns, "a.example").await.unwrap(), A, "{what}");
            assert_eq!(start.elapsed(), ms(0), "{what}");
        }
        let asked = fake.asked("a.example", Family::V4);
        assert!((30..=70).contains(&asked), "{what}: {asked}");

        sleep(1_900 * SECOND).await;
        assert!(look(&dns, "a.example").await.is_err(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_that_ended_long_ago_are_served_once_the_resolver_had_its_chance() {
    let fake = Fake::new(v4(found(A, 10)));
    let dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    // It is slow but there: the new addresses are worth the wait.
    fake.say(|_, family| match family {
        Family::V4 => Say::After(ms(200), found(B, 10)),
        Family::V6 => Say::Now(none(10)),
    });
    advance(600 * SECOND).await;
    let start = Instant::now();
    assert_eq!(look(&dns, "a.example").await.unwrap(), B);
    assert_eq!(start.elapsed(), ms(200));

    fake.say(|_, _| Say::Never);
    advance(600 * SECOND).await;
    let start = Instant::now();
    assert_eq!(look(&dns, "a.example").await.unwrap(), B);
    assert_eq!(start.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn when_the_resolver_is_back_so_are_its_answers() {
    let fake = Fake::new(v4(found(A, 10)));
    let dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    fake.say(v4(failed(DnsErrorKind::ServFail)));
    advance(11 * SECOND).await;
    assert_eq!(look(&dns, "a.example").await.unwrap(), A);
    fake.say(v4(found(B, 10)));
    sleep(2 * SECOND).await;
    look(&dns, "a.example").await.unwrap();
    sleep(ms(10)).await;
    assert_eq!(look(&dns, "a.example").await.unwrap(), B);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_gone_is_gone_by_the_next_refresh() {
    let fake = Fake::new(v4(found(A, 10)));
    let dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    look(&dns, "a.example").await.unwrap();
    fake.say(|_, _| Say::Now(failed(DnsErrorKind::NxDomain)));
    sleep(10 * SECOND).await;
    assert_eq!(look(&dns, "a.example").await, Err(DnsErrorKind::NxDomain));
}

#[tokio::test(start_paused = true)]
async fn addresses_can_be_preferred_to_the_word_that_there_are_none() {
    for word in [failed(DnsErrorKind::NxDomain), none(10)] {
        let fake = Fake::new(v4(found(A, 10)));
        let dns = layer().prefer_positive().layer(fake.clone());
        look(&dns, "a.example").await.unwrap();
        look(&dns, "a.example").await.unwrap();
        fake.say(move |_, _| Say::Now(word.clone()));
        for _ in 0..100 {
            sleep(SECOND).await;
            assert_eq!(look(&dns, "a.example").await.unwrap(), A);
        }
        sleep(3_700 * SECOND).await;
        assert!(look(&dns, "a.example").await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn times_are_clamped() {
    for (ttl, expected) in [(0, 1), ((1 << 31) - 1, 300), (1 << 31, 1), (u64::from(u32::MAX), 1)] {
        let fake = Fake::new(v4(found(A, ttl)));
        let dns = layer().refresh_ahead(1.0).unwrap().max_stale(ms(0)).layer(fake.clone());
        look(&dns, "a.example").await.unwrap();
        advance(expected * SECOND * 9 / 10 - ms(1)).await;
        look(&dns, "a.example").await.unwrap();
        assert_eq!(fake.asked("a.example", Family::V4), 1, "{ttl}");
        advance(expected * SECOND / 10 + ms(1)).await;
        look(&dns, "a.example").await.unwrap();
        assert_eq!(fake.asked("a.example", Family::V4), 2, "{ttl}");
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_nothing_is_remembered() {
    let none_at_all = Ok(buttress_dns::Records::none(None));
    for (word, expected) in [
        (none(20), DnsErrorKind::NoData),
        (none_at_all, DnsErrorKind::NoData),
        (failed(DnsErrorKind::NxDomain), DnsErrorKind::NxDomain),
        (failed(DnsErrorKind::ServFail), DnsErrorKind::ServFail),
        (failed(DnsErrorKind::Timeout), DnsErrorKind::Timeout),
    ] {
        let fake = Fake::new(move |_, _| Say::Now(word.clone()));
        let dns = dns(&fake);
        for _ in 0..10 {
            assert_eq!(look(&dns, "a.example").await, Err(expected));
            advance(ms(90)).await;
        }
        assert_eq!(fake.asked("a.example", Family::V4), 1, "{expected}");
        assert_eq!(fake.asked("a.example", Family::V6), 1, "{expected}");
        advance(40 * SECOND).await;
        assert_eq!(look(&dns, "a.example").await, Err(expected));
        assert_eq!(fake.asked("a.example", Family::V4), 2, "{expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_says_which_name_and_why() {
    let fake = Fake::new(|_, _| Say::Now(failed(DnsErrorKind::NxDomain)));
    let error = dns(&fake).resolve("A.example").await.unwrap_err();
    assert_eq!(error.name(), Some("a.example"));
    assert_eq!(error.rcode(), Some(3));
    assert_eq!(error.to_string(), "the name `a.example` does not exist");
}
