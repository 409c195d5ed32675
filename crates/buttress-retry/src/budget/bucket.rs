//! The word, shared between threads.
//!
//! Every ordering is `Relaxed`: the word guards no other memory, and the queue relies only on the
//! order in which one atomic changes and on its own lock (see `queue.rs`).

use super::{
    sync::{AtomicU64, Ordering},
    terms::{Claim, Terms},
    word::Word,
};

#[derive(Debug)]
pub(super) struct Bucket {
    word: AtomicU64,
    terms: Terms,
}

impl Bucket {
    /// A full bucket at tick zero.
    pub(super) fn new(terms: Terms) -> Self {
        Self { word: AtomicU64::new(Word::new(terms.capacity, 0).bits()), terms }
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Milli-tokens at `now`.
    pub(super) fn balance(&self, now: u64) -> u64 {
        self.load().refilled(now, &self.terms).milli()
    }

    /// Adds milli-tokens, and says whether somebody queues for them. A full bucket is only read.
    pub(super) fn credit(&self, milli: u64) -> bool {
        self.step(|word| word.credited(milli, &self.terms)).is_some_and(Word::queued)
    }

    /// Removes milli-tokens, at most all of them.
    pub(super) fn debit(&self, milli: u64) {
        self.step(|word| word.debited(milli));
    }

    /// Takes what is claimed, unless there is too little or somebody queues.
    pub(super) fn take(&self, now: u64, claim: Claim) -> bool {
        self.step(
            |word| {
                if word.queued() { None } else { word.refilled(now, &self.terms).taken(claim) }
            },
        )
        .is_some()
    }

    /// Takes what is claimed for the head of the queue, or tells the tick at which the floor alone
    /// will have brought enough (`None`: it never will).
    pub(super) fn take_first(&self, now: u64, claim: Claim) -> Result<(), Option<u64>> {
        if self.step(|word| word.refilled(now, &self.terms).taken(claim)).is_some() {
            return Ok(());
        }
        let missing = claim.need.saturating_sub(self.balance(now));
        Err(self.terms.floor.reach(now, missing))
    }

    pub(super) fn set_queued(&self, queued: bool) {
        self.step(|word| Some(word.with_queued(queued)));
    }

    fn load(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Relaxed))
    }

    /// Swaps in what `next` makes of the word, and gives the new word back; `None` leaves it.
    fn step(&self, next: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut seen = self.load();
        loop {
            let new = next(seen)?;
            match self.word.compare_exchange_weak(
                seen.bits(),
                new.bits(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(new),
                Err(bits) => seen = Word::from_bits(bits),
            }
        }
    }
}
