//! Requests that are read before a retry layer sends them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use buttress::{
    ReadAhead, RetryLayer,
    limit::{Estimate, EstimateLayer},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn what_could_be_sent_again_still_can_be_when_it_was_read_or_not() {
    let put = Request::put("/").body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let chat = |length: usize| {
        let request = Request::post("/").header(header::CONTENT_TYPE, "application/json");
        let body = Full::new(Bytes::from(vec![b' '; length]));
        request.header("idempotency-key", "7").body(body).unwrap()
    };
    for (request, length) in [(put, 2), (chat(100), 100), (chat(2 << 20), 2 << 20)] {
        let sent = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&sent);
        let busy = service_fn(move |request: Request<ReadAhead<Full<Bytes>>>| {
            let count = Arc::clone(&count);
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body.len(), length);
                count.fetch_add(1, Ordering::Relaxed);
                let answer = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
                Ok::<_, Infallible>(answer.body(Empty::<Bytes>::new()).unwrap())
            }
        });
        let retry = RetryLayer::http().max_attempts(3).unwrap().layer(busy);
        let service = EstimateLayer::new(Estimate::new()).layer(retry);
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(sent.load(Ordering::Relaxed), 3, "of {length} bytes");
    }
}
