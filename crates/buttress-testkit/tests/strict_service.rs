//! The strict service and its handle.

use buttress_testkit::{Planted, Replies, Strict, Violation};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tower::ServiceExt;
use tower_service::Service;

type Numbers = Strict<Replies<u64>>;

fn numbers() -> (Numbers, buttress_testkit::Handle<Planted>) {
    Strict::new(Replies::each(Ok))
}

async fn ready(service: &mut Numbers) -> Result<(), Planted> {
    poll_fn(|cx| Service::<()>::poll_ready(service, cx)).await
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

fn poll_ready(service: &mut Numbers, waker: &Waker) -> Poll<Result<(), Planted>> {
    Service::<()>::poll_ready(service, &mut Context::from_waker(waker))
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waker() -> (Waker, Arc<Wakes>) {
    let wakes = Arc::new(Wakes::default());
    (Waker::from(Arc::clone(&wakes)), wakes)
}

fn refusal(service: &mut Numbers) -> String {
    let call = catch_unwind(AssertUnwindSafe(|| drop(service.call(()))));
    let panic = call.err().and_then(|panic| panic.downcast::<String>().ok());
    panic.map_or_else(|| String::from("the call went through"), |sentence| *sentence)
}

#[tokio::test]
async fn a_call_without_readiness_is_refused_and_recorded() {
    let (mut service, handle) = numbers();
    assert!(refusal(&mut service).contains("instance 1 was never polled for readiness"));
    assert!(matches!(
        handle.violations()[..],
        [Violation::CalledUnready { instance: 1, cloned_from: None, .. }]
    ));
    assert_eq!(handle.calls(), 0, "a refused call does not reach the inner service");
    catch_unwind(AssertUnwindSafe(|| handle.assert_clean())).expect_err("it was not clean");
}

#[tokio::test]
async fn a_clone_of_a_ready_service_is_unready() {
    let (mut service, handle) = numbers();
    ready(&mut service).await.unwrap();
    let mut clone = service.clone();
    assert!(refusal(&mut clone).contains("instance 2, a clone of instance 1, was never polled"));
    assert_eq!(service.call(()).await, Ok(1));
    assert_eq!(handle.instances(), 2);
    drop(clone);
    assert_eq!(handle.instances(), 1);
}

#[tokio::test]
async fn a_call_uses_the_readiness_up() {
    let (mut service, _handle) = numbers();
    ready(&mut service).await.unwrap();
    assert_eq!(service.call(()).await, Ok(1));
    assert!(refusal(&mut service).contains("used its readiness up"));
}

#[tokio::test]
async fn a_failed_readiness_permits_no_call() {
    let (mut service, handle) = numbers();
    handle.fail_next_ready(Planted::new(5));
    assert_eq!(ready(&mut service).await, Err(Planted::new(5)));
    assert!(refusal(&mut service).contains("with an error"));
    assert_eq!(ready(&mut service).await, Ok(()), "the failure was planted once");
}

#[tokio::test]
async fn pending_readiness_keeps_the_last_waker_of_each_instance_until_it_is_woken() {
    let (mut service, handle) = numbers();
    let mut clone = service.clone();
    let ((first, first_wakes), (last, last_wakes)) = (waker(), waker());
    handle.pend_ready(3);
    assert!(poll_ready(&mut service, &first).is_pending());
    assert!(poll_ready(&mut service, &last).is_pending());
    assert!(poll_ready(&mut clone, &last).is_pending());
    assert!(refusal(&mut service).contains("answered Pending"));
    assert_eq!(handle.waiting_ready(), 2);

    assert_eq!(handle.wake(), 2);
    assert_eq!(first_wakes.0.load(Ordering::Relaxed), 0);
    assert_eq!(last_wakes.0.load(Ordering::Relaxed), 2);
    assert!(poll_ready(&mut service, &last).is_ready(), "three polls were to be pending");
    assert_eq!(handle.ready_polls(), 4);
}

#[tokio::test]
async fn blocked_readiness_lasts_until_it_is_unblocked_and_spares_who_is_ready() {
    let (mut service, handle) = numbers();
    let mut clone = service.clone();
    ready(&mut service).await.unwrap();
    handle.block_ready();
    let (task, wakes) = waker();
    for _ in 0..10 {
        assert!(poll_ready(&mut clone, &task).is_pending());
    }
    assert!(poll_ready(&mut service, &task).is_ready());
    handle.unblock_ready();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(poll_ready(&mut clone, &task).is_ready());
}

#[tokio::test]
async fn a_waiting_instance_that_is_dropped_waits_no_more() {
    let (mut service, handle) = numbers();
    handle.block_ready();
    assert!(poll_ready(&mut service, &waker().0).is_pending());
    drop(service);
    assert_eq!(handle.waiting_ready(), 0);
    assert_eq!(handle.instances(), 0);
}

#[tokio::test]
async fn held_answers_are_released_in_any_order() {
    let (service, handle) = numbers();
    handle.hold();
    let (task, wakes) = waker();
    let mut one = pin!(service.clone().oneshot(()));
    let mut two = pin!(service.oneshot(()));
    assert!(poll(one.as_mut(), &task).is_pending());
    assert!(poll(two.as_mut(), &task).is_pending());
    assert_eq!((handle.calls(), handle.in_flight(), handle.waiting_calls()), (2, 2, 2));

    assert!(handle.release_call(2));
    assert!(!handle.release_call(3), "there is no third call");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(poll(one.as_mut(), &task).is_pending());
    assert_eq!(poll(two.as_mut(), &task), Poll::Ready(Ok(2)));

    handle.release();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert_eq!(poll(one.as_mut(), &task), Poll::Ready(Ok(1)));
    assert_eq!((handle.completed(), handle.dropped(), handle.in_flight()), (2, 0, 0));
}

#[tokio::test]
async fn a_future_dropped_early_counts_as_dropped() {
    let (mut service, handle) = numbers();
    handle.hold();
    ready(&mut service).await.unwrap();
    let call = service.call(());
    assert_eq!(handle.in_flight(), 1);
    drop(call);
    assert_eq!((handle.completed(), handle.dropped(), handle.in_flight()), (0, 1, 0));
}

#[tokio::test]
async fn a_lagging_answer_is_pending_and_wakes_its_task_each_time() {
    let (service, handle) = numbers();
    handle.lag(2);
    let (task, wakes) = waker();
    let mut call = pin!(service.oneshot(()));
    assert!(poll(call.as_mut(), &task).is_pending());
    assert!(poll(call.as_mut(), &task).is_pending());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert!(poll(call.as_mut(), &task).is_ready());
}

#[tokio::test]
async fn planted_errors_come_once_each_in_order_and_then_as_long_as_asked() {
    let (service, handle) = numbers();
    let call = || service.clone().oneshot(());
    handle.fail_next_call(Planted::new(1));
    handle.fail_next_call(Planted::new(2));
    assert_eq!(call().await, Err(Planted::new(1)));
    assert_eq!(call().await, Err(Planted::new(2)));
    assert_eq!(call().await, Ok(3));

    handle.fail_every_call(|| Planted::new(9));
    handle.fail_every_ready(|| Planted::new(8));
    assert_eq!(call().await, Err(Planted::new(8)));
    handle.recover();
    assert_eq!(call().await, Ok(4));
}

#[tokio::test]
async fn polling_a_response_again_after_its_output_is_a_violation() {
    let (mut service, handle) = numbers();
    ready(&mut service).await.unwrap();
    let mut call = pin!(service.call(()));
    assert!(poll(call.as_mut(), Waker::noop()).is_ready());
    let again = catch_unwind(AssertUnwindSafe(|| poll(call.as_mut(), Waker::noop())));
    again.expect_err("it was polled again");
    assert!(matches!(handle.violations()[..], [Violation::PolledAfterCompletion { call: 1, .. }]));
}

#[tokio::test]
async fn a_strict_service_goes_around_any_service() {
    let double = tower::service_fn(|n: u64| async move { Ok::<_, std::io::Error>(n * 2) });
    let (service, handle) = Strict::new(double);
    assert_eq!(service.oneshot(21).await.unwrap(), 42);
    handle.assert_clean();
}

#[tokio::test]
#[should_panic(expected = "call 2 came after the last of 1 replies")]
async fn a_call_after_the_last_scripted_reply_panics() {
    let (service, _handle) = Strict::<_, Planted>::new(Replies::queue([Ok(1)]));
    let _ = service.clone().oneshot(()).await;
    let _ = service.oneshot(()).await;
}
