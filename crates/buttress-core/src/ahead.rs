//! A body that was read ahead.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::CloneBody;

pin_project! {
    /// A body of which the beginning, or all, was read ahead: to see what is asked before it is sent on.
    ///
    /// It yields the same data as the body that it was made of, and fails with the same error where that
    /// one did. What was read comes in one piece, or in two if the last one was too much.
    ///
    /// ```
    /// use buttress_core::ReadAhead;
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let body = ReadAhead::read(Full::new(Bytes::from_static(b"{}")), 1024).await;
    /// assert_eq!(body.bytes(), Some(&b"{}"[..]));
    ///
    /// let body = ReadAhead::read(Full::new(Bytes::from(vec![b' '; 2048])), 1024).await;
    /// assert_eq!(body.bytes(), None);
    /// # }
    /// ```
    pub struct ReadAhead<B>
    where
        B: Body,
    {
        read: VecDeque<Frame<Bytes>>,
        left: u64,
        failed: Option<B::Error>,
        #[pin]
        rest: Option<B>,
    }
}

impl<B: Body> ReadAhead<B> {
    /// A body of which nothing was read.
    pub const fn unread(body: B) -> Self {
        Self { read: VecDeque::new(), left: 0, failed: None, rest: Some(body) }
    }

    /// A body that is all there.
    pub fn whole(bytes: Bytes) -> Self {
        let read = if bytes.is_empty() { VecDeque::new() } else { [Frame::data(bytes)].into() };
        Self::begun(read, None, None)
    }

    /// Reads a body to its end, if that comes within `most` bytes and there is nothing in it but data.
    ///
    /// Else it stops where that is seen; of a body that itself says that it is longer nothing is read.
    /// It holds about twice the bytes that it has read, and three times while that grows, in whatever
    /// pieces they came; a body of one piece is kept as it came.
    /// Dropped before it is ready, what was read is lost with the body; [`Reading::stop`] gives it.
    pub fn read(body: B, most: u64) -> Reading<B> {
        Reading { body: Some(body), most, read: Pieces::new() }
    }

    /// All of it, if it was read to its end.
    pub fn bytes(&self) -> Option<&[u8]> {
        if self.rest.is_some() || self.failed.is_some() || self.read.len() > 1 {
            return None;
        }
        match self.read.front() {
            None => Some(&[]),
            Some(frame) => frame.data_ref().map(|data| &**data),
        }
    }

    /// All of its data, if they were read to their end, whether trailers follow or not. After trailers
    /// nothing comes.
    pub fn data(&self) -> Option<&[u8]> {
        let (last, front) = (self.read.back(), self.read.front().and_then(Frame::data_ref));
        match last.filter(|last| last.is_trailers()) {
            Some(_) => Some(front.map_or(&[], |data| &**data)),
            None => self.bytes(),
        }
    }

    /// All of it, if it was read to its end.
    ///
    /// # Errors
    ///
    /// The body itself, if there is more to it.
    pub fn into_bytes(mut self) -> Result<Bytes, Self> {
        if self.bytes().is_none() {
            return Err(self);
        }
        let frame = self.read.pop_front().and_then(|frame| frame.into_data().ok());
        Ok(frame.unwrap_or_default())
    }

    /// The same once more, if nothing of it is still to be read.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        if self.is_end_stream() {
            return Some(Self::whole(Bytes::new()));
        }
        self.bytes()?;
        let data = self.read.front()?.data_ref()?;
        Some(Self::whole(data.clone()))
    }

    fn begun(read: VecDeque<Frame<Bytes>>, rest: Option<B>, failed: Option<B::Error>) -> Self {
        let data = read.iter().filter_map(Frame::data_ref);
        let left = data.map(|data| data.len() as u64).sum();
        Self { read, left, failed, rest }
    }
}

/// It can be had a second time if what is still to be read of it can.
impl<B: Body + CloneBody> CloneBody for ReadAhead<B> {
    fn try_clone(&self) -> Option<Self> {
        if self.failed.is_some() {
            return None;
        }
        let rest = match &self.rest {
            Some(rest) => Some(rest.try_clone()?),
            None => None,
        };
        let again = |frame: &Frame<Bytes>| match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Some(Frame::data(data.clone())),
            (None, trailers) => trailers.cloned().map(Frame::trailers),
        };
        let read = self.read.iter().map(again).collect::<Option<_>>()?;
        Some(Self { read, left: self.left, failed: None, rest })
    }
}

impl<B: Body> Body for ReadAhead<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(frame) = this.read.pop_front() {
            *this.left -= frame.data_ref().map_or(0, |data| data.len() as u64);
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(rest) = this.rest.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let frame = ready!(rest.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(in_bytes)))
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.as_ref().is_none_or(Body::is_end_stream);
        self.read.is_empty() && self.failed.is_none() && rest
    }

    fn size_hint(&self) -> SizeHint {
        if self.failed.is_some() {
            return SizeHint::default();
        }
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(self.left)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(self.left));
        hint
    }
}

impl<B: Body> fmt::Debug for ReadAhead<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAhead")
            .field("read", &self.left)
            .field("whole", &self.bytes().is_some())
            .finish_non_exhaustive()
    }
}

/// Reads a body ahead; made by [`ReadAhead::read`]. It is pending once it has given what it read.
#[must_use = "futures do nothing unless polled"]
pub struct Reading<B> {
    body: Option<B>,
    most: u64,
    read: Pieces,
}

/// Frames that are read before others have their turn.
const AT_ONCE: usize = 128;

impl<B: Body + Unpin> Future for Reading<B> {
    type Output = ReadAhead<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReadAhead<B>> {
        let this = &mut *self;
        for _ in 0..AT_ONCE {
            let Some(body) = &mut this.body else { return Poll::Pending };
            let length = this.read.length;
            if length.saturating_add(body.size_hint().lower()) > this.most {
                return Poll::Ready(this.done(None, None));
            }
            let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                None => {
                    this.body = None;
                    return Poll::Ready(this.done(None, None));
                }
                Some(Err(error)) => return Poll::Ready(this.done(None, Some(error))),
                Some(Ok(frame)) => in_bytes(frame),
            };
            match frame.into_data() {
                Ok(data) if length.saturating_add(data.len() as u64) <= this.most => {
                    this.read.push(data);
                }
                Ok(data) => return Poll::Ready(this.done(Some(Frame::data(data)), None)),
                Err(trailers) => return Poll::Ready(this.done(Some(trailers), None)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B: Body> Reading<B> {
    /// Reads no further: the body with what was read of it by now. An empty one if it was given already.
    pub fn stop(&mut self) -> ReadAhead<B> {
        self.done(None, None)
    }

    /// What was read, the frame that ended that, and what is still to come.
    fn done(&mut self, last: Option<Frame<Bytes>>, failed: Option<B::Error>) -> ReadAhead<B> {
        let rest = self.body.take().filter(|_| failed.is_none());
        let data = self.read.take();
        let first = (!data.is_empty()).then(|| Frame::data(data));
        ReadAhead::begun(first.into_iter().chain(last).collect(), rest, failed)
    }
}

// What is read of it is moved about, and it is not pinned.
impl<B> Unpin for Reading<B> {}

impl<B> fmt::Debug for Reading<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("read", &self.read.length)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// What is read, in one piece. The first piece is kept as it came; what follows is copied behind it,
/// so that many small ones take no more than their bytes.
struct Pieces {
    first: Bytes,
    all: BytesMut,
    length: u64,
}

impl Pieces {
    fn new() -> Self {
        Self { first: Bytes::new(), all: BytesMut::new(), length: 0 }
    }

    fn push(&mut self, data: Bytes) {
        let length = data.len() as u64;
        if self.length == 0 {
            self.first = data;
        } else {
            self.all.extend_from_slice(&mem::take(&mut self.first));
            self.all.extend_from_slice(&data);
        }
        self.length += length;
    }

    fn take(&mut self) -> Bytes {
        let Self { first, all, .. } = mem::replace(self, Self::new());
        if all.is_empty() { first } else { all.freeze() }
    }
}

fn in_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
