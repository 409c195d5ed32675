//! The policy for requests that are simply cloned.

use std::future::Pending;

use buttress_core::{BoxError, Outcome};

use crate::{Delay, Ending, Next, Policy, Resend, Resent, Retired, Verdict};

/// Repeats any request that is `Clone`, whatever it is made of.
///
/// ```
/// use buttress_retry::{Repeat, RetryLayer};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), buttress_core::BoxError> {
/// static CALLS: AtomicU32 = AtomicU32::new(0);
/// let mut service = ServiceBuilder::new()
///     .layer(RetryLayer::new(Repeat::on_error()))
///     .service(service_fn(|request: &'static str| async move {
///         match CALLS.fetch_add(1, Ordering::SeqCst) {
///             0 => Err("the connection was reset"),
///             _ => Ok(request.len()),
///         }
///     }));
///
/// assert_eq!(service.ready().await?.call("hello").await?, 5);
/// assert_eq!(CALLS.load(Ordering::SeqCst), 2);
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Repeat<F> {
    outcome: F,
}

/// Judges a result: an error by [`Outcome::of_error`], and every response as a success.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct OnError;

/// Says what a result came to, for [`Repeat`]. Closures fit.
pub trait Judge<Res> {
    /// Judges a result.
    fn outcome(&self, result: &Result<Res, BoxError>) -> Outcome;
}

impl<Res> Judge<Res> for OnError {
    fn outcome(&self, result: &Result<Res, BoxError>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(error) => Outcome::of_error(&**error),
        }
    }
}

impl<Res, F: Fn(&Result<Res, BoxError>) -> Outcome> Judge<Res> for F {
    fn outcome(&self, result: &Result<Res, BoxError>) -> Outcome {
        self(result)
    }
}

impl Repeat<OnError> {
    /// Repeats after errors other than those that [`Outcome::of_error`] calls rejected.
    pub const fn on_error() -> Self {
        Self { outcome: OnError }
    }
}

impl<F> Repeat<F> {
    /// Repeats when `outcome` says that the service failed, which is every [`Outcome`] but
    /// [`Success`](Outcome::Success) and [`Rejected`](Outcome::Rejected).
    pub const fn when<Res>(outcome: F) -> Self
    where
        F: Fn(&Result<Res, BoxError>) -> Outcome,
    {
        Self { outcome }
    }
}

impl<Req: Clone, F> Resend<Req> for Repeat<F> {
    type Sent = Req;
    type Backup = Req;

    fn begin(&self, request: Req, again: bool) -> (Req, Result<Req, Ending>) {
        let backup = if again { Ok(request.clone()) } else { Err(Ending::MaxAttempts) };
        (request, backup)
    }

    fn resend(&self, backup: Req, next: &Next) -> Resent<Req, Req> {
        if next.last {
            return Ok((backup, None));
        }
        Ok((backup.clone(), Some(backup)))
    }
}

impl<Req, Res, F> Policy<Req, Res> for Repeat<F>
where
    Req: Clone,
    F: Judge<Res>,
{
    type Discard = Pending<()>;

    fn outcome(&self, result: &Result<Res, BoxError>) -> Outcome {
        self.outcome.outcome(result)
    }

    fn judge(&self, _: &Req, outcome: Outcome, _: &Result<Res, BoxError>) -> Verdict {
        if outcome.is_service_failure() {
            Verdict::Retry(Delay::Backoff)
        } else {
            Verdict::Return(Ending::NotRetryable)
        }
    }

    fn retire(&self, response: Res) -> Retired<Res, Self::Discard> {
        drop(response);
        Retired::Dropped
    }
}
