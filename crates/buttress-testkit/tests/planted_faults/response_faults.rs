//! Faults in the handling of the response future, of answers and of errors.

use crate::fault::{Answer, Fault, InnerFuture, Numbers, faulty, passed};
use crate::rejects;
use buttress_testkit::contract::BoxError;
use buttress_testkit::{Check, Contract};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tower_service::Service;

/// The boxed inner future and how it is treated.
struct Treated<D> {
    inner: Pin<Box<InnerFuture>>,
    treatment: D,
}

/// What to do when the inner future is polled.
trait Treatment: Unpin + Send + 'static {
    fn poll(
        &mut self,
        inner: Pin<&mut InnerFuture>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<u64, BoxError>>;
}

impl<D: Treatment> Future for Treated<D> {
    type Output = Result<u64, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.treatment.poll(this.inner.as_mut(), cx)
    }
}

fn treated(inner: &mut Numbers, request: u64, treatment: impl Treatment) -> Answer {
    Box::pin(Treated { inner: Box::pin(inner.call(request)), treatment })
}

/// Polls the inner future with a waker that wakes nobody.
#[derive(Clone)]
struct DropsWaker;

impl Treatment for DropsWaker {
    fn poll(
        &mut self,
        inner: Pin<&mut InnerFuture>,
        _: &mut Context<'_>,
    ) -> Poll<Result<u64, BoxError>> {
        inner.poll(&mut Context::from_waker(Waker::noop())).map_err(BoxError::from)
    }
}

impl Fault for DropsWaker {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        treated(inner, request, Self)
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_waker_of_the_response_is_rejected() {
    // Answers that come late hang in the other two.
    let expected = [Check::ResponseWaker, Check::ResponseUnchanged, Check::SinglePermit];
    rejects(DropsWaker, &expected).await;
}

/// Polls the inner future with the waker of whoever polled first.
#[derive(Clone)]
struct KeepsFirstWaker(Option<Waker>);

impl Treatment for KeepsFirstWaker {
    fn poll(
        &mut self,
        inner: Pin<&mut InnerFuture>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<u64, BoxError>> {
        let first = self.0.get_or_insert_with(|| cx.waker().clone());
        inner.poll(&mut Context::from_waker(first)).map_err(BoxError::from)
    }
}

impl Fault for KeepsFirstWaker {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        treated(inner, request, Self(None))
    }
}

#[tokio::test(start_paused = true)]
async fn waking_the_task_that_polled_first_and_not_the_last_is_rejected() {
    rejects(KeepsFirstWaker(None), &[Check::ResponseWaker]).await;
}

/// Polls in a circle for as long as the inner future is pending.
#[derive(Clone)]
struct Spins;

impl Treatment for Spins {
    fn poll(
        &mut self,
        inner: Pin<&mut InnerFuture>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<u64, BoxError>> {
        let polled = inner.poll(cx).map_err(BoxError::from);
        if polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl Fault for Spins {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        treated(inner, request, Self)
    }
}

#[tokio::test(start_paused = true)]
async fn spinning_until_the_response_is_there_is_rejected() {
    rejects(Spins, &[Check::ResponseWaker, Check::DropPending]).await;
}

/// Leaves the inner future to a task that outlives the call.
#[derive(Clone)]
struct Spawns;

impl Fault for Spawns {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let task = tokio::spawn(passed(inner.call(request)));
        Box::pin(async move { task.await? })
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_the_inner_future_to_a_task_is_rejected() {
    let expected =
        [Check::DropUnpolled, Check::DropCalled, Check::DropPending, Check::SinglePermit];
    rejects(Spawns, &expected).await;
}

/// Never drops the inner future.
struct Forgets(ManuallyDrop<Pin<Box<InnerFuture>>>);

impl Future for Forgets {
    type Output = Result<u64, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map_err(BoxError::from)
    }
}

#[derive(Clone)]
struct ForgetsInner;

impl Fault for ForgetsInner {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        Box::pin(Forgets(ManuallyDrop::new(Box::pin(inner.call(request)))))
    }
}

#[tokio::test(start_paused = true)]
async fn forgetting_the_inner_future_is_rejected() {
    let expected = [
        Check::DropUnpolled,
        Check::DropCalled,
        Check::DropPending,
        Check::DropAnswered,
        Check::SinglePermit,
        Check::ManyCalls,
    ];
    rejects(ForgetsInner, &expected).await;
}

type Shelf = Arc<Mutex<Vec<Pin<Box<InnerFuture>>>>>;

/// Puts the inner future on a shelf when its own is dropped after a poll and before the end.
struct Parks {
    inner: Option<Pin<Box<InnerFuture>>>,
    polled: bool,
    shelf: Shelf,
}

impl Future for Parks {
    type Output = Result<u64, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polled = true;
        let answer = self.inner.as_mut().map(|inner| inner.as_mut().poll(cx));
        if let Some(Poll::Ready(answer)) = answer {
            self.inner = None;
            return Poll::Ready(answer.map_err(BoxError::from));
        }
        Poll::Pending
    }
}

impl Drop for Parks {
    fn drop(&mut self) {
        if self.polled {
            self.shelf.lock().unwrap().extend(self.inner.take());
        }
    }
}

#[derive(Clone)]
struct ParksPending(Shelf);

impl Fault for ParksPending {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let inner = Some(Box::pin(inner.call(request)));
        Box::pin(Parks { inner, polled: false, shelf: Arc::clone(&self.0) })
    }
}

#[tokio::test(start_paused = true)]
async fn storing_the_inner_future_of_a_dropped_call_is_rejected() {
    let expected =
        [Check::DropCalled, Check::DropPending, Check::DropAnswered, Check::SinglePermit];
    rejects(ParksPending(Shelf::default()), &expected).await;
}

/// Wraps errors in their own words.
#[derive(Clone)]
pub(crate) struct RewordsErrors;

impl Fault for RewordsErrors {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let response = inner.call(request);
        Box::pin(async move { response.await.map_err(|error| error.to_string().into()) })
    }
}

#[tokio::test(start_paused = true)]
async fn rewording_an_error_is_rejected() {
    rejects(RewordsErrors, &[Check::ErrorUnchanged]).await;
}

/// Answers in place of failing.
#[derive(Clone)]
struct SwallowsErrors;

impl Fault for SwallowsErrors {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let response = inner.call(request);
        Box::pin(async move { Ok(response.await.unwrap_or(42)) })
    }
}

#[tokio::test(start_paused = true)]
async fn swallowing_an_error_is_rejected() {
    rejects(SwallowsErrors, &[Check::ErrorUnchanged]).await;
}

/// Keeps the words of a readiness error and nothing else.
#[derive(Clone)]
struct RewordsReadyErrors;

impl Fault for RewordsReadyErrors {
    fn poll_ready(
        &mut self,
        inner: &mut Numbers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        Service::<u64>::poll_ready(inner, cx).map_err(|error| error.to_string().into())
    }
}

#[tokio::test(start_paused = true)]
async fn rewording_a_readiness_error_is_rejected() {
    rejects(RewordsReadyErrors, &[Check::ReadyErrorUnchanged]).await;
}

/// Changes every answer.
#[derive(Clone)]
struct AddsOne;

impl Fault for AddsOne {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let response = inner.call(request);
        Box::pin(async move { Ok(response.await? + 1) })
    }
}

#[tokio::test(start_paused = true)]
async fn changing_the_answer_is_rejected() {
    rejects(AddsOne, &[Check::ResponseUnchanged, Check::ManyCalls]).await;
}

/// Answers by itself.
#[derive(Clone)]
struct NeverCalls;

impl Fault for NeverCalls {
    fn call(&mut self, _: &mut Numbers, _: u64) -> Answer {
        Box::pin(async { Ok(42) })
    }
}

#[tokio::test(start_paused = true)]
async fn never_calling_the_inner_service_is_rejected() {
    rejects(NeverCalls, &[Check::ReadyInstance]).await;
}

/// Fails every call after a failed one.
#[derive(Clone)]
struct StaysBroken(Arc<Mutex<bool>>);

impl Fault for StaysBroken {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        let response = inner.call(request);
        let broken = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = response.await;
            let mut broken = broken.lock().map_err(|_| "poisoned")?;
            if *broken {
                return Err("broken before".into());
            }
            *broken = answer.is_err();
            answer.map_err(BoxError::from)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_spoils_the_service_is_rejected() {
    // The state is shared by all services of the layer, so every later check meets it.
    let expected =
        [Check::ErrorUnchanged, Check::SinglePermit, Check::ManyCalls, Check::ManyServices];
    rejects(StaysBroken(Arc::default()), &expected).await;
}

/// Polls the inner future once more after its output, as a select that is not fused does.
#[derive(Clone)]
struct PollsAgain(bool);

impl Treatment for PollsAgain {
    fn poll(
        &mut self,
        inner: Pin<&mut InnerFuture>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<u64, BoxError>> {
        let polled = inner.poll(cx).map_err(BoxError::from);
        if polled.is_ready() && !self.0 {
            self.0 = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }
}

impl Fault for PollsAgain {
    fn call(&mut self, inner: &mut Numbers, request: u64) -> Answer {
        treated(inner, request, Self(false))
    }
}

#[tokio::test(start_paused = true)]
async fn polling_the_inner_future_after_its_output_is_rejected() {
    let report = Contract::plain(faulty(PollsAgain(false))).report().await;
    assert!(!report.passed());
    assert!(
        report.to_string().contains("future of call 1 was polled after its output"),
        "{report}"
    );
}
