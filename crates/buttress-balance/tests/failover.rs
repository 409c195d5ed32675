//! What goes on to another endpoint, and what does not.

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_balance::{
    BalanceError, BalanceErrorKind, BalanceLayer, Health, NextUpstream, Observer, On, Picked,
    Served,
};
use buttress_core::{Attempts, AttemptsFailed, cause};
use bytes::Bytes;
use common::{Net, endpoint, get, in_flight, pass, post, set};
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{Either, Full, channel::Channel};
use tower::{Layer, ServiceExt};

const UNAVAILABLE: On = On::Status(StatusCode::SERVICE_UNAVAILABLE);

/// Three endpoints, none of which is ever ejected.
fn layer(set: &buttress_balance::EndpointSet) -> BalanceLayer<buttress_balance::LeastRequest> {
    BalanceLayer::new(set.clone()).least_request().health(Health::new().max_fails(0))
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_costs_no_client_anything_not_even_a_post() {
    let (net, set) = (Net::new(), set(["a", "b", "c"]));
    net.refuses("a");
    let client = layer(&set).layer(net.clone());
    for _ in 0..100 {
        assert_eq!(client.clone().oneshot(post()).await.unwrap().status(), 200);
    }
    assert!(net.calls("a") > 10);
    assert_eq!(in_flight(&set), 0);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_sent_goes_on_only_if_that_was_asked_for_or_it_has_a_key() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 503);
    net.resets("b");
    let plain = layer(&set).layer(net.clone());
    for _ in 0..20 {
        drop(plain.clone().oneshot(post()).await);
    }
    assert_eq!(net.all_calls(), 20);

    let next = NextUpstream::default().non_idempotent();
    let asked = layer(&set).next_upstream(next).layer(net.clone());
    drop(asked.clone().oneshot(post()).await);
    assert_eq!(net.all_calls(), 22);

    let mut keyed = post();
    let key = HeaderName::from_static("idempotency-key");
    keyed.headers_mut().insert(key, HeaderValue::from_static("1"));
    drop(plain.clone().oneshot(keyed).await);
    assert_eq!(net.all_calls(), 24);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_is_sent_once() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.refuses("a");
    net.refuses("b");
    let client = layer(&set).layer(net.clone());
    let mut upgrade = get();
    upgrade.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    assert!(client.oneshot(upgrade).await.is_err());
    assert_eq!(net.all_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_all_say_503_the_last_answer_is_returned_and_none_was_asked_twice() {
    let (net, set) = (Net::new(), set(["a", "b", "c", "d"]));
    for host in ["a", "b", "c", "d"] {
        net.answers(host, 503);
    }
    let next = NextUpstream::on([UNAVAILABLE]).tries(9).unwrap();
    let client = layer(&set).next_upstream(next).layer(net.clone());
    let response = client.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 503);
    for host in ["a", "b", "c", "d"] {
        assert_eq!(net.calls(host), 1);
    }
    let attempts = response.extensions().get::<Attempts>().unwrap();
    assert_eq!(attempts.made(), 4);
    assert_eq!(response.extensions().get::<Served>().unwrap().attempt(), 4);
    let members = set.candidates();
    assert!(members.iter().all(|member| attempts.has_tried(member.id().number())));
    assert_eq!(in_flight(&set), 0, "the body is empty");
}

#[tokio::test(start_paused = true)]
async fn tries_and_within_end_it() {
    let (net, set) = (Net::new(), set(["a", "b", "c"]));
    for host in ["a", "b", "c"] {
        net.takes(host, Duration::from_secs(2), 503);
    }
    let two = NextUpstream::on([UNAVAILABLE]).tries(2).unwrap();
    drop(layer(&set).next_upstream(two).layer(net.clone()).oneshot(get()).await);
    assert_eq!(net.all_calls(), 2);
    let within = NextUpstream::on([UNAVAILABLE]).within(Duration::from_secs(3));
    drop(layer(&set).next_upstream(within).layer(net.clone()).oneshot(get()).await);
    assert_eq!(net.all_calls(), 4);
    for refused in [0, 65, u32::MAX] {
        let error = NextUpstream::default().tries(refused).unwrap_err();
        assert_eq!(error.setting(), "balance.tries");
    }
}

#[tokio::test(start_paused = true)]
async fn no_endpoint_is_tried_twice_however_many_there_are() {
    let net = Net::new();
    let hosts: Vec<_> = (0..70).map(|n| format!("h{n}")).collect();
    hosts.iter().for_each(|host| net.refuses(host));
    let set = buttress_balance::EndpointSet::new(hosts.iter().map(|host| endpoint(host))).unwrap();
    let next = NextUpstream::default().tries(64).unwrap();
    let client = layer(&set).health(Health::new().max_fails(0)).next_upstream(next);
    assert!(client.layer(net.clone()).oneshot(get()).await.is_err());
    assert_eq!(net.all_calls(), 64);
    assert!(hosts.iter().all(|host| net.calls(host) <= 1));
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_goes_to_the_client_whatever_is_listed() {
    for status in [200, 204, 302, 304] {
        let (net, set) = (Net::new(), set(["a", "b"]));
        ["a", "b"].iter().for_each(|host| net.answers(host, status));
        let next = NextUpstream::on([On::Status(StatusCode::from_u16(status).unwrap())]);
        let client = layer(&set).next_upstream(next).layer(net.clone());
        assert_eq!(client.oneshot(get()).await.unwrap().status(), status);
        assert_eq!(net.all_calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_listed_goes_on() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    net.answers("b", 500);
    let client = layer(&set).layer(net.clone());
    assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), 500);
    assert_eq!(net.all_calls(), 1, "500 is not in the list");
    net.resets("a");
    net.resets("b");
    let quiet = layer(&set).next_upstream(NextUpstream::on([UNAVAILABLE])).layer(net.clone());
    let error = quiet.oneshot(get()).await.unwrap_err();
    assert_eq!(net.all_calls(), 2);
    let failed = cause::<AttemptsFailed>(&*error).unwrap();
    assert_eq!(failed.attempts().made(), 1);
    assert!(client.oneshot(get()).await.is_err());
    assert_eq!(net.all_calls(), 4, "an error is");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_had_again_goes_once_and_its_answer_passes_untouched() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 503);
    net.answers("b", 503);
    let once = layer(&set).without_failover().layer(net.clone());
    let response = once.oneshot(get()).await.unwrap();
    assert_eq!((response.status().as_u16(), net.all_calls()), (503, 1));

    // A body that is no `CloneBody` at all.
    let (_send, stream) = Channel::<Bytes, std::convert::Infallible>::new(1);
    let any = tower::service_fn(|_: Request<Channel<Bytes, std::convert::Infallible>>| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::default()))
    });
    let any = layer(&set).without_failover().layer(any);
    assert!(any.oneshot(Request::post("/").body(stream).unwrap()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_an_endpoint_that_was_not_tried_and_to_the_only_one_again() {
    let (net, two) = (Net::new(), set(["a", "b"]));
    let client = layer(&two).layer(net.clone());
    for _ in 0..50 {
        let attempts = Attempts::first_of(3);
        let mut request = get();
        request.extensions_mut().insert(attempts.clone());
        let copy = request.clone();
        let first = client.clone().oneshot(request).await.unwrap();
        assert_eq!(attempts.begin(), Some(2));
        let second = client.clone().oneshot(copy).await.unwrap();
        let id = |response: &http::Response<_>| response.extensions().get::<Served>().unwrap().id();
        assert_ne!(id(&first), id(&second));
    }
    let one = set(["a"]);
    let client = layer(&one).layer(net.clone());
    let attempts = Attempts::first_of(3);
    attempts.note_endpoint(one.candidates()[0].id().number());
    let mut request = get();
    request.extensions_mut().insert(attempts);
    assert!(client.oneshot(request).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn attempts_that_a_retry_outside_counts_are_shared() {
    let (net, set) = (Net::new(), set(["a", "b", "c", "d"]));
    for host in ["a", "b", "c", "d"] {
        net.refuses(host);
    }
    let client = layer(&set).layer(net.clone());
    let attempts = Attempts::first_of(2);
    let mut request = get();
    request.extensions_mut().insert(attempts.clone());
    assert!(client.oneshot(request).await.is_err());
    assert_eq!((net.all_calls(), attempts.made(), attempts.left()), (2, 2, 0));
    let picks: u64 = set.snapshot().iter().map(|endpoint| endpoint.picks).sum();
    assert_eq!(picks, 2, "what was not called was not picked");
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_s_failure_names_its_endpoint_to_a_retry_outside() {
    let (net, set) = (Net::new(), set(["a"]));
    net.answers("a", 500);
    let client = layer(&set).layer(net.clone());
    let response = client.clone().oneshot(get()).await.unwrap();
    let attempts = response.extensions().get::<Attempts>().unwrap();
    assert!(attempts.has_tried(set.candidates()[0].id().number()));
    net.answers("a", 404);
    let response = client.oneshot(get()).await.unwrap();
    assert!(response.extensions().get::<Attempts>().is_none(), "an answer is no failure");
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_whose_status_is_still_to_come_names_its_endpoint_too() {
    let (net, set) = (Net::new(), set(["a"]));
    net.on("a", |_| async { Ok(http::Response::new(Either::Left(Full::from("message")))) });
    let response = layer(&set).grpc().layer(net.clone()).oneshot(get()).await.unwrap();
    let attempts = response.extensions().get::<Attempts>().unwrap();
    assert!(attempts.has_tried(set.candidates()[0].id().number()));
    assert_eq!(attempts.made(), 1);
    let response = layer(&set).layer(net.clone()).oneshot(get()).await.unwrap();
    assert!(response.extensions().get::<Attempts>().is_none(), "the head of HTTP says it all");
    net.answers("a", 200);
    let response = layer(&set).grpc().layer(net).oneshot(get()).await.unwrap();
    assert!(response.extensions().get::<Attempts>().is_none(), "no trailers can follow");
}

#[tokio::test(start_paused = true)]
async fn backups_serve_while_no_primary_can_and_not_longer() {
    let net = Net::new();
    let set = buttress_balance::EndpointSet::new([
        endpoint("a"),
        endpoint("b"),
        endpoint("spare").backup(),
    ])
    .unwrap();
    let health = Health::new().no_jitter().max_ejected_percent(100).unwrap();
    let client = BalanceLayer::new(set.clone()).least_request().health(health).layer(net.clone());
    for _ in 0..50 {
        drop(client.clone().oneshot(get()).await.unwrap());
    }
    assert_eq!(net.calls("spare"), 0);
    net.refuses("a");
    net.refuses("b");
    for _ in 0..50 {
        assert_eq!(client.clone().oneshot(get()).await.unwrap().status(), 200);
    }
    // Ejected, both, or at least on the way there: the calls themselves went on to the backup.
    let before = net.calls("spare");
    assert_eq!(before, 50);
    net.answers("a", 200);
    pass(30.0).await;
    for _ in 0..20 {
        drop(client.clone().oneshot(get()).await.unwrap());
    }
    assert!(net.calls("spare") <= before + 1, "the primary is back");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_aimed_is_refused_and_leaves_nothing_behind() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    let client = layer(&set).layer(net.clone());
    let star = Request::options("*").body(Full::default()).unwrap();
    let connect = Request::connect("other:443").body(Full::default()).unwrap();
    for request in [star, connect] {
        let error = client.clone().oneshot(request).await.unwrap_err();
        let error = cause::<BalanceError>(&*error).unwrap();
        assert_eq!(error.kind(), BalanceErrorKind::BadTarget);
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        let outcome = buttress_core::Outcome::of_error(error);
        assert_eq!(outcome, buttress_core::Outcome::Rejected, "no retry either");
    }
    assert_eq!((net.all_calls(), in_flight(&set)), (0, 0));
    let long = format!("/{}", "x".repeat(60_000));
    let request = Request::get(long).body(Full::default()).unwrap();
    assert!(client.oneshot(request).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_where_a_call_went() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);
    impl Observer for Log {
        fn picked(&self, event: &Picked<'_>) {
            self.0.lock().unwrap().push(format!("{} {}", event.attempt, event.endpoint));
        }
        fn answered(&self, event: &buttress_balance::Answered<'_>) {
            self.0.lock().unwrap().push(format!("{:?} {}", event.outcome, event.next));
        }
    }
    let (net, set) = (Net::new(), set(["a"]));
    net.refuses("a");
    let _ = set.insert(endpoint("b").backup());
    let log = Log::default();
    let client = layer(&set).observer(log.clone()).layer(net);
    assert!(client.oneshot(get()).await.is_ok());
    let log = log.0.lock().unwrap();
    assert_eq!(*log, ["1 http://a", "NotSent true", "2 http://b", "Success false"]);
}
