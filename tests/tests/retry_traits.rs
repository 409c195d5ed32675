//! What `RetryLayer`, its services and its futures are, and what they ask of others.

use std::{
    cell::Cell,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    marker::PhantomData,
    rc::Rc,
    task::{Context, Poll},
};

use buttress_core::{BoxError, cause};
use buttress_retry::{
    Backoff, Budget, CloneBodies, CommitLayer, Held, HttpPolicy, OnError, Repeat, ReplayBodies,
    ReplayBody, ReplayLimits, ResponseFuture, Retry, RetryLayer,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service, ServiceExt, service_fn};

const fn is_send<T: Send>() {}
const fn is_sync<T: Sync>() {}
const fn is_unpin<T: Unpin>() {}
const fn is_clone<T: Clone>() {}
const fn is_debug<T: fmt::Debug>() {}

/// Fails to compile when the type has the trait: two answers are then possible.
macro_rules! assert_not {
    ($type:ty: $bound:path) => {
        const _: fn() = || {
            trait Answer<Which> {
                fn answer() {}
            }
            struct Always;
            struct WhenBound;
            impl<T: ?Sized> Answer<Always> for T {}
            impl<T: ?Sized + $bound> Answer<WhenBound> for T {}
            let _ = <$type as Answer<_>>::answer;
        };
    };
}

type Http<S> = Retry<S, HttpPolicy>;
type Upload<S> = Retry<S, HttpPolicy<ReplayBodies>>;
type Hyper<B> = Client<HttpConnector, B>;
type Boxed = UnsyncBoxBody<Bytes, BoxError>;

const _: () = {
    is_send::<RetryLayer<HttpPolicy>>();
    is_sync::<RetryLayer<HttpPolicy>>();
    is_unpin::<RetryLayer<HttpPolicy>>();
    is_clone::<RetryLayer<HttpPolicy<CloneBodies, Held>, (), CommitLayer>>();
    is_debug::<RetryLayer<HttpPolicy<CloneBodies, Held>, (), CommitLayer>>();
    is_send::<Budget>();
    is_sync::<Budget>();

    // A service is what its inner service is.
    is_send::<Http<Hyper<Full<Bytes>>>>();
    is_sync::<Http<Hyper<Full<Bytes>>>>();
    is_unpin::<Http<Hyper<Full<Bytes>>>>();
    is_clone::<Http<Hyper<Full<Bytes>>>>();
    is_debug::<Http<()>>();

    // A body that is sent across threads is enough for a future that is.
    is_send::<ResponseFuture<Request<Full<Bytes>>, Hyper<Full<Bytes>>, HttpPolicy>>();
    is_send::<ResponseFuture<Request<Boxed>, Hyper<ReplayBody<Boxed>>, HttpPolicy<ReplayBodies>>>();
    is_send::<
        ResponseFuture<Request<Incoming>, Hyper<ReplayBody<Incoming>>, HttpPolicy<ReplayBodies>>,
    >();
    is_send::<ReplayBody<Boxed>>();
    // Some clients want a body that is `Sync`; the recording makes it so.
    is_sync::<ReplayBody<Boxed>>();
};

assert_not!(Http<Local>: Send);
assert_not!(Upload<Local>: Sync);
assert_not!(ResponseFuture<u64, Local, Repeat<OnError>>: Send);

/// A service that cannot leave its thread, with an error that can neither be cloned nor compared.
#[derive(Clone)]
struct Local(Rc<Cell<u32>>, PhantomData<*const ()>);

#[derive(Debug)]
struct Failed(u32);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} failed", self.0)
    }
}

impl std::error::Error for Failed {}

impl Local {
    fn new() -> Self {
        Self(Rc::default(), PhantomData)
    }
}

impl<Req> Service<Req> for Local {
    type Response = Rc<u32>;
    type Error = Failed;
    type Future = Ready<Result<Rc<u32>, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        let call = self.0.get() + 1;
        self.0.set(call);
        ready(if call < 3 { Err(Failed(call)) } else { Ok(Rc::new(call)) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_on_its_thread_is_retried() {
    let local = Local::new();
    let service = RetryLayer::new(Repeat::on_error()).layer(local.clone());
    // A request that is not `Send` either.
    assert_eq!(*service.oneshot(Rc::new("request")).await.unwrap(), 3);

    local.0.set(0);
    let layer = RetryLayer::new(Repeat::on_error()).max_attempts(2).unwrap();
    let error = layer.layer(local).oneshot(7_u64).await.unwrap_err();
    assert_eq!(cause::<Failed>(&*error).map(|failed| failed.0), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_borrows_is_retried() {
    let words = String::from("borrowed");
    let calls = Cell::new(0);
    let inner = service_fn(|words: &str| {
        calls.set(calls.get() + 1);
        ready(if calls.get() < 2 { Err("reset") } else { Ok(words.len()) })
    });
    let layer = RetryLayer::new(Repeat::on_error());
    assert_eq!(layer.layer(inner).oneshot(&*words).await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_boxed_body_that_cannot_be_cloned_is_sent_again() {
    let calls = Cell::new(0);
    let inner = service_fn(|request: Request<ReplayBody<Boxed>>| {
        calls.set(calls.get() + 1);
        let status = if calls.get() < 3 { 503 } else { 200 };
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            Response::builder().status(status).body(Full::new(body)).map_err(BoxError::from)
        }
    });
    let layer = RetryLayer::new(HttpPolicy::http().replay(ReplayLimits::new()));
    let body = Full::new(Bytes::from("parcel")).map_err(|error: Infallible| match error {});
    let request = Request::put("/").body(body.boxed_unsync()).unwrap();
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    assert_eq!((response.status().as_u16(), calls.get()), (200, 3));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "parcel");
}

#[tokio::test(start_paused = true)]
async fn no_type_has_to_be_named_to_change_a_setting() {
    let backoff = Backoff::fixed(std::time::Duration::from_secs(1));
    let layer = RetryLayer::http()
        .max_attempts(2)
        .unwrap()
        .backoff(backoff)
        .map_policy(|policy| policy.replay(ReplayLimits::new()).max_server_delay(backoff.max()))
        .observer(());
    drop(layer.layer(service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    })));
}
