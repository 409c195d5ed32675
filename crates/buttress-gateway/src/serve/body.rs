//! Answers on their way through: nothing is gathered, copied or changed.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{BodyEnd, BoxError};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;

use super::exchange::{Chain, Exchange};

pin_project! {
    /// What the client receives: the upstream's body or an answer of the gateway's own.
    ///
    /// It closes the books of its [`Exchange`] when it ends. A failure is handed on one turn later
    /// than it came: the connection writes out what it holds when a body has nothing to give, so
    /// the client receives everything that came before the failure.
    pub(crate) struct ResponseBody<B> {
        #[pin]
        inner: Either<Full<Bytes>, B>,
        failure: Option<BoxError>,
        exchange: Exchange,
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> ResponseBody<B> {
    pub(crate) fn new(inner: Either<Full<Bytes>, B>, mut exchange: Exchange) -> Self {
        if inner.is_end_stream() {
            exchange.end(BodyEnd::Complete);
        }
        Self { inner, failure: None, exchange }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let Some(failure) = this.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match ready!(this.inner.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                this.exchange.count(frame.data_ref().map_or(0, Buf::remaining));
                if this.inner.is_end_stream() {
                    this.exchange.end(BodyEnd::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(failure)) => {
                tracing::warn!(error = %Chain(&*failure), "the upstream's answer broke off");
                this.exchange.end(BodyEnd::Failed);
                *this.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                this.exchange.end(BodyEnd::Complete);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, io};

    use http::{Request, Response};
    use hyper::{server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Has everything ready at once, the failure included.
    struct Burst(VecDeque<Result<Frame<Bytes>, io::Error>>);

    impl Body for Burst {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    fn broken() -> ResponseBody<Burst> {
        let piece = Frame::data(Bytes::from_static(b"the last words"));
        let frames = [Ok(piece), Err(io::ErrorKind::ConnectionReset.into())];
        let exchange = Exchange::open(&Request::new(()), ([127, 0, 0, 1], 9).into());
        ResponseBody::new(Either::Right(Burst(frames.into())), exchange)
    }

    #[tokio::test]
    async fn what_came_right_before_a_failure_reaches_the_client() {
        let (mut client, server) = tokio::io::duplex(4096);
        let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(broken())) });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let serving = tokio::spawn(serving);
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        assert!(serving.await.unwrap().is_err());
        assert!(seen.ends_with("\r\nE\r\nthe last words\r\n"), "{seen}");
    }

    #[test]
    fn a_failure_that_is_held_back_is_not_an_end() {
        let mut body = std::pin::pin!(broken());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
        assert!(body.as_mut().poll_frame(&mut cx).is_pending());
        assert!(!body.is_end_stream());
        assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Err(_)))));
    }
}
