//! An HTTP body that does what it was told, frame by frame.
//!
//! ```
//! use buttress_testkit::Script;
//! use http_body_util::BodyExt;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let body = Script::new().data("one").pending(2).data("two").fail("connection reset");
//! let handle = body.handle();
//!
//! let error = body.collect().await.unwrap_err();
//!
//! assert_eq!(error.to_string(), "connection reset");
//! assert_eq!(handle.taken(), "onetwo");
//! assert_eq!(handle.polls(), 5);
//! assert!(handle.is_dropped());
//! # });
//! ```

mod handle;

pub use self::handle::BodyHandle;

use self::handle::{Seen, length, lock};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// A body that follows a script: the steps happen in the order in which they were added.
///
/// After the last step the body ends. It says so ahead through `is_end_stream`, and tells nothing
/// about its size, unless it is made to do otherwise.
pub struct Script {
    steps: VecDeque<Step>,
    size: Size,
    hides_end: bool,
    shared: Arc<Mutex<Seen>>,
}

/// The error that a [`Script`] fails with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFailure {
    message: String,
}

enum Step {
    Data(Bytes),
    Repeat(Bytes),
    Trailers(HeaderMap),
    Pending(u32),
    Wait(Duration),
    Waiting(Pin<Box<Sleep>>),
    Hold,
    Stall,
    Fail(BodyFailure),
}

enum Size {
    Unknown,
    Exact,
    Claimed(u64),
}

/// The steps.
impl Script {
    /// Makes an empty body; the steps are added by the other methods.
    #[must_use]
    pub fn new() -> Self {
        Self {
            steps: VecDeque::new(),
            size: Size::Unknown,
            hides_end: false,
            shared: Arc::default(),
        }
    }

    /// Makes a body of the given chunks, each of which is `Pending` for `polls` polls first.
    #[must_use]
    pub fn chunks<T: Into<Bytes>>(chunks: impl IntoIterator<Item = T>, polls: u32) -> Self {
        chunks.into_iter().fold(Self::new(), |script, chunk| script.pending(polls).data(chunk))
    }

    /// Yields a frame of data.
    #[must_use]
    pub fn data(self, chunk: impl Into<Bytes>) -> Self {
        self.step(Step::Data(chunk.into()))
    }

    /// Yields the same frame of data over and over; no later step is reached.
    #[must_use]
    pub fn endless(self, chunk: impl Into<Bytes>) -> Self {
        self.step(Step::Repeat(chunk.into()))
    }

    /// Yields a frame of trailers.
    #[must_use]
    pub fn trailers(self, trailers: HeaderMap) -> Self {
        self.step(Step::Trailers(trailers))
    }

    /// Is `Pending` for `polls` polls, each of which wakes the task at once.
    #[must_use]
    pub fn pending(self, polls: u32) -> Self {
        self.step(Step::Pending(polls))
    }

    /// Is `Pending` for `time` on tokio's clock, counted from the first poll of this step.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// Is `Pending` until [`BodyHandle::release`], which opens one such gate.
    #[must_use]
    pub fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    /// Is `Pending` for ever and wakes nobody; no later step is reached.
    #[must_use]
    pub fn stall(self) -> Self {
        self.step(Step::Stall)
    }

    /// Fails with a [`BodyFailure`]; no later step is reached.
    #[must_use]
    pub fn fail(self, message: impl Into<String>) -> Self {
        self.step(Step::Fail(BodyFailure { message: message.into() }))
    }

    /// Makes the size hint exact: the sum of the data that the script still holds.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.size = Size::Exact;
        self
    }

    /// Makes the size hint claim exactly `bytes` at first, true or not; each frame of data is taken
    /// off it.
    #[must_use]
    pub fn claim(mut self, bytes: u64) -> Self {
        self.size = Size::Claimed(bytes);
        self
    }

    /// Makes `is_end_stream` false throughout, so that only a poll can find the end.
    #[must_use]
    pub fn hide_end(mut self) -> Self {
        self.hides_end = true;
        self
    }

    /// Returns the handle that watches this body.
    #[must_use]
    pub fn handle(&self) -> BodyHandle {
        BodyHandle::new(Arc::clone(&self.shared))
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    fn give(&mut self, chunk: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        if let Size::Claimed(left) = &mut self.size {
            *left = left.saturating_sub(length(&chunk));
        }
        lock(&self.shared).count_data(&chunk);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn end(&mut self) {
        self.steps.clear();
        lock(&self.shared).ended = true;
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let this = self.get_mut();
        lock(&this.shared).count_poll();
        loop {
            let Some(step) = this.steps.pop_front() else {
                this.end();
                return Poll::Ready(None);
            };
            match step {
                Step::Data(chunk) => return this.give(chunk),
                Step::Repeat(chunk) => {
                    this.steps.push_front(Step::Repeat(chunk.clone()));
                    return this.give(chunk);
                }
                Step::Trailers(trailers) => {
                    lock(&this.shared).frames += 1;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Step::Fail(failure) => {
                    this.end();
                    return Poll::Ready(Some(Err(failure)));
                }
                waiting => {
                    if let Some(rest) = waiting.poll_wait(&this.shared, cx) {
                        this.steps.push_front(rest);
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.hides_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.size {
            Size::Unknown => SizeHint::default(),
            Size::Exact => SizeHint::with_exact(self.steps.iter().map(Step::bytes).sum()),
            Size::Claimed(left) => SizeHint::with_exact(left),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        lock(&self.shared).dropped = true;
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}

impl Step {
    /// Polls a step that yields nothing; returns what is left of it when it is `Pending`.
    fn poll_wait(self, shared: &Mutex<Seen>, cx: &mut Context<'_>) -> Option<Self> {
        match self {
            Self::Pending(0) => None,
            Self::Pending(polls) => {
                cx.waker().wake_by_ref();
                Some(Self::Pending(polls - 1))
            }
            Self::Wait(time) => {
                Self::Waiting(Box::pin(tokio::time::sleep(time))).poll_wait(shared, cx)
            }
            Self::Waiting(mut sleep) => {
                sleep.as_mut().poll(cx).is_pending().then_some(Self::Waiting(sleep))
            }
            Self::Hold => lock(shared).poll_gate(cx).is_pending().then_some(Self::Hold),
            rest => Some(rest),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Data(chunk) => length(chunk),
            _ => 0,
        }
    }
}

impl fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BodyFailure {}
