use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::BoxError;
use http::{Method, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{held::HeldBody, hold::Hold};

/// Filler is held up to this many bytes at most, whatever is asked for.
const MOST_FILLER: usize = 64 * 1024;

/// When a response counts as begun.
///
/// A response has begun with the first data frame that says something, with its trailers, or with its
/// end. What a server sends only to keep the connection alive says nothing: comments and blank lines of
/// `text/event-stream`, white space before a JSON text, and empty frames anywhere. With any other
/// content type, and with any content coding, whatever comes is significant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFrame {
    pub(super) within: Duration,
    pub(super) peek: usize,
}

impl FirstFrame {
    /// Waits 5 s at most and holds at most 256 bytes of filler.
    #[must_use]
    pub const fn new() -> Self {
        Self { within: Duration::from_secs(5), peek: 256 }
    }

    /// Holds the response back no longer than this, from the moment its headers came. Default: 5 s.
    ///
    /// With [`Duration::ZERO`] it holds back only what is there already.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Lets the response go once more than this many bytes of filler are held. Default: 256.
    ///
    /// Never more than 64 KiB, whatever is asked for.
    #[must_use]
    pub const fn peek(mut self, bytes: usize) -> Self {
        self.peek = if bytes > MOST_FILLER { MOST_FILLER } else { bytes };
        self
    }
}

impl Default for FirstFrame {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes [`Commit`] services.
///
/// ```
/// use buttress_retry::{CommitLayer, FirstFrame};
/// use std::time::Duration;
///
/// let layer = CommitLayer::new(FirstFrame::new().within(Duration::from_secs(2)));
/// # let _ = layer;
/// ```
///
/// It belongs inside the retry, so that what it finds out is retried.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitLayer {
    settings: FirstFrame,
}

impl CommitLayer {
    /// Holds each response as the settings say.
    #[must_use]
    pub const fn new(settings: FirstFrame) -> Self {
        Self { settings }
    }
}

impl<S> Layer<S> for CommitLayer {
    type Service = Commit<S>;

    fn layer(&self, inner: S) -> Commit<S> {
        Commit { inner, settings: self.settings }
    }
}

/// Gives a response on only when it has begun, and an error if it fails before that.
///
/// A server may answer `200 OK` at once and then fail: an event stream that is reset before its first
/// event, a gRPC call whose status comes in the trailers. Passed on, such a response is past retrying.
/// [`Commit`] waits for its first significant frame, see [`FirstFrame`]; a failure (from 400 on) it
/// holds to its end, as [`Hold`] says. Responses to `HEAD` and `CONNECT`, and those without a body, are
/// given on at once.
///
/// # Errors
///
/// That of the inner service, or [`BeforeFirstFrame`](super::BeforeFirstFrame).
#[derive(Clone, Copy, Debug)]
pub struct Commit<S> {
    inner: S,
    settings: FirstFrame,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Commit<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<HeldBody<B>>;
    type Error = BoxError;
    type Future = CommitFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The answer to HEAD has no body, and that to CONNECT is a tunnel, not a body.
        let held = !matches!(*request.method(), Method::HEAD | Method::CONNECT);
        let future = self.inner.call(request);
        CommitFuture { state: State::Calling { future, held }, settings: self.settings }
    }
}

pin_project! {
    /// The future of [`Commit`].
    pub struct CommitFuture<F, B>
    where
        B: Body,
    {
        #[pin]
        state: State<F, B>,
        settings: FirstFrame,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B>
    where
        B: Body,
    {
        Calling { #[pin] future: F, held: bool },
        Holding { #[pin] hold: Hold<B> },
    }
}

impl<F, B, E> Future for CommitFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<HeldBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let hold = match this.state.as_mut().project() {
                // Calling => Holding | error
                StateProjection::Calling { future, held } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    if *held {
                        Hold::new(response, *this.settings)
                    } else {
                        Hold::nothing(response, *this.settings)
                    }
                }
                // Holding => the response | `BeforeFirstFrame`
                StateProjection::Holding { hold } => return hold.poll(cx).map_err(Into::into),
            };
            this.state.set(State::Holding { hold });
        }
    }
}

impl<F, B: Body> fmt::Debug for CommitFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Calling { .. } => "Calling",
            State::Holding { .. } => "Holding",
        };
        f.debug_struct("CommitFuture").field("state", &state).finish_non_exhaustive()
    }
}
