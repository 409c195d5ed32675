use super::BoxError;
use super::ground::{Ground, Verdict};
use super::probe::{Probe, settle};
use tower_service::Service;

/// Enough for a layer that wrongly takes two, which another check finds.
const PERMITS: usize = 4;

/// How far a call has come when its future is dropped.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    Unpolled,
    Called,
    Pending,
    Answered,
}

/// Drops a response future at `stage`, looks for what is left of it, then uses the service again.
pub(super) async fn dropped<S, Req>(
    ground: &Ground<'_, S, Req, S::Response>,
    stage: Stage,
) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut service, watch) = ground.service(PERMITS);
    let handle = watch.handle.clone();
    // A warm-up, so that what a layer keeps between calls is not taken for a leak.
    ground.answered(&mut service, &watch).await?;
    ground.ready(&mut service, &watch).await?;
    let idle = handle.instances();
    let calls = handle.calls();

    handle.hold();
    let mut call = Box::pin(service.call((ground.request)()));
    let probe = Probe::new();
    let called = ("the inner call", || handle.calls() > calls);
    let waiting = ("a poll of the inner future", || handle.waiting_calls() > 0);
    match stage {
        Stage::Unpolled => {}
        Stage::Called => ground.reach(call.as_mut(), &probe, called, &watch).await?,
        Stage::Pending => {
            ground.reach(call.as_mut(), &probe, waiting, &watch).await?;
            ground.quiet(call.as_mut(), &probe).await?;
        }
        Stage::Answered => {
            ground.reach(call.as_mut(), &probe, waiting, &watch).await?;
            handle.release();
        }
    }
    drop(call);
    settle().await;

    watch.nothing_held("after the drop")?;
    watch.at_most(idle, "after the drop")?;
    handle.release();
    ground.answered(&mut service, &watch).await.map_err(|why| format!("the next call: {why}"))?;
    drop(service);
    settle().await;
    watch.nothing_held("after the service was dropped")?;
    watch.at_most(0, "after the service was dropped")
}
