//! What a body that is read ahead holds, in whatever pieces it comes.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use allocation_counter::measure;
use buttress_core::ReadAhead;
use bytes::Bytes;
use http_body::{Body, Frame};

/// So many pieces of one kind, and then nothing for now.
struct Pieces {
    left: Arc<AtomicU32>,
    piece: &'static [u8],
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.load(Ordering::Relaxed).checked_sub(1) else {
            return Poll::Pending;
        };
        self.left.store(left, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.piece)))))
    }
}

/// The most that is held while so many pieces are read.
fn held(pieces: u32, piece: &'static [u8], most: u64) -> u64 {
    let left = Arc::new(AtomicU32::new(pieces));
    let mut reading = ReadAhead::read(Pieces { left: Arc::clone(&left), piece }, most);
    let info = measure(|| {
        let mut cx = Context::from_waker(Waker::noop());
        while left.load(Ordering::Relaxed) > 0 {
            assert!(Pin::new(&mut reading).poll(&mut cx).is_pending());
        }
    });
    info.bytes_max
}

#[test]
fn a_body_in_single_bytes_holds_little_more_than_its_bytes() {
    let held = held(1 << 16, b"x", 1 << 16);
    assert!(held <= 4 << 16, "64 KiB of body hold {held} bytes");
}

#[test]
fn pieces_of_nothing_are_not_kept() {
    assert_eq!(held(1 << 16, b"", 1), 0);
}

/// Whether it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_body_that_is_always_there_lets_others_have_their_turn_and_comes_back() {
    let left = Arc::new(AtomicU32::new(10_000));
    let mut reading = ReadAhead::read(Pieces { left: Arc::clone(&left), piece: b"" }, 1);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    assert!(Pin::new(&mut reading).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(left.load(Ordering::Relaxed) > 9_000, "it went on and on");
    assert!(woken.0.load(Ordering::Relaxed), "nobody would poll it again");
}
