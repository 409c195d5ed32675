//! What an upstream says that it allows, where that is less than was configured.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use buttress_limit::{
    Allowance, Ask, Cost, DeniedKind, Key, Learn, Lesson, Limiter, Local, Policy, Quota,
    RateLimitLayer, Snapshot, Tier, Unit, Wait,
};
use common::{Text, admitted, answering, get, one, per, tokens};
use http::{HeaderName, HeaderValue, Response};
use proptest::prelude::*;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn peek(limiter: &Local, ask: &Ask) -> Snapshot {
    limiter.peek(ask).unwrap()
}

/// The amount of each window that holds for this key at the moment.
fn amounts(limiter: &Local, ask: &Ask) -> Vec<u32> {
    peek(limiter, ask).policy().quotas().iter().map(Quota::amount).collect()
}

fn limit(unit: Unit, amount: u64, per: Duration) -> Lesson {
    Lesson::Limit(Allowance::new(unit, amount, per, 300 * SECOND))
}

fn both() -> Policy {
    let requests = Quota::per_minute(100).unwrap();
    let daily = Quota::per_day(10_000).unwrap();
    Policy::new([requests, Quota::tokens_per_minute(1_000).unwrap(), daily]).unwrap()
}

/// The amounts after an answer with these headers.
async fn taught(learn: Learn, headers: &[(&str, &str)]) -> Vec<u32> {
    let headers: Vec<(HeaderName, HeaderValue)> = headers
        .iter()
        .map(|(name, value)| {
            (name.parse().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect();
    let (inner, _) = answering(move |_| {
        let mut response = Response::new(Text::default());
        for (name, value) in &headers {
            response.headers_mut().append(name, value.clone());
        }
        response
    });
    let limiter = Local::new(both()).unwrap();
    let layer = RateLimitLayer::outbound(limiter.clone()).learn(learn);
    layer.layer(inner).oneshot(get("/")).await.unwrap();
    amounts(&limiter, &Ask::new(Key::GLOBAL, Cost::request()))
}

#[tokio::test(start_paused = true)]
async fn a_limit_lowers_the_windows_of_its_unit_and_its_time() {
    for (name, value, expected) in [
        ("x-ratelimit-limit-requests", "40", [40, 1_000, 10_000]),
        ("x-ratelimit-limit-tokens", "400", [100, 400, 10_000]),
        ("anthropic-ratelimit-requests-limit", "60", [60, 1_000, 10_000]),
        ("anthropic-ratelimit-tokens-limit", "999", [100, 999, 10_000]),
        ("ratelimit-policy", r#""a";q=50;w=60"#, [50, 1_000, 10_000]),
        ("ratelimit-policy", r#""a";q=50;w=60, "b";q=5000;w=86400"#, [50, 1_000, 5_000]),
        ("ratelimit-policy", r#""t";q=300;w=60;qu="tokens""#, [100, 300, 10_000]),
    ] {
        assert_eq!(taught(Learn::new(), &[(name, value)]).await, expected, "{name}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_never_raises_and_one_in_another_unit_or_time_says_nothing() {
    for (name, value) in [
        ("x-ratelimit-limit-requests", "100"),
        ("x-ratelimit-limit-requests", "5000"),
        ("x-ratelimit-limit-requests", "18446744073709551615"),
        ("anthropic-ratelimit-input-tokens-limit", "10"),
        ("x-ratelimit-limit", "10"),
        ("ratelimit-policy", r#""a";q=10;w=3600"#),
        ("ratelimit-policy", r#""a";q=10;w=60;qu="content-bytes""#),
        ("ratelimit-policy", r#""a";q=10"#),
    ] {
        let all = taught(Learn::new(), &[(name, value)]).await;
        assert_eq!(all, [100, 1_000, 10_000], "{name}: {value}");
    }
    let never = Learn::new().limits_last(Duration::ZERO);
    let said = [("x-ratelimit-limit-requests", "40")];
    assert_eq!(taught(never, &said).await, [100, 1_000, 10_000]);
    let cached = [("x-ratelimit-limit-requests", "40"), ("age", "9")];
    assert_eq!(taught(Learn::new(), &cached).await, [100, 1_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn nonsense_lowers_nothing_and_no_limit_lowers_to_less_than_a_tenth() {
    for nonsense in ["0", "-1", "1e9", "abc", "", "NaN", "4.5", " 40", "99999999999999999999999"] {
        let all = taught(Learn::new(), &[("x-ratelimit-limit-requests", nonsense)]).await;
        assert_eq!(all, [100, 1_000, 10_000], "{nonsense}");
    }
    let all = taught(Learn::new(), &[("x-ratelimit-limit-requests", "1")]).await;
    assert_eq!(all, [10, 1_000, 10_000]);
    let all = taught(Learn::new(), &[("ratelimit-policy", r#""a";q=0;w=60, "b";q=1;w=60"#)]).await;
    assert_eq!(all, [10, 1_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_runs_out_and_the_key_comes_back_in_stages() {
    let limiter = Local::new(Quota::per_minute(90).unwrap()).unwrap();
    let key = one("a");
    limiter.learn(key.key, Tier::FIRST, limit(Unit::Requests, 30, MINUTE));
    assert_eq!(admitted(&limiter, key, 100), 30);
    for (seconds, amount) in [(299, 30), (1, 50), (59, 50), (1, 70), (59, 70), (1, 90), (600, 90)] {
        sleep(seconds * SECOND).await;
        assert_eq!(amounts(&limiter, &key), [amount], "{seconds} s later");
    }
    assert_eq!(admitted(&limiter, key, 100), 90);
    assert_eq!(amounts(&limiter, &one("b")), [90], "another key");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_again_goes_on_and_a_higher_limit_waits_until_the_lower_one_runs_out() {
    let limiter = Local::new(Quota::per_minute(90).unwrap()).unwrap();
    let key = one("a");
    let say = |amount| limiter.learn(key.key, Tier::FIRST, limit(Unit::Requests, amount, MINUTE));
    say(30);
    for _ in 0..10 {
        sleep(200 * SECOND).await;
        say(30);
        assert_eq!(amounts(&limiter, &key), [30]);
    }
    sleep(200 * SECOND).await;
    say(60);
    assert_eq!(amounts(&limiter, &key), [30], "it is not raised by a word");
    sleep(100 * SECOND).await;
    assert_eq!(amounts(&limiter, &key), [50]);
    sleep(60 * SECOND).await;
    assert_eq!(amounts(&limiter, &key), [70]);
    say(60);
    assert_eq!(amounts(&limiter, &key), [60], "there it is less");
    say(20);
    assert_eq!(amounts(&limiter, &key), [20]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_handed_over_with_as_large_a_part_of_its_burst_spent() {
    let limiter = Local::new(Quota::per_minute(100).unwrap()).unwrap();
    let key = one("a");
    assert_eq!(admitted(&limiter, key, 50), 50);
    limiter.learn(key.key, Tier::FIRST, limit(Unit::Requests, 20, MINUTE));
    assert_eq!(peek(&limiter, &key).standings()[0].remaining(), 10);
    assert_eq!(admitted(&limiter, key, 50), 10);
    let denied = limiter.try_acquire(&key).unwrap().unwrap_err();
    assert_eq!(denied.kind(), DeniedKind::Quota);
    assert_eq!(denied.retry_after(), Some(3 * SECOND), "20 in a minute");
    assert_eq!(denied.snapshot().unwrap().policy().quotas()[0].amount(), 20);
}

#[tokio::test(start_paused = true)]
async fn answers_say_the_limit_that_holds() {
    let limiter = Local::new(Quota::per_minute(100).unwrap()).unwrap();
    limiter.learn(Key::GLOBAL, Tier::FIRST, limit(Unit::Requests, 20, MINUTE));
    let layer = RateLimitLayer::outbound(limiter).reject().headers();
    let (inner, _) = answering(|_| Response::new(Text::default()));
    let service = layer.layer(inner);
    let first = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(first.headers()["ratelimit-policy"], r#""per-minute";q=20;w=60"#);
    assert_eq!(first.headers()["ratelimit"], r#""per-minute";r=19;t=3"#);
    for _ in 0..19 {
        assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), 200);
    }
    let refused = service.oneshot(get("/")).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "3");
    assert_eq!(refused.headers()["ratelimit-policy"], r#""per-minute";q=20;w=60"#);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_do_so_by_the_lower_limit_and_then_by_each_stage() {
    let limiter = Local::new(per(100, 10 * SECOND).burst(1).unwrap()).unwrap();
    assert_eq!(admitted(&limiter, one("a"), 1), 1);
    let mut line = Vec::new();
    for millis in [400_u64, 900_000, 900_000] {
        let wait = Some(Wait::new(Duration::from_millis(millis)));
        line.push(tokio::spawn(limiter.acquire(one("a"), wait)));
        tokio::task::yield_now().await;
    }
    let said = Allowance::new(Unit::Requests, 10, 10 * SECOND, Duration::from_millis(500));
    let start = Instant::now();
    limiter.learn(one("a").key, Tier::FIRST, Lesson::Limit(said));
    let hasty = line.remove(0).await.unwrap().unwrap_err();
    assert_eq!((hasty.kind(), start.elapsed()), (DeniedKind::WaitTooLong, Duration::ZERO));
    // One in a second, of which half a second passes; then one in a quarter of a second.
    assert!(line.remove(0).await.unwrap().is_ok());
    let took = start.elapsed();
    assert!((600..=650).contains(&took.as_millis()), "{took:?}");
    assert!(line.remove(0).await.unwrap().is_ok());
    assert!(start.elapsed() - took <= Duration::from_millis(260), "{:?}", start.elapsed());
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_costs_more_than_a_lowered_burst_passes_when_that_is_there_and_owes_the_rest() {
    let limiter = Local::new(Quota::tokens_per_minute(1_000).unwrap()).unwrap();
    let large = Ask::new(one("a").key, tokens(600));
    limiter.learn(large.key, Tier::FIRST, limit(Unit::Tokens, 100, MINUTE));
    let huge = limiter.try_acquire(&Ask::new(large.key, tokens(1_001))).unwrap().unwrap_err();
    assert_eq!(huge.kind(), DeniedKind::CostTooLarge);
    assert!(limiter.try_acquire(&large).unwrap().is_ok());
    // It owes 500, at 100 in a minute; the debt ends at four bursts.
    let denied = limiter.try_acquire(&large).unwrap().unwrap_err();
    assert_eq!((denied.kind(), denied.retry_after()), (DeniedKind::Quota, Some(300 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn another_policy_is_lowered_as_the_one_before_was() {
    let limiter = Local::new(Quota::per_minute(100).unwrap()).unwrap();
    let limiter = limiter.tier(Quota::per_minute(50).unwrap()).unwrap();
    let key = one("a");
    limiter.learn(key.key, Tier::FIRST, limit(Unit::Requests, 20, MINUTE));
    let reconfigure = |quota: Quota| {
        limiter.reconfigure(Tier::FIRST, &Policy::new([quota]).unwrap()).unwrap();
    };
    reconfigure(Quota::per_minute(60).unwrap());
    assert_eq!(amounts(&limiter, &key), [20]);
    assert_eq!(amounts(&limiter, &key.tier(Tier::new(1))), [20]);
    assert_eq!(amounts(&limiter, &key), [20]);
    reconfigure(Quota::per_minute(10).unwrap());
    assert_eq!(amounts(&limiter, &key), [10], "it is less anyway");
    reconfigure(Quota::per_hour(60).unwrap());
    assert_eq!(amounts(&limiter, &key), [60], "it was said of minutes");
}

#[tokio::test(start_paused = true)]
async fn lowered_keys_are_bounded_and_forgotten() {
    let limiter = Local::new(Quota::per_minute(100).unwrap()).unwrap();
    let key = |number: u32| Key::hash(&number.to_le_bytes());
    for number in 0..20_000 {
        limiter.learn(key(number), Tier::FIRST, limit(Unit::Requests, 200, MINUTE));
    }
    assert_eq!(limiter.keys(), 0, "what lowers nothing leaves nothing behind");
    for number in 0..20_000 {
        limiter.learn(key(number), Tier::FIRST, limit(Unit::Requests, 20, MINUTE));
    }
    let ask = |number| Ask::new(key(number), Cost::request());
    let lowered = (0..20_000).filter(|number| amounts(&limiter, &ask(*number)) == [20]).count();
    assert_eq!(lowered, 64 * 64);
    advance(3_600 * SECOND).await;
    for number in 20_000..60_000 {
        assert!(limiter.try_acquire(&ask(number)).unwrap().is_ok());
    }
    assert!(limiter.keys() <= 41_000, "{}", limiter.keys());
    limiter.learn(key(60_001), Tier::FIRST, limit(Unit::Requests, 20, MINUTE));
    assert_eq!(amounts(&limiter, &ask(60_001)), [20], "there is room again");
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Wait(u64, u64),
    Hear(u64, u64),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..4_u64).prop_map(Step::Take),
        2 => (1..4_u64, 1..20_000_u64).prop_map(|(cost, most)| Step::Wait(cost, most)),
        2 => (1..80_u64, 1..9_000_u64).prop_map(|(amount, lasts)| Step::Hear(amount, lasts)),
        4 => (0..2_000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..200)
}

/// When something was admitted and what it cost.
async fn play(limiter: &Local, steps: Vec<Step>) -> Vec<(Instant, u64)> {
    let (seen, mut tasks) = (std::sync::Arc::new(std::sync::Mutex::new(Vec::new())), Vec::new());
    let ask = |cost| Ask::new(Key::GLOBAL, Cost::FREE.tokens(cost));
    for step in steps {
        match step {
            Step::Take(cost) => {
                if limiter.try_acquire(&ask(cost)).unwrap().is_ok() {
                    seen.lock().unwrap().push((Instant::now(), cost));
                }
            }
            Step::Wait(cost, most) => {
                let wait = Some(Wait::new(Duration::from_millis(most)));
                let (acquire, seen) = (limiter.acquire(ask(cost), wait), seen.clone());
                tasks.push(tokio::spawn(async move {
                    if acquire.await.is_ok() {
                        seen.lock().unwrap().push((Instant::now(), cost));
                    }
                }));
                tokio::task::yield_now().await;
            }
            Step::Hear(amount, lasts) => {
                let lasts = Duration::from_millis(lasts);
                let said = Allowance::new(Unit::Tokens, amount, 10 * SECOND, lasts);
                limiter.learn(Key::GLOBAL, Tier::FIRST, Lesson::Limit(said));
            }
            Step::Pass(millis) => sleep(Duration::from_millis(millis)).await,
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(limiter.waiting(), 0);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    seen
}

fn paused<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

/// The most that any window of this length sees.
fn most(seen: &[(Instant, u64)], length: Duration) -> u64 {
    let from = |start: Instant| {
        seen.iter()
            .filter(move |(at, _)| *at >= start && *at < start + length)
            .map(|(_, cost)| cost)
    };
    seen.iter().map(|(start, _)| from(*start).sum()).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_window_is_exceeded_however_a_key_is_lowered_and_comes_back(
        steps in steps(),
        burst in 1..60_u64,
    ) {
        let quota = Quota::of(Unit::Tokens, 60, 10 * SECOND).unwrap();
        let strict = quota.clone().strict().unwrap().burst(burst.max(3)).unwrap();
        let seen = paused(async { play(&Local::new(strict).unwrap(), steps.clone()).await });
        prop_assert!(most(&seen, 10 * SECOND) <= 60, "{:?}", seen);
        // In a time `t` no more than the burst and what comes back in `t`.
        let seen = paused(async {
            play(&Local::new(quota.burst(burst.max(3)).unwrap()).unwrap(), steps).await
        });
        for seconds in [1, 3, 10, 30] {
            let bound = burst.max(3) + 6 * seconds + 1;
            prop_assert!(most(&seen, Duration::from_secs(seconds)) <= bound, "{:?}", seen);
        }
    }

    #[test]
    fn no_window_sees_more_than_the_lower_limit_while_it_holds(
        steps in proptest::collection::vec((1..3_u64, 0..900_u64), 1..150),
        amount in 10..60_u64,
        before in 0..60_usize,
    ) {
        let seen = paused(async {
            let quota = Quota::of(Unit::Tokens, 60, 10 * SECOND).unwrap().strict().unwrap();
            let limiter = Local::new(quota).unwrap();
            let ask = |cost| Ask::new(Key::GLOBAL, Cost::FREE.tokens(cost));
            let _ = admitted(&limiter, ask(1), before);
            let said = Allowance::new(Unit::Tokens, amount, 10 * SECOND, 3_600 * SECOND);
            limiter.learn(Key::GLOBAL, Tier::FIRST, Lesson::Limit(said));
            let mut seen = Vec::new();
            for (cost, millis) in steps {
                if limiter.try_acquire(&ask(cost)).unwrap().is_ok() {
                    seen.push((Instant::now(), cost));
                }
                sleep(Duration::from_millis(millis)).await;
            }
            seen
        });
        prop_assert!(most(&seen, 10 * SECOND) <= amount, "{:?}", seen);
    }
}
