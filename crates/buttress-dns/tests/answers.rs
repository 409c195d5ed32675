//! When a caller waits, for what, and for how long.

mod fake;

use buttress_dns::{DnsErrorKind, Family};
use fake::{Fake, SECOND, Say, dns, failed, found, layer, look, ms, none};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_layer::Layer;

const A: &[&str] = &["192.0.2.1"];

/// A name with an IPv4 address, known after `delay`.
fn v4_only(delay: u64, ttl: u64) -> impl Fn(&str, Family) -> Say + Send + Sync {
    move |_, family| match family {
        Family::V4 => Say::After(ms(delay), found(A, ttl)),
        Family::V6 => Say::After(ms(delay), none(ttl)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_of_a_cold_name_ask_once() {
    let fake = Fake::new(v4_only(20, 60));
    let dns = dns(&fake);
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let dns = dns.clone();
        callers.spawn(async move { look(&dns, "a.example").await });
    }
    while let Some(found) = callers.join_next().await {
        assert_eq!(found.unwrap().unwrap(), A);
    }
    assert_eq!(fake.asked("a.example", Family::V4), 1);
    assert_eq!(fake.asked("a.example", Family::V6), 1);
}

#[tokio::test(start_paused = true)]
async fn a_known_name_asks_nobody() {
    let fake = Fake::new(v4_only(20, 60));
    let dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    let start = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(look(&dns, "a.example").await.unwrap(), A);
    }
    assert_eq!(start.elapsed(), ms(0));
    assert_eq!(fake.asked_in_all(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_caller_that_left_gets_the_answer() {
    let fake = Fake::new(v4_only(200, 60));
    let dns = dns(&fake);
    let leader = timeout(ms(100), look(&dns, "a.example"));
    let follower = look(&dns, "a.example");
    let (leader, follower) = tokio::join!(leader, follower);
    assert!(leader.is_err());
    assert_eq!(follower.unwrap(), A);
    assert_eq!(fake.asked("a.example", Family::V4), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_which_nobody_waits_any_more_is_kept() {
    let fake = Fake::new(v4_only(200, 60));
    let dns = dns(&fake);
    for _ in 0..2 {
        assert!(timeout(ms(50), look(&dns, "a.example")).await.is_err());
    }
    // Even one that was never polled has asked.
    drop(dns.resolve("b.example"));
    sleep(ms(300)).await;
    let start = Instant::now();
    assert_eq!(look(&dns, "a.example").await.unwrap(), A);
    assert_eq!(look(&dns, "b.example").await.unwrap(), A);
    assert_eq!(start.elapsed(), ms(0));
    assert_eq!(fake.asked("a.example", Family::V4), 1);
}

/// The numbers of `cargo bench`: 50 callers over 5 seconds, a TTL of 1 second, a resolver that
/// takes 150 ms.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_name_whose_time_runs_out_while_it_is_in_use() {
    let fake = Fake::new(v4_only(150, 1));
    let dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let dns = dns.clone();
        callers.spawn(async move {
            sleep(ms(caller % 10)).await;
            let (mut worst, mut count) = (ms(0), 0);
            let end = Instant::now() + 5 * SECOND;
            while Instant::now() < end {
                let start = Instant::now();
                look(&dns, "a.example").await.unwrap();
                worst = worst.max(start.elapsed());
                count += 1;
                sleep(ms(10)).await;
            }
            (worst, count)
        });
    }
    let (mut worst, mut count) = (ms(0), 0);
    while let Some(caller) = callers.join_next().await {
        let (its_worst, its_count) = caller.unwrap();
        worst = worst.max(its_worst);
        count += its_count;
    }
    assert!(count > 20_000, "{count}");
    assert_eq!(worst, ms(0));
    // Once for each TTL and type, less what is asked for ahead: 0.72 s at the least.
    assert!(fake.asked("a.example", Family::V4) <= 8, "{}", fake.asked("a.example", Family::V4));
    assert!(fake.asked("a.example", Family::V6) <= 8);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_looks_up_is_not_refreshed() {
    let fake = Fake::new(v4_only(0, 1));
    let dns = dns(&fake);
    look(&dns, "a.example").await.unwrap();
    look(&dns, "a.example").await.unwrap();
    sleep(60 * SECOND).await;
    // Once when it was cold, and once because it was looked up since.
    assert_eq!(fake.asked("a.example", Family::V4), 2);
    assert_eq!(dns.tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_aaaa_that_never_comes_delays_a_by_50_ms_once() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::After(ms(20), found(A, 3_600)),
        Family::V6 => Say::Never,
    });
    let dns = dns(&fake);
    let start = Instant::now();
    assert_eq!(look(&dns, "a.example").await.unwrap(), A);
    assert_eq!(start.elapsed(), ms(70));
    assert_eq!(look(&dns, "a.example").await.unwrap(), A);
    assert_eq!(start.elapsed(), ms(70));
    // It times out after 5 seconds, is asked for again after 1, 2, 4 and so on up to 30.
    for _ in 0..600 {
        sleep(ms(100)).await;
        look(&dns, "a.example").await.unwrap();
    }
    assert_eq!(fake.asked("a.example", Family::V4), 1);
    let asked = fake.asked("a.example", Family::V6);
    assert!((3..=6).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn an_aaaa_that_comes_later_is_in_the_next_answer() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::After(ms(10), found(A, 60)),
        Family::V6 => Say::After(ms(200), found(&["2001:db8::1"], 60)),
    });
    let dns = dns(&fake);
    assert_eq!(look(&dns, "a.example").await.unwrap(), A);
    sleep(ms(200)).await;
    let both = look(&dns, "a.example").await.unwrap();
    assert_eq!(both.len(), 2);
    assert!(both.contains(&"2001:db8::1".to_owned()));
    assert_eq!(fake.asked("a.example", Family::V6), 1);
}

#[tokio::test(start_paused = true)]
async fn each_family_keeps_its_own_time() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::Now(found(A, 10)),
        Family::V6 => Say::Now(found(&["2001:db8::1"], 100)),
    });
    let dns = dns(&fake);
    for _ in 0..50 {
        assert_eq!(look(&dns, "a.example").await.unwrap().len(), 2);
        sleep(SECOND).await;
    }
    assert_eq!(fake.asked("a.example", Family::V6), 1);
    let asked = fake.asked("a.example", Family::V4);
    assert!((5..=8).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_name_with_ipv6_alone_is_not_held_up() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::Now(none(60)),
        Family::V6 => Say::After(ms(150), found(&["2001:db8::1"], 60)),
    });
    let dns = dns(&fake);
    assert_eq!(look(&dns, "a.example").await.unwrap(), ["2001:db8::1"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_denies_the_name_for_one_type_does_not_take_the_other() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::After(ms(20), found(A, 60)),
        Family::V6 => Say::Now(failed(DnsErrorKind::NxDomain)),
    });
    assert_eq!(look(&dns(&fake), "a.example").await.unwrap(), A);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_no_longer_than_its_budget() {
    let fake = Fake::new(|_, _| Say::Never);
    let dns = layer().budget(ms(400)).unwrap().layer(fake.clone());
    let start = Instant::now();
    assert_eq!(look(&dns, "a.example").await, Err(DnsErrorKind::Timeout));
    assert_eq!(start.elapsed(), ms(400));
}

#[tokio::test(start_paused = true)]
async fn lookups_beyond_the_bound_wait_for_a_place() {
    let fake = Fake::new(v4_only(100, 60));
    let dns = layer().max_flights(2).unwrap().layer(fake.clone());
    let mut callers = JoinSet::new();
    for number in 0..6 {
        let dns = dns.clone();
        callers.spawn(async move { look(&dns, &format!("n{number}.example")).await });
    }
    let start = Instant::now();
    while let Some(found) = callers.join_next().await {
        assert_eq!(found.unwrap().unwrap(), A);
    }
    assert_eq!(start.elapsed(), ms(300));

    fake.say(|_, _| Say::Never);
    let hang = |name: &'static str| {
        let dns = dns.clone();
        tokio::spawn(async move { look(&dns, name).await })
    };
    let (one, two) = (hang("x.example"), hang("y.example"));
    sleep(ms(1)).await;
    let dns = dns.clone();
    let third = tokio::spawn(async move { look(&dns, "z.example").await });
    let kinds = [one.await.unwrap(), two.await.unwrap(), third.await.unwrap()];
    assert_eq!(kinds[0], Err(DnsErrorKind::Timeout));
    assert_eq!(kinds[1], Err(DnsErrorKind::Timeout));
    // Its place came when those before it were given up, at the very end of its own time.
    assert!(matches!(kinds[2], Err(DnsErrorKind::Busy | DnsErrorKind::Timeout)), "{:?}", kinds[2]);
}
