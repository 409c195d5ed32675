use super::BoxError;
use super::ground::{Ground, Verdict, Watch};
use super::probe::{Probe, settle};
use tower_service::Service;

const CALLS: usize = 8;

pub(super) async fn single<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut one, watch) = ground.service(1);
    let mut two = one.clone();
    ground.answered(&mut one, &watch).await.map_err(|why| format!("a lone call: {why}"))?;
    settle().await;
    watch.nothing_held("after a lone call, with the service idle")?;

    side_by_side(ground, (&mut one, &mut two), &watch)
        .await
        .map_err(|why| format!("two clones side by side: {why}"))?;
    settle().await;
    watch.nothing_held("after calls of two clones, with both idle")?;

    queued(ground, (&mut one, &mut two), &watch)
        .await
        .map_err(|why| format!("a clone that waits for the other one's dropped call: {why}"))?;

    ground.ready(&mut one, &watch).await?;
    ground
        .ready(&mut one, &watch)
        .await
        .map_err(|why| format!("a second poll_ready before the call: {why}"))?;
    drop(one);
    ground
        .answered(&mut two, &watch)
        .await
        .map_err(|why| format!("after the other clone was dropped ready: {why}"))?;
    settle().await;
    watch.nothing_held("at the end")
}

async fn side_by_side<S, Req>(
    ground: &Ground<'_, S, Req, S::Response>,
    (one, two): (&mut S, &mut S),
    watch: &Watch,
) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    // Answers that need a few polls make the calls of the two overlap.
    watch.handle.lag(2);
    let (first, second) = tokio::join!(several(ground, one, watch), several(ground, two, watch));
    watch.handle.lag(0);
    first.and(second)
}

async fn several<S, Req>(
    ground: &Ground<'_, S, Req, S::Response>,
    service: &mut S,
    watch: &Watch,
) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    for _ in 0..CALLS {
        ground.answered(service, watch).await?;
    }
    Ok(())
}

/// One clone's call holds the permit, the other clone waits; the first call is dropped.
async fn queued<S, Req>(
    ground: &Ground<'_, S, Req, S::Response>,
    (one, two): (&mut S, &mut S),
    watch: &Watch,
) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let handle = &watch.handle;
    handle.hold();
    ground.ready(one, watch).await?;
    let mut holder = Box::pin(one.call((ground.request)()));
    let waiting = ("a poll of the inner future", || handle.waiting_calls() > 0);
    ground.reach(holder.as_mut(), &Probe::new(), waiting, watch).await?;

    let mut waiter = ground.attempt(two);
    let task = Probe::new();
    ground.quiet(waiter.as_mut(), &task).await?;
    drop(holder);
    ground.woken(&task, watch).await?;
    handle.release();
    ground.finished("it hangs", watch, waiter).await?;
    Ok(())
}
