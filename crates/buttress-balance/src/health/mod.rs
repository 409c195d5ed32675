//! Which endpoints are fit to take calls.

mod cell;
#[cfg(feature = "check")]
mod check;
mod exact;
mod rules;
mod settings;
mod window;
mod word;

use crate::sync;

#[cfg(feature = "check")]
pub use self::check::{Checking, HealthCheck};
pub use self::settings::{Health, Panic};
pub(crate) use self::{
    cell::{Cell, Failed, Succeeded},
    window::{Span, Window},
};
