use super::BoxError;
use super::ground::{Ground, PLENTY, Verdict};
use super::probe::{Probe, settle};
use tower_service::Service;

pub(super) async fn ready_instance<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut service, watch) = ground.service(PLENTY);
    // The first call may be lucky: what the layer puts in the place of the instance it used counts.
    for _ in 0..3 {
        ground.answered(&mut service, &watch).await?;
    }
    if watch.handle.calls() == 0 {
        return Err("three calls were answered without the inner service".to_owned());
    }
    Ok(())
}

pub(super) async fn clone_unready<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut original, watch) = ground.service(PLENTY);
    ground.ready(&mut original, &watch).await?;
    let mut clone = original.clone();
    ground.answered(&mut clone, &watch).await?;
    let response = original.call((ground.request)());
    ground.finished("the original hangs", &watch, response).await?;

    ground.ready(&mut original, &watch).await?;
    let mut clone = original.clone();
    ground.ready(&mut clone, &watch).await?;
    let (first, second) = (original.call((ground.request)()), clone.call((ground.request)()));
    ground.finished("the original hangs", &watch, first).await?;
    ground.finished("the clone hangs", &watch, second).await?;
    Ok(())
}

pub(super) async fn ready_waker<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut service, watch) = ground.service(PLENTY);
    let handle = watch.handle.clone();
    handle.block_ready();
    let mut call = ground.attempt(&mut service);
    let first = Probe::new();
    let waiting = ("poll_ready of the inner service", || handle.waiting_ready() > 0);
    ground.reach(call.as_mut(), &first, waiting, &watch).await?;
    woken(ground, call.as_mut(), || handle.unblock_ready()).await?;
    ground.finished("the call hangs once the inner service is ready", &watch, call).await?;
    Ok(())
}

pub(super) async fn response_waker<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut service, watch) = ground.service(PLENTY);
    let handle = watch.handle.clone();
    handle.hold();
    let mut call = ground.attempt(&mut service);
    let first = Probe::new();
    let waiting = ("a poll of the inner future", || handle.waiting_calls() > 0);
    ground.reach(call.as_mut(), &first, waiting, &watch).await?;
    woken(ground, call.as_mut(), || handle.release()).await?;
    ground.finished("the call hangs once the inner service has answered", &watch, call).await?;
    Ok(())
}

/// Moves a pending call to a new task, lets the inner service go on, and asserts that the new task
/// is woken: a layer that kept the waker of the first task would wake the wrong one.
async fn woken<S, Req, F>(
    ground: &Ground<'_, S, Req, S::Response>,
    mut call: std::pin::Pin<&mut F>,
    go_on: impl Fn(),
) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    F: Future + ?Sized,
{
    let task = Probe::new();
    ground.quiet(call.as_mut(), &task).await?;
    go_on();
    settle().await;
    if task.take_woken() {
        return Ok(());
    }
    Err("the inner service woke its waker, and the task that polled last was not woken".to_owned())
}
