#![expect(clippy::expect_used, reason = "helpers assert on behalf of the tests that call them")]

use buttress_core::{BoxError, cause};
use buttress_retry::{BeforeFirstFrame, CommitLayer, FirstFrame, HeldBody};
use buttress_testkit::{BodyFailure, Contract, Planted, Script};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{EVENTS, response};

/// Sends one request through a `Commit` over a service that answers with this body.
async fn send(method: Method, body: Script) -> Result<Response<HeldBody<Script>>, BoxError> {
    let mut answer = Some(response(EVENTS, body));
    let inner = service_fn(move |_: Request<()>| {
        let answer = answer.take().expect("one request");
        async move { Ok::<_, BoxError>(answer) }
    });
    let request = Request::builder().method(method).body(()).expect("a request");
    CommitLayer::new(FirstFrame::new()).layer(inner).oneshot(request).await
}

#[tokio::test(start_paused = true)]
async fn a_response_that_fails_before_it_begins_is_an_error_of_the_call() {
    let error = send(Method::POST, Script::new().pending(1).fail("reset")).await.unwrap_err();
    assert!(cause::<BeforeFirstFrame>(&*error).is_some());
    assert!(cause::<BodyFailure>(&*error).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_has_begun_is_given_on_whole() {
    let body = Script::new().data(":\n").pending(1).data("data: x\n\n");
    let response = send(Method::POST, body).await.unwrap();
    let whole = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole, ":\ndata: x\n\n");
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_head_or_connect_is_not_held() {
    for method in [Method::HEAD, Method::CONNECT] {
        let body = Script::new().stall();
        let handle = body.handle();
        send(method, body).await.unwrap();
        assert_eq!(handle.polls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_service_is_passed_on() {
    let inner = service_fn(|_: Request<()>| async { Err::<Response<Script>, _>(Planted::new(7)) });
    let commit = CommitLayer::default().layer(inner);
    let error = commit.oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Planted::new(7)));
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract_of_a_layer() {
    Contract::http(CommitLayer::new(FirstFrame::new())).run().await;
}
