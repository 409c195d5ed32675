//! How many calls an endpoint has in flight, and how many it ever had, in one word.

use super::sync::{AtomicU64, Ordering};

const IN_FLIGHT: u64 = (1 << Load::IN_FLIGHT_BITS) - 1;
const ONE_PICK: u64 = (1 << Load::IN_FLIGHT_BITS) | 1;

/// A count that goes up and down beside one that only goes up: one atomic step changes both.
#[derive(Debug)]
pub(crate) struct Load(AtomicU64);

impl Load {
    pub(crate) const IN_FLIGHT_BITS: u32 = 24;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & IN_FLIGHT
    }

    /// The same for whoever stands in line: see [`take`](Self::take).
    pub(crate) fn in_flight_now(&self) -> u64 {
        self.0.load(Ordering::SeqCst) & IN_FLIGHT
    }

    /// The calls in flight in the upper bits of a number, whose lower bits are 0.
    #[inline]
    pub(crate) fn in_flight_first(&self) -> u64 {
        self.0.load(Ordering::Relaxed) << (u64::BITS - Self::IN_FLIGHT_BITS)
    }

    /// Calls that ever went here.
    pub(crate) fn picks(&self) -> u64 {
        self.0.load(Ordering::Relaxed) >> Self::IN_FLIGHT_BITS
    }

    /// Takes a place if fewer than `limit` are taken.
    ///
    /// Sequentially consistent, as is [`release`](Self::release): a caller that stands in line
    /// before it looks here, and a release that looks at the line afterwards, cannot miss each
    /// other.
    pub(crate) fn take(&self, limit: u64) -> bool {
        let limit = limit.min(IN_FLIGHT);
        let mut word = self.0.load(Ordering::SeqCst);
        while word & IN_FLIGHT < limit {
            let next = word.wrapping_add(ONE_PICK);
            let swap = self.0.compare_exchange_weak(word, next, Ordering::SeqCst, Ordering::SeqCst);
            match swap {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
        false
    }

    /// Gives a place back.
    pub(crate) fn release(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
