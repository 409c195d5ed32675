//! `RetryLayer` between the layers of tower-http.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_retry::{Attempts, Backoff, RetryLayer};
use buttress_testkit::{Planted, Replies, Strict};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::{
    sensitive_headers::SetSensitiveRequestHeadersLayer, set_header::SetRequestHeaderLayer,
    timeout::TimeoutLayer, trace::TraceLayer,
};

type Payload = Full<Bytes>;

const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

fn answer(status: StatusCode) -> Response<Payload> {
    let mut response = Response::new(Full::from("hello"));
    *response.status_mut() = status;
    response
}

#[tokio::test(start_paused = true)]
async fn what_signs_a_request_inside_of_retry_signs_each_attempt() {
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    let replies = [busy, busy, StatusCode::OK].map(|status| Ok(answer(status)));
    let (inner, handle) = Strict::<_, Planted>::new(Replies::queue(replies));
    let signed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&signed);
    let sign = move |_: &Request<Payload>| {
        let number = seen.lock().unwrap().len() + 1;
        seen.lock().unwrap().push(number);
        HeaderValue::try_from(number.to_string()).ok()
    };
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(SetSensitiveRequestHeadersLayer::new([http::header::AUTHORIZATION]))
        .layer(RetryLayer::http().backoff(Backoff::fixed(Duration::from_millis(5))))
        .layer(SetRequestHeaderLayer::overriding(SIGNATURE, sign))
        .service(inner);

    let request = Request::get("http://api.example/").body(Payload::default()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(Attempts::made_in(response.extensions()), 3);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(*signed.lock().unwrap(), [1, 2, 3]);
    handle.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_tower_http_answers_with_408_goes_again() {
    let (inner, handle) = Strict::<_, Planted>::new(Replies::each(|_| Ok(answer(StatusCode::OK))));
    let limit = Duration::from_secs(1);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::http().backoff(Backoff::fixed(Duration::from_secs(2))))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, limit))
        .service(inner);

    handle.hold();
    let request = Request::get("http://api.example/").body(Payload::default()).unwrap();
    let call = tokio::spawn(service.oneshot(request));
    tokio::time::sleep(limit * 2).await;
    handle.release();
    assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(handle.calls(), 2);
}
