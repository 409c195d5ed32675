//! What the throttle is for, in virtual time and from a seed: the service serves what it can, and
//! has its calls back soon after an outage.

#[path = "../benches/concurrency/simulation.rs"]
mod simulation;

use simulation::{Kind, OUTAGE, OVERLOAD, Scenario, recovery, run, steady};

#[tokio::test(start_paused = true)]
async fn a_server_with_too_much_to_do_gets_to_serve() {
    let (served, _) = steady(&run(OVERLOAD, Kind::None, 1).await);
    assert!(served < 5.0, "without it, all it does is turn calls away: {served}");
    for seed in 1..=3 {
        let (served, turned_away) = steady(&run(OVERLOAD, Kind::Layer { k: 1.5 }, seed).await);
        assert!(served >= 80.0, "{served} of 100 a second");
        assert!(turned_away <= 60.0, "{turned_away} a second");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_a_minute_calls_are_back_within_ten_seconds() {
    for seed in 1..=3 {
        let seconds = run(OUTAGE, Kind::Layer { k: 1.5 }, seed).await;
        let took = recovery(&OUTAGE, &seconds).expect("it recovers");
        assert!(took <= 10, "{took} s");
        let during = &seconds[80..119];
        let sent: u64 = during.iter().map(|second| second.turned_away).sum();
        assert!(sent <= 39 * 40, "it was spared: {sent} calls in 39 s");
        assert_eq!(seconds.iter().take(60).map(|second| second.throttled).sum::<u64>(), 0);
        let after: u64 = seconds[240..].iter().map(|second| second.throttled).sum();
        assert_eq!(after, 0, "and it is dormant again");
    }
}

#[tokio::test(start_paused = true)]
async fn few_calls_and_many_both_come_back() {
    for (clients, offered) in [(1, 2), (1, 10), (1, 1_000), (100, 400)] {
        let scenario = Scenario { clients, offered, capacity: 10_000, ..OUTAGE };
        let seconds = run(scenario, Kind::Layer { k: 1.5 }, 7).await;
        let took = recovery(&scenario, &seconds).expect("it recovers");
        assert!(took <= 12, "{clients} clients, {offered}/s: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rule_with_a_window_of_fixed_length_needs_far_longer() {
    let seconds = run(OUTAGE, Kind::Plain { k: 1.5, window: 30 }, 1).await;
    assert!(recovery(&OUTAGE, &seconds).is_none_or(|took| took > 20), "the window is the reason");
}
