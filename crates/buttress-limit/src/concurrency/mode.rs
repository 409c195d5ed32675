//! What becomes of a call for which no place is free.

use std::time::Duration;

use buttress_core::SettingError;

use crate::overload::micros;

/// How important a call is: 0 goes first, and is what every call is unless told otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The class that goes first.
    pub const FIRST: Self = Self(0);

    /// A class, where 0 goes first.
    #[must_use]
    pub const fn new(class: u8) -> Self {
        Self(class)
    }

    /// The number of the class.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0
    }
}

/// What becomes of a call for which no place is free.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// It is refused at once.
    Reject,
    /// It waits in line.
    Wait(Wait),
    /// It is refused at once, and those of lower priority before that.
    Shed(Shed),
}

/// A line with bounds: first come, first served, within a priority.
///
/// A call for which the wait is known to be too long is refused at once. How long it would be is
/// known from how fast places came free of late.
///
/// A class waits as if it had come [`ageing`](Self::ageing) later for each step below the first, so
/// that one of a lower class waits longer, and none waits for ever. In a full line a call that goes
/// before the last one takes its place.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub(super) max_wait: Duration,
    pub(super) most: usize,
    ageing: u64,
}

impl Default for Wait {
    fn default() -> Self {
        Self::fifo()
    }
}

impl Wait {
    /// 1024 may wait, for 10 seconds each.
    pub const fn fifo() -> Self {
        Self { max_wait: Duration::from_secs(10), most: 1_024, ageing: 1_000_000 }
    }

    /// How long a call may wait. Default: 10 seconds.
    pub const fn max(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// How many may wait, for one key. Default: 1024. With 0, none waits.
    pub const fn max_queue(mut self, calls: usize) -> Self {
        self.most = calls;
        self
    }

    /// How much later a call of the next class goes than one that came with it. Default: a second.
    pub fn ageing(mut self, step: Duration) -> Self {
        self.ageing = micros(step);
        self
    }

    /// Where in line one stands that comes `now`.
    pub(super) fn rank(&self, priority: Priority, now: u64) -> u64 {
        now.saturating_add(self.ageing.saturating_mul(u64::from(priority.0)))
    }
}

/// Keeps a share of the limit for each class from those below it.
///
/// With a share of 0.1 and a limit of 100, a call of class 0 is refused when 100 are under way, one
/// of class 1 when 90 are, one of class 2 when 80 are. Every class has at least one place.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Shed {
    share: f64,
}

impl Shed {
    /// What each class has before the next one, as a share of the limit.
    ///
    /// # Errors
    ///
    /// Unless it is from 0 to 0.9.
    pub fn keep(share: f64) -> Result<Self, SettingError> {
        if !(0.0..=0.9).contains(&share) {
            let reason = format!("{share}; it must be from 0 to 0.9");
            return Err(SettingError::new("concurrency.keep", reason));
        }
        Ok(Self { share })
    }

    /// How much of the limit one of this priority may use.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32")]
    pub(super) fn most(self, priority: Priority, limit: u32) -> u32 {
        let left = self.share.mul_add(-f64::from(priority.0), 1.0).max(0.0);
        // A share such as 0.1 has no exact value; what is meant is a whole number of places.
        let places = (f64::from(limit) * left + 1e-6).floor() as u32;
        places.clamp(1, limit.max(1))
    }
}
