//! The client's socket, with what hyper has no setting for.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// What an HTTP/2 client says first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection from a client.
///
/// It does two things more than its stream:
///
/// - The version of HTTP is told by the first bytes, and until they have come no other timeout
///   runs. So they have one of their own, or a silent client would hold its place for ever.
/// - When it is dropped while an answer that ends with the connection is unfinished, the connection
///   is reset, because a plain close would look like that answer's proper end.
pub(crate) struct Socket {
    stream: TcpStream,
    opening: Option<Opening>,
    ending: Ending,
}

struct Opening {
    limit: Pin<Box<Sleep>>,
    /// How much of the preface was read.
    matched: usize,
}

impl Socket {
    /// Takes an accepted connection; its first bytes must come within `limit`.
    pub(crate) fn new(stream: TcpStream, limit: Duration) -> Self {
        let opening = Opening { limit: Box::pin(sleep(limit)), matched: 0 };
        Self { stream, opening: Some(opening), ending: Ending::default() }
    }

    /// The mark that says whether this connection may be closed cleanly.
    pub(crate) fn ending(&self) -> Ending {
        self.ending.clone()
    }

    fn opened(&mut self, read: &[u8]) {
        let Some(opening) = &mut self.opening else { return };
        let rest = PREFACE.get(opening.matched..).unwrap_or_default();
        let more = read.len() < rest.len() && !read.is_empty() && rest.starts_with(read);
        opening.matched += read.len();
        if !more {
            self.opening = None;
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.ending.0.load(Ordering::Relaxed) {
            // If it fails the connection is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Whether an answer that ends with the connection is unfinished.
///
/// HTTP/1.0 knows no other end for an answer of unknown length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending(Arc<AtomicBool>);

impl Ending {
    /// From now on, closing the connection would be taken for the end of the answer.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The answer has come to its end.
    pub(crate) fn clean(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let read = buf.filled().get(before..).unwrap_or_default();
                self.opened(read);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => match &mut self.opening {
                Some(opening) => {
                    ready!(opening.limit.as_mut().poll(cx));
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                None => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
