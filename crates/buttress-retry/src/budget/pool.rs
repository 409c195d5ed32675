use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use super::Budget;
use crate::SettingError;

/// One [`Budget`] for each authority, tenant or whatever the key names, in bounded memory.
///
/// With one budget over many hosts, a host that is down uses up the retries of all the others. Here
/// a key is hashed onto one of a fixed number of slots, and each slot has a budget of its own. Keys
/// that share a slot share its budget; with many more slots than keys that is rare. Nothing is
/// locked, added or thrown out, and the hash is keyed at random, so that nobody outside can choose
/// names that collide.
///
/// A cheap handle: clones share the budgets.
///
/// ```
/// use buttress_retry::{Budget, Budgets};
///
/// # fn main() -> Result<(), buttress_retry::SettingError> {
/// let budgets = Budgets::new(&Budget::percent(10.0)?.burst(20)?, 256)?;
/// budgets.of("api.example.org").deposit();
/// assert_eq!(budgets.of("api.example.org").balance(), 20.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Budgets {
    slots: Arc<[Budget]>,
    hasher: RandomState,
}

impl Budgets {
    /// Makes `slots` budgets with the settings of `prototype`, each of them full.
    ///
    /// The prototype's own balance is not shared. A slot takes about 200 bytes.
    ///
    /// # Errors
    ///
    /// When `slots` is not from 1 to 65 536.
    pub fn new(prototype: &Budget, slots: usize) -> Result<Self, SettingError> {
        if !(1..=65_536).contains(&slots) {
            let reason = format!("{slots}, not from 1 to 65536");
            return Err(SettingError::new("budgets.slots", reason));
        }
        let slots = (0..slots).map(|_| prototype.fresh()).collect();
        Ok(Self { slots, hasher: RandomState::new() })
    }

    /// The budget of `key`; the same key has the same budget for as long as a clone lives.
    #[must_use]
    pub fn of<K: Hash + ?Sized>(&self, key: &K) -> &Budget {
        let slots = self.slots.len() as u64;
        let slot = usize::try_from(self.hasher.hash_one(key) % slots).unwrap_or(0);
        &self.slots[slot]
    }

    /// All budgets in the order of their slots, for metrics.
    #[must_use]
    pub fn slots(&self) -> &[Budget] {
        &self.slots
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}
