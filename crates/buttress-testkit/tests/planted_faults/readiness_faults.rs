//! Faults in the handling of readiness, of wakers and of permits.

use crate::fault::{Answer, Fault, Numbers, passed, poll_inner};
use crate::rejects;
use buttress_testkit::contract::BoxError;
use buttress_testkit::{Check, Contract};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tower::layer::layer_fn;
use tower_service::Service;

/// Readies one instance and calls another.
#[derive(Clone)]
struct CallsClone;

impl Fault for CallsClone {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        passed(inner.clone().call(request))
    }
}

#[tokio::test(start_paused = true)]
async fn calling_a_clone_that_never_was_ready_is_rejected() {
    rejects(CallsClone, &[Check::ReadyInstance]).await;
}

/// Calls the ready instance first, and again for a second try without asking it again.
#[derive(Clone)]
struct CallsTwice;

impl Fault for CallsTwice {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let first = inner.call(request);
        let mut inner = inner.clone();
        Box::pin(async move {
            let _ = first.await;
            inner.call(request).await.map_err(BoxError::from)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_without_readiness_is_rejected() {
    rejects(CallsTwice, &[Check::ReadyInstance]).await;
}

/// Remembers that it was ready, and forgets to forget it.
#[derive(Clone)]
struct StaysReady(bool);

impl Fault for StaysReady {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        if self.0 {
            return Poll::Ready(Ok(()));
        }
        let polled = poll_inner(inner, cx);
        self.0 = matches!(polled, Poll::Ready(Ok(())));
        polled
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_that_is_not_used_up_is_rejected() {
    rejects(StaysReady(false), &[Check::ReadyInstance]).await;
}

/// Remembers that it is ready, also in its clones.
#[derive(Clone)]
struct ClonesReadiness(StaysReady);

impl Fault for ClonesReadiness {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(inner, cx)
    }

    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        self.0.0 = false;
        passed(inner.call(request))
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_that_is_cloned_is_rejected() {
    rejects(ClonesReadiness(StaysReady(false)), &[Check::CloneUnready]).await;
}

/// Shares one instance of the inner service among all clones.
#[derive(Clone)]
struct SharesInstance(Arc<Mutex<Numbers>>);

impl Service<u64> for SharesInstance {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        poll_inner(&mut self.0.lock().unwrap(), cx)
    }

    fn call(&mut self, request: u64) -> Answer {
        passed(self.0.lock().unwrap().call(request))
    }
}

#[tokio::test(start_paused = true)]
async fn one_instance_shared_by_all_clones_is_rejected() {
    let shares = layer_fn(|inner: Numbers| SharesInstance(Arc::new(Mutex::new(inner))));
    let report = Contract::plain(shares).report().await;
    assert_eq!(report.failed(), [Check::CloneUnready], "{report}");
}

/// Asks the inner service with a waker that wakes nobody.
#[derive(Clone)]
struct DropsWaker;

impl Fault for DropsWaker {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        _: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        poll_inner(inner, &mut Context::from_waker(Waker::noop()))
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_waker_of_readiness_is_rejected() {
    rejects(DropsWaker, &[Check::ReadyWaker, Check::SinglePermit]).await;
}

/// Asks the inner service with the waker of whoever polled first.
#[derive(Clone)]
struct KeepsFirstWaker(Option<Waker>);

impl Fault for KeepsFirstWaker {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        let first = self.0.get_or_insert_with(|| cx.waker().clone()).clone();
        let polled = poll_inner(inner, &mut Context::from_waker(&first));
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

#[tokio::test(start_paused = true)]
async fn waking_the_task_that_polled_first_and_not_the_last_is_rejected() {
    rejects(KeepsFirstWaker(None), &[Check::ReadyWaker]).await;
}

/// Polls in a circle for as long as the inner service is not ready.
#[derive(Clone)]
struct Spins;

impl Fault for Spins {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        let polled = poll_inner(inner, cx);
        if polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

#[tokio::test(start_paused = true)]
async fn spinning_until_the_inner_service_is_ready_is_rejected() {
    rejects(Spins, &[Check::ReadyWaker, Check::SinglePermit]).await;
}

/// Takes an error of readiness for readiness.
#[derive(Clone)]
struct IgnoresReadyError;

impl Fault for IgnoresReadyError {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        poll_inner(inner, cx).map(|_| Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn calling_after_a_readiness_error_is_rejected() {
    rejects(IgnoresReadyError, &[Check::ReadyErrorUnchanged]).await;
}

/// Gets ready for the next call as soon as one is made, and so keeps a permit while it is idle.
#[derive(Clone)]
struct ReadiesAhead;

impl Fault for ReadiesAhead {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let response = passed(inner.call(request));
        let _ = poll_inner(inner, &mut Context::from_waker(Waker::noop()));
        response
    }
}

#[tokio::test(start_paused = true)]
async fn holding_a_permit_while_idle_is_rejected() {
    let expected = [
        Check::DropUnpolled,
        Check::DropCalled,
        Check::DropPending,
        Check::DropAnswered,
        Check::SinglePermit,
        Check::ManyCalls,
    ];
    rejects(ReadiesAhead, &expected).await;
}

/// Waits in its future for a second instance, with the first one ready in its hands.
#[derive(Clone)]
struct WantsTwoPermits;

impl Fault for WantsTwoPermits {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let mut other = inner.clone();
        let mut ready = std::mem::replace(inner, inner.clone());
        Box::pin(async move {
            poll_fn(|cx| poll_inner(&mut other, cx)).await?;
            ready.call(request).await.map_err(BoxError::from)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_second_permit_is_rejected() {
    rejects(WantsTwoPermits, &[Check::SinglePermit]).await;
}

/// Passes a baton from clone to clone, and waits for it with a permit in its hands.
#[derive(Clone)]
struct LocksOutOfOrder {
    baton: Arc<tokio::sync::Mutex<()>>,
}

impl Fault for LocksOutOfOrder {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let mut later = inner.clone();
        let first = inner.call(request);
        let baton = Arc::clone(&self.baton);
        Box::pin(async move {
            let ours = baton.lock().await;
            first.await?;
            poll_fn(|cx| poll_inner(&mut later, cx)).await?;
            let answer = later.call(request).await;
            drop(ours);
            answer.map_err(BoxError::from)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn two_clones_that_wait_for_each_other_are_rejected() {
    rejects(LocksOutOfOrder { baton: Arc::default() }, &[Check::SinglePermit]).await;
}

/// Readies a new instance at each poll, even when it has a ready one.
#[derive(Clone)]
struct ReadiesAnew;

impl Fault for ReadiesAnew {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        let mut fresh = inner.clone();
        let polled = poll_inner(&mut fresh, cx);
        if polled.is_ready() {
            *inner = fresh;
        }
        polled
    }
}

#[tokio::test(start_paused = true)]
async fn taking_a_second_permit_at_a_second_poll_is_rejected() {
    // The instance that was asked is dropped while it waits, and its waker with it.
    rejects(ReadiesAnew, &[Check::ReadyWaker, Check::SinglePermit]).await;
}
