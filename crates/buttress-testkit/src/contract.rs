//! The contract suite: what every Buttress layer must keep, whatever else it does.
//!
//! ```
//! use buttress_testkit::Contract;
//! use tower::limit::ConcurrencyLimitLayer;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread()
//! #     .enable_time().start_paused(true).build().unwrap();
//! # runtime.block_on(async {
//! Contract::http(ConcurrencyLimitLayer::new(10))
//!     .request(|| http::Request::put("http://test/").body(String::from("x")).unwrap())
//!     .run()
//!     .await;
//! # });
//! ```
//!
//! The checks are the variants of [`Check`]. Each one has services of its own, made by the layer
//! over an [`Inner`]: a strict service over tower's `ConcurrencyLimit`. So a layer is asked about
//! its handling of permits in every check, and any breach of readiness ends the check at once.
//!
//! Give the layer settings under which a lone call passes straight through: a cache needs a request
//! that it does not store, a limiter a quota that is not used up. Waiting is fine as long as it ends
//! within the [`patience`](Contract::patience), so a retry layer may retry.
//!
//! Use a current-thread runtime, with its time paused. A layer that hangs is then found at once.

mod call;
mod check;
mod drops;
mod ground;
mod http_answer;
mod passing;
mod permits;
mod probe;
mod readiness;
mod reuse;

pub use self::check::{Check, Outcome, Report};
pub use self::http_answer::SameHttp;

use self::ground::{Ground, Maker, Watch};
use crate::bodies::Script;
use crate::strict::{Replies, Strict};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tower::limit::ConcurrencyLimit;
use tower_layer::Layer;
use tower_service::Service;

/// The service that the suite puts a layer around; it takes any request.
pub type Inner<Res> = Strict<ConcurrencyLimit<Replies<Res>>>;

/// A boxed error, as tower has it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Says whether an answer that came out of a layer is the one that went in.
pub trait Judge<O> {
    /// Returns what is wrong with `response`, if anything.
    fn judge(&self, response: O) -> impl Future<Output = Result<(), String>>;
}

/// The suite, ready to be run on one layer.
pub struct Contract<L, Req, Res, J> {
    layer: L,
    request: Arc<dyn Fn() -> Req>,
    answer: Arc<dyn Fn() -> Res + Send + Sync>,
    judge: J,
    patience: Duration,
    exceptions: Vec<(Check, String)>,
}

impl<L> Contract<L, u64, u64, Same<u64>> {
    /// Prepares the suite with plain numbers as requests and answers.
    pub fn plain(layer: L) -> Self {
        const ANSWER: u64 = 42;
        Self::of(layer, || 7, || ANSWER, Same(ANSWER))
    }
}

impl<L> Contract<L, http::Request<Script>, http::Response<Script>, SameHttp> {
    /// Prepares the suite with HTTP requests and answers.
    ///
    /// The request is a bodiless `GET`. The answer is a `200` with a header, an extension, a body of
    /// two chunks and trailers. The layer may add headers, and may wrap the body.
    pub fn http(layer: L) -> Self {
        Self::of(layer, http_answer::request, http_answer::answer, SameHttp::new())
    }
}

impl<L, Req, Res, J> Contract<L, Req, Res, J> {
    fn of(
        layer: L,
        request: impl Fn() -> Req + 'static,
        answer: impl Fn() -> Res + Send + Sync + 'static,
        judge: J,
    ) -> Self {
        Self {
            layer,
            request: Arc::new(request),
            answer: Arc::new(answer),
            judge,
            patience: Duration::from_secs(600),
            exceptions: Vec::new(),
        }
    }

    /// Sends the requests that `request` makes, of whatever type, in place of the default ones.
    #[must_use]
    pub fn request<R>(self, request: impl Fn() -> R + 'static) -> Contract<L, R, Res, J> {
        Contract {
            layer: self.layer,
            request: Arc::new(request),
            answer: self.answer,
            judge: self.judge,
            patience: self.patience,
            exceptions: self.exceptions,
        }
    }

    /// Makes the inner service answer with `answer`, and each answer of the layer go to `judge`,
    /// which asserts that it is the same.
    #[must_use]
    pub fn answer<A, O, F>(
        self,
        answer: impl Fn() -> A + Send + Sync + 'static,
        judge: F,
    ) -> Contract<L, Req, A, Asserted<F>>
    where
        F: Fn(O),
    {
        Contract {
            layer: self.layer,
            request: self.request,
            answer: Arc::new(answer),
            judge: Asserted(judge),
            patience: self.patience,
            exceptions: self.exceptions,
        }
    }

    /// Sets how long a call may take before it counts as hanging; the default is 10 minutes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Leaves out one check, for a reason that the report repeats.
    #[must_use]
    pub fn except(mut self, check: Check, reason: impl Into<String>) -> Self {
        self.exceptions.push((check, reason.into()));
        self
    }

    /// Runs every check and asserts that all of them passed.
    ///
    /// # Panics
    ///
    /// Panics with the report when a check failed.
    pub async fn run<S>(self)
    where
        L: Layer<Inner<Res>, Service = S> + Clone,
        S: Service<Req> + Clone,
        S::Error: Into<BoxError>,
        J: Judge<S::Response>,
        Res: 'static,
    {
        let report = self.report().await;
        assert!(report.passed(), "{report}");
    }

    /// Runs every check and returns what came of it.
    ///
    /// Once [`Check::ReadyInstance`] has failed the rest is left out, since no call can be made.
    pub async fn report<S>(self) -> Report
    where
        L: Layer<Inner<Res>, Service = S> + Clone,
        S: Service<Req> + Clone,
        S::Error: Into<BoxError>,
        J: Judge<S::Response>,
        Res: 'static,
    {
        let copy = self.layer.clone();
        let raise = |maker, permits| {
            let (inner, watch) = Watch::inner(&self.answer, permits);
            let layer = match maker {
                Maker::Original => &self.layer,
                Maker::Clone => &copy,
            };
            (layer.layer(inner), watch)
        };
        let ground = Ground {
            raise: &raise,
            request: &*self.request,
            judge: &|response| Box::pin(self.judge.judge(response)),
            patience: self.patience,
            handles: RefCell::default(),
        };
        check::run_all(&ground, &self.exceptions).await
    }
}

impl<L: fmt::Debug, Req, Res, J> fmt::Debug for Contract<L, Req, Res, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("layer", &self.layer)
            .field("patience", &self.patience)
            .field("exceptions", &self.exceptions)
            .finish_non_exhaustive()
    }
}

/// Judges by equality with the one answer that there is.
#[derive(Debug, Clone)]
pub struct Same<T>(T);

impl<T: PartialEq + fmt::Debug> Judge<T> for Same<T> {
    async fn judge(&self, response: T) -> Result<(), String> {
        if response == self.0 {
            return Ok(());
        }
        Err(format!("the inner service answered {:?}, the layer {response:?}", self.0))
    }
}

/// Judges by a closure full of assertions.
#[derive(Clone)]
pub struct Asserted<F>(F);

impl<F: Fn(O), O> Judge<O> for Asserted<F> {
    async fn judge(&self, response: O) -> Result<(), String> {
        (self.0)(response);
        Ok(())
    }
}

impl<F> fmt::Debug for Asserted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asserted").finish_non_exhaustive()
    }
}
