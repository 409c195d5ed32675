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
    /// one did. What was read and is whole is one frame.
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
    /// Else it stops where that is seen, at the first frame if the body itself says that it is longer.
    /// Dropped before it is ready, what was read is lost with the body; [`Reading::stop`] gives it.
    pub const fn read(body: B, most: u64) -> Reading<B> {
        Reading { body: Some(body), most, read: VecDeque::new(), length: 0 }
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

    fn begun(read: VecDeque<Frame<Bytes>>, rest: Option<B>, failed: Option<B::Error>) -> Self {
        let data = read.iter().filter_map(Frame::data_ref);
        let left = data.map(|data| data.len() as u64).sum();
        Self { read, left, failed, rest }
    }
}

/// It can be had again if nothing of it is still to be read.
impl<B: Body> CloneBody for ReadAhead<B> {
    fn try_clone(&self) -> Option<Self> {
        if self.is_end_stream() {
            return Some(Self::whole(Bytes::new()));
        }
        self.bytes()?;
        let data = self.read.front()?.data_ref()?;
        Some(Self::whole(data.clone()))
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
            .field("whole", &self.rest.is_none())
            .finish_non_exhaustive()
    }
}

/// Reads a body ahead; made by [`ReadAhead::read`].
#[must_use = "futures do nothing unless polled"]
pub struct Reading<B> {
    body: Option<B>,
    most: u64,
    read: VecDeque<Frame<Bytes>>,
    length: u64,
}

impl<B: Body + Unpin> Future for Reading<B> {
    type Output = ReadAhead<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReadAhead<B>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Pending };
        if this.read.is_empty() && body.size_hint().lower() > this.most {
            return Poll::Ready(this.done(None));
        }
        loop {
            let Some(body) = &mut this.body else { return Poll::Pending };
            let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                None => {
                    this.body = None;
                    return Poll::Ready(ReadAhead::whole(join(mem::take(&mut this.read))));
                }
                Some(Err(error)) => return Poll::Ready(this.done(Some(error))),
                Some(Ok(frame)) => in_bytes(frame),
            };
            this.length += frame.data_ref().map_or(0, |data| data.len() as u64);
            let plain = frame.is_data();
            this.read.push_back(frame);
            if this.length > this.most || !plain {
                return Poll::Ready(this.done(None));
            }
        }
    }
}

impl<B: Body> Reading<B> {
    /// Reads no further: the body with what was read of it by now. `None` if it was given already.
    pub fn stop(&mut self) -> Option<ReadAhead<B>> {
        self.body.is_some().then(|| self.done(None))
    }

    /// What there is of a body that is not read to its end.
    fn done(&mut self, failed: Option<B::Error>) -> ReadAhead<B> {
        let rest = self.body.take().filter(|_| failed.is_none());
        ReadAhead::begun(mem::take(&mut self.read), rest, failed)
    }
}

// What is read of it is moved about, and it is not pinned.
impl<B> Unpin for Reading<B> {}

impl<B> fmt::Debug for Reading<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("read", &self.length)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

fn in_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

fn join(read: VecDeque<Frame<Bytes>>) -> Bytes {
    let mut pieces = read.into_iter().filter_map(|frame| frame.into_data().ok());
    let (Some(first), second) = (pieces.next(), pieces.next()) else { return Bytes::new() };
    let Some(second) = second else { return first };
    let mut whole = BytesMut::from(&*first);
    whole.extend_from_slice(&second);
    pieces.for_each(|piece| whole.extend_from_slice(&piece));
    whole.freeze()
}
