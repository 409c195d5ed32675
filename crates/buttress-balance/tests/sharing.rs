//! Where a balancer can go, and what its clones share.

mod common;

use std::{
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use buttress_balance::{BalanceLayer, CloneBody, Endpoint, EndpointSet};
use bytes::Bytes;
use common::{Net, get, in_flight, plain, set};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};

#[tokio::test(start_paused = true)]
async fn each_endpoint_may_have_a_service_of_its_own() {
    let net = Net::new();
    let addressed = |host: &str, address: &str| {
        Endpoint::new("https://service.test").unwrap().name(host).address(address.parse().unwrap())
    };
    let set =
        EndpointSet::new([addressed("one", "10.0.0.1:443"), addressed("two", "10.0.0.2:443")])
            .unwrap();
    let made = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = made.clone();
    let layer = BalanceLayer::new(set.clone()).least_request().per_endpoint(
        move |endpoint: &Endpoint, inner: &Net| {
            log.lock().unwrap().push(endpoint.connects_to().unwrap().to_string());
            inner.clone()
        },
    );
    let client = layer.layer(net.clone());
    for _ in 0..40 {
        drop(client.clone().oneshot(get()).await.unwrap());
    }
    let mut made = std::mem::take(&mut *made.lock().unwrap());
    made.sort();
    assert_eq!(made, ["10.0.0.1:443", "10.0.0.2:443"], "once each");
    assert!(net.seen().iter().all(|request| request.uri().host() == Some("service.test")));
    assert!(set.snapshot().iter().all(|endpoint| endpoint.picks > 0));
}

/// A service that shows whether it is still there.
#[derive(Clone)]
struct Kept(Net, #[expect(dead_code, reason = "it is there to be counted")] Arc<()>);

impl Service<Request<Full<Bytes>>> for Kept {
    type Response = <Net as Service<Request<Full<Bytes>>>>::Response;
    type Error = <Net as Service<Request<Full<Bytes>>>>::Error;
    type Future = <Net as Service<Request<Full<Bytes>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_of_a_removed_endpoint_goes_with_the_next_call() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    let tokens = [Arc::new(()), Arc::new(())];
    let [for_a, for_b] = tokens.clone();
    let make = move |endpoint: &Endpoint, inner: &Net| {
        let token = if endpoint.shown_as() == "http://a" { &for_a } else { &for_b };
        Kept(inner.clone(), token.clone())
    };
    let made = || tokens.each_ref().map(|token| Arc::strong_count(token) - 2);
    let client = BalanceLayer::new(set.clone()).least_request().per_endpoint(make).layer(net);
    for _ in 0..20 {
        drop(client.clone().oneshot(get()).await.unwrap());
    }
    assert_eq!(made(), [1, 1]);
    assert!(set.remove(set.id_of("http://a").unwrap()));
    drop(client.clone().oneshot(get()).await.unwrap());
    assert_eq!(made(), [0, 1]);
    let _ = set.insert(Endpoint::new("http://a").unwrap());
    for _ in 0..20 {
        drop(client.clone().oneshot(get()).await.unwrap());
    }
    assert_eq!(made(), [1, 1], "it is new when it returns");
}

fn is_shareable<T: Clone + Send + Sync + 'static>(_: &T) {}
fn is_send<T: Send>(_: &T) {}

#[tokio::test(start_paused = true)]
async fn clones_share_their_state_and_can_go_anywhere() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    let layer = BalanceLayer::new(set.clone()).least_request();
    is_shareable(&layer);
    is_shareable(&set);
    let mut client = layer.layer(net.clone());
    is_shareable(&client);
    let future = client.call(get());
    is_send(&future);
    drop(future);
    let boxed = tower::util::BoxCloneSyncService::new(client.clone().map_response(|_| plain(200)));
    let clones: Vec<_> = (0..1_000).map(|_| boxed.clone()).collect();
    net.hangs("a");
    net.hangs("b");
    let mut cx = Context::from_waker(Waker::noop());
    let calls: Vec<_> = clones
        .into_iter()
        .map(|clone| {
            let mut call = Box::pin(clone.oneshot(get()));
            assert!(call.as_mut().poll(&mut cx).is_pending());
            call
        })
        .collect();
    assert_eq!(in_flight(&set), 1_000);
    assert!(set.snapshot().iter().all(|endpoint| endpoint.in_flight == 500));
    drop(calls);
    assert_eq!(in_flight(&set), 0);
}

#[test]
fn a_static_set_needs_no_runtime() {
    let set = set(["a"]);
    let inner = tower::service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let mut client = BalanceLayer::new(set).layer(inner);
    let mut call = pin!(client.call(get()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    assert!(Full::<Bytes>::default().try_clone().is_some());
}
