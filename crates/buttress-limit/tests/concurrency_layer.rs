//! The layer: how long a call counts, and who waits for what.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod overload_common;

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use buttress_core::{Outcome, cause};
use buttress_limit::{
    ConcurrencyLimitLayer, Overloaded,
    concurrency::{HeldPermit, Observer, OverloadedKind, Priority, Shed, Wait},
};
use buttress_testkit::{Planted, Replies, Script, Strict};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use overload_common::{answers, fixed, get, status};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer as TowerLimit, service_fn};

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::EXPIRES, "0".parse().unwrap())])
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_until_the_last_frame_of_its_body_is_read() {
    let limit = fixed(10);
    for make in [
        || Script::new().data("a").data("b"),
        || Script::new().data("ab").trailers(trailers()),
        || Script::new().data("ab").hide_end(),
        || Script::new().pending(3).data("ab").exact(),
    ] {
        let client = answers(move || Response::new(make()));
        let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(client);
        let response = client.oneshot(get()).await.unwrap();
        assert_eq!(limit.snapshot().in_flight, 1, "after the head");
        let mut body = response.into_body();
        let collected = (&mut body).collect().await.unwrap();
        assert_eq!(limit.snapshot().in_flight, 0, "though the body is still here");
        assert_eq!(collected.to_bytes(), "ab");
        drop(body);
    }
    assert_eq!(limit.snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_or_is_dropped_ends_the_call() {
    let limit = fixed(10);
    let client = answers(|| Response::new(Script::new().data("a").fail("reset")));
    let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(client);
    let mut body = client.clone().oneshot(get()).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(limit.snapshot().in_flight, 1);
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(limit.snapshot().in_flight, 0);
    let response = client.oneshot(get()).await.unwrap();
    assert_eq!(limit.snapshot().in_flight, 1);
    drop(response);
    assert_eq!(limit.snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_ends_the_call_with_its_head() {
    let limit = fixed(10);
    let client = answers(|| status(204));
    let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(client);
    let response = client.oneshot(get()).await.unwrap();
    assert_eq!(limit.snapshot().in_flight, 0);
    drop(response);
    assert_eq!(limit.snapshot().in_flight, 0, "it is given back once");
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_call_counts_until_its_user_is_done() {
    let limit = fixed(10);
    for (method, code) in [(Method::GET, 101), (Method::CONNECT, 200)] {
        let client = answers(move || status(code));
        let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(client);
        let request = || {
            let mut request = get();
            *request.method_mut() = method.clone();
            request
        };
        let mut response = client.clone().oneshot(request()).await.unwrap();
        let permit: HeldPermit = response.extensions_mut().remove().unwrap();
        drop(response);
        assert_eq!(limit.snapshot().in_flight, 1, "the connection is in use");
        drop(permit);
        assert_eq!(limit.snapshot().in_flight, 0);
        // Nobody has to take it.
        drop(client.oneshot(request()).await.unwrap());
        assert_eq!(limit.snapshot().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_and_a_dropped_call_give_their_places_back() {
    let limit = fixed(1);
    for layer in [
        ConcurrencyLimitLayer::outbound(limit.clone()),
        ConcurrencyLimitLayer::outbound(limit.clone()).reject(),
    ] {
        let fails = service_fn(|_: Request<Empty<Bytes>>| async {
            Err::<Response<Full<Bytes>>, _>(Planted::new(1))
        });
        let error = layer.layer(fails).oneshot(get()).await.unwrap_err();
        assert_eq!(cause::<Planted>(&*error), Some(&Planted::new(1)));
        assert_eq!(limit.snapshot().in_flight, 0);
        let hangs = service_fn(|_: Request<Empty<Bytes>>| {
            pending::<Result<Response<Full<Bytes>>, Planted>>()
        });
        let mut hangs = layer.layer(hangs);
        let mut call = Box::pin(hangs.ready().await.unwrap().call(get()));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(limit.snapshot().in_flight, 1);
        drop(call);
        assert_eq!(limit.snapshot().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_hold_nothing_of_the_inner_service() {
    let inner = TowerLimit::new(2).layer(service_fn(|request: Request<Empty<Bytes>>| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        Ok::<_, Infallible>(status(200))
    }));
    // One place for those behind the layer; two of the inner service, which others use too.
    let limit = fixed(1);
    let mut client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(inner.clone());
    let mut slow = get();
    *slow.uri_mut() = "/slow".parse().unwrap();
    let mut first = Box::pin(client.ready().await.unwrap().call(slow));
    let mut second = Box::pin(client.ready().await.unwrap().call(get()));
    let mut third = Box::pin(client.ready().await.unwrap().call(get()));
    for call in [&mut first, &mut second, &mut third] {
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(limit.snapshot().waiting, 2);
    let stranger = tokio::time::timeout(Duration::from_millis(1), inner.oneshot(get()));
    assert_eq!(stranger.await.expect("it is not kept waiting").unwrap().status(), 200);
    drop(first);
    assert_eq!(second.await.unwrap().status(), 200);
    assert_eq!(third.await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_keeps_nothing_of_the_inner_service() {
    let inner = TowerLimit::new(1).layer(answers(|| status(200)));
    let limit = fixed(1);
    let _held = limit.try_acquire().unwrap();
    let mut client = ConcurrencyLimitLayer::outbound(limit).reject().layer(inner.clone());
    assert!(client.ready().await.unwrap().call(get()).await.is_err());
    let stranger = tokio::time::timeout(Duration::from_millis(1), inner.oneshot(get()));
    assert!(stranger.await.is_ok(), "the layer is still there, and holds no permit");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn asking_whether_it_is_ready_uses_nothing_up() {
    let limit = fixed(1);
    for layer in [
        ConcurrencyLimitLayer::outbound(limit.clone()),
        ConcurrencyLimitLayer::outbound(limit.clone()).reject(),
    ] {
        let client = layer.layer(answers(|| status(200)));
        let kept: Vec<_> = (0..100).map(|_| client.clone()).collect();
        for mut client in kept.clone() {
            client.ready().await.unwrap();
        }
        assert_eq!(limit.snapshot().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handle_counts_for_all_that_is_made_from_it() {
    let limit = fixed(3);
    let layer = ConcurrencyLimitLayer::outbound(limit.clone()).reject();
    let mut bodies = Vec::new();
    let mut refused = 0;
    // As axum does: a service anew for each connection and handler.
    for _ in 0..10 {
        let client = layer.clone().layer(answers(|| Response::new(Script::new().stall())));
        match client.oneshot(get()).await {
            Ok(response) => bodies.push(response),
            Err(error) => {
                assert_eq!(cause::<Overloaded>(&*error).unwrap().kind(), OverloadedKind::Full);
                assert_eq!(Outcome::of_error(&*error), Outcome::NotSent, "it can go again");
                refused += 1;
            }
        }
    }
    assert_eq!((bodies.len(), refused), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn calls_are_let_in_as_they_came_and_each_is_polled_twice_to_get_in() {
    const CALLS: usize = 200;
    let limit = fixed(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let inner = service_fn(move |request: Request<Empty<Bytes>>| {
        let seen = seen.clone();
        async move {
            seen.lock().unwrap().push(request.uri().path()[1..].parse::<usize>().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(status(200))
        }
    });
    let client =
        ConcurrencyLimitLayer::outbound(limit).wait(Wait::fifo().max(Duration::MAX)).layer(inner);
    let polls = Arc::new(Mutex::new(0_usize));
    let calls: Vec<_> = (0..CALLS)
        .map(|number| {
            let request = Request::get(format!("/{number}")).body(Empty::new()).unwrap();
            let (call, polls) = (client.clone().oneshot(request), polls.clone());
            let counted = async move {
                let mut call = pin!(call);
                std::future::poll_fn(|cx| {
                    *polls.lock().unwrap() += 1;
                    call.as_mut().poll(cx)
                })
                .await
            };
            let call = tokio::spawn(counted);
            // A third of them go away.
            if number % 3 == 1 {
                let abort = call.abort_handle();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    abort.abort();
                });
            }
            call
        })
        .collect();
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.is_ok());
    }
    let order = order.lock().unwrap();
    assert_eq!(order.len(), answered);
    assert!(order.is_sorted(), "first come, first served: {order:?}");
    // Into the line, out of it and into the inner service, its timer.
    let polls = *polls.lock().unwrap();
    assert!(polls <= 3 * answered + (CALLS - answered), "{polls} polls of {answered} calls");
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_lets_those_in_line_in_at_once() {
    let limit = fixed(1);
    let client = answers(|| Response::new(Script::new().stall()));
    let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(client);
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(client.clone().oneshot(get()))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(limit.snapshot().waiting, 199);
    for up in [10, 3, 200] {
        limit.set_limit(up).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (200, 0));
    for call in calls {
        drop(call.await.unwrap().unwrap());
    }
    assert_eq!(limit.snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_fails_to_become_ready_gives_the_place_back() {
    let (inner, handle) = Strict::new(Replies::each(|_| Ok(status(200))));
    let limit = fixed(1);
    let client = ConcurrencyLimitLayer::outbound(limit.clone()).layer(inner);
    handle.fail_next_ready(Planted::new(3));
    let error = client.oneshot(get()).await.unwrap_err();
    assert_eq!(cause::<Planted>(&*error), Some(&Planted::new(3)));
    assert_eq!(limit.snapshot().in_flight, 0);
    handle.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn shedding_keeps_room_for_what_matters_more() {
    let limit = fixed(10);
    let layer = ConcurrencyLimitLayer::outbound(limit.clone())
        .shed(Shed::keep(0.2).unwrap())
        .priority(|head| Priority::new(head.uri.path()[1..].parse().unwrap()));
    let client = layer.layer(answers(|| Response::new(Script::new().stall())));
    let mut held = Vec::new();
    for (class, room) in [(2, 6), (1, 2), (0, 2)] {
        let request = || Request::get(format!("/{class}")).body(Empty::new()).unwrap();
        for _ in 0..room {
            held.push(client.clone().oneshot(request()).await.unwrap());
        }
        let error = client.clone().oneshot(request()).await.unwrap_err();
        let full = if class == 0 { OverloadedKind::Full } else { OverloadedKind::Reserved };
        assert_eq!(cause::<Overloaded>(&*error).unwrap().kind(), full, "class {class}");
    }
    assert_eq!(limit.snapshot().in_flight, 10);
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Observer for Told {
    fn admitted(&self, waited: Duration) {
        self.0.lock().unwrap().push(format!("admitted after {waited:?}"));
    }

    fn queued(&self) {
        self.0.lock().unwrap().push("queued".to_owned());
    }

    fn refused(&self, refused: &Overloaded) {
        self.0.lock().unwrap().push(format!("refused: {}", refused.kind().as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_who_came_in_who_waits_and_who_was_refused() {
    let (told, limit) = (Told::default(), fixed(1));
    let wait = Wait::fifo().max(Duration::from_secs(2)).max_queue(1);
    let client = ConcurrencyLimitLayer::outbound(limit).wait(wait).observer(told.clone());
    let client = client.layer(answers(|| Response::new(Script::new().stall())));
    let first = client.clone().oneshot(get()).await.unwrap();
    let second = tokio::spawn(client.clone().oneshot(get()));
    tokio::task::yield_now().await;
    assert!(client.clone().oneshot(get()).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first);
    let second = second.await.unwrap().unwrap();
    assert!(client.oneshot(get()).await.is_err());
    drop(second);
    let told = told.0.lock().unwrap();
    let expected = [
        "admitted after 0ns",
        "queued",
        "refused: queue_full",
        "admitted after 1s",
        "queued",
        "refused: waited_too_long",
    ];
    assert_eq!(*told, expected);
}

#[tokio::test(start_paused = true)]
async fn an_inbound_layer_answers_and_passes_errors_unchanged() {
    let limit = fixed(1);
    let held = limit.try_acquire().unwrap();
    let client = ConcurrencyLimitLayer::inbound(limit).layer(answers(|| status(200)));
    let response: Result<_, Infallible> = client.clone().oneshot(get()).await;
    assert_eq!(response.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(held);
    assert_eq!(client.oneshot(get()).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_enforced_goes_on_without_a_place_and_is_reported() {
    fastrand::seed(1);
    for wait in [false, true] {
        let (told, limit) = (Told::default(), fixed(1));
        let layer = ConcurrencyLimitLayer::outbound(limit.clone()).observer(told.clone());
        let layer = if wait { layer } else { layer.reject() };
        let held = limit.try_acquire().unwrap();
        let shadow = layer.clone().enforce(0.0).unwrap().layer(answers(|| status(200)));
        for _ in 0..100 {
            assert!(shadow.clone().oneshot(get()).await.is_ok());
        }
        assert_eq!(*told.0.lock().unwrap(), vec!["refused: full"; 100]);
        assert_eq!(limit.snapshot().in_flight, 1);
        let some = layer.reject().enforce(0.1).unwrap().layer(answers(|| status(200)));
        let mut refused = 0;
        for _ in 0..2_000 {
            refused += usize::from(some.clone().oneshot(get()).await.is_err());
        }
        assert!((150..=250).contains(&refused), "{refused} of 2000");
        drop(held);
    }
    assert!(ConcurrencyLimitLayer::outbound(fixed(1)).enforce(1.5).is_err());
}
