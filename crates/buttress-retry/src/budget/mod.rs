//! How many retries there may be: a token bucket that successes fill and retries empty.

mod acquire;
mod bucket;
mod cost;
mod pool;
mod queue;
mod reservation;
mod sync;
mod terms;
mod word;

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::{acquire::Acquire, cost::Cost, pool::Budgets, reservation::Reservation};
use self::{
    queue::Queue,
    terms::{Claim, Floor, Rule, TOKEN, Terms},
    word::MAX_TOKENS,
};
use crate::SettingError;

const DEFAULT_MAX_WAITERS: usize = 1_024;

/// A limit on retries, shared by all calls that hold a clone of it.
///
/// Retries help against a failure now and then, and make an outage worse. The budget tells the two
/// apart: every call that ends in success puts a share of a token in, every retry takes tokens out,
/// and a bucket without tokens means no retry. So over any time the retries cost at most
///
/// `burst + share * successes + floor * seconds`
///
/// tokens, however much fails. With the default share of 20 % the requests that load the service
/// never grow by more than a fifth, but for the burst and the floor; in a total outage the floor
/// alone remains. What was never sent loads nobody: one retry of that is free for each call.
///
/// A success is a call that the service answered; that the answer finds fault with the request (404)
/// does not matter.
///
/// ```
/// use buttress_retry::{Budget, Cost};
///
/// # fn main() -> Result<(), buttress_retry::SettingError> {
/// let budget = Budget::percent(20.0)?.floor_per_sec(0)?.burst(1)?;
///
/// let retry = budget.reserve(Cost::TRANSIENT).expect("a new budget is full");
/// retry.spend();
/// assert!(budget.reserve(Cost::TRANSIENT).is_none());
///
/// for _ in 0..5 {
///     budget.deposit();
/// }
/// assert!(budget.reserve(Cost::TRANSIENT).is_some());
/// # Ok(())
/// # }
/// ```
///
/// An empty budget has two answers. [`reserve`](Self::reserve) refuses; [`wait`](Self::wait) stands
/// in line for the next token. Those in line come first: while anybody waits, `reserve` refuses
/// whatever is not free.
///
/// The state is one atomic word. A success that finds the bucket full reads it and is done; the
/// clock, tokio's, is read only where tokens are taken. A budget that stood idle for a month is
/// brought up to date in one step.
///
/// The setters make a new, full budget; earlier clones keep the one they have. See [`Budgets`] for
/// one budget per authority.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Queue,
    epoch: Instant,
}

impl Budget {
    /// Allows retries for a share of the successes, in percent: `20.0` is one retry for every five
    /// calls that succeed.
    ///
    /// Rounded to a tenth of a percent. The floor is 10 tokens a second and the burst 100 tokens
    /// until set otherwise. With a share of zero only floor and burst remain.
    ///
    /// # Errors
    ///
    /// When `percent` is neither 0 nor from 0.1 to 1000.
    pub fn percent(percent: f64) -> Result<Self, SettingError> {
        if percent != 0.0 && !(0.1..=1_000.0).contains(&percent) {
            let reason = format!("{percent}, neither 0 nor from 0.1 to 1000");
            return Err(SettingError::new("budget.percent", reason));
        }
        // A percent of a token is ten thousandths.
        Ok(Self::spending(rounded(percent * 10.0)))
    }

    /// Throttles as gRPC does (gRFC A6): each failure takes a token, each success gives `ratio`
    /// back, and retries go out only while more than half of `max_tokens` is left.
    ///
    /// Needs [`record_failure`](Self::record_failure). Stricter than a share: beyond about
    /// `ratio / (1 + ratio)` failures there are no retries at all. There is no floor, so somebody
    /// must go on sending first attempts for retries to come back. `ratio` is rounded to thousandths.
    ///
    /// # Errors
    ///
    /// When `max_tokens` is not from 1 to 1000, or `ratio` not from 0.001 to 1000.
    pub fn grpc(max_tokens: u32, ratio: f64) -> Result<Self, SettingError> {
        if !(1..=1_000).contains(&max_tokens) {
            let reason = format!("{max_tokens}, not from 1 to 1000");
            return Err(SettingError::new("budget.max_tokens", reason));
        }
        if !(0.001..=1_000.0).contains(&ratio) {
            let reason = format!("{ratio}, not from 0.001 to 1000");
            return Err(SettingError::new("budget.ratio", reason));
        }
        let terms = Terms {
            rule: Rule::AboveHalf,
            capacity: u64::from(max_tokens) * TOKEN,
            per_success: rounded(ratio * 1_000.0),
            floor: Floor::NONE,
        };
        Ok(Self::new(terms, DEFAULT_MAX_WAITERS))
    }

    /// Grants every retry.
    #[must_use]
    pub fn unlimited() -> Self {
        let terms =
            Terms { rule: Rule::Unlimited, capacity: 0, per_success: 0, floor: Floor::NONE };
        Self::new(terms, DEFAULT_MAX_WAITERS)
    }

    /// Sets how many tokens come in every second without any success; 10 by default, 0 for none.
    ///
    /// The floor lets a client that makes few calls retry at all, and probes in a total outage.
    ///
    /// # Errors
    ///
    /// When the budget was not made by [`percent`](Self::percent).
    pub fn floor_per_sec(self, tokens: u32) -> Result<Self, SettingError> {
        self.floor(tokens, Duration::from_secs(1))
    }

    /// Sets how many tokens come in every `per` without any success, as in thirty a minute.
    ///
    /// They come evenly, not all at once. Counted in whole milliseconds.
    ///
    /// # Errors
    ///
    /// When `per` is shorter than a millisecond, or the budget was not made by
    /// [`percent`](Self::percent).
    pub fn floor(self, tokens: u32, per: Duration) -> Result<Self, SettingError> {
        let terms = self.spend_terms("budget.floor", format_args!("{tokens} in {per:?}"))?;
        if per < Duration::from_millis(1) {
            let reason = format!("{tokens} in {per:?}, a time shorter than 1ms");
            return Err(SettingError::new("budget.floor", reason));
        }
        let floor = Floor::new(u64::from(tokens) * TOKEN, millis(per));
        Ok(Self::new(Terms { floor, ..terms }, self.max_waiting()))
    }

    /// Sets how many tokens the budget holds at most, and at first; 100 by default.
    ///
    /// A retry that costs more than that takes them all.
    ///
    /// # Errors
    ///
    /// When `tokens` is not from 1 to 100 000, or the budget was not made by
    /// [`percent`](Self::percent).
    pub fn burst(self, tokens: u32) -> Result<Self, SettingError> {
        let terms = self.spend_terms("budget.burst", format_args!("{tokens}"))?;
        if !(1..=MAX_TOKENS).contains(&tokens) {
            let reason = format!("{tokens}, not from 1 to {MAX_TOKENS}");
            return Err(SettingError::new("budget.burst", reason));
        }
        let capacity = u64::from(tokens) * TOKEN;
        Ok(Self::new(Terms { capacity, ..terms }, self.max_waiting()))
    }

    /// Sets how many callers may stand in line at once; 1024 by default, 0 lets nobody wait.
    #[must_use]
    pub fn max_waiters(self, waiters: usize) -> Self {
        Self::new(*self.queue().terms(), waiters)
    }

    /// Puts in what one success is worth. Once per call that ends in success, not per attempt: a
    /// share of all attempts would feed itself in an outage.
    pub fn deposit(&self) {
        self.queue().credit(self.queue().terms().per_success);
    }

    /// Counts an attempt that failed in a way that could be retried, whether or not it is.
    ///
    /// Takes one token from a [`grpc`](Self::grpc) budget, unless `cost` is nothing; means nothing
    /// to the others. Goes before [`reserve`](Self::reserve).
    pub fn record_failure(&self, cost: Cost) {
        if self.queue().terms().rule == Rule::AboveHalf && cost != Cost::NOT_SENT {
            self.queue().debit(TOKEN);
        }
    }

    /// Sets the tokens of one retry aside; `None` if there are too few, or others wait for them.
    ///
    /// What costs nothing is always granted.
    #[must_use]
    pub fn reserve(&self, cost: Cost) -> Option<Reservation> {
        let claim = self.claim(cost);
        let granted = claim.need == 0 || self.queue().take(self.tick(), claim);
        granted.then(|| self.reserved(claim))
    }

    /// Waits for the tokens of one retry, first come, first served.
    ///
    /// The line has [`max_waiters`](Self::max_waiters) places. There is no time limit here: without
    /// a floor, and with no success to fill the budget, the wait never ends, so put it under the
    /// call's deadline. A waiter that is kept but no longer polled holds up those behind it. Needs a
    /// tokio runtime with its timer on.
    pub fn wait(&self, cost: Cost) -> Acquire {
        Acquire::new(self.clone(), self.claim(cost))
    }

    /// The tokens there are now; infinite if unlimited.
    #[must_use]
    pub fn balance(&self) -> f64 {
        match self.queue().terms().rule {
            Rule::Unlimited => f64::INFINITY,
            Rule::Spend | Rule::AboveHalf => cost::tokens(self.queue().balance(self.tick())),
        }
    }

    /// How many callers stand in line now.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.queue().waiters()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiters() < self.max_waiting()
    }

    fn new(terms: Terms, max_waiters: usize) -> Self {
        let queue = Queue::new(terms, max_waiters);
        Self { shared: Arc::new(Shared { queue, epoch: Instant::now() }) }
    }

    fn spending(per_success: u64) -> Self {
        let terms = Terms {
            rule: Rule::Spend,
            capacity: 100 * TOKEN,
            per_success,
            floor: Floor::new(10 * TOKEN, 1_000),
        };
        Self::new(terms, DEFAULT_MAX_WAITERS)
    }

    /// Another budget, full, with the same settings.
    fn fresh(&self) -> Self {
        Self::new(*self.queue().terms(), self.max_waiting())
    }

    fn spend_terms(
        &self,
        setting: &'static str,
        value: fmt::Arguments<'_>,
    ) -> Result<Terms, SettingError> {
        let terms = *self.queue().terms();
        if terms.rule == Rule::Spend {
            return Ok(terms);
        }
        let reason = format!("{value}, but only a budget made by percentage has one");
        Err(SettingError::new(setting, reason))
    }

    fn max_waiting(&self) -> usize {
        self.queue().max_waiters()
    }

    fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    fn claim(&self, cost: Cost) -> Claim {
        self.queue().terms().claim(u64::from(cost.milli_tokens()))
    }

    fn reserved(&self, claim: Claim) -> Reservation {
        Reservation::new(self.clone(), claim.take)
    }

    fn refund(&self, milli: u64) {
        self.queue().credit(milli);
    }

    /// Milliseconds since the budget was made; the clock is left alone if time brings nothing.
    fn tick(&self) -> u64 {
        if self.queue().terms().floor.is_none() {
            return 0;
        }
        millis(Instant::now().saturating_duration_since(self.shared.epoch))
    }

    fn instant(&self, tick: u64) -> Option<Instant> {
        self.shared.epoch.checked_add(Duration::from_millis(tick))
    }
}

impl Default for Budget {
    /// A share of 20 %, a floor of 10 tokens a second, a burst of 100 tokens.
    fn default() -> Self {
        Self::spending(200)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("balance", &self.balance())
            .field("terms", self.queue().terms())
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "callers have checked that the number is from 0 to a million"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}
