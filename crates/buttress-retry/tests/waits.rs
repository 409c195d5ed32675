//! How long a call waits between attempts, and when it does not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::HashSet, io::ErrorKind, time::Duration};

use buttress_core::{Deadline, Phase, TimedOut, cause};
use buttress_retry::{Backoff, Budget, EmptyBudget, Ending, HttpPolicy, Jitter, RetryLayer};
use common::{
    Answer, Reply, Upstream, Watcher, get, hinted, io_error, response, send, status, upstream,
};
use tokio::time::Instant;
use tower::Layer;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn exact(delay: Duration) -> Backoff {
    Backoff::fixed(delay)
}

/// Sends one call whose first answer is `reply` and returns the wait before the second attempt.
async fn wait_after(reply: Reply) -> (Option<Duration>, Ending) {
    let (inner, watcher) = (upstream([reply]), Watcher::default());
    let layer = RetryLayer::http().backoff(exact(ms(1))).observer(watcher.clone());
    drop(send(&mut layer.layer(inner.clone()), get()).await);
    (inner.waits().first().copied(), watcher.ending())
}

#[tokio::test(start_paused = true)]
async fn the_wait_doubles_up_to_its_ceiling() {
    let inner = Upstream::always(|| response(503));
    let backoff = Backoff::exponential(ms(100), ms(350)).unwrap().jitter(Jitter::None);
    let layer = RetryLayer::http().backoff(backoff).max_attempts(5).unwrap();
    drop(send(&mut layer.layer(inner.clone()), get()).await);
    assert_eq!(inner.waits(), [ms(100), ms(200), ms(350), ms(350)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_never_called_earlier_than_it_asked() {
    for (name, value, asked) in [
        ("retry-after", "3", 3000),
        ("retry-after", " 3 ", 3000),
        ("retry-after", "1.5", 1500),
        ("retry-after-ms", "250", 250),
        ("x-ratelimit-reset-requests", "no use without remaining", 0),
    ] {
        let (wait, ending) = wait_after(hinted(503, name, value.as_bytes())).await;
        let wait = wait.expect("it goes again");
        let most = ms(asked + asked / 10).max(ms(2));
        assert!(ms(asked) <= wait && wait <= most, "{name}: {value}: {wait:?}");
        assert_eq!(ending, Ending::Success);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_that_makes_no_sense_is_ignored() {
    for value in ["-5", "1e400", "NaN", "inf", "", "soon"] {
        let (wait, _) = wait_after(hinted(503, "retry-after", value.as_bytes())).await;
        assert_eq!(wait, Some(ms(1)), "{value:?}");
    }
    let (wait, _) = wait_after(hinted(503, "retry-after", b"\xff\xfe")).await;
    assert_eq!(wait, Some(ms(1)));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_in_the_past_asks_for_nothing() {
    for value in ["0", "Wed, 21 Oct 2015 07:28:00 GMT"] {
        let (wait, _) = wait_after(hinted(503, "retry-after", value.as_bytes())).await;
        assert_eq!(wait, Some(ms(1)), "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_retry_afters_the_longer_one_counts() {
    let mut answer = response(503).unwrap();
    answer.headers_mut().append("retry-after", "2".parse().unwrap());
    answer.headers_mut().append("retry-after", "4".parse().unwrap());
    let (wait, _) = wait_after(Reply::Now(Ok(answer))).await;
    assert!(wait.unwrap() >= ms(4000));
}

#[tokio::test(start_paused = true)]
async fn a_date_is_measured_by_the_servers_own_clock() {
    // The server's clock is years behind ours; it asks for ten seconds all the same.
    for date in [
        "Sun, 06 Nov 1994 08:49:47 GMT",
        "Sunday, 06-Nov-94 08:49:47 GMT",
        "Sun Nov  6 08:49:47 1994",
    ] {
        let mut answer = response(503).unwrap();
        answer.headers_mut().insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        answer.headers_mut().insert("retry-after", date.parse().unwrap());
        let (wait, _) = wait_after(Reply::Now(Ok(answer))).await;
        let wait = wait.unwrap();
        assert!(ms(10_000) <= wait && wait <= ms(11_000), "{date}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_too_long_has_its_response_returned() {
    let (inner, watcher) = (upstream([hinted(503, "retry-after", b"600")]), Watcher::default());
    let layer = RetryLayer::http().observer(watcher.clone());
    let answer = send(&mut layer.layer(inner.clone()), get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), inner.calls()), (503, 1));
    assert_eq!(answer.headers()["retry-after"], "600");
    assert_eq!(watcher.ending(), Ending::ServerDelayTooLong);

    let (wait, ending) = wait_after(hinted(503, "retry-after", b"99999999999999999999999")).await;
    assert_eq!((wait, ending), (None, Ending::ServerDelayTooLong));
}

#[tokio::test(start_paused = true)]
async fn the_server_has_the_last_word_on_whether() {
    let (wait, ending) = wait_after(hinted(503, "x-should-retry", b"false")).await;
    assert_eq!((wait, ending), (None, Ending::ServerSaidNo));
    let (wait, ending) = wait_after(hinted(409, "x-should-retry", b"true")).await;
    assert_eq!((wait, ending), (Some(ms(1)), Ending::Success));
}

#[tokio::test(start_paused = true)]
async fn hints_can_be_ignored() {
    let inner = upstream([hinted(503, "retry-after", b"600")]);
    let layer = RetryLayer::new(HttpPolicy::http().ignore_server_hints()).backoff(exact(ms(1)));
    send(&mut layer.layer(inner.clone()), get()).await.unwrap();
    assert_eq!(inner.waits(), [ms(1)]);
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_begun_that_would_end_at_the_deadline_or_later() {
    let begin = Instant::now();
    let (inner, watcher) = (upstream([Reply::After(ms(900), response(503))]), Watcher::default());
    let layer = RetryLayer::http()
        .backoff(exact(ms(200)))
        .total_timeout(ms(1000))
        .observer(watcher.clone());
    let answer = send(&mut layer.layer(inner), get()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(begin.elapsed(), ms(900));
    assert_eq!(watcher.ending(), Ending::DeadlineTooClose);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_ends_at_the_deadline() {
    let begin = Instant::now();
    let layer = RetryLayer::http().total_timeout(ms(1000));
    let error = send(&mut layer.layer(upstream([Reply::Never])), get()).await.unwrap_err();
    assert_eq!(begin.elapsed(), ms(1000));
    assert_eq!(cause(&*error), Some(&TimedOut::new(Phase::Total, ms(1000))));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_request_wins_over_the_total_timeout() {
    let begin = Instant::now();
    let mut request = get();
    request.extensions_mut().insert(Deadline::at((begin + ms(300)).into_std()));
    let layer = RetryLayer::http().total_timeout(ms(1000));
    let error = send(&mut layer.layer(upstream([Reply::Never])), request).await.unwrap_err();
    assert_eq!(begin.elapsed(), ms(300));
    assert_eq!(cause(&*error), Some(&TimedOut::new(Phase::Total, ms(300))));
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_given_up_and_an_idempotent_request_goes_again() {
    let inner = upstream([Reply::Never, status(200)]);
    let layer = RetryLayer::http().attempt_timeout(ms(100)).backoff(exact(ms(10)));
    send(&mut layer.layer(inner.clone()), get()).await.unwrap();
    assert_eq!(inner.waits(), [ms(110)]);

    let (inner, watcher) = (upstream([Reply::Never]), Watcher::default());
    let layer = RetryLayer::http().attempt_timeout(ms(100)).observer(watcher.clone());
    let error = send(&mut layer.layer(inner.clone()), common::post()).await.unwrap_err();
    assert_eq!(cause(&*error), Some(&TimedOut::new(Phase::Attempt, ms(100))));
    assert_eq!((inner.calls(), watcher.ending()), (1, Ending::NotIdempotent));
}

#[tokio::test(start_paused = true)]
async fn limits_that_no_clock_can_reach_are_no_limits() {
    let inner = upstream([status(503), io_error(ErrorKind::ConnectionReset)]);
    let layer = RetryLayer::http()
        .max_attempts(u32::MAX)
        .unwrap()
        .attempt_timeout(Duration::MAX)
        .total_timeout(Duration::MAX)
        .ready_timeout(Duration::MAX);
    send(&mut layer.layer(inner.clone()), get()).await.unwrap();
    assert_eq!(inner.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn callers_that_fail_together_do_not_come_back_together() {
    for base in [ms(50), ms(1000), ms(2000)] {
        let backoff = Backoff::exponential(base, Duration::from_secs(10)).unwrap();
        let layer = RetryLayer::http().no_budget().backoff(backoff);
        let calls = (0..1000).map(|_| {
            let inner = upstream([status(503)]);
            let mut service = layer.layer(inner.clone());
            async move {
                send(&mut service, get()).await.unwrap();
                inner
            }
        });
        let watched: Vec<_> = futures_util::future::join_all(calls).await;
        // The clock that a paused runtime keeps has a resolution of a millisecond; jitter has not.
        let waits: HashSet<_> = watched.iter().flat_map(Upstream::waits).collect();
        let distinct = usize::try_from(base.as_millis()).unwrap().min(600);
        assert!(waits.len() >= distinct * 9 / 10, "{base:?}: {} different waits", waits.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_delays_have_at_least_nine_hundred_values() {
    for base in [ms(100), ms(1000), ms(2000)] {
        let backoff = Backoff::exponential(base, Duration::from_secs(10)).unwrap();
        let watcher = Watcher::default();
        let layer = RetryLayer::http().no_budget().backoff(backoff).observer(watcher.clone());
        for _ in 0..1000 {
            send(&mut layer.layer(upstream([status(503)])), get()).await.unwrap();
        }
        let delays: HashSet<_> = watcher.told().retries.into_iter().map(|(_, d)| d).collect();
        assert!(delays.len() >= 900, "{base:?}: {}", delays.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_makes_the_waits_the_same_every_time() {
    let run = || async {
        let inner = Upstream::always(|| response(503));
        drop(send(&mut RetryLayer::http().rng_seed(7).layer(inner.clone()), get()).await);
        inner.waits()
    };
    assert_eq!(run().await, run().await);
}

fn one_token_a_second() -> Budget {
    Budget::percent(0.0).unwrap().floor_per_sec(1).unwrap().burst(1).unwrap()
}

#[tokio::test(start_paused = true)]
async fn callers_wait_in_order_for_the_next_token() {
    let layer = RetryLayer::http()
        .budget(one_token_a_second())
        .on_empty_budget(EmptyBudget::Wait)
        .backoff(exact(ms(1)));
    let begin = Instant::now();
    let calls = (0..4).map(|_| {
        let mut service = layer.layer(upstream([status(503)]));
        async move {
            send(&mut service, get()).await.unwrap();
            begin.elapsed().as_secs()
        }
    });
    assert_eq!(futures_util::future::join_all(calls).await, [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_token_ends_at_the_deadline_with_the_last_error() {
    let inner = Upstream::always(|| Err(std::io::Error::from(ErrorKind::ConnectionReset).into()));
    let (begin, watcher) = (Instant::now(), Watcher::default());
    let empty = Budget::percent(0.0).unwrap().floor_per_sec(0).unwrap().burst(1).unwrap();
    let layer = RetryLayer::http()
        .budget(empty)
        .on_empty_budget(EmptyBudget::Wait)
        .total_timeout(ms(5000))
        .observer(watcher.clone());
    let error = send(&mut layer.layer(inner.clone()), get()).await.unwrap_err();
    assert_eq!(cause::<std::io::Error>(&*error).unwrap().kind(), ErrorKind::ConnectionReset);
    assert_eq!((begin.elapsed(), inner.calls()), (ms(5000), 2));
    assert_eq!(watcher.ending(), Ending::BudgetExhausted);
}

#[tokio::test(start_paused = true)]
async fn an_llm_call_that_waits_in_vain_still_gets_the_servers_answer() {
    let empty = Budget::percent(0.0).unwrap().floor_per_sec(0).unwrap().burst(1).unwrap();
    let inner = Upstream::always(|| -> Answer { response(503) });
    let layer = RetryLayer::llm().budget(empty).total_timeout(ms(30_000));
    let answer = send(&mut layer.layer(inner.clone()), common::post()).await.unwrap();
    assert_eq!((answer.status().as_u16(), inner.calls()), (503, 2));
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(&body[..], b"body");
}

#[tokio::test(start_paused = true)]
async fn callers_who_were_told_the_same_time_come_back_at_different_ones() {
    let watcher = Watcher::default();
    let layer = RetryLayer::http().no_budget().observer(watcher.clone());
    for _ in 0..100 {
        let inner = upstream([hinted(503, "retry-after", b"10")]);
        send(&mut layer.layer(inner), get()).await.unwrap();
    }
    let delays: HashSet<_> = watcher.told().retries.into_iter().map(|(_, delay)| delay).collect();
    assert!(delays.len() >= 95, "{}", delays.len());
    assert!(delays.iter().all(|delay| (ms(10_000)..=ms(11_000)).contains(delay)), "{delays:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_full_gives_the_servers_answer_back() {
    let budget = Budget::percent(0.0).unwrap().floor_per_sec(0).unwrap().burst(1).unwrap();
    let layer = RetryLayer::http()
        .budget(budget.max_waiters(0))
        .on_empty_budget(EmptyBudget::Wait)
        .backoff(exact(ms(1)));
    let inner = Upstream::always(|| response(503));
    let answer = send(&mut layer.layer(inner.clone()), get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), inner.calls()), (503, 2));
}

#[tokio::test(start_paused = true)]
async fn a_limit_can_be_taken_away() {
    let slow = Reply::After(ms(5000), response(200));
    let layer = RetryLayer::http().total_timeout(ms(1000)).total_timeout(None);
    assert!(send(&mut layer.layer(upstream([slow])), get()).await.is_ok());
}
