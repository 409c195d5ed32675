//! What goes again and what does not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::ErrorKind;

use buttress_core::{Attempts, AttemptsFailed, Outcome, cause};
use buttress_retry::{AttemptHeader, Budget, Ending, HttpPolicy, Nested, NoRetry, RetryLayer};
use common::{Upstream, Watcher, get, io_error, post, request, response, send, status, upstream};
use http::{Method, StatusCode};
use tower::{Layer, ServiceBuilder};

#[tokio::test(start_paused = true)]
async fn idempotent_requests_go_again_after_the_default_statuses() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let inner = upstream([status(code)]);
            let answer = send(&mut RetryLayer::http().layer(inner.clone()), request(method)).await;
            assert_eq!(answer.unwrap().status(), StatusCode::OK, "{code}");
            assert_eq!(inner.calls(), 2, "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_statuses_go_to_the_caller() {
    for code in [400, 401, 403, 404, 409, 421, 501, 505, 507, 511] {
        let (inner, watcher) = (upstream([status(code)]), Watcher::default());
        let layer = RetryLayer::http().observer(watcher.clone());
        let answer = send(&mut layer.layer(inner.clone()), get()).await.unwrap();
        assert_eq!((answer.status().as_u16(), inner.calls()), (code, 1));
        assert_eq!(watcher.ending(), Ending::NotRetryable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_the_user_names_goes_again() {
    let inner = upstream([status(409)]);
    let policy = HttpPolicy::http().statuses([StatusCode::CONFLICT]);
    let answer = send(&mut RetryLayer::new(policy).layer(inner.clone()), get()).await.unwrap();
    assert_eq!((answer.status(), inner.calls()), (StatusCode::OK, 2));
}

#[tokio::test(start_paused = true)]
async fn a_post_without_a_key_is_not_repeated_once_it_may_have_been_processed() {
    for failure in [status(503), status(500), io_error(ErrorKind::ConnectionReset)] {
        let (inner, watcher) = (upstream([failure]), Watcher::default());
        let layer = RetryLayer::http().observer(watcher.clone());
        drop(send(&mut layer.layer(inner.clone()), post()).await);
        assert_eq!(inner.calls(), 1);
        assert_eq!(watcher.ending(), Ending::NotIdempotent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_whose_connection_was_refused_goes_again() {
    let inner = upstream([io_error(ErrorKind::ConnectionRefused)]);
    let answer = send(&mut RetryLayer::http().layer(inner.clone()), post()).await.unwrap();
    assert_eq!((answer.status(), inner.calls()), (StatusCode::OK, 2));
}

#[tokio::test(start_paused = true)]
async fn a_post_with_an_idempotency_key_goes_again_with_the_same_key() {
    let inner = upstream([io_error(ErrorKind::ConnectionReset), status(503)]);
    let mut post = post();
    post.headers_mut().insert("idempotency-key", "k-1".parse().unwrap());
    send(&mut RetryLayer::http().layer(inner.clone()), post).await.unwrap();
    let keys: Vec<_> =
        inner.seen().iter().map(|seen| seen.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys, ["k-1", "k-1", "k-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_made_up_idempotency_key_is_the_same_for_all_attempts_and_for_no_other_call() {
    let layer = RetryLayer::new(HttpPolicy::http().make_idempotency_keys());
    let mut keys = Vec::new();
    for _ in 0..2 {
        let inner = upstream([status(503)]);
        send(&mut layer.layer(inner.clone()), post()).await.unwrap();
        let seen = inner.seen();
        assert_eq!(seen[0].headers["idempotency-key"], seen[1].headers["idempotency-key"]);
        keys.push(seen[0].headers["idempotency-key"].clone());
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test(start_paused = true)]
async fn what_the_user_calls_idempotent_is() {
    let inner = upstream([status(500)]);
    let policy = HttpPolicy::http().treat_as_idempotent(|head| head.uri.path() == "/");
    send(&mut RetryLayer::new(policy).layer(inner.clone()), post()).await.unwrap();
    assert_eq!(inner.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn for_an_llm_api_busy_means_not_processed_and_an_error_does_not() {
    for (code, calls) in [(429, 2), (503, 2), (529, 2), (500, 1), (502, 1), (400, 1)] {
        let inner = upstream([status(code)]);
        drop(send(&mut RetryLayer::llm().layer(inner.clone()), post()).await);
        assert_eq!(inner.calls(), calls, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_busy_preset_makes_five_attempts_on_503_only() {
    let inner = Upstream::always(|| response(503));
    let answer = send(&mut RetryLayer::busy().layer(inner.clone()), post()).await.unwrap();
    assert_eq!((answer.status().as_u16(), inner.calls()), (503, 5));

    let inner = Upstream::always(|| response(429));
    drop(send(&mut RetryLayer::busy().layer(inner.clone()), post()).await);
    assert_eq!(inner.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn upgrades_and_tunnels_never_go_again() {
    let mut upgrade = get();
    upgrade.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    for request in [upgrade, request(Method::CONNECT)] {
        let inner = upstream([io_error(ErrorKind::ConnectionRefused)]);
        assert!(send(&mut RetryLayer::http().layer(inner.clone()), request).await.is_err());
        assert_eq!(inner.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_can_switch_retries_off() {
    let (inner, watcher) = (upstream([status(503)]), Watcher::default());
    let mut request = get();
    request.extensions_mut().insert(NoRetry::new());
    let layer = RetryLayer::http().observer(watcher.clone());
    let answer = send(&mut layer.layer(inner.clone()), request).await.unwrap();
    assert_eq!((answer.status().as_u16(), inner.calls()), (503, 1));
    assert_eq!(watcher.ending(), Ending::Disabled);
}

#[tokio::test(start_paused = true)]
async fn headers_tell_the_server_which_attempt_it_sees() {
    let count = |header: AttemptHeader, name: &'static str| async move {
        let inner = upstream([status(503), status(503)]);
        let policy = HttpPolicy::http().attempt_header(header);
        send(&mut RetryLayer::new(policy).layer(inner.clone()), get()).await.unwrap();
        let seen = inner.seen();
        let value =
            |seen: &common::Seen| Some(seen.headers.get(name)?.to_str().unwrap().to_owned());
        seen.iter().map(value).collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    let envoy = count(AttemptHeader::Envoy, "x-envoy-attempt-count").await;
    assert_eq!(envoy, [some("1"), some("2"), some("3")]);
    let grpc = count(AttemptHeader::Grpc, "grpc-previous-rpc-attempts").await;
    assert_eq!(grpc, [None, some("1"), some("2")]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_prepared_from_the_request_as_it_came() {
    let inner = upstream([status(503)]);
    let policy = HttpPolicy::http().before_attempt(|head, attempt| {
        head.headers.append("x-signed", attempt.into());
    });
    send(&mut RetryLayer::new(policy).layer(inner.clone()), get()).await.unwrap();
    let signed: Vec<_> = inner
        .seen()
        .iter()
        .map(|s| s.headers.get_all("x-signed").iter().cloned().collect::<Vec<_>>())
        .collect();
    assert_eq!(signed, [["1"], ["2"]]);
}

#[tokio::test(start_paused = true)]
async fn a_response_after_several_attempts_says_how_many() {
    let inner = upstream([status(503)]);
    let mut service = RetryLayer::http().layer(inner.clone());
    let answer = send(&mut service, get()).await.unwrap();
    assert_eq!(answer.extensions().get::<Attempts>().unwrap().made(), 2);
    let answer = send(&mut service, get()).await.unwrap();
    assert!(answer.extensions().get::<Attempts>().is_none(), "one attempt is not worth a word");
}

#[tokio::test(start_paused = true)]
async fn an_error_after_several_attempts_says_how_many_and_keeps_the_last_one() {
    let inner = Upstream::always(|| Err(std::io::Error::from(ErrorKind::ConnectionReset).into()));
    let error = send(&mut RetryLayer::http().layer(inner.clone()), get()).await.unwrap_err();
    assert_eq!(error.to_string(), "failed after 3 attempts");
    assert_eq!(cause::<AttemptsFailed>(&*error).unwrap().attempts().made(), 3);
    assert_eq!(cause::<std::io::Error>(&*error).unwrap().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn nested_retry_layers_do_not_multiply_attempts() {
    for failure in
        [|| response(503), || Err(std::io::Error::from(ErrorKind::ConnectionReset).into())]
            as [fn() -> common::Answer; 2]
    {
        let inner = Upstream::always(failure);
        let mut service = ServiceBuilder::new()
            .layer(RetryLayer::http())
            .layer(RetryLayer::http())
            .service(inner.clone());
        drop(send(&mut service, get()).await);
        assert_eq!(inner.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outer_layer_goes_on_where_the_inner_one_stopped() {
    let inner = Upstream::always(|| response(503));
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::http().max_attempts(5).unwrap())
        .layer(RetryLayer::http())
        .service(inner.clone());
    drop(send(&mut service, get()).await);
    assert_eq!(inner.calls(), 5, "three within the first attempt, then two more");
    let made: Vec<_> =
        inner.seen().iter().map(|s| s.attempts.as_ref().map(Attempts::limit)).collect();
    assert_eq!(made, [None, Some(3), Some(3), Some(5), Some(5)]);
}

#[tokio::test(start_paused = true)]
async fn layers_that_are_told_to_multiply_do() {
    let inner = Upstream::always(|| response(503));
    let multiply = || {
        let policy = HttpPolicy::http().nested(Nested::Multiply);
        RetryLayer::new(policy).no_budget()
    };
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::http().no_budget().max_attempts(9).unwrap())
        .layer(multiply())
        .service(inner.clone());
    drop(send(&mut service, get()).await);
    assert!(inner.calls() > 9, "{}", inner.calls());
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_gives_the_failure_back() {
    let (inner, watcher) = (Upstream::always(|| response(503)), Watcher::default());
    let budget = Budget::percent(0.0).unwrap().floor_per_sec(0).unwrap().burst(1).unwrap();
    let layer = RetryLayer::http().budget(budget).observer(watcher.clone());
    let answer = send(&mut layer.layer(inner.clone()), get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), inner.calls()), (503, 2));
    assert_eq!(watcher.ending(), Ending::BudgetExhausted);
}

#[tokio::test(start_paused = true)]
async fn clones_and_every_service_of_a_layer_share_one_budget() {
    let inner = Upstream::always(|| response(503));
    let budget = Budget::percent(0.0).unwrap().floor_per_sec(0).unwrap().burst(3).unwrap();
    let layer = RetryLayer::http().budget(budget);
    for _ in 0..10 {
        drop(send(&mut layer.clone().layer(inner.clone()), get()).await);
    }
    assert_eq!(inner.calls(), 10 + 3);
}

#[test]
fn zero_attempts_are_refused_where_they_are_set() {
    let error = RetryLayer::http().max_attempts(0).unwrap_err();
    assert_eq!(error.setting(), "retry.max_attempts");
    assert!(error.to_string().starts_with("`retry.max_attempts` is 0"), "{error}");
    assert!(RetryLayer::http().max_attempts(u32::MAX).is_ok());
}

fn two_tokens() -> Budget {
    Budget::percent(0.0).unwrap().floor_per_sec(0).unwrap().burst(2).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_retry_of_what_was_never_sent_is_free_and_the_next_costs_a_token() {
    let refused = || Err(std::io::Error::from(ErrorKind::ConnectionRefused).into());
    let (inner, budget) = (Upstream::always(refused), two_tokens());
    let layer = RetryLayer::http().budget(budget.clone());
    assert!(send(&mut layer.layer(inner.clone()), post()).await.is_err());
    assert_eq!((inner.calls(), budget.balance()), (3, 1.0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_timeout_costs_two_tokens() {
    let (inner, budget) = (upstream([common::Reply::Never]), two_tokens());
    let layer = RetryLayer::http()
        .budget(budget.clone())
        .attempt_timeout(std::time::Duration::from_secs(1));
    send(&mut layer.layer(inner.clone()), get()).await.unwrap();
    assert_eq!((inner.calls(), budget.balance()), (2, 0.0));
}

#[tokio::test(start_paused = true)]
async fn calls_that_get_no_answer_pay_for_no_retries() {
    let invalid = || Err(buttress_core::InvalidRequest::new("the URI has no host").into());
    let budget = Budget::percent(100.0).unwrap().floor_per_sec(0).unwrap().burst(2).unwrap();
    budget.reserve(buttress_retry::Cost::TRANSIENT).unwrap().spend();
    let layer = RetryLayer::http().budget(budget.clone());
    for _ in 0..5 {
        let inner = Upstream::always(invalid);
        assert!(send(&mut layer.layer(inner), get()).await.is_err());
    }
    assert_eq!(budget.balance(), 1.0);
    send(&mut layer.layer(Upstream::always(|| response(404))), get()).await.unwrap();
    assert_eq!(budget.balance(), 2.0, "an answer is a sign of health");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_sent_once_is_not_called_unsent_because_its_last_attempt_was_not() {
    let inner = upstream([
        io_error(ErrorKind::ConnectionReset),
        io_error(ErrorKind::ConnectionRefused),
        io_error(ErrorKind::ConnectionRefused),
    ]);
    let error = send(&mut RetryLayer::http().layer(inner), get()).await.unwrap_err();
    assert_eq!(Outcome::of_error(&*error), Outcome::Transient);

    let refused = || Err(std::io::Error::from(ErrorKind::ConnectionRefused).into());
    let inner = Upstream::always(refused);
    let error = send(&mut RetryLayer::http().layer(inner), get()).await.unwrap_err();
    assert_eq!(Outcome::of_error(&*error), Outcome::NotSent);
}

#[tokio::test(start_paused = true)]
async fn amplification_stays_within_its_bounds_through_the_layer() {
    for (failing, bound) in [(10, 1.25), (30, 1.25), (50, 1.25), (75, 1.15), (100, 1.05)] {
        static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        static FAILING: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        CALLS.store(0, std::sync::atomic::Ordering::SeqCst);
        FAILING.store(failing, std::sync::atomic::Ordering::SeqCst);
        let inner = Upstream::always(|| {
            // A fixed sequence without a pattern: the multiplier is that of Knuth's MMIX.
            let call = CALLS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            let random = call.wrapping_mul(6_364_136_223_846_793_005).rotate_left(29);
            let random = random.wrapping_mul(6_364_136_223_846_793_005) >> 33;
            let fails = random % 100 < FAILING.load(std::sync::atomic::Ordering::SeqCst);
            response(if fails { 500 } else { 200 })
        });
        let none = buttress_retry::Backoff::fixed(std::time::Duration::ZERO);
        let budget = Budget::default().floor_per_sec(0).unwrap();
        let layer = RetryLayer::http().max_attempts(4).unwrap().budget(budget).backoff(none);
        let mut service = layer.layer(inner.clone());
        for _ in 0..20_000 {
            drop(send(&mut service, get()).await);
        }
        let amplification = f64::from(u32::try_from(inner.calls()).unwrap()) / 20_000.0;
        assert!(amplification <= bound, "{failing} %: {amplification}");
        assert!(amplification > 1.0, "{failing} %: {amplification}");
    }
}
