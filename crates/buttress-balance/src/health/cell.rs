//! The health word, changed by compare-and-swap only.

use super::{
    sync::{AtomicU64, Ordering},
    word::{State, Word},
};

#[derive(Debug)]
pub(crate) struct Cell(AtomicU64);

/// What a failure did to the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The call began under another state: it says nothing about this one.
    Stale,
    /// So many in a row now.
    Run(u64),
    /// It was the one call that tried the endpoint.
    Probe,
}

/// What a success did to the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Succeeded {
    Unchanged,
    /// The endpoint is in use again.
    Readmitted,
    /// It was called although it is ejected, and it answered: it is to be tried at once.
    Due,
}

impl Cell {
    pub(crate) fn new(now: u64) -> Self {
        Self(AtomicU64::new(Word::new(now).bits()))
    }

    pub(super) fn word(&self) -> Word {
        Word::from_bits(self.0.load(Ordering::Acquire))
    }

    /// The epoch that a call begins in.
    pub(crate) fn epoch(&self) -> u64 {
        self.word().epoch
    }

    pub(crate) fn in_use(&self) -> bool {
        self.word().state == State::InUse
    }

    /// When it may be tried again, in milliseconds from now; `None` if it is in use. A call that tries
    /// it has `patience` for that, in milliseconds, before another one may.
    pub(crate) fn due_in(&self, now: u64, patience: u64) -> Option<u64> {
        self.word().due_in(now, patience)
    }

    /// In how many milliseconds it may be tried, if it is ejected and nobody tries it.
    pub(crate) fn ejected_for(&self, now: u64) -> Option<u64> {
        let word = self.word();
        (word.state == State::Ejected).then(|| word.left(now))
    }

    /// How long ago it could first be tried, in milliseconds.
    pub(crate) fn overdue(&self, now: u64) -> u64 {
        self.word().since(now)
    }

    /// Counts a failure of a call that began in `epoch`.
    pub(crate) fn fail(&self, epoch: u64) -> Failed {
        let changed = self.change(|word| match word.state {
            State::InUse if word.epoch == epoch => Some(word.failed()),
            _ => None,
        });
        match changed {
            Ok((_, next)) => Failed::Run(next.run),
            Err(word) if word.epoch == epoch && word.state == State::Probed => Failed::Probe,
            Err(_) => Failed::Stale,
        }
    }

    /// Ejects the endpoint, unless the state changed since `epoch`; says for how many milliseconds.
    pub(crate) fn eject(
        &self,
        epoch: u64,
        now: u64,
        base: u64,
        length: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        let changed = self.change(|word| {
            let current = word.epoch == epoch && word.state != State::Ejected;
            current.then(|| word.ejected(now, base, &length))
        });
        changed.ok().map(|(_, next)| next.left(now))
    }

    /// Notes a success of a call that began in `epoch`.
    pub(crate) fn succeed(&self, epoch: u64, now: u64) -> Succeeded {
        let changed = self.change(|word| match word.state {
            _ if word.epoch != epoch => None,
            State::InUse => (word.run > 0).then_some(Word { run: 0, ..word }),
            State::Probed => Some(word.readmitted(now)),
            State::Ejected => (word.left(now) > 0).then(|| word.at(now)),
        });
        match changed {
            Ok((before, _)) if before.state == State::Probed => Succeeded::Readmitted,
            Ok((before, _)) if before.state == State::Ejected => Succeeded::Due,
            _ => Succeeded::Unchanged,
        }
    }

    /// Makes the caller the one that tries the endpoint: the epoch of its call.
    pub(crate) fn probe(&self, now: u64, patience: u64) -> Option<u64> {
        let (_, next) = self.change(|word| word.probed(now, patience)).ok()?;
        Some(next.epoch)
    }

    /// Lets another call try, if the one of `epoch` is still the one that does.
    pub(crate) fn give_back(&self, epoch: u64) -> bool {
        let probing = |word: Word| word.state == State::Probed && word.epoch == epoch;
        self.change(|word| probing(word).then(|| word.given_back())).is_ok()
    }

    /// One step: the word before and after it, or the word that allowed none.
    pub(super) fn change(&self, step: impl Fn(Word) -> Option<Word>) -> Result<(Word, Word), Word> {
        let mut bits = self.0.load(Ordering::Acquire);
        loop {
            let word = Word::from_bits(bits);
            let next = step(word).ok_or(word)?;
            let swap = self.0.compare_exchange_weak(
                bits,
                next.bits(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match swap {
                Ok(_) => return Ok((word, next)),
                Err(seen) => bits = seen,
            }
        }
    }
}
