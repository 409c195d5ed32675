//! Bodies that are read ahead.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::{CloneBody, ReadAhead};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;

/// One thing that a body does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Data(Bytes),
    Trailers,
    Fail,
    Wait,
}

/// A body that does one thing after the other.
#[derive(Clone, Debug)]
struct Steps {
    left: VecDeque<Step>,
    exact: bool,
}

impl Steps {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { left: steps.into_iter().collect(), exact: false }
    }

    fn length(&self) -> u64 {
        let length = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        self.left.iter().map(length).sum()
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(match self.left.pop_front() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Some(Step::Fail) => {
                self.left.clear();
                Some(Err("the client is gone"))
            }
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.exact { SizeHint::with_exact(self.length()) } else { SizeHint::default() }
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// All that comes of a body: its data, whether there were trailers, and its error.
async fn drained<B: Body<Data = Bytes> + Unpin>(mut body: B) -> (Vec<u8>, bool, Option<B::Error>) {
    let (mut data, mut trailers) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Err(error) => return (data, trailers, Some(error)),
            Ok(frame) => match frame.into_data() {
                Ok(piece) => data.extend_from_slice(&piece),
                Err(_) => trailers = true,
            },
        }
    }
    (data, trailers, None)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|data| Step::Data(data.into())),
        1 => Just(Step::Trailers),
        1 => Just(Step::Fail),
        3 => Just(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_is_read_ahead_the_body_is_the_same(
        steps in prop::collection::vec(step(), 0..8),
        most in 0_u64..60,
        exact: bool,
    ) {
        // Nothing comes after trailers.
        let end = steps.iter().position(|step| *step == Step::Trailers).unwrap_or(steps.len());
        let steps: Vec<_> = steps.into_iter().take(end + 1).collect();
        let body = Steps { exact, ..Steps::new(steps.clone()) };
        let all = body.length();
        let plain = !steps.iter().any(|step| matches!(step, Step::Trailers | Step::Fail));
        let (expected, ahead) = run(async {
            (drained(body.clone()).await, ReadAhead::read(body, most).await)
        });
        prop_assert_eq!(ahead.bytes().is_some(), plain && all <= most);
        if let Some(bytes) = ahead.bytes() {
            prop_assert_eq!(bytes, &*expected.0);
            prop_assert_eq!(ahead.data(), Some(bytes));
            prop_assert_eq!(ahead.size_hint().exact(), Some(all));
            let again = run(drained(ahead.again().unwrap()));
            prop_assert_eq!(&again.0, &expected.0);
        } else if let Some(data) = ahead.data() {
            prop_assert!(expected.1);
            prop_assert_eq!(data, &*expected.0);
        } else if !ahead.is_end_stream() {
            prop_assert!(ahead.again().is_none());
        }
        // What is still to be read can be had again, as `Steps` can; an error that came cannot.
        match ahead.try_clone() {
            Some(again) => prop_assert_eq!(run(drained(again)), expected.clone()),
            None => prop_assert!(expected.2.is_some()),
        }
        if exact && plain {
            prop_assert_eq!(ahead.size_hint().exact(), Some(all), "as the body itself says");
        }
        let hint = ahead.size_hint();
        let length = expected.0.len() as u64;
        if expected.2.is_none() {
            prop_assert!(hint.lower() <= length && hint.upper().is_none_or(|upper| length <= upper));
        }
        prop_assert_eq!(run(drained(ahead)), expected);
    }
}

#[test]
fn a_body_that_says_that_it_is_too_long_is_not_begun() {
    // Whoever waits for it would see it wait.
    let steps = [Step::Wait, Step::Data(Bytes::from_static(b"too long")), Step::Trailers];
    let body = Steps { exact: true, ..Steps::new(steps) };
    let mut reading = ReadAhead::read(body, 7);
    assert!(!run(is_pending(&mut reading)));
    let rest = reading.stop();
    assert!(rest.is_end_stream(), "it was given");
    let body = Steps {
        exact: true,
        ..Steps::new([Step::Data(Bytes::from_static(b"too long")), Step::Trailers])
    };
    let rest = run(ReadAhead::read(body, 7)).into_bytes().unwrap_err();
    assert_eq!(run(drained(rest)), (b"too long".to_vec(), true, None));
}

#[test]
fn what_is_whole_can_be_had_as_one_piece_and_again() {
    let ahead = run(ReadAhead::read(Full::new(Bytes::from_static(b"ping")), 4));
    assert_eq!(ahead.bytes(), Some(&b"ping"[..]));
    assert_eq!(ahead.try_clone().unwrap().into_bytes().unwrap(), "ping");
    assert_eq!(ahead.into_bytes().unwrap(), "ping");
    let nothing = run(ReadAhead::read(Empty::<Bytes>::new(), 0));
    assert!(nothing.is_end_stream());
    assert_eq!(nothing.bytes(), Some(&[][..]));
    assert_eq!(nothing.into_bytes().unwrap(), "");
}

#[test]
fn a_body_that_is_waited_for_no_longer_goes_on_where_it_was_read() {
    let steps = ["on", "and on"].map(|text| Step::Data(Bytes::from_static(text.as_bytes())));
    let [front, back] = steps;
    let mut reading = ReadAhead::read(Steps::new([front, Step::Wait, back]), 100);
    let ahead = run(async {
        assert!(is_pending(&mut reading).await);
        reading.stop()
    });
    assert_eq!(ahead.bytes(), None);
    assert_eq!(ahead.size_hint().lower(), 2);
    assert_eq!(run(drained(ahead)).0, b"onand on");
    assert!(reading.stop().is_end_stream(), "it was given");
}

/// Polls a future once; whether it is pending.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}

#[test]
fn what_was_not_read_is_as_it_was() {
    let unread = ReadAhead::unread(Full::new(Bytes::from_static(b"ping")));
    assert_eq!(unread.bytes(), None);
    assert!(unread.again().is_none(), "nothing of it is in memory that is known of");
    assert_eq!(run(drained(unread.try_clone().unwrap())).0, b"ping");
    assert_eq!(unread.size_hint().exact(), Some(4));
    assert_eq!(run(drained(unread)).0, b"ping");
}
