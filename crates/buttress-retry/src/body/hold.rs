use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::BoxError;
use bytes::Buf;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{commit::FirstFrame, error::BeforeFirstFrame, filler::Filler, held::HeldBody};

/// Held of a failure's body at most: 16 KiB.
const FAILURE: usize = 16 * 1024;

/// A failure's body is waited for no longer than this: whoever retries wants to go on.
const FAILURE_WITHIN: Duration = Duration::from_millis(500);

/// Frames read in one poll; then the task lets others run.
const FRAMES_A_POLL: usize = 64;

pin_project! {
    /// Waits until a response has begun, that is for its first significant frame.
    ///
    /// Resolves to the response, with what was read kept in front of its body, as soon as one of these
    /// is true:
    ///
    /// - a data frame came that says something (see [`FirstFrame`]), or trailers, or the end;
    /// - more filler was held than [`FirstFrame::peek`] allows;
    /// - [`FirstFrame::within`] has passed;
    /// - there is nothing to wait for: the body is empty, or the status promises none.
    ///
    /// Resolves to [`BeforeFirstFrame`] if the body failed before that. Dropping it drops the response.
    ///
    /// A response that is a failure (from 400 on) has begun with its status. It is held to its end, if
    /// that comes within 16 KiB and half a second: once it is whole it keeps no connection, and can
    /// still be returned when a wait for another attempt leads nowhere.
    ///
    /// The timer is started when the body first makes it wait, and needs a tokio runtime with time.
    ///
    /// # Panics
    ///
    /// If polled again after it has resolved.
    pub struct Hold<B>
    where
        B: Body,
    {
        response: Option<Response<HeldBody<B>>>,
        filler: Option<Filler>,
        filler_bytes: usize,
        settings: FirstFrame,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl<B: Body> Hold<B> {
    /// Holds the response as the settings say.
    #[must_use]
    pub fn new(response: Response<B>, settings: FirstFrame) -> Self {
        let mut hold = Self::nothing(response, settings);
        hold.filler = hold.response.as_ref().and_then(filler);
        hold
    }

    /// Gives the response back at the first poll.
    pub(super) fn nothing(response: Response<B>, settings: FirstFrame) -> Self {
        Self {
            response: Some(response.map(HeldBody::new)),
            filler: None,
            filler_bytes: 0,
            settings,
            timer: None,
        }
    }
}

/// What to hold the response for; `None` if it is not to be held.
fn filler<B: Body>(response: &Response<HeldBody<B>>) -> Option<Filler> {
    let status = response.status();
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    if bodiless || response.body().is_end_stream() {
        return None;
    }
    match status.as_u16() {
        200..300 => Some(Filler::of(response.headers())),
        400.. => Some(Filler::Everything),
        _ => None,
    }
}

impl<B> Future for Hold<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<HeldBody<B>>, BeforeFirstFrame>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(response) = this.response else {
            panic!("a `Hold` was polled after it had resolved");
        };
        if let Some(filler) = this.filler {
            let failed = *filler == Filler::Everything;
            let peek = if failed { FAILURE } else { this.settings.peek };
            match poll_body(response.body_mut(), filler, this.filler_bytes, peek, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    *this.response = None;
                    this.timer.set(None);
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    if this.timer.is_none() {
                        let within = this.settings.within;
                        let within = if failed { within.min(FAILURE_WITHIN) } else { within };
                        this.timer.set(Some(sleep(within)));
                    }
                    if let Some(timer) = this.timer.as_mut().as_pin_mut()
                        && timer.poll(cx).is_pending()
                    {
                        return Poll::Pending;
                    }
                }
            }
        }
        // The future may live on after this; its timer need not.
        this.timer.set(None);
        match this.response.take() {
            Some(response) => Poll::Ready(Ok(response)),
            None => Poll::Pending,
        }
    }
}

/// Reads frames until the response has begun.
fn poll_body<B>(
    body: &mut HeldBody<B>,
    filler: &mut Filler,
    filler_bytes: &mut usize,
    peek: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), BeforeFirstFrame>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    for _ in 0..FRAMES_A_POLL {
        let frame = match Pin::new(&mut body.rest).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) if *filler == Filler::Everything => {
                body.failure = Some(error);
                body.ended = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(error))) => {
                return Poll::Ready(Err(BeforeFirstFrame::new(error.into())));
            }
            Poll::Ready(None) => {
                body.ended = true;
                return Poll::Ready(Ok(()));
            }
        };
        let Some(bytes) = filler_of(&frame, filler) else {
            body.first = Some(frame);
            return Poll::Ready(Ok(()));
        };
        // An empty frame carries nothing on; kept, any number of them would fill the memory.
        if bytes > 0 {
            body.filler.push_back(frame);
        }
        *filler_bytes = filler_bytes.saturating_add(bytes);
        if *filler_bytes > peek || body.rest.is_end_stream() {
            return Poll::Ready(Ok(()));
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// How long the frame is, if it is filler; `None` if it says something.
fn filler_of<D: Buf>(frame: &Frame<D>, filler: &mut Filler) -> Option<usize> {
    let data = frame.data_ref()?;
    let bytes = data.remaining();
    (bytes == 0 || !filler.is_significant(data)).then_some(bytes)
}

impl<B: Body> fmt::Debug for Hold<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("filler", &self.filler)
            .field("filler_bytes", &self.filler_bytes)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
