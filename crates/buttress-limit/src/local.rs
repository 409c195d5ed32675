//! The limiter that keeps its quotas in this process.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use buttress_core::SettingError;

use crate::{
    acquire::Acquire,
    clock::Clock,
    cost::Cost,
    key::Key,
    limiter::{Ask, Denied, Lesson, Limiter, Ticket, Tier, Wait},
    policy::{IntoPolicy, Policy},
    snapshot::Snapshot,
    store::{Room, Shard, Straight},
};

/// Keys for which a shard is worth its lock.
const KEYS_PER_SHARD: usize = 64;
const MOST_SHARDS: usize = 64;
const MOST_KEYS: usize = 1 << 28;

/// A limiter that keeps its quotas in this process. Clones share them.
///
/// Make it outside of any layer: axum makes services from a layer for each route and connection, and
/// five in an hour are still five.
///
/// ```
/// use buttress_limit::{Ask, Cost, Key, Limiter, Local, Policy, Quota};
///
/// # fn main() -> Result<(), buttress_limit::SettingError> {
/// let limiter = Local::new(Quota::per_hour(5)?)?;
/// let ask = Ask::new(Key::hash(b"alice"), Cost::request());
///
/// let admitted = (0..100).filter(|_| matches!(limiter.try_acquire(&ask), Some(Ok(_)))).count();
/// assert_eq!(admitted, 5);
/// # Ok(())
/// # }
/// ```
///
/// # Memory
///
/// At most [`max_keys`](Self::max_keys) keys are kept apart. A key is forgotten when every one of its
/// windows is full again, in which it does not differ from one that never came; a key that has spent
/// something is never forgotten to make room. New keys that find no room share windows with others of
/// their kind, which can limit them too early but never too late.
#[derive(Clone)]
pub struct Local {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    shards: Box<[Guarded]>,
    seeds: [u64; 2],
    settings: Settings,
    /// How many wait, for all keys together, and how many ever did.
    pub(crate) waiting: AtomicUsize,
    pub(crate) waited: AtomicU64,
}

/// A shard, at the beginning of a line of the cache: what a decision reads of it is in that one, and
/// nothing of its neighbour is.
#[repr(align(128))]
struct Guarded(Mutex<Shard>);

#[derive(Clone)]
struct Settings {
    tiers: Vec<Policy>,
    keys: usize,
    overflow: usize,
    waiters: usize,
}

impl Local {
    /// A limiter with this policy: a [`Policy`], or a single [`Quota`](crate::Quota).
    ///
    /// # Errors
    ///
    /// As [`Policy::new`].
    pub fn new(policy: impl IntoPolicy) -> Result<Self, SettingError> {
        let tiers = vec![policy.into_policy()?];
        Ok(Self::of(Settings { tiers, keys: 100_000, overflow: 4_096, waiters: 65_536 }))
    }

    /// One more policy, for some of the keys: its number is the next [`Tier`]. The limiter begins
    /// anew.
    ///
    /// # Errors
    ///
    /// As [`Policy::new`], and if there are 65536 already.
    pub fn tier(self, policy: impl IntoPolicy) -> Result<Self, SettingError> {
        let mut settings = self.shared.settings.clone();
        if settings.tiers.len() > usize::from(u16::MAX) {
            return Err(SettingError::new(
                "tier",
                "one more than the 65536 that can be told apart",
            ));
        }
        settings.tiers.push(policy.into_policy()?);
        Ok(Self::of(settings))
    }

    /// How many keys are kept apart. The limiter begins anew. Default: 100,000.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than 2²⁸.
    pub fn max_keys(self, keys: usize) -> Result<Self, SettingError> {
        if keys == 0 || keys > MOST_KEYS {
            let reason = format!("{keys}, not from 1 to {MOST_KEYS}");
            return Err(SettingError::new("max_keys", reason));
        }
        Ok(Self::of(Settings { keys, ..self.shared.settings.clone() }))
    }

    /// How many windows there are to be shared by the keys that find no room. The limiter begins
    /// anew. Default: 4096.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than 2²⁴.
    pub fn overflow(self, windows: usize) -> Result<Self, SettingError> {
        if windows == 0 || windows > 1 << 24 {
            let reason = format!("{windows}, not from 1 to {}", 1 << 24);
            return Err(SettingError::new("overflow", reason));
        }
        Ok(Self::of(Settings { overflow: windows, ..self.shared.settings.clone() }))
    }

    /// How many requests may wait, for all keys together. The limiter begins anew. Default: 65,536.
    #[must_use]
    pub fn max_waiters(self, waiters: usize) -> Self {
        Self::of(Settings { waiters, ..self.shared.settings.clone() })
    }

    /// Puts another policy in the place of one, for every clone and at once.
    ///
    /// A key goes on with as large a part of its burst spent as it has: nothing is forgiven. Those
    /// who wait do so by the new policy.
    ///
    /// # Errors
    ///
    /// If the limiter has no such tier, or the policy has more windows than the largest that the
    /// limiter was made with.
    pub fn reconfigure(&self, tier: Tier, policy: &Policy) -> Result<(), SettingError> {
        let wrong = |reason| Err(SettingError::new("policy", reason));
        let settings = &self.shared.settings;
        if tier.index() >= settings.tiers.len() {
            return wrong(format!("for tier {} of {}", tier.index(), settings.tiers.len()));
        }
        let (windows, most) = (policy.quotas().len(), settings.stride());
        if windows > most {
            return wrong(format!("of {windows} windows; this limiter was made for {most}"));
        }
        let mut waiting = Vec::new();
        for shard in &self.shared.shards {
            let now = self.shared.clock.now();
            lock(shard).reconfigure(tier, policy, now, |waker| waiting.push(waker));
            waiting.drain(..).for_each(Waker::wake);
        }
        Ok(())
    }

    /// How many keys are kept apart at the moment.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// How many requests wait at the moment.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Bytes that the keys take.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shared.shards.iter().map(|shard| lock(shard).bytes()).sum()
    }

    fn of(settings: Settings) -> Self {
        let shards = (settings.keys / KEYS_PER_SHARD).clamp(1, MOST_SHARDS);
        let shards = if shards.is_power_of_two() { shards } else { shards.next_power_of_two() / 2 };
        let room = Room {
            keys: settings.keys / shards,
            overflow: settings.overflow.div_ceil(shards),
            stride: settings.stride(),
        };
        let random = RandomState::new();
        // Odd, so that neither can make a product lose its other half.
        let seeds = [random.hash_one(1) | 1, random.hash_one(2) | 1];
        let tiers: Arc<[Policy]> = settings.tiers.clone().into();
        let shard = || Guarded(Mutex::new(Shard::new(Arc::clone(&tiers), room, seeds)));
        let shared = Shared {
            clock: Clock::start(),
            shards: (0..shards).map(|_| shard()).collect(),
            seeds,
            settings,
            waiting: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Settings {
    /// The windows of the policy that has the most.
    fn stride(&self) -> usize {
        self.tiers.iter().map(|policy| policy.quotas().len()).max().unwrap_or(1)
    }
}

impl Shared {
    #[inline]
    pub(crate) fn spread(&self, key: Key) -> u64 {
        key.spread(self.seeds)
    }

    /// The shard of a key, locked.
    #[inline]
    pub(crate) fn shard(&self, spread: u64) -> MutexGuard<'_, Shard> {
        let mask = self.shards.len() - 1;
        // Neither the lower bits, which choose the bucket, nor the upper ones, which tell keys apart
        // in it.
        lock(&self.shards[usize::try_from(spread >> 32).unwrap_or(0) & mask])
    }

    pub(crate) fn may_wait(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < self.settings.waiters
    }

    fn wake(waker: Option<Waker>) {
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Limiter for Local {
    type Acquire = Acquire;

    #[inline]
    fn try_acquire(&self, ask: &Ask) -> Option<Result<Ticket, Denied>> {
        let spread = self.shared.spread(ask.key);
        let now = self.shared.clock.now();
        let decided = self.shared.shard(spread).decide(ask, spread, now);
        Some(decided.map(|mark| Ticket::marked(*ask, mark)))
    }

    #[inline(always)]
    fn pass(&self, ask: &Ask) -> Option<Result<(), Denied>> {
        let spread = self.shared.spread(ask.key);
        let now = self.shared.clock.now();
        let mut shard = self.shared.shard(spread);
        match shard.straight(ask, spread, now) {
            Straight::Fits(_) => Some(Ok(())),
            seen => late(shard, &seen, ask, spread, now),
        }
    }

    fn pass_and_peek(&self, ask: &Ask) -> Option<Result<Option<Snapshot>, Denied>> {
        let spread = self.shared.spread(ask.key);
        let now = self.shared.clock.now();
        let decided = self.shared.shard(spread).decide_and_peek(ask, spread, now);
        Some(decided.map(|((), left)| Some(left)))
    }

    fn try_acquire_and_peek(
        &self,
        ask: &Ask,
    ) -> Option<Result<(Ticket, Option<Snapshot>), Denied>> {
        let spread = self.shared.spread(ask.key);
        let now = self.shared.clock.now();
        let decided = self.shared.shard(spread).decide_and_peek(ask, spread, now);
        Some(decided.map(|(mark, left)| (Ticket::marked(*ask, mark), Some(left))))
    }

    fn acquire(&self, ask: Ask, wait: Option<Wait>) -> Acquire {
        Acquire::new(Arc::clone(&self.shared), ask, wait)
    }

    fn settle(&self, ticket: Ticket, actual: &Cost) {
        let ask = ticket.ask();
        if ask.cost == *actual {
            return;
        }
        let spread = self.shared.spread(ask.key);
        let now = self.shared.clock.now();
        let head = self.shared.shard(spread).settle((ask, ticket.mark()), actual, spread, now);
        Shared::wake(head);
    }

    fn learn(&self, key: Key, tier: Tier, lesson: Lesson) {
        let spread = self.shared.spread(key);
        let now = self.shared.clock.now();
        let waiting = self.shared.shard(spread).learn(key, tier, spread, lesson, now);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn peek(&self, ask: &Ask) -> Option<Snapshot> {
        let spread = self.shared.spread(ask.key);
        let now = self.shared.clock.now();
        Some(self.shared.shard(spread).peek(ask, spread, now))
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("tiers", &self.shared.settings.tiers)
            .field("keys", &self.keys())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

/// Goes on with a request that does not pass as most do.
#[inline(never)]
fn late(
    mut shard: MutexGuard<'_, Shard>,
    seen: &Straight,
    ask: &Ask,
    spread: u64,
    now: u64,
) -> Option<Result<(), Denied>> {
    if let Straight::Spent(number) = *seen {
        let spent = shard.spent(number, ask, now);
        drop(shard);
        return Some(Err(spent.denied()));
    }
    Some(shard.weigh(ask, spread, now).map(drop))
}

/// Nothing that runs under the lock leaves a shard half changed.
fn lock(shard: &Guarded) -> MutexGuard<'_, Shard> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}
