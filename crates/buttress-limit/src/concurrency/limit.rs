//! The limit, fixed or found.

use buttress_core::SettingError;

use super::{Aimd, Gradient, word::MOST};

/// How many calls may be under way: a number, or a way to find it.
///
/// A fixed number is right where the time that a call takes says nothing about load, as with an LLM
/// that streams its answer: that time is the length of the answer. The ways to find a limit are for
/// services whose answers take longer when there is too much to do ([`Gradient`]), or which say so
/// with a 429 or a 503 ([`Aimd`]).
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// This many.
    Fixed(u32),
    /// Additive increase, multiplicative decrease.
    Aimd(Aimd),
    /// By how much longer answers take than they need to.
    Gradient(Gradient),
}

impl Limit {
    /// So many, from 1 to 2147483647.
    ///
    /// # Errors
    ///
    /// If it is 0, or more than that.
    pub fn fixed(limit: usize) -> Result<Self, SettingError> {
        checked(limit).map(Self::Fixed)
    }

    /// As many as there is room to count: 2147483647. For a stack in which a setting says whether there
    /// is a limit.
    #[must_use]
    pub const fn none() -> Self {
        Self::Fixed(MOST)
    }

    pub(super) const fn first(&self) -> u32 {
        match self {
            Self::Fixed(limit) => *limit,
            Self::Aimd(aimd) => aimd.bounds.start,
            Self::Gradient(gradient) => gradient.bounds.start,
        }
    }
}

/// A limit in the range that the gate can hold.
pub(super) fn checked(limit: usize) -> Result<u32, SettingError> {
    u32::try_from(limit).ok().filter(|limit| (1..=MOST).contains(limit)).ok_or_else(|| {
        SettingError::new("concurrency.limit", format!("{limit}; it must be from 1 to {MOST}"))
    })
}

/// Between what a limit stays that is found, and where it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) floor: u32,
    pub(super) start: u32,
    pub(super) ceiling: u32,
}

impl Bounds {
    pub(super) const DEFAULT: Self = Self { floor: 1, start: 20, ceiling: 1_000 };

    pub(super) fn between(floor: u32, start: u32, ceiling: u32) -> Result<Self, SettingError> {
        if 1 <= floor && floor <= start && start <= ceiling && ceiling <= MOST {
            return Ok(Self { floor, start, ceiling });
        }
        let reason = format!(
            "{floor}, {start}, {ceiling}; floor, start and ceiling must rise from 1 to {MOST}"
        );
        Err(SettingError::new("concurrency.between", reason))
    }

    pub(super) fn clamp(self, limit: f64) -> f64 {
        limit.clamp(f64::from(self.floor), f64::from(self.ceiling))
    }
}

/// A limit as the gate has it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to bounds")]
pub(super) fn whole(limit: f64) -> u32 {
    limit as u32
}

impl From<Aimd> for Limit {
    fn from(aimd: Aimd) -> Self {
        Self::Aimd(aimd)
    }
}

impl From<Gradient> for Limit {
    fn from(gradient: Gradient) -> Self {
        Self::Gradient(gradient)
    }
}
