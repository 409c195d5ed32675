//! What a body that is read ahead holds, in whatever pieces it comes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use buttress_core::ReadAhead;
use bytes::Bytes;
use http_body::{Body, Frame};

/// So many pieces of one kind, and then nothing for now.
struct Pieces {
    left: u32,
    piece: &'static [u8],
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Pending };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.piece)))))
    }
}

/// The most that is held while so many pieces are read, and how often it let others have their turn.
fn held(pieces: u32, piece: &'static [u8], most: u64) -> (u64, u32) {
    let mut reading = ReadAhead::read(Pieces { left: pieces, piece }, most);
    let mut turns = 0;
    let info = measure(|| {
        let mut cx = Context::from_waker(Waker::noop());
        // As many polls as it takes with one piece each, and one more.
        for _ in 0..=pieces {
            assert!(Pin::new(&mut reading).poll(&mut cx).is_pending());
            turns += 1;
        }
    });
    (info.bytes_max, turns)
}

#[test]
fn a_body_in_single_bytes_holds_little_more_than_its_bytes() {
    let (held, _) = held(1 << 16, b"x", 1 << 16);
    assert!(held <= 4 << 16, "64 KiB of body hold {held} bytes");
}

#[test]
fn pieces_of_nothing_are_not_kept() {
    let (held, _) = held(1 << 16, b"", 1);
    assert_eq!(held, 0);
}

#[test]
fn a_body_that_is_always_there_lets_others_have_their_turn() {
    let mut reading = ReadAhead::read(Pieces { left: u32::MAX, piece: b"" }, 1);
    let mut cx = Context::from_waker(Waker::noop());
    // It would not come back from here before the pieces end, which they do not within a minute.
    assert!(Pin::new(&mut reading).poll(&mut cx).is_pending());
}
