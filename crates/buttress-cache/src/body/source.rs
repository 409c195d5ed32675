//! Any body, as bytes and boxed errors, with what is stored around it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::FillError;

pin_project! {
    /// Turns data into [`Bytes`], which copies nothing if it is, and errors into [`BoxError`].
    #[derive(Debug)]
    pub(crate) struct Source<B> {
        #[pin]
        body: B,
        around: Option<Box<Around>>,
    }
}

/// The stored bytes before and after a body that is what is missing between them.
#[derive(Debug)]
struct Around {
    before: VecDeque<Bytes>,
    after: VecDeque<Bytes>,
    /// How many bytes the body has to have, and how many of them came.
    between: u64,
    came: u64,
    /// The body has had its end, or failed.
    over: bool,
}

impl<B> Source<B> {
    pub(crate) const fn new(body: B) -> Self {
        Self { body, around: None }
    }

    /// A body of `between` bytes, with these before and after it. One of another length fails.
    pub(crate) fn joined(body: B, before: Vec<Bytes>, between: u64, after: Vec<Bytes>) -> Self {
        let (before, after) = (before.into(), after.into());
        let around = Around { before, after, between, came: 0, over: false };
        Self { body, around: Some(Box::new(around)) }
    }
}

impl Around {
    /// What comes of a frame of the body, or of its end: something to pass on, or nothing.
    fn take(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
    ) -> Option<Result<Frame<Bytes>, BoxError>> {
        match frame {
            Some(Ok(frame)) => {
                // What would follow the part has no place within the whole.
                let data = frame.into_data().ok().filter(|data| !data.is_empty())?;
                self.came += data.len() as u64;
                if self.came > self.between {
                    return self.broken();
                }
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => {
                self.fail();
                Some(Err(error))
            }
            None if self.came < self.between => self.broken(),
            None => {
                self.over = true;
                None
            }
        }
    }

    fn broken(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.fail();
        Some(Err(FillError::length(self.between, self.came).into()))
    }

    fn fail(&mut self) {
        self.over = true;
        self.after.clear();
    }

    fn left(&self) -> u64 {
        let stored = self.before.iter().chain(&self.after);
        let between = if self.over { 0 } else { self.between.saturating_sub(self.came) };
        stored.map(|piece| piece.len() as u64).sum::<u64>() + between
    }
}

impl<B> Body for Source<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        loop {
            if let Some(around) = this.around {
                if let Some(piece) = around.before.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                if around.over {
                    return Poll::Ready(
                        around.after.pop_front().map(|piece| Ok(Frame::data(piece))),
                    );
                }
            }
            let frame = ready!(this.body.as_mut().poll_frame(cx));
            let frame = frame.map(|frame| {
                let frame = frame.map_err(Into::into)?;
                Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
            });
            let Some(around) = this.around else { return Poll::Ready(frame) };
            if let Some(frame) = around.take(frame) {
                return Poll::Ready(Some(frame));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.around {
            None => self.body.is_end_stream(),
            Some(around) => around.over && around.after.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.around {
            None => self.body.size_hint(),
            Some(around) => SizeHint::with_exact(around.left()),
        }
    }
}

#[cfg(test)]
mod tests {
    use buttress_testkit::Script;
    use http_body_util::BodyExt;

    use super::*;

    fn joined(middle: Script) -> Source<Script> {
        let pieces = |pieces: &[&'static str]| {
            pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect()
        };
        Source::joined(middle, pieces(&["0", "12"]), 4, pieces(&["78", "9"]))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stored_stands_around_what_comes() {
        let body = joined(Script::chunks(["34", "", "56"], 1));
        assert_eq!(body.size_hint().exact(), Some(10));
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "0123456789");
    }

    #[tokio::test(start_paused = true)]
    async fn a_middle_of_another_length_fails_and_nothing_follows() {
        for middle in [&["34"][..], &["3456", "x"], &[]] {
            let mut body = joined(Script::chunks(middle.to_vec(), 1));
            let mut read = Vec::new();
            let failed = loop {
                match body.frame().await {
                    Some(Ok(frame)) => read.extend(frame.into_data().unwrap()),
                    Some(Err(error)) => break error,
                    None => panic!("it ended well: {middle:?}"),
                }
            };
            assert!(failed.to_string().contains("4 were announced"), "{failed}");
            assert!(body.frame().await.is_none());
            assert!(body.is_end_stream() && read.starts_with(b"012"));
        }
    }
}
