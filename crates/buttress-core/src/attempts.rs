//! One count of attempts for all the layers that could make another one.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use http::Extensions;

use crate::BoxError;

/// The attempts one call has had and may still have, and the endpoints they went to.
///
/// A handle: clones share the count. It keeps layers that can each send a request again (a retry
/// outside, a failover or another retry inside) from multiplying their attempts.
///
/// - It travels inwards as a request extension. Its first attempt is taken by whoever put it
///   there; a layer that finds it calls [`begin`](Self::begin) before each *further* send only.
/// - It travels outwards with a failure: as a response extension, or inside
///   [`AttemptsFailed`]. A layer that finds it there counts those attempts as its own.
/// - A request without it is a first attempt that nobody has counted yet. So a call that succeeds
///   at once never pays for the bookkeeping.
#[derive(Clone)]
pub struct Attempts(Arc<Shared>);

struct Shared {
    limit: u32,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    made: u32,
    tried: Vec<u64>,
    turn: Option<Turn>,
}

impl Attempts {
    /// Starts a count with its first attempt taken; `limit` is raised to 1 if it is 0.
    #[must_use]
    pub fn first_of(limit: u32) -> Self {
        Self::resume(limit, State { made: 1, ..State::default() })
    }

    /// Goes on from where this count stands, with a limit of one's own.
    #[must_use]
    pub fn with_limit(&self, limit: u32) -> Self {
        Self::resume(limit, self.state().clone())
    }

    fn resume(limit: u32, state: State) -> Self {
        Self(Arc::new(Shared { limit: limit.max(1), state: Mutex::new(state) }))
    }

    /// Takes one more attempt and says which one it is, counted from 1; `None` when all are used.
    #[must_use]
    pub fn begin(&self) -> Option<u32> {
        let mut state = self.state();
        if state.made >= self.0.limit {
            return None;
        }
        state.made += 1;
        Some(state.made)
    }

    /// How many attempts a request or response has behind it, by its extensions: 1 if they do not
    /// say.
    #[must_use]
    pub fn made_in(extensions: &Extensions) -> u32 {
        extensions.get().map_or(1, Self::made)
    }

    /// How many attempts were begun.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.state().made
    }

    /// How many attempts there may be in all.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.0.limit
    }

    /// How many more may be begun.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.0.limit.saturating_sub(self.made())
    }

    /// Notes that an attempt went to `endpoint`, a number that means something to its balancer.
    ///
    /// The first 64 endpoints are remembered.
    pub fn note_endpoint(&self, endpoint: u64) {
        let mut state = self.state();
        if state.tried.len() < 64 && !state.tried.contains(&endpoint) {
            state.tried.push(endpoint);
        }
    }

    /// Whether an attempt went to `endpoint` already.
    #[must_use]
    pub fn has_tried(&self, endpoint: u64) -> bool {
        self.state().tried.contains(&endpoint)
    }

    /// Keeps the turn of a call that failed for want of a place, until a further attempt
    /// [takes](Self::take_turn) it.
    pub fn keep_turn(&self, turn: Turn) {
        self.state().turn = Some(turn);
    }

    /// The turn that the last attempt has kept. With one, a further attempt need not be waited for: it
    /// waits where the turn is from. Whoever waits all the same gives it up first, so as not to wait twice.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        self.state().turn
    }

    /// Takes that turn. It is over then, unless the attempt that it is for fails in its turn and
    /// [keeps](Self::keep_turn) one again.
    #[must_use]
    pub fn take_turn(&self) -> Option<Turn> {
        self.state().turn.take()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Every update is a single step, so a panic elsewhere leaves nothing half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Attempts")
            .field("made", &state.made)
            .field("limit", &self.0.limit)
            .field("tried", &state.tried)
            .field("turn", &state.turn)
            .finish()
    }
}

/// The turn of a call in the line of a balancer that had no place for it. Who sends it again need not
/// wait first: the call waits there, before those that began later.
///
/// The instants are the standard library's, as those of [`Deadline`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    began: Instant,
    from: Instant,
}

impl Turn {
    /// Of a call that began at `began`, and may go back to endpoints that it has tried from `from` on.
    #[must_use]
    pub const fn new(began: Instant, from: Instant) -> Self {
        Self { began, from }
    }

    /// When the call began.
    #[must_use]
    pub const fn began(self) -> Instant {
        self.began
    }

    /// From when on it may go back to endpoints that it has tried.
    #[must_use]
    pub const fn from(self) -> Instant {
        self.from
    }
}

/// A call failed after more than one attempt; the source is the last attempt's error.
#[derive(Debug)]
pub struct AttemptsFailed {
    attempts: Attempts,
    unsent: bool,
    source: BoxError,
}

impl AttemptsFailed {
    /// Joins the last error with the count that it ended.
    #[must_use]
    pub fn new(attempts: Attempts, source: BoxError) -> Self {
        Self { attempts, unsent: false, source }
    }

    /// Says that none of the attempts was sent, so that [`Outcome::of_error`](crate::Outcome::of_error)
    /// may say so. Without it the earlier ones count as sent, whatever became of the last.
    #[must_use]
    pub fn unsent(mut self, unsent: bool) -> Self {
        self.unsent = unsent;
        self
    }

    pub(crate) const fn is_unsent(&self) -> bool {
        self.unsent
    }

    /// The attempts that were made.
    #[must_use]
    pub const fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// The last attempt's error.
    #[must_use]
    pub fn into_source(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for AttemptsFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed after {} attempts", self.attempts.made())
    }
}

impl Error for AttemptsFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The time by which a call must be over, as a request extension.
///
/// It wins over the total timeout that a layer was given. The instant is the standard library's,
/// so that a runtime's own clock can be converted into it (tokio: `Instant::into_std`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The call must be over at `instant`.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// When the call must be over.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_count() {
        let attempts = Attempts::first_of(3);
        assert_eq!(attempts.clone().begin(), Some(2));
        assert_eq!(attempts.begin(), Some(3));
        assert_eq!(attempts.begin(), None);
        assert_eq!((attempts.made(), attempts.left()), (3, 0));
    }

    #[test]
    fn a_new_limit_keeps_what_was_counted() {
        let inner = Attempts::first_of(2);
        inner.note_endpoint(7);
        assert_eq!(inner.begin(), Some(2));

        let outer = inner.with_limit(3);
        assert_eq!((outer.made(), outer.left()), (2, 1));
        assert!(outer.has_tried(7) && !outer.has_tried(8));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_turn_is_taken_once_and_goes_along_with_a_new_limit() {
        let now = Instant::now();
        let turn = Turn::new(now, now);
        let inner = Attempts::first_of(2);
        inner.keep_turn(turn);
        let outer = inner.with_limit(3);
        assert_eq!((outer.turn(), outer.take_turn(), outer.turn()), (Some(turn), Some(turn), None));
        assert_eq!(inner.turn(), Some(turn));
    }

    #[test]
    fn a_limit_of_zero_still_has_the_attempt_that_was_made() {
        let attempts = Attempts::first_of(0);
        assert_eq!((attempts.limit(), attempts.begin()), (1, None));
    }

    #[test]
    fn the_endpoints_remembered_are_bounded() {
        let attempts = Attempts::first_of(1000);
        (0..1000).for_each(|endpoint| attempts.note_endpoint(endpoint));
        assert!(attempts.has_tried(63) && !attempts.has_tried(64));
    }

    #[test]
    fn the_last_error_stays_within_reach() {
        let source: BoxError = std::io::Error::other("reset").into();
        let attempts = Attempts::first_of(2);
        assert_eq!(attempts.begin(), Some(2));
        let error: BoxError = AttemptsFailed::new(attempts, source).into();
        assert_eq!(error.to_string(), "failed after 2 attempts");
        assert!(crate::cause::<std::io::Error>(&*error).is_some());
    }
}
