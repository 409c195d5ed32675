//! For which share of calls a refusal is carried out.

use buttress_core::SettingError;

/// The share of refusals that are carried out; the others are only reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enforce(f64);

impl Enforce {
    pub(crate) const ALL: Self = Self(1.0);

    pub(crate) fn share(share: f64) -> Result<Self, SettingError> {
        if !(0.0..=1.0).contains(&share) {
            let reason = format!("{share}; it must be from 0 to 1");
            return Err(SettingError::new("limit.enforce", reason));
        }
        Ok(Self(share))
    }

    /// Whether it is, this time. Chance is asked only where there is a choice.
    pub(crate) fn draw(self) -> bool {
        self.0 >= 1.0 || (self.0 > 0.0 && fastrand::f64() < self.0)
    }
}
