//! The balancer on the client, over real connections.
#![expect(clippy::unwrap_used, reason = "a setting of the test that is refused is a failed test")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    BalanceLayer, Body, Client, Endpoint, EndpointSet, RetryLayer,
    balance::{Health, NextUpstream, Served},
    client::Elsewhere,
};
use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use support::Server;
use tokio::{net::TcpListener, time::timeout};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that answers with `status` and counts; if it is busy, it asks for a long pause.
async fn server(status: StatusCode) -> (Server, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (counting(&count, move |_| status).await, count)
}

/// A server that adds to a count, and answers with the status for the number that it gets.
async fn counting(
    count: &Arc<AtomicUsize>,
    status: impl Fn(usize) -> StatusCode + Clone + Send + Sync + 'static,
) -> Server {
    let seen = Arc::clone(count);
    Server::start(move |_| {
        let status = status(seen.fetch_add(1, Ordering::SeqCst) + 1);
        async move {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            if status != StatusCode::OK {
                response.headers_mut().insert(RETRY_AFTER, 50.into());
            }
            response
        }
    })
    .await
}

fn stream() -> Body {
    let chunk = Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"{}"));
    Body::from_stream(futures_util::stream::iter([chunk]))
}

fn set(endpoints: impl IntoIterator<Item = Endpoint>) -> EndpointSet {
    EndpointSet::new(endpoints).unwrap()
}

fn endpoint(server: &Server) -> Endpoint {
    Endpoint::new(server.uri("")).unwrap()
}

#[tokio::test]
async fn calls_are_spread_over_the_endpoints_whatever_authority_they_name() {
    let ((one, first), (two, second)) =
        (server(StatusCode::OK).await, server(StatusCode::OK).await);
    let client =
        Client::builder().endpoints(set([endpoint(&one), endpoint(&two)])).build().unwrap();
    for uri in ["/", "http://any.example/"].into_iter().cycle().take(40) {
        let response = client.get(uri).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.extensions().get::<Served>().is_some());
    }
    let counts = (first.load(Ordering::SeqCst), second.load(Ordering::SeqCst));
    assert_eq!(counts.0 + counts.1, 40);
    assert!(counts.0 > 0 && counts.1 > 0, "{counts:?}");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_costs_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = Endpoint::new(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let (there, count) = server(StatusCode::OK).await;
    let client = Client::builder().no_retry().endpoints(set([gone, endpoint(&there)]));
    let client = client.build().unwrap();
    for _ in 0..20 {
        let request = Request::post("/").body("once").unwrap();
        assert_eq!(client.send(request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(count.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_refused_post_goes_elsewhere_at_once() {
    let (busy, refused) = server(StatusCode::SERVICE_UNAVAILABLE).await;
    let (free, answered) = server(StatusCode::OK).await;
    let set = set([endpoint(&busy), endpoint(&free).backup()]);
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set.clone()));
    let client = Client::builder().balance(BalanceLayer::new(set)).retry(retry).build().unwrap();
    let request = Request::post("/v1/x").body(stream()).unwrap();
    let response = timeout(PATIENCE, client.send(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let counts = (refused.load(Ordering::SeqCst), answered.load(Ordering::SeqCst));
    assert_eq!(counts, (1, 1));
}

#[tokio::test]
async fn a_post_that_all_refused_goes_back_in_its_turn() {
    let count = Arc::new(AtomicUsize::new(0));
    let at_first = |nth| if nth > 2 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (one, two) = (counting(&count, at_first).await, counting(&count, at_first).await);
    let set = set([endpoint(&one), endpoint(&two)]);
    let retry = RetryLayer::llm().map_policy(|policy| Elsewhere::new(policy, set.clone()));
    let balance = BalanceLayer::new(set)
        .health(Health::new().max_hold(Duration::from_millis(100)))
        .next_upstream(NextUpstream::default().non_idempotent().revisit());
    let client = Client::builder().balance(balance).retry(retry).build().unwrap();
    let request = Request::post("/v1/x").body(stream()).unwrap();
    // Patience is shorter than the pause that they asked for.
    let response = timeout(PATIENCE, client.send(request)).await.unwrap().unwrap();
    assert_eq!((response.status(), count.load(Ordering::SeqCst)), (StatusCode::OK, 3));
}
