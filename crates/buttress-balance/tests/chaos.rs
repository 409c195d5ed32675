//! Calls that end in every way there is, and sets that change under them.

mod common;

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_balance::{
    Ask, BalanceLayer, Balancer, EndpointSet, Health, LeastRequest, RoundRobin,
};
use bytes::Bytes;
use common::{endpoint, in_flight, set};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service};

/// An inner service that does something else each time, by a seed.
#[derive(Clone)]
struct Chaos;

impl Service<Request<Full<Bytes>>> for Chaos {
    type Response = Response<ChaosBody>;
    type Error = io::Error;
    type Future = ChaosFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match fastrand::u8(..20) {
            0 => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            1 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> ChaosFuture {
        assert!(fastrand::u8(..200) > 0, "a panic in call");
        ChaosFuture
    }
}

struct ChaosFuture;

impl Future for ChaosFuture {
    type Output = io::Result<Response<ChaosBody>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = Response::new(ChaosBody);
        match fastrand::u8(..20) {
            0 => panic!("a panic in poll"),
            1 => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            2 => *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE,
            3..8 => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => {}
        }
        Poll::Ready(Ok(response))
    }
}

struct ChaosBody;

impl http_body::Body for ChaosBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        match fastrand::u8(..10) {
            0 => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            1 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            2 => Poll::Ready(None),
            3 => Poll::Ready(Some(Ok(http_body::Frame::trailers(HeaderMap::new())))),
            _ => Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"x"))))),
        }
    }
}

/// Polls a call and its body, and drops it somewhere.
fn one_call(
    client: &mut (impl Service<Request<Full<Bytes>>, Response = Response<impl http_body::Body>> + Clone),
) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut future = pin!(client.call(Request::new(Full::default())));
    let polls = fastrand::u8(..12);
    for _ in 0..polls {
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            let Ok(response) = result else { return };
            let mut body = pin!(response.into_body());
            for _ in 0..fastrand::u8(..20) {
                let frame = body.as_mut().poll_frame(&mut cx);
                if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
                    return;
                }
            }
            return;
        }
    }
}

#[test]
fn a_million_calls_that_end_in_every_way_leave_nothing_in_flight() {
    fastrand::seed(7);
    std::panic::set_hook(Box::new(|_| {}));
    // The line needs a timer; none of its waits is to happen here.
    let set = set(["a", "b", "c", "d"]);
    let mut client = BalanceLayer::new(set.clone())
        .policy(RoundRobin::new())
        .queue(0, Duration::ZERO)
        .layer(Chaos);
    for _ in 0..1_000_000 {
        let call = std::panic::AssertUnwindSafe(|| one_call(&mut client));
        drop(std::panic::catch_unwind(call));
    }
    drop(std::panic::take_hook());
    let picks: u64 = set.snapshot().iter().map(|endpoint| endpoint.picks).sum();
    assert!(picks >= 1_000_000, "{picks}");
    assert_eq!(in_flight(&set), 0);
}

#[test]
fn a_set_that_is_edited_while_threads_choose_loses_nothing() {
    let set = EndpointSet::new((0..8).map(|n| endpoint(&format!("h{n}")))).unwrap();
    let balancer = Balancer::new(set.clone(), LeastRequest::new(), Health::new());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (mut balancer, set, stop) = (balancer.clone(), &set, &stop);
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(balancer.lease(&Ask::new(), set.now()).unwrap());
                }
            });
        }
        let mut balancer = balancer.clone();
        for n in 0..10_000_u32 {
            let id = set.insert(endpoint(&format!("extra{}", n % 7)));
            assert!(set.set_weight(id, n % 5).unwrap());
            assert!(set.remove(id));
            // What was removed is not chosen any more.
            let lease = balancer.lease(&Ask::new(), set.now()).unwrap();
            assert_ne!(lease.id(), id);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!((set.len(), in_flight(&set)), (8, 0));
}
