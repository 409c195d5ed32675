//! A response body while it arrives, read by all who asked for it.
//!
//! There is no task: whoever wants a piece that is not there yet polls the inner body for it, and
//! wakes the others. So the inner body is asked for no more than somebody wants, a reader that leaves
//! takes nothing from the others, and when the last one is gone the inner body is dropped.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use buttress_core::BoxError;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::{FillError, wakers::Wakers};
use crate::Chunks;

/// How far a reader may be ahead of the slowest when the body is not kept.
const WINDOW: u64 = 1 << 20;

type Inner = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;
type Finish = Box<dyn FnOnce(End) + Send>;

/// How a body ended, for whoever wants to store it.
#[derive(Debug)]
pub(crate) enum End {
    /// All of it came; here it is.
    Complete(Chunks),
    /// It failed, or is too large to be kept. Nobody else may join.
    Lost,
}

/// The bytes that all fills of a layer hold together, and how many they may.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    held: Arc<AtomicUsize>,
    most: usize,
}

impl InFlight {
    pub(crate) fn new(most: usize) -> Self {
        Self { held: Arc::default(), most }
    }

    /// Counts so many bytes more; `false` if that is too many.
    fn take(&self, bytes: usize) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.most
    }

    fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// A body while it arrives.
pub(crate) struct Fill {
    state: Mutex<State>,
    wakers: Arc<Wakers>,
    waker: Waker,
    expected: Option<u64>,
    max_body: u64,
}

struct State {
    inner: Option<Inner>,
    chunks: VecDeque<Bytes>,
    /// How many chunks, and bytes, were let go of at the front.
    gone: usize,
    gone_bytes: u64,
    received: u64,
    counted: usize,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), FillError>>,
    /// Too large to be kept: only what the slowest reader needs is.
    windowed: bool,
    /// The next chunk and byte of each reader.
    readers: Vec<Option<(usize, u64)>>,
    finish: Option<Finish>,
    in_flight: InFlight,
}

impl Fill {
    /// Begins to read `body`; `finish` is told once how that ended, unless all readers leave before.
    pub(crate) fn new<B>(
        body: B,
        expected: Option<u64>,
        max_body: u64,
        in_flight: InFlight,
        finish: impl FnOnce(End) + Send + 'static,
    ) -> Arc<Self>
    where
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let wakers = Arc::new(Wakers::default());
        let state = State {
            inner: Some(Box::pin(body)),
            chunks: VecDeque::new(),
            gone: 0,
            gone_bytes: 0,
            received: 0,
            counted: 0,
            trailers: None,
            end: None,
            windowed: false,
            readers: Vec::new(),
            finish: Some(Box::new(finish)),
            in_flight,
        };
        let waker = Waker::from(Arc::clone(&wakers));
        let fill = Arc::new(Self { state: Mutex::new(state), wakers, waker, expected, max_body });
        fill.settle_if_ended();
        fill
    }

    /// How long the body is, if the response says.
    pub(crate) const fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// A place for a reader that begins at the first byte; `None` if that is gone.
    pub(super) fn enter(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.windowed || matches!(state.end, Some(Err(_))) {
            return None;
        }
        let readers = &mut state.readers;
        let free = readers.iter().position(Option::is_none).unwrap_or(readers.len());
        if free == readers.len() {
            readers.push(None);
        }
        readers[free] = Some((0, 0));
        Some(free)
    }

    /// Gives a place back.
    pub(super) fn leave(&self, slot: usize) {
        let done = {
            let mut state = self.lock();
            if let Some(place) = state.readers.get_mut(slot) {
                *place = None;
            }
            state.prune();
            // All bytes came, and nobody asked for the end (RFC 9112 section 6.3).
            let all = state.end.is_none() && self.expected == Some(state.received);
            let last = state.readers.iter().all(Option::is_none);
            (all && last).then(|| state.complete(self.expected)).flatten()
        };
        self.wakers.forget(slot);
        self.wakers.wake_all();
        run(done);
    }

    /// The next frame for the reader in place `slot`, whose trailers are still to come or not.
    pub(super) fn poll(
        &self,
        slot: usize,
        cx: &mut Context<'_>,
        trailers: bool,
    ) -> Poll<Option<Result<Frame<Bytes>, FillError>>> {
        loop {
            let mut state = self.lock();
            if let Some(chunk) = state.next(slot) {
                let windowed = state.windowed;
                drop(state);
                if windowed {
                    self.wakers.wake_all();
                }
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            if let Some(end) = &state.end {
                return Poll::Ready(match end {
                    Err(error) => Some(Err(error.clone())),
                    Ok(()) if trailers => {
                        state.trailers.clone().map(|map| Ok(Frame::trailers(map)))
                    }
                    Ok(()) => None,
                });
            }
            // Before the poll, so that no wake is missed.
            self.wakers.register(slot, cx.waker());
            if state.is_too_far(slot) {
                return Poll::Pending;
            }
            let Poll::Ready(done) = state.advance(&self.waker, self.expected, self.max_body) else {
                return Poll::Pending;
            };
            drop(state);
            run(done);
            self.wakers.wake_others(slot);
        }
    }

    /// Whether the reader in place `slot` has had everything, trailers aside.
    pub(super) fn is_at_end(&self, slot: usize, trailers: bool) -> bool {
        let state = self.lock();
        let read = state.readers.get(slot).copied().flatten().map_or(0, |(chunk, _)| chunk);
        let all = read == state.gone + state.chunks.len();
        all && matches!(state.end, Some(Ok(()))) && !(trailers && state.trailers.is_some())
    }

    /// An empty body has ended before anybody polls it.
    fn settle_if_ended(&self) {
        let mut state = self.lock();
        let done = state.end_if_inner_ended(self.expected);
        drop(state);
        run(done);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The inner body is the only foreign code under the lock; if it panics, nobody polls it again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be run when the lock is free.
type Done = Option<(Finish, End)>;

fn run(done: Done) {
    if let Some((finish, end)) = done {
        finish(end);
    }
}

impl State {
    fn next(&mut self, slot: usize) -> Option<Bytes> {
        let place = self.readers.get_mut(slot)?.as_mut()?;
        let chunk = self.chunks.get(place.0.checked_sub(self.gone)?)?.clone();
        place.0 += 1;
        place.1 += chunk.len() as u64;
        self.prune();
        Some(chunk)
    }

    /// Lets go of what everybody has read, if the body is not kept.
    fn prune(&mut self) {
        if !self.windowed {
            return;
        }
        let slowest = self.readers.iter().flatten().map(|(chunk, _)| *chunk).min();
        let slowest = slowest.unwrap_or(usize::MAX);
        while self.gone < slowest {
            let Some(chunk) = self.chunks.pop_front() else { break };
            self.gone += 1;
            self.gone_bytes += chunk.len() as u64;
            self.in_flight.give(chunk.len().min(self.counted));
            self.counted = self.counted.saturating_sub(chunk.len());
        }
    }

    fn is_too_far(&self, slot: usize) -> bool {
        let read = self.readers.get(slot).copied().flatten().map_or(0, |(_, byte)| byte);
        self.windowed && read.saturating_sub(self.gone_bytes) > WINDOW
    }

    /// Polls the inner body for a frame; ready when something has changed.
    fn advance(&mut self, waker: &Waker, expected: Option<u64>, max_body: u64) -> Poll<Done> {
        /// Who sends more frames after the last byte has the readers wait for none of them.
        const MOST: usize = 16;
        let mut done = ready!(self.step(waker, expected, max_body));
        for _ in 0..MOST {
            // Whoever has the last byte may ask again at once, and find it stored.
            let all = self.inner.is_some() && expected == Some(self.received);
            if done.is_some() || !all || self.trailers.is_some() {
                break;
            }
            match self.step(waker, expected, max_body) {
                Poll::Ready(more) => done = more,
                Poll::Pending => break,
            }
        }
        Poll::Ready(done)
    }

    fn step(&mut self, waker: &Waker, expected: Option<u64>, max_body: u64) -> Poll<Done> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        Poll::Ready(match ready!(inner.as_mut().poll_frame(&mut Context::from_waker(waker))) {
            None => self.complete(expected),
            Some(Err(error)) => self.fail(FillError::failed(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let lost = self.push(data, max_body);
                    self.end_if_inner_ended(expected).or(lost)
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.trailers = Some(trailers);
                    }
                    self.end_if_inner_ended(expected)
                }
            },
        })
    }

    fn push(&mut self, data: Bytes, max_body: u64) -> Done {
        if data.is_empty() {
            return None;
        }
        self.received += data.len() as u64;
        self.counted += data.len();
        let room = self.in_flight.take(data.len());
        self.chunks.push_back(data);
        if self.windowed || (room && self.received <= max_body) {
            return None;
        }
        self.windowed = true;
        self.prune();
        self.finish.take().map(|finish| (finish, End::Lost))
    }

    fn end_if_inner_ended(&mut self, expected: Option<u64>) -> Done {
        let ended = self.inner.as_ref().is_some_and(|inner| inner.is_end_stream());
        if ended { self.complete(expected) } else { None }
    }

    fn complete(&mut self, expected: Option<u64>) -> Done {
        if let Some(expected) = expected.filter(|expected| *expected != self.received) {
            return self.fail(FillError::length(expected, self.received));
        }
        self.inner = None;
        self.end = Some(Ok(()));
        let finish = self.finish.take()?;
        Some((finish, End::Complete(Chunks::compact(self.chunks.iter().cloned().collect()))))
    }

    fn fail(&mut self, error: FillError) -> Done {
        self.inner = None;
        self.end = Some(Err(error));
        self.finish.take().map(|finish| (finish, End::Lost))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.in_flight.give(self.counted);
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Fill")
            .field("received", &state.received)
            .field("expected", &self.expected)
            .field("end", &state.end)
            .finish_non_exhaustive()
    }
}
