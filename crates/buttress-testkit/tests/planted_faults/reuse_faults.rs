//! Faults that show only when a service, or a layer, is used more than once.

use crate::fault::{Answer, Fault, Faulty, Numbers, faulty, passed};
use crate::{Sound, rejects};
use buttress_testkit::contract::BoxError;
use buttress_testkit::{Check, Contract};
use std::sync::{Arc, Mutex};
use tower_layer::Layer;
use tower_service::Service;

/// Fails for good after twenty calls.
#[derive(Clone)]
struct WearsOut(u32);

impl Fault for WearsOut {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        self.0 += 1;
        if self.0 > 20 {
            return Box::pin(async { Err("worn out".into()) });
        }
        passed(inner.call(request))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_wears_out_is_rejected() {
    rejects(WearsOut(0), &[Check::ManyCalls]).await;
}

/// Gives another answer in the end.
#[derive(Clone)]
struct Drifts(u64);

impl Fault for Drifts {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        self.0 += 1;
        let drift = self.0 / 40;
        let response = inner.call(request);
        Box::pin(async move { Ok::<_, BoxError>(response.await? + drift) })
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_carries_something_over_from_earlier_calls_is_rejected() {
    rejects(Drifts(0), &[Check::ManyCalls]).await;
}

/// Keeps an instance of the inner service for each call.
#[derive(Clone)]
struct Hoards(Vec<Numbers>);

impl Fault for Hoards {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        self.0.push(inner.clone());
        passed(inner.call(request))
    }
}

#[tokio::test(start_paused = true)]
async fn keeping_an_instance_for_each_call_is_rejected() {
    let expected = [
        Check::DropUnpolled,
        Check::DropCalled,
        Check::DropPending,
        Check::DropAnswered,
        Check::ManyCalls,
    ];
    rejects(Hoards(Vec::new()), &expected).await;
}

/// A layer that keeps each service it made alive.
#[derive(Clone)]
struct KeepsServices(Arc<Mutex<Vec<Numbers>>>);

impl Layer<Numbers> for KeepsServices {
    type Service = Faulty<Sound>;

    fn layer(&self, inner: Numbers) -> Self::Service {
        self.0.lock().unwrap().push(inner.clone());
        faulty(Sound).layer(inner)
    }
}

#[tokio::test(start_paused = true)]
async fn keeping_the_inner_service_after_the_service_is_dropped_is_rejected() {
    let report = Contract::plain(KeepsServices(Arc::default())).report().await;
    let expected = [
        Check::DropUnpolled,
        Check::DropCalled,
        Check::DropPending,
        Check::DropAnswered,
        Check::ManyServices,
    ];
    assert_eq!(report.failed(), expected, "{report}");
}

/// A layer that gives every caller a clone of one service, once it has made a few.
#[derive(Clone)]
struct ReusesService {
    made: Arc<Mutex<(u32, Option<Faulty<Sound>>)>>,
}

impl Layer<Numbers> for ReusesService {
    type Service = Faulty<Sound>;

    fn layer(&self, inner: Numbers) -> Self::Service {
        let mut made = self.made.lock().unwrap();
        made.0 += 1;
        // All checks but the last make fourteen services between them.
        if made.0 <= 16 {
            return faulty(Sound).layer(inner);
        }
        made.1.get_or_insert_with(|| faulty(Sound).layer(inner)).clone()
    }
}

#[tokio::test(start_paused = true)]
async fn giving_out_a_service_around_another_inner_one_is_rejected() {
    let report = Contract::plain(ReusesService { made: Arc::default() }).report().await;
    assert_eq!(report.failed(), [Check::ManyServices], "{report}");
}

/// A layer whose clone has lost its settings.
struct ClonesEmpty(u32);

impl Clone for ClonesEmpty {
    fn clone(&self) -> Self {
        Self(21)
    }
}

impl Layer<Numbers> for ClonesEmpty {
    type Service = Faulty<WearsOut>;

    fn layer(&self, inner: Numbers) -> Self::Service {
        faulty(WearsOut(self.0)).layer(inner)
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_the_layer_that_makes_another_service_is_rejected() {
    let report = Contract::plain(ClonesEmpty(0)).report().await;
    assert_eq!(report.failed(), [Check::ManyCalls, Check::ManyServices], "{report}");
}
