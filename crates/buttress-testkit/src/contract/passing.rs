use super::BoxError;
use super::ground::{Answer, Ground, PLENTY, Verdict};
use crate::strict::Planted;
use std::error::Error;
use tower_service::Service;

pub(super) async fn response<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let (mut service, watch) = ground.service(PLENTY);
    let response = ground.answered(&mut service, &watch).await?;
    (ground.judge)(response).await?;
    // An answer that takes its time is the same answer.
    watch.handle.lag(3);
    let response = ground.answered(&mut service, &watch).await?;
    (ground.judge)(response).await
}

pub(super) async fn error<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let planted = Planted::new(0xE1);
    let (mut service, watch) = ground.service(PLENTY);
    watch.handle.fail_every_call(move || planted);
    let call = ground.attempt(&mut service);
    let answer = ground.within("the failed call hangs", &watch, call).await?;
    found(answer, planted)?;
    // A failed call does not spoil the service.
    watch.handle.recover();
    ground.answered(&mut service, &watch).await.map_err(|why| format!("the next call: {why}"))?;
    Ok(())
}

pub(super) async fn ready_error<S, Req>(ground: &Ground<'_, S, Req, S::Response>) -> Verdict
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    let planted = Planted::new(0xE2);
    let (mut service, watch) = ground.service(PLENTY);
    watch.handle.fail_every_ready(move || planted);
    let call = ground.attempt(&mut service);
    found(ground.within("the failed call hangs", &watch, call).await?, planted)
}

fn found<O>(answer: Answer<O>, planted: Planted) -> Verdict {
    let Err(error) = answer else {
        return Err("the inner service failed, and the layer answered".to_owned());
    };
    let mut next: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(cause) = next {
        if cause.downcast_ref::<Planted>() == Some(&planted) {
            return Ok(());
        }
        next = cause.source();
    }
    Err(format!("{planted:?} is not found in the error or its sources: {error:?}"))
}
