use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use buttress_core::BoxError;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

use super::{
    error::{NotReplayable, Panicked, SourceFailed, Superseded},
    tape::{Discarded, Tape},
};

/// The source of a request body and its recording, shared by the attempts that read it.
///
/// One reader is the present one; `epoch` says which. The source is polled under the lock, and nothing
/// else of the user's runs there: bodies, bytes and wakers are carried out of it and dropped after it.
/// Outside the lock are the two words that let a drop do without waiting for it, for a source may drop
/// a waker while it is polled, and with it a whole task that holds another reader or the backup.
pub(super) struct Shared<B> {
    epoch: AtomicU64,
    /// Nobody will ask for another attempt: nothing need be recorded or kept.
    detached: AtomicBool,
    state: Mutex<State<B>>,
}

struct State<B> {
    source: Source<B>,
    tape: Tape,
    refusal: Option<NotReplayable>,
    /// Whether the present reader is still there.
    reading: bool,
    waker: Option<Waker>,
}

/// `body` goes when it has ended; it only stays behind a failure if it panicked.
struct Source<B> {
    body: Option<B>,
    end: Option<End>,
}

enum End {
    Clean,
    Failed(SourceFailed),
}

/// What must be dropped after the lock is released. Declare it before the guard.
struct Garbage<B> {
    body: Option<B>,
    waker: Option<Waker>,
    recorded: Discarded,
    released: Discarded,
}

/// A frame, and whether it is known to be the last.
pub(super) struct Read {
    pub(super) frame: Frame<Bytes>,
    pub(super) last: bool,
}

impl<B> Shared<B> {
    /// The first reader has epoch 0.
    pub(super) fn new(body: B, tape: Tape) -> Arc<Self> {
        let source = Source { body: Some(body), end: None };
        let state = State { source, tape, refusal: None, reading: true, waker: None };
        Arc::new(Self {
            epoch: AtomicU64::new(0),
            detached: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// Makes a new reader the present one and says its epoch.
    pub(super) fn take_over(&self) -> Result<u64, NotReplayable> {
        let mut state = self.lock();
        if let Some(refusal) = state.refusal {
            return Err(refusal);
        }
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(epoch, Ordering::Release);
        state.reading = true;
        state.tape.rewind();
        let waker = state.waker.take();
        drop(state);
        // The connection that holds the reader of before learns that it can let go.
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(epoch)
    }

    /// Says that the reader of this epoch is gone.
    pub(super) fn leave(&self, epoch: u64) {
        if self.is_superseded(epoch) {
            return;
        }
        let mut garbage = Garbage::<B>::new();
        let mut state = self.lock();
        if self.is_superseded(epoch) {
            return;
        }
        state.reading = false;
        garbage.waker = state.waker.take();
        drop(state);
        // Asked for only now: whoever detached while the lock was held has left the sweeping to us.
        if self.detached.load(Ordering::SeqCst) {
            self.sweep();
        }
    }

    /// Says that no other attempt will come.
    pub(super) fn detach(&self) {
        self.detached.store(true, Ordering::SeqCst);
        self.sweep();
    }

    /// `Err` if the body cannot be sent again.
    pub(super) fn replayable(&self) -> Result<(), NotReplayable> {
        self.lock().refusal.map_or(Ok(()), Err)
    }

    /// Bytes recorded so far; `None` while the source is being polled.
    pub(super) fn recorded(&self) -> Option<usize> {
        Some(self.state.try_lock().ok()?.tape.recorded())
    }

    fn is_superseded(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) != epoch
    }

    /// Frees what the present reader does not need. Does nothing if the lock is taken: the one who
    /// has it is that reader, which sweeps after each poll and when it leaves.
    fn sweep(&self) {
        let mut garbage = Garbage::new();
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if state.reading {
            garbage.released = state.tape.release();
        } else {
            garbage.released = state.tape.clear();
            garbage.body = state.source.body.take();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // Only the source can have panicked. It is not to be trusted again, and it is left where
            // it is, since dropping it here would run its code under the lock.
            let mut state = poisoned.into_inner();
            state.source.end = Some(End::Failed(SourceFailed::new(Panicked.into())));
            state.refusal = Some(NotReplayable::SourceFailed);
            self.state.clear_poison();
            state
        })
    }
}

impl<B> Shared<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    /// The next frame for the reader of this epoch: from the tape first, then from the source.
    pub(super) fn poll(
        &self,
        epoch: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Read, BoxError>>> {
        if self.is_superseded(epoch) {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        let mut garbage = Garbage::new();
        let mut state = self.lock();
        if self.is_superseded(epoch) {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        let detached = self.detached.load(Ordering::SeqCst);
        let polled = state.poll(detached, &mut garbage, cx);
        if detached {
            garbage.released = state.tape.release();
        }
        polled
    }
}

impl<B> State<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(
        &mut self,
        detached: bool,
        garbage: &mut Garbage<B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Read, BoxError>>> {
        if let Some(End::Failed(error)) = &self.source.end {
            return Poll::Ready(Some(Err(error.clone().into())));
        }
        if let Some(frame) = self.tape.read() {
            let last = self.tape.is_exhausted() && self.source.is_ended();
            return Poll::Ready(Some(Ok(Read { frame, last })));
        }
        let Some(body) = &mut self.source.body else {
            return Poll::Ready(None);
        };
        match Pin::new(body).poll_frame(cx) {
            Poll::Pending => {
                if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    garbage.waker = self.waker.replace(cx.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                if !detached {
                    self.record(&frame, garbage);
                }
                let last = self.source.is_ended();
                if last {
                    garbage.body = self.source.finish(End::Clean);
                }
                Poll::Ready(Some(Ok(Read { frame, last })))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = SourceFailed::new(error.into());
                self.refuse(NotReplayable::SourceFailed, garbage);
                garbage.body = self.source.finish(End::Failed(error.clone()));
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                garbage.body = self.source.finish(End::Clean);
                Poll::Ready(None)
            }
        }
    }
}

impl<B> State<B> {
    fn record(&mut self, frame: &Frame<Bytes>, garbage: &mut Garbage<B>) {
        if self.refusal.is_some() {
            return;
        }
        if let Err(refusal) = self.tape.push(frame) {
            self.refuse(refusal, garbage);
        }
    }

    /// Nobody may take over from here on, so what was recorded is of no use.
    fn refuse(&mut self, refusal: NotReplayable, garbage: &mut Garbage<B>) {
        self.refusal = Some(refusal);
        garbage.recorded = self.tape.clear();
    }
}

impl<B> Source<B> {
    /// The body, to be dropped.
    fn finish(&mut self, end: End) -> Option<B> {
        self.end = Some(end);
        self.body.take()
    }
}

impl<B: Body> Source<B> {
    /// Known without a poll: an extra one would be an extra wait.
    fn is_ended(&self) -> bool {
        match &self.end {
            Some(end) => matches!(end, End::Clean),
            None => self.body.as_ref().is_some_and(Body::is_end_stream),
        }
    }
}

impl<B> Garbage<B> {
    fn new() -> Self {
        Self {
            body: None,
            waker: None,
            recorded: Discarded::default(),
            released: Discarded::default(),
        }
    }
}
