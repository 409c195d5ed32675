//! The ways in which the checks drive a call.

use super::BoxError;
use super::ground::{Answer, Ground, Verdict, Watch};
use super::probe::{Probe, settle};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

/// Turns of the other tasks that [`Ground::until`] gives before it lets time pass.
const TURNS_BEFORE_TIME: u32 = 64;
const LONGEST_NAP: Duration = Duration::from_secs(1);
/// Self-wakings in a row that count as spinning.
const SPINS: u32 = 16;

impl<S, Req> Ground<'_, S, Req, S::Response>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    /// Makes `service` ready.
    pub(super) async fn ready(&self, service: &mut S, watch: &Watch) -> Verdict {
        let ready = poll_fn(|cx| service.poll_ready(cx));
        let answer = self.within("poll_ready is pending", watch, ready).await?;
        answer.map_err(|error| unexpected(&error.into()))
    }

    /// A whole call as one future: readiness, then the response.
    pub(super) fn attempt<'s>(
        &'s self,
        service: &'s mut S,
    ) -> Pin<Box<dyn Future<Output = Answer<S::Response>> + 's>> {
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call((self.request)()).await.map_err(Into::into)
        })
    }

    /// Makes a whole call and returns its response, which must not be an error.
    pub(super) async fn answered(
        &self,
        service: &mut S,
        watch: &Watch,
    ) -> Result<S::Response, String> {
        let attempt = self.attempt(service);
        self.finished("the call hangs", watch, attempt).await
    }

    /// Drives a call to its end and returns its response, which must not be an error.
    pub(super) async fn finished<E>(
        &self,
        hanging: &str,
        watch: &Watch,
        call: impl Future<Output = Result<S::Response, E>>,
    ) -> Result<S::Response, String>
    where
        E: Into<BoxError>,
    {
        let answer = self.within(hanging, watch, call).await?;
        answer.map_err(|error| unexpected(&error.into()))
    }

    /// Gives `future` as long as the patience lasts.
    pub(super) async fn within<T>(
        &self,
        hanging: &str,
        watch: &Watch,
        future: impl Future<Output = T>,
    ) -> Result<T, String> {
        timeout(self.patience, future)
            .await
            .map_err(|_| format!("{hanging} after {:?} ({watch})", self.patience))
    }

    /// Polls a call, each time that it is woken, until `reached` holds.
    pub(super) async fn reach<F: Future + ?Sized>(
        &self,
        mut call: Pin<&mut F>,
        probe: &Probe,
        (goal, reached): (&str, impl Fn() -> bool),
        watch: &Watch,
    ) -> Verdict {
        let mut due = true;
        self.until(goal, watch, || {
            if due && probe.poll(call.as_mut()).is_ready() {
                return Some(Err(format!("the call ended before {goal} ({watch})")));
            }
            due = probe.take_woken();
            reached().then_some(Ok(()))
        })
        .await
    }

    /// Asserts that the task of `probe` is woken in time.
    pub(super) async fn woken(&self, probe: &Probe, watch: &Watch) -> Verdict {
        self.until("the waking of its task", watch, || probe.take_woken().then_some(Ok(()))).await
    }

    /// Asks `step` again and again until it has a verdict: at first between turns of the other tasks,
    /// then between naps.
    async fn until(
        &self,
        goal: &str,
        watch: &Watch,
        mut step: impl FnMut() -> Option<Verdict>,
    ) -> Verdict {
        let deadline = Instant::now() + self.patience;
        let mut turns = 0;
        let mut nap = Duration::from_millis(1);
        loop {
            if let Some(verdict) = step() {
                return verdict;
            }
            if Instant::now() >= deadline {
                return Err(format!("{goal} did not come within {:?} ({watch})", self.patience));
            }
            if turns < TURNS_BEFORE_TIME {
                turns += 1;
                tokio::task::yield_now().await;
            } else {
                sleep(nap).await;
                nap = (nap * 2).min(LONGEST_NAP);
            }
        }
    }

    /// Asserts that a pending call whose waker is `probe` stays pending, and goes quiet.
    pub(super) async fn quiet<F: Future + ?Sized>(
        &self,
        mut call: Pin<&mut F>,
        probe: &Probe,
    ) -> Verdict {
        for _ in 0..SPINS {
            if probe.poll(call.as_mut()).is_ready() {
                return Err("the call ended although the inner service was pending".to_owned());
            }
            settle().await;
            if !probe.take_woken() {
                return Ok(());
            }
        }
        Err("the layer wakes its own task over and over while the inner service is pending"
            .to_owned())
    }
}

fn unexpected(error: &BoxError) -> String {
    let mut words = format!("the call failed, though the inner service did not: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}
