use bytes::{Bytes, BytesMut};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many bytes of what was taken a handle keeps, so that an endless body stays bounded.
const KEPT: usize = 1 << 20;

/// Watches one [`Script`](super::Script), also after it was dropped, and opens its gates.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct BodyHandle {
    shared: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(super) struct Seen {
    polls: u64,
    polls_after_end: u64,
    pub(super) frames: u64,
    bytes: u64,
    taken: BytesMut,
    open_gates: u32,
    waker: Option<Waker>,
    pub(super) ended: bool,
    pub(super) dropped: bool,
}

impl Seen {
    pub(super) fn count_poll(&mut self) {
        self.polls += 1;
        self.polls_after_end += u64::from(self.ended);
    }

    pub(super) fn poll_gate(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.open_gates == 0 {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.open_gates -= 1;
        self.waker = None;
        Poll::Ready(())
    }

    pub(super) fn count_data(&mut self, chunk: &Bytes) {
        self.frames += 1;
        self.bytes += length(chunk);
        let room = KEPT.saturating_sub(self.taken.len()).min(chunk.len());
        self.taken.extend_from_slice(&chunk[..room]);
    }
}

impl BodyHandle {
    pub(super) fn new(shared: Arc<Mutex<Seen>>) -> Self {
        Self { shared }
    }

    /// Opens one [`hold`](super::Script::hold), the one that waits or the next to come, and wakes
    /// its task.
    pub fn release(&self) {
        let mut seen = lock(&self.shared);
        seen.open_gates += 1;
        let waker = seen.waker.take();
        drop(seen);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns how often the body was polled for a frame.
    #[must_use]
    pub fn polls(&self) -> u64 {
        lock(&self.shared).polls
    }

    /// Returns how often the body was polled after it had ended or failed.
    #[must_use]
    pub fn polls_after_end(&self) -> u64 {
        lock(&self.shared).polls_after_end
    }

    /// Returns how many frames of data and trailers were taken.
    #[must_use]
    pub fn frames(&self) -> u64 {
        lock(&self.shared).frames
    }

    /// Returns how many bytes of data were taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        lock(&self.shared).bytes
    }

    /// Returns the data that was taken, as far as its first mebibyte.
    #[must_use]
    pub fn taken(&self) -> Bytes {
        lock(&self.shared).taken.clone().freeze()
    }

    /// Returns whether the body gave its end or its failure to a poll.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        lock(&self.shared).ended
    }

    /// Returns whether the body was dropped.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        lock(&self.shared).dropped
    }
}

impl fmt::Debug for BodyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { polls, frames, bytes, ended, dropped, .. } = &*lock(&self.shared);
        f.debug_struct("BodyHandle")
            .field("polls", polls)
            .field("frames", frames)
            .field("bytes", bytes)
            .field("ended", ended)
            .field("dropped", dropped)
            .finish_non_exhaustive()
    }
}

pub(super) fn lock(shared: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn length(chunk: &Bytes) -> u64 {
    u64::try_from(chunk.len()).unwrap_or(u64::MAX)
}
