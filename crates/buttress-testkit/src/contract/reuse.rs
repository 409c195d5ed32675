use super::BoxError;
use super::ground::{Ground, Maker, PLENTY, Verdict};
use super::probe::settle;
use tower_service::Service;

const CALLS: usize = 64;
const SERVICES: usize = 32;

pub(super) async fn many_calls<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut service, watch) = ground.service(PLENTY);
    let mut early = 0;
    for call in 1..=CALLS {
        let numbered = |why| format!("call {call} of {CALLS}: {why}");
        let response = ground.answered(&mut service, &watch).await.map_err(numbered)?;
        (ground.judge)(response).await.map_err(numbered)?;
        if call == CALLS / 2 {
            settle().await;
            early = watch.handle.instances();
        }
    }
    settle().await;
    watch.nothing_held("after many calls")?;
    watch.at_most(early, "after twice as many calls")
}

pub(super) async fn many_services<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let mut services = Vec::with_capacity(SERVICES);
    for number in 1..=SERVICES {
        let maker = if number % 2 == 0 { Maker::Clone } else { Maker::Original };
        services.push(ground.service_by(maker, PLENTY));
    }
    for (number, (service, watch)) in services.iter_mut().enumerate() {
        ground.answered(service, watch).await.map_err(|why| format!("service {number}: {why}"))?;
        if watch.handle.calls() == 0 {
            return Err(format!("service {number} did not call the inner service it was given"));
        }
    }
    let watches: Vec<_> = services.into_iter().map(|(_, watch)| watch).collect();
    settle().await;
    watches.iter().try_for_each(|watch| watch.at_most(0, "after every service was dropped"))
}
