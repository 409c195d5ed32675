use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::{
    error::NotReplayable,
    memory::{Charge, ReplayLimits},
};

/// Chunks shorter than this are copied together into blocks of this size; others are kept as they are.
///
/// A kept chunk costs an entry of its own and holds on to the buffer that it is a slice of, so many
/// small ones would cost far more memory than their bytes, and as many polls to read again.
const BLOCK: usize = 4 * 1024;

/// What was read of a source so far, and how much of it the present reader has had.
///
/// A reader that has had all of it reads the source; each frame it gets is pushed here. So `next`
/// stands at the end whenever something is pushed, and the open block never holds unread bytes.
#[derive(Debug)]
pub(super) struct Tape {
    entries: VecDeque<Entry>,
    /// The open block. Its capacity never grows; what is full is sealed into an entry.
    tail: BytesMut,
    next: usize,
    recorded: usize,
    /// The most that the source says it will yield; keeps a block no larger than it need be.
    expected: usize,
    limit: usize,
    charge: Charge,
}

#[derive(Debug)]
enum Entry {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

/// What a tape let go, to be dropped outside the lock: a `Bytes` may run its owner's code.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "held only to be dropped")]
pub(super) struct Discarded(VecDeque<Entry>, BytesMut);

impl Tape {
    pub(super) fn new(limits: &ReplayLimits, size: &SizeHint) -> Self {
        let upper = size.upper().and_then(|upper| usize::try_from(upper).ok());
        Self {
            entries: VecDeque::new(),
            tail: BytesMut::new(),
            next: 0,
            recorded: 0,
            expected: upper.unwrap_or(usize::MAX),
            limit: limits.per_request,
            charge: Charge::new(limits.memory.clone()),
        }
    }

    /// Adds what the source yielded.
    ///
    /// After an error the tape is incomplete and must be discarded.
    pub(super) fn push(&mut self, frame: &Frame<Bytes>) -> Result<(), NotReplayable> {
        if let Some(data) = frame.data_ref() {
            self.push_data(data)?;
        } else if let Some(trailers) = frame.trailers_ref() {
            self.push_trailers(trailers)?;
        }
        self.next = self.entries.len();
        Ok(())
    }

    /// The next frame that the present reader has not had.
    pub(super) fn read(&mut self) -> Option<Frame<Bytes>> {
        let frame = match self.entries.get(self.next)? {
            Entry::Data(bytes) => Frame::data(bytes.clone()),
            Entry::Trailers(trailers) => Frame::trailers(HeaderMap::clone(trailers)),
        };
        self.next += 1;
        Some(frame)
    }

    /// Whether the present reader has had everything.
    pub(super) fn is_exhausted(&self) -> bool {
        self.next >= self.entries.len()
    }

    /// Starts over, for a new reader.
    pub(super) fn rewind(&mut self) {
        self.seal();
        self.next = 0;
    }

    /// Lets go what the present reader has had.
    pub(super) fn release(&mut self) -> Discarded {
        if self.is_exhausted() {
            return self.clear();
        }
        let rest = self.entries.split_off(self.next);
        let read = mem::replace(&mut self.entries, rest);
        self.next = 0;
        self.charge.shrink(read.iter().map(Entry::weight).sum());
        Discarded(read, BytesMut::new())
    }

    /// Lets go everything.
    pub(super) fn clear(&mut self) -> Discarded {
        self.next = 0;
        self.charge.clear();
        Discarded(mem::take(&mut self.entries), mem::take(&mut self.tail))
    }

    pub(super) fn recorded(&self) -> usize {
        self.recorded
    }

    fn push_data(&mut self, data: &Bytes) -> Result<(), NotReplayable> {
        self.count(data.len())?;
        if data.len() < BLOCK {
            return self.copy(data);
        }
        self.take_memory(data.len())?;
        self.seal();
        self.entries.push_back(Entry::Data(data.clone()));
        Ok(())
    }

    fn push_trailers(&mut self, trailers: &HeaderMap) -> Result<(), NotReplayable> {
        let entry = Entry::Trailers(Box::new(trailers.clone()));
        self.count(entry.weight())?;
        self.take_memory(entry.weight())?;
        self.seal();
        self.entries.push_back(entry);
        Ok(())
    }

    fn copy(&mut self, mut chunk: &[u8]) -> Result<(), NotReplayable> {
        while !chunk.is_empty() {
            if self.tail.len() == self.tail.capacity() {
                self.seal();
                self.open(chunk.len())?;
            }
            let room = self.tail.capacity() - self.tail.len();
            let (now, later) = chunk.split_at(room.min(chunk.len()));
            self.tail.extend_from_slice(now);
            chunk = later;
        }
        Ok(())
    }

    /// Opens a block for a chunk of which this much is left.
    fn open(&mut self, needed: usize) -> Result<(), NotReplayable> {
        // `recorded` counts the chunk already.
        let expected = self.expected.saturating_sub(self.recorded).saturating_add(needed);
        let size = expected.min(BLOCK);
        self.take_memory(size)?;
        self.tail = BytesMut::with_capacity(size);
        Ok(())
    }

    /// Makes an entry of what the open block holds; what is left of the block stays open.
    fn seal(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let full = self.tail.len() == self.tail.capacity();
        let sealed = if full { mem::take(&mut self.tail) } else { self.tail.split() };
        self.entries.push_back(Entry::Data(sealed.freeze()));
    }

    fn count(&mut self, bytes: usize) -> Result<(), NotReplayable> {
        let sum = self.recorded.saturating_add(bytes);
        if sum > self.limit {
            return Err(NotReplayable::Overflowed);
        }
        self.recorded = sum;
        Ok(())
    }

    fn take_memory(&mut self, bytes: usize) -> Result<(), NotReplayable> {
        if self.charge.grow(bytes) { Ok(()) } else { Err(NotReplayable::MemoryExhausted) }
    }
}

impl Entry {
    fn weight(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Trailers(trailers) => {
                trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
            }
        }
    }
}
