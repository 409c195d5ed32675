//! What an observer is told of endpoints that go out of use and come back.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod common;

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_balance::{BalanceLayer, Endpoint, EndpointSet, LeastRequest, Observer, State};
use common::{Net, get, in_flight, pass, set, streamed};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use tower::{Layer as _, ServiceExt as _};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Log {
    fn ejected(&self, endpoint: &Endpoint, time: Duration) {
        assert!(time >= Duration::from_secs(27), "30 s, less what the jitter takes: {time:?}");
        self.note(format!("ejected {endpoint}"));
    }

    fn readmitted(&self, endpoint: &Endpoint) {
        self.note(format!("readmitted {endpoint}"));
    }
}

type Layer = BalanceLayer<LeastRequest, buttress_balance::SharedClient, Log>;

fn scene() -> (Net, EndpointSet, Log, Layer) {
    let (net, set, log) = (Net::new(), set(["a", "b"]), Log::default());
    let layer = BalanceLayer::new(set.clone()).least_request().observer(log.clone());
    (net, set, log, layer)
}

/// Calls until `a` is out of use, and reads each answer to its end.
async fn until_ejected(net: &Net, set: &EndpointSet, layer: &Layer) {
    let client = layer.layer(net.clone());
    for _ in 0..100 {
        let call = async { client.clone().oneshot(get()).await?.into_body().collect().await };
        drop(tokio::time::timeout(Duration::from_secs(1), call).await);
        if set.snapshot()[0].state == State::Ejected {
            return;
        }
    }
    panic!("a is in use still");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_of_answers_that_put_an_endpoint_out_of_use_and_back() {
    let (net, set, log, layer) = scene();
    net.answers("a", 500);
    until_ejected(&net, &set, &layer).await;
    assert_eq!(log.lines(), ["ejected http://a"]);
    net.answers("a", 200);
    let client = layer.layer(net);
    while set.snapshot()[0].state != State::InUse {
        pass(1.0).await;
        drop(client.clone().oneshot(get()).await.unwrap());
    }
    assert_eq!(log.lines(), ["readmitted http://a"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_of_bodies_that_break() {
    let (net, set, log, layer) = scene();
    net.on("a", |_| async {
        let (response, send) = streamed();
        send.abort(io::ErrorKind::ConnectionReset.into());
        Ok(response)
    });
    until_ejected(&net, &set, &layer).await;
    assert_eq!(log.lines(), ["ejected http://a"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_of_trailers_that_say_that_a_call_failed() {
    let (net, set, log, layer) = scene();
    net.on("a", |_| async {
        let (response, mut send) = streamed();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("14"));
        send.send_trailers(trailers).await.unwrap();
        Ok(response)
    });
    until_ejected(&net, &set, &layer.grpc()).await;
    assert_eq!(log.lines(), ["ejected http://a"]);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_of_calls_that_were_dropped_after_too_long() {
    let (net, set, log, layer) = scene();
    net.hangs("a");
    let layer = layer.cancel_after(Duration::from_secs(1)).unwrap();
    until_ejected(&net, &set, &layer).await;
    assert_eq!(log.lines(), ["ejected http://a"]);
}

/// Takes what was ejected out of the set.
#[derive(Clone)]
struct Remover {
    set: EndpointSet,
    panics: bool,
}

impl Observer for Remover {
    fn ejected(&self, endpoint: &Endpoint, _: Duration) {
        let id = self.set.id_of(endpoint.shown_as()).unwrap();
        assert!(self.set.drain(id) && self.set.remove(id));
        assert!(!self.panics, "as it was told");
    }
}

#[tokio::test(start_paused = true)]
async fn it_may_change_the_set_and_if_it_panics_no_place_is_lost() {
    for panics in [false, true] {
        let (net, set, _, layer) = scene();
        net.on("a", |_| async {
            let (response, send) = streamed();
            send.abort(io::ErrorKind::ConnectionReset.into());
            Ok(response)
        });
        let client = layer.observer(Remover { set: set.clone(), panics }).layer(net);
        for _ in 0..100 {
            let call = async { client.clone().oneshot(get()).await?.into_body().collect().await };
            drop(AssertUnwindSafe(call).catch_unwind().await);
        }
        assert_eq!((set.len(), in_flight(&set)), (1, 0));
    }
}
