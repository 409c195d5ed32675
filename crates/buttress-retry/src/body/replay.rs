use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::{
    error::{NotReplayable, Superseded},
    memory::ReplayLimits,
    shared::{Read, Shared},
    tape::Tape,
};

/// A streaming request body that is recorded while it is sent, so that it can be sent again.
///
/// ```
/// use buttress_retry::{ReplayBody, ReplayLimits};
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (first, replay) = ReplayBody::record(Full::new(Bytes::from("ping")), &ReplayLimits::new());
/// assert_eq!(first.collect().await.unwrap().to_bytes(), "ping");
///
/// let replay = replay.expect("four bytes can be kept");
/// let second = replay.body().unwrap();
/// assert_eq!(second.collect().await.unwrap().to_bytes(), "ping");
/// # }
/// ```
///
/// Nothing is read from the source before this body is polled, so `Expect: 100-continue` keeps its
/// meaning. Every attempt's body says the same size at its start, and so is framed the same. Chunks
/// shorter than 4 KiB are copied into blocks; longer ones are shared. Trailers are recorded too.
///
/// # Errors
///
/// - [`SourceFailed`](super::SourceFailed): the source failed; every later read says so again.
/// - [`Superseded`]: a later attempt reads the source now.
/// - The source's own error, if the body was not recorded.
///
/// A body that outgrows the limits is not an error: it goes on, and [`Replay::body`] tells.
pub struct ReplayBody<B> {
    reader: Reader<B>,
}

enum Reader<B> {
    /// Another attempt of a request that has no body.
    Empty(SizeHint),
    /// Not recorded. Never locked for polling: the mutex is there because it is `Sync` when `B` is not.
    Pass(Mutex<B>),
    Tee(Tee<B>),
    Superseded,
}

struct Tee<B> {
    shared: Arc<Shared<B>>,
    epoch: u64,
    /// The source's hint at its start, less what this reader has had.
    left: SizeHint,
    ended: bool,
}

impl<B> ReplayBody<B> {
    /// Records the body while it is read, within these limits.
    ///
    /// Comes with the [`Replay`] that makes the body of another attempt, or with `None` if the body says
    /// that it is longer than a request may keep. Such a body is passed on as it is, and so is one that
    /// has ended already, which costs nothing to send again.
    #[must_use]
    pub fn record(body: B, limits: &ReplayLimits) -> (Self, Option<Replay<B>>)
    where
        B: Body,
    {
        let size = body.size_hint();
        if body.is_end_stream() {
            return (Self::pass(body), Some(Replay { backup: Backup::Empty(size) }));
        }
        if usize::try_from(size.lower()).map_or(true, |lower| lower > limits.per_request) {
            return (Self::pass(body), None);
        }
        let shared = Shared::new(body, Tape::new(limits, &size));
        let first = Self::tee(Arc::clone(&shared), 0, size);
        (first, Some(Replay { backup: Backup::Tape { shared, size } }))
    }

    /// Passes the body on as it is, never recorded.
    #[must_use]
    pub fn pass(body: B) -> Self {
        Self { reader: Reader::Pass(Mutex::new(body)) }
    }

    /// A body of nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self { reader: Reader::Empty(SizeHint::with_exact(0)) }
    }

    fn tee(shared: Arc<Shared<B>>, epoch: u64, left: SizeHint) -> Self {
        Self { reader: Reader::Tee(Tee { shared, epoch, left, ended: false }) }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let reader = &mut self.get_mut().reader;
        let read = match reader {
            Reader::Empty(_) => return Poll::Ready(None),
            Reader::Superseded => return Poll::Ready(Some(Err(Superseded.into()))),
            Reader::Pass(body) => return poll_pass(body, cx),
            Reader::Tee(tee) => ready!(tee.poll(cx)),
        };
        if let Some(Err(error)) = &read
            && error.is::<Superseded>()
        {
            // The source and the recording belong to another; holding on would keep them alive.
            *reader = Reader::Superseded;
        }
        Poll::Ready(read)
    }

    fn is_end_stream(&self) -> bool {
        match &self.reader {
            Reader::Empty(_) => true,
            Reader::Pass(body) => {
                body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
            }
            Reader::Tee(tee) => tee.ended,
            Reader::Superseded => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.reader {
            Reader::Empty(size) => *size,
            Reader::Pass(body) => body.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
            Reader::Tee(tee) => tee.left,
            Reader::Superseded => SizeHint::new(),
        }
    }
}

fn poll_pass<B>(
    body: &mut Mutex<B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
    let frame = ready!(Pin::new(body).poll_frame(cx));
    Poll::Ready(frame.map(|frame| match frame {
        Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
        Err(error) => Err(error.into()),
    }))
}

impl<B> Tee<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(read) = ready!(self.shared.poll(self.epoch, cx)) else {
            self.ended = true;
            return Poll::Ready(None);
        };
        Poll::Ready(Some(read.map(|Read { frame, last }| {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.left = less(self.left, bytes);
            self.ended = last;
            frame
        })))
    }
}

impl<B> Drop for Tee<B> {
    fn drop(&mut self) {
        self.shared.leave(self.epoch);
    }
}

fn less(hint: SizeHint, bytes: usize) -> SizeHint {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let mut left = SizeHint::new();
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(bytes));
    }
    left.set_lower(hint.lower().saturating_sub(bytes));
    left
}

impl<B> fmt::Debug for ReplayBody<B> {
    /// Says the state and the size, never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reader {
            Reader::Empty(_) => f.write_str("ReplayBody::Empty"),
            Reader::Pass(_) => f.write_str("ReplayBody::Pass"),
            Reader::Tee(tee) => f
                .debug_struct("ReplayBody::Tee")
                .field("attempt", &tee.epoch.saturating_add(1))
                .field("left", &tee.left)
                .field("ended", &tee.ended)
                .finish(),
            Reader::Superseded => f.write_str("ReplayBody::Superseded"),
        }
    }
}

/// What makes a recorded body once more, for the next attempt.
///
/// Keep it as long as another attempt may come. Dropping it ends the recording and frees what the
/// present attempt has been given already.
pub struct Replay<B> {
    backup: Backup<B>,
}

enum Backup<B> {
    Empty(SizeHint),
    Tape { shared: Arc<Shared<B>>, size: SizeHint },
}

impl<B> Replay<B> {
    /// Says whether the body can be sent again.
    ///
    /// An attempt that is still being sent may change the answer; [`Replay::body`] settles it.
    ///
    /// # Errors
    ///
    /// The reason, if it cannot.
    pub fn replayable(&self) -> Result<(), NotReplayable> {
        match &self.backup {
            Backup::Empty(_) => Ok(()),
            Backup::Tape { shared, .. } => shared.replayable(),
        }
    }

    /// The body of the next attempt: what was recorded, then the rest of the source.
    ///
    /// From here on the body of the attempt before yields [`Superseded`], and whoever waits for it is
    /// woken. Ask before the backoff rather than after it, and nothing can outgrow the limits in
    /// between.
    ///
    /// # Errors
    ///
    /// The reason, if the body cannot be sent again; the attempt before is left alone then.
    pub fn body(&self) -> Result<ReplayBody<B>, NotReplayable> {
        match &self.backup {
            Backup::Empty(size) => Ok(ReplayBody { reader: Reader::Empty(*size) }),
            Backup::Tape { shared, size } => {
                let epoch = shared.take_over()?;
                Ok(ReplayBody::tee(Arc::clone(shared), epoch, *size))
            }
        }
    }

    /// The body of the last attempt: as [`Replay::body`], and nothing is recorded any more.
    ///
    /// # Errors
    ///
    /// As [`Replay::body`].
    pub fn into_body(self) -> Result<ReplayBody<B>, NotReplayable> {
        self.body()
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        if let Backup::Tape { shared, .. } = &self.backup {
            shared.detach();
        }
    }
}

impl<B> fmt::Debug for Replay<B> {
    /// Says how much was recorded, never what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backup {
            Backup::Empty(_) => f.write_str("Replay::Empty"),
            Backup::Tape { shared, .. } => {
                f.debug_struct("Replay").field("recorded", &shared.recorded()).finish()
            }
        }
    }
}
