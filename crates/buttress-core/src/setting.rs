//! What is wrong with a setting, said where the value is made.

use std::{error::Error, fmt};

/// A setting was refused where the value was made.
///
/// One line that names the setting, the value and what is allowed:
///
/// ```
/// use buttress_core::SettingError;
///
/// let error = SettingError::new("backoff.max", "1s, shorter than `backoff.base` 2s");
/// assert_eq!(error.setting(), "backoff.max");
/// assert_eq!(error.to_string(), "`backoff.max` is 1s, shorter than `backoff.base` 2s");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    setting: &'static str,
    reason: String,
}

impl SettingError {
    /// `reason` finishes the sentence "`setting` is …": the value first, then what is allowed.
    #[must_use]
    pub fn new(setting: &'static str, reason: impl Into<String>) -> Self {
        Self { setting, reason: reason.into() }
    }

    /// The dotted name of the setting, such as `backoff.max`.
    #[must_use]
    pub const fn setting(&self) -> &'static str {
        self.setting
    }

    /// The value and what is allowed, as given.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}", self.setting, self.reason)
    }
}

impl Error for SettingError {}
