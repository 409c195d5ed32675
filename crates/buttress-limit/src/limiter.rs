//! What a limiter is asked and what it answers. [`Local`](crate::Local) is one; a limiter that keeps
//! its quotas elsewhere implements [`Limiter`].

use std::{future::Future, time::Duration};

use crate::{
    cost::{Cost, Unit},
    key::Key,
    snapshot::Snapshot,
    store::Mark,
};

/// Decides whether a request may pass. Clones decide together.
///
/// A limiter in this process answers [`try_acquire`](Self::try_acquire) at once. One that has to ask
/// elsewhere answers `None` there, and [`acquire`](Self::acquire) does the asking.
pub trait Limiter: Clone {
    /// What [`acquire`](Self::acquire) returns.
    type Acquire: Future<Output = Result<Ticket, Denied>>;

    /// Decides without waiting; `None` if that cannot be.
    ///
    /// A denial charges nothing, and keeps no state.
    fn try_acquire(&self, ask: &Ask) -> Option<Result<Ticket, Denied>>;

    /// Decides as [`try_acquire`](Self::try_acquire) does, about a request that stays at what it is
    /// charged: it needs no ticket.
    fn pass(&self, ask: &Ask) -> Option<Result<(), Denied>> {
        self.try_acquire(ask).map(|decided| decided.map(drop))
    }

    /// Decides as [`pass`](Self::pass) does, and says what an admission has left, if that is known. As
    /// provided it does one after the other; [`Local`](crate::Local) does both at once, so that nobody
    /// else takes anything in between.
    fn pass_and_peek(&self, ask: &Ask) -> Option<Result<Option<Snapshot>, Denied>> {
        self.pass(ask).map(|decided| decided.map(|()| self.peek(ask)))
    }

    /// Decides as [`try_acquire`](Self::try_acquire) does, and says what an admission has left, as
    /// [`pass_and_peek`](Self::pass_and_peek) does.
    fn try_acquire_and_peek(
        &self,
        ask: &Ask,
    ) -> Option<Result<(Ticket, Option<Snapshot>), Denied>> {
        self.try_acquire(ask).map(|decided| decided.map(|ticket| (ticket, self.peek(ask))))
    }

    /// Decides, and waits in line for as long as `wait` allows. Without `wait` it does whatever I/O
    /// the decision needs, and no more.
    ///
    /// Dropped before it is ready, it has charged nothing. The ticket that it is ready with is a
    /// charge: give it to [`settle`](Self::settle) with [`Cost::FREE`] if it is not used.
    fn acquire(&self, ask: Ask, wait: Option<Wait>) -> Self::Acquire;

    /// Says what an admitted request came to. What was charged beyond that is refunded, what was
    /// charged too little is charged now, even into debt. Never blocks and never fails.
    fn settle(&self, ticket: Ticket, actual: &Cost);

    /// Learns from what an upstream said about the quota of a key. Never raises it.
    fn learn(&self, key: Key, tier: Tier, lesson: Lesson);

    /// What is left, without taking any; `None` if that is not known without asking elsewhere.
    fn peek(&self, ask: &Ask) -> Option<Snapshot>;

    /// Whether [`try_acquire`](Self::try_acquire) always decides. If not, the layer does not hold a
    /// place at the inner service while it asks.
    fn decides_at_once(&self) -> bool {
        true
    }
}

/// A question to a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// Whose quota it is.
    pub key: Key,
    /// Which of the limiter's policies holds for the key.
    pub tier: Tier,
    /// What the request costs.
    pub cost: Cost,
    /// How much of each burst must be left over, in percent: a reserve for others.
    pub spare: u8,
}

impl Ask {
    /// Asks for `cost` from `key`, under the limiter's first policy, to the last drop.
    #[must_use]
    pub const fn new(key: Key, cost: Cost) -> Self {
        Self { key, tier: Tier::FIRST, cost, spare: 0 }
    }

    /// Asks under another policy.
    #[must_use]
    pub const fn tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// Asks for what is there beyond so many percent of each burst.
    #[must_use]
    pub const fn spare(mut self, percent: u8) -> Self {
        self.spare = percent;
        self
    }
}

/// Which of a limiter's policies holds for a key: its number, from 0. What the limiter does not
/// have counts as the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tier(pub(crate) u16);

impl Tier {
    /// The policy that the limiter was made with.
    pub const FIRST: Self = Self(0);

    /// The policy of that number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How long a request may wait in line, and with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// The longest wait. A request that would wait longer is refused at once.
    pub max: Duration,
    /// How many may wait for one key.
    pub queue: usize,
    /// 0 goes first.
    pub class: u8,
    /// How much sooner a class counts as having come than the next one.
    pub age: Duration,
}

impl Wait {
    /// For so long, in a line of 1000, without classes.
    #[must_use]
    pub const fn new(max: Duration) -> Self {
        Self { max, queue: 1_000, class: 0, age: Duration::from_secs(10) }
    }
}

/// That a request was admitted, and what for. Not worth anything without the limiter it is from.
#[must_use = "a ticket that is not used is refunded by `settle`"]
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    ask: Ask,
    mark: Mark,
}

impl Ticket {
    /// Notes that `ask` was granted, for limiters that implement the trait.
    pub fn new(ask: Ask) -> Self {
        Self { ask, mark: Mark::default() }
    }

    pub(crate) const fn marked(ask: Ask, mark: Mark) -> Self {
        Self { ask, mark }
    }

    pub(crate) const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// What was asked, and charged.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }
}

/// What an upstream said about a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lesson {
    /// It does not want to hear of the key for so long.
    Pause(Duration),
    /// It has so much of a unit left for the key.
    Remaining(Unit, u64),
    /// It allows the key so much of a unit in so much time.
    Limit(Allowance),
}

/// What an upstream says that it allows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowance {
    /// What is counted.
    pub unit: Unit,
    /// How much of it.
    pub amount: u64,
    /// In how much time.
    pub per: Duration,
    /// How long that is to be believed, unless it is said again.
    pub lasts: Duration,
}

impl Allowance {
    /// So much of a unit in so much time, to be believed for so long.
    #[must_use]
    pub const fn new(unit: Unit, amount: u64, per: Duration, lasts: Duration) -> Self {
        Self { unit, amount, per, lasts }
    }
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeniedKind {
    /// The quota is spent.
    Quota,
    /// It would have waited longer than it may.
    WaitTooLong,
    /// Too many wait already.
    QueueFull,
    /// It costs more than a whole burst, so it will never be admitted.
    CostTooLarge,
    /// The upstream asked to be left alone.
    Paused,
    /// The limiter could not be asked.
    Unavailable,
}

impl DeniedKind {
    /// A name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::WaitTooLong => "wait_too_long",
            Self::QueueFull => "queue_full",
            Self::CostTooLarge => "cost_too_large",
            Self::Paused => "paused",
            Self::Unavailable => "unavailable",
        }
    }

    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Quota => "the quota is spent",
            Self::WaitTooLong => "the wait for the quota would be too long",
            Self::QueueFull => "too many requests wait for the quota",
            Self::CostTooLarge => "the request costs more than the quota ever allows at once",
            Self::Paused => "the upstream asked to be left alone",
            Self::Unavailable => "the limiter could not be asked",
        }
    }
}

/// A request was not admitted; nothing was charged.
///
/// Outbound, the layer puts it into the extensions of its answer; see
/// [`marked`](crate::RateLimitLayer::marked).
#[derive(Clone, Debug)]
pub struct Denied {
    kind: DeniedKind,
    retry_after: Option<Duration>,
    snapshot: Option<Snapshot>,
}

impl Denied {
    /// For limiters that implement the trait.
    #[must_use]
    pub const fn new(kind: DeniedKind, retry_after: Option<Duration>) -> Self {
        Self { kind, retry_after, snapshot: None }
    }

    #[inline]
    pub(crate) const fn at(
        kind: DeniedKind,
        retry_after: Option<Duration>,
        snapshot: Snapshot,
    ) -> Self {
        Self { kind, retry_after, snapshot: Some(snapshot) }
    }

    /// The same with what the windows held.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: Snapshot) -> Self {
        self.snapshot = Some(snapshot);
        self
    }

    /// Why.
    #[must_use]
    pub const fn kind(&self) -> DeniedKind {
        self.kind
    }

    /// When a request like this one would fit into every window; `None` if it never will.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What the windows held.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    pub(crate) fn into_snapshot(self) -> Option<Snapshot> {
        self.snapshot
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.reason())
    }
}

impl std::error::Error for Denied {}
