//! One body for requests and responses.

use std::{
    any::Any,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::BoxError;
use buttress_retry::CloneBody;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::TryStreamExt;
use http_body::{Frame, SizeHint};
use http_body_util::{
    BodyExt, Empty, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody,
};

use crate::transport::TransportBody;

/// The body of a request or a response: nothing, bytes in memory, or a stream.
///
/// ```
/// use buttress::Body;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), buttress::BoxError> {
/// let body = Body::from(r#"{"model":"small"}"#);
/// let copy = body.try_clone().expect("what is in memory can be cloned");
/// assert_eq!(copy.bytes(1024).await?, body.bytes(1024).await?);
/// # Ok(())
/// # }
/// ```
///
/// A body in memory can be sent again and again for nothing. A stream is kept as it is read, up to
/// a limit, by the layer that may have to send it again.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Wire(TransportBody),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// No body at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// Takes any body. What is known to be empty or in memory is taken as that; a stream is boxed.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        let mut body = Some(body);
        if let Some(body) = unbox::<Self>(&mut body) {
            return body;
        }
        if let Some(body) = unbox::<Full<Bytes>>(&mut body) {
            return body.into();
        }
        if let Some(body) = unbox::<TransportBody>(&mut body) {
            return Self(Kind::Wire(body));
        }
        body.map_or_else(Self::empty, |body| {
            Self(Kind::Stream(body.map_err(Into::into).boxed_unsync()))
        })
    }

    /// Takes a stream of pieces. Its length is unknown, so HTTP/1 sends it in chunks.
    pub fn from_stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::new(StreamBody::new(stream.map_ok(Frame::data)))
    }

    /// The same body again, if it is in memory; `None` for a stream.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Kind::Empty => Some(Self(Kind::Empty)),
            Kind::Full(bytes) => Some(Self(Kind::Full(bytes.clone()))),
            Kind::Wire(_) | Kind::Stream(_) => None,
        }
    }

    pub(crate) const fn is_in_memory(&self) -> bool {
        matches!(self.0, Kind::Empty | Kind::Full(_))
    }

    /// Reads the whole body, at most `limit` bytes of it. Trailers are dropped.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] as soon as the body proves longer than `limit`, and the error of a body that
    /// breaks off.
    pub async fn bytes(self, limit: usize) -> Result<Bytes, BoxError> {
        match Limited::new(self, limit).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(TooLarge { limit }.into()),
            Err(error) => Err(error),
        }
    }

    /// Reads the whole body as UTF-8, at most `limit` bytes of it.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`FromUtf8Error`](std::string::FromUtf8Error).
    pub async fn text(self, limit: usize) -> Result<String, BoxError> {
        Ok(String::from_utf8(self.bytes(limit).await?.into())?)
    }
}

impl CloneBody for Body {
    fn try_clone(&self) -> Option<Self> {
        Self::try_clone(self)
    }
}

/// Takes the body out if it is a `T`.
fn unbox<T: 'static>(body: &mut dyn Any) -> Option<T> {
    body.downcast_mut::<Option<T>>().and_then(Option::take)
}

/// A body was longer than its reader allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    limit: usize,
}

impl TooLarge {
    /// The limit in bytes.
    #[must_use]
    pub const fn limit(self) -> usize {
        self.limit
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is longer than {} bytes", self.limit)
    }
}

impl Error for TooLarge {}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Wire(body) => Pin::new(body).poll_frame(cx),
            Kind::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Wire(body) => body.is_end_stream(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => {
                u64::try_from(bytes.len()).map_or_else(|_| SizeHint::new(), SizeHint::with_exact)
            }
            Kind::Wire(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Empty => "Body(empty)",
            Kind::Full(_) => "Body(bytes)",
            Kind::Wire(_) | Kind::Stream(_) => "Body(stream)",
        })
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        // An empty frame would be one too many.
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Full(bytes)) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl From<Full<Bytes>> for Body {
    fn from(body: Full<Bytes>) -> Self {
        body.into_inner().unwrap_or_default().into()
    }
}

impl From<Empty<Bytes>> for Body {
    fn from(_: Empty<Bytes>) -> Self {
        Self::empty()
    }
}

impl From<TransportBody> for Body {
    fn from(body: TransportBody) -> Self {
        Self::new(body)
    }
}
