//! What is known of one name.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::{
    flight::Want,
    half::{HISTORY, Half, View, Word},
    rules::Rules,
};
use crate::{
    DnsError, DnsErrorKind, Family, Name, Source,
    clock::Moment,
    order::{Arrange, Ranked},
};

/// One name of the cache: its two families, and the answer that they make together.
#[derive(Debug)]
pub(crate) struct Entry {
    name: Name,
    /// Told whenever something is learned or given up.
    pub(crate) changed: Notify,
    /// How often that was told.
    changes: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    v4: Half,
    v6: Half,
    ready: Option<Ready>,
    turn: usize,
    /// Whether a refresh waits for its time.
    armed: bool,
}

/// The answer for callers, made once.
#[derive(Debug)]
struct Ready {
    variants: Arc<[Arc<[SocketAddr]>]>,
    source: Source,
    until: Moment,
}

/// What a caller gets now.
#[derive(Debug)]
pub(crate) enum Decision {
    Serve(Arc<[SocketAddr]>, Source),
    Fail(DnsError),
    /// The resolver has to be waited for; there may be old addresses for when that takes too long.
    Wait {
        stale: Option<Arc<[SocketAddr]>>,
    },
}

/// What should be done besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errand {
    /// The families to ask for at once.
    pub(crate) fetch: Want,
    /// Whether the caller has its answer and does not wait for that.
    pub(crate) ahead: bool,
    /// How long from now a refresh is due, if none waits for that yet.
    pub(crate) arm: Option<Duration>,
}

impl Entry {
    pub(crate) fn new(name: Name) -> Self {
        Self { name, changed: Notify::new(), changes: AtomicU64::new(0), state: Mutex::default() }
    }

    pub(crate) const fn name(&self) -> &Name {
        &self.name
    }

    /// What a caller gets now. Counts as a hit: what is not asked for is not refreshed.
    pub(crate) fn look(&self, now: Moment, lost: Duration, by: Arrange) -> (Decision, Errand) {
        let mut state = self.lock();
        let decision = state.decide(now, by);
        let ahead = !matches!(decision, Decision::Wait { .. });
        let mut errand = Errand { fetch: state.due(now, lost), ahead, arm: None };
        if !state.armed && errand.fetch.is_nothing() {
            errand.arm = state.refresh_in(now);
            state.armed = errand.arm.is_some();
        }
        (decision, errand)
    }

    /// The addresses of each family while they hold, uncut, and which answers they come from.
    pub(crate) fn addresses(&self, now: Moment) -> [Option<(u64, Vec<SocketAddr>)>; 2] {
        let state = self.lock();
        state.halves().map(|half| {
            let (version, found) = half.addresses(now)?;
            Some((version, found.iter().map(|ranked| ranked.address).collect()))
        })
    }

    /// Whether an address is missing from the last so many answers, and the last one holds.
    pub(crate) fn has_left(&self, address: IpAddr, answers: usize, now: Moment) -> bool {
        let state = self.lock();
        let (its, other) = match address {
            IpAddr::V4(_) => (&state.v4, &state.v6),
            IpAddr::V6(_) => (&state.v6, &state.v4),
        };
        // An empty answer counts where the name has moved to the other family.
        let counts =
            its.addresses(now).is_some() || (its.is_empty(now) && other.addresses(now).is_some());
        counts && its.missing(address) >= answers.clamp(1, HISTORY)
    }

    /// How long from now the next refresh is due or the answer may change by itself.
    pub(crate) fn next_change(&self, now: Moment) -> Option<Duration> {
        let state = self.lock();
        let refresh = state.halves().into_iter().filter_map(Half::refresh_at);
        let change = state.halves().into_iter().map(|half| half.changes_after(now));
        let next = refresh.chain(change).filter(|moment| *moment > now).min()?;
        (next != Moment::NEVER).then(|| next.since(now))
    }

    /// Marks those of the wanted families that are due as under way, and tells which they are.
    pub(super) fn depart(&self, want: Want, id: u64, now: Moment, lost: Duration) -> Want {
        let mut state = self.lock();
        let due = state.due(now, lost);
        let taken = Want { v4: want.v4 && due.v4, v6: want.v6 && due.v6 };
        for family in taken.families() {
            state.half(family).depart(id, now);
        }
        taken
    }

    /// The flight is over for these families.
    pub(super) fn land(&self, want: Want, id: u64) {
        let mut state = self.lock();
        for family in want.families() {
            state.half(family).land(id);
        }
        drop(state);
        self.tell();
    }

    /// Whether nobody asks for the family.
    pub(super) fn is_idle(&self, family: Family) -> bool {
        !self.lock().half(family).is_flying()
    }

    /// Takes in what was learned, together.
    pub(super) fn learn(&self, learned: Vec<Lesson>, now: Moment, spread: f64, rules: &Rules) {
        let mut state = self.lock();
        for Lesson { family, word, ttl, version } in learned {
            let half = state.half(family);
            half.number(version);
            half.learn(word, ttl, now, spread, rules);
        }
        state.ready = None;
        drop(state);
        self.tell();
    }

    /// How often something was learned or given up.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Ends with the next change after the one so numbered, or when the time is over.
    pub(crate) async fn changed_since(&self, changes: u64, time: Duration) {
        let mut changed = pin!(self.changed.notified());
        // From here on no change is missed, and the number tells of those before.
        changed.as_mut().enable();
        if self.changes() == changes {
            drop(timeout(time, changed).await);
        }
    }

    fn tell(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// The refresh that waited for its time is no longer there; whether it should go on.
    pub(crate) fn disarm(&self) {
        self.lock().armed = false;
    }

    /// The network is another one.
    pub(crate) fn age(&self, now: Moment) {
        let mut state = self.lock();
        state.v4.age(now);
        state.v6.age(now);
        state.ready = None;
        drop(state);
        self.tell();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if something did, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was learned of one family.
#[derive(Debug)]
pub(super) struct Lesson {
    pub(super) family: Family,
    pub(super) word: Word,
    pub(super) ttl: Option<Duration>,
    pub(super) version: u64,
}

impl State {
    fn halves(&self) -> [&Half; 2] {
        [&self.v4, &self.v6]
    }

    fn half(&mut self, family: Family) -> &mut Half {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    fn due(&self, now: Moment, lost: Duration) -> Want {
        Want { v4: self.v4.is_due(now, lost), v6: self.v6.is_due(now, lost) }
    }

    fn refresh_in(&self, now: Moment) -> Option<Duration> {
        let next = self.halves().into_iter().filter_map(Half::refresh_at).min()?;
        Some(next.since(now))
    }

    fn decide(&mut self, now: Moment, by: Arrange) -> Decision {
        self.turn = self.turn.wrapping_add(1);
        if let Some(ready) = self.ready.as_ref().filter(|ready| now < ready.until) {
            return ready.serve(self.turn);
        }
        let (v4, v6) = (self.v4.view(now), self.v6.view(now));
        let (offer4, offer6) = (Offer::of(&v4), Offer::of(&v6));
        let best = offer4.worth.max(offer6.worth);
        if best == Worth::Nothing {
            self.ready = None;
            return without_addresses(&v4, &v6);
        }
        let variants = by.variants(offer4.addresses, offer6.addresses);
        let first = variants.first().map(Arc::clone);
        if best == Worth::Old {
            return Decision::Wait { stale: first };
        }
        let until = self.v4.changes_after(now).min(self.v6.changes_after(now));
        let source = if best == Worth::Fresh { Source::Hit } else { Source::Stale };
        self.ready.insert(Ready { variants, source, until }).serve(self.turn)
    }
}

impl Ready {
    fn serve(&self, turn: usize) -> Decision {
        // There is at least one variant.
        let place = if self.variants.len() == 1 { 0 } else { turn % self.variants.len() };
        Decision::Serve(Arc::clone(&self.variants[place]), self.source)
    }
}

/// What a family adds to an answer.
struct Offer<'a> {
    addresses: &'a [Ranked],
    worth: Worth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Nothing,
    /// Better than none, once the resolver has had its chance.
    Old,
    /// Good enough, although its time is over.
    Stale,
    Fresh,
}

impl<'a> Offer<'a> {
    fn of(view: &View<'a>) -> Self {
        match *view {
            View::Fresh(Word::Addresses(addresses)) => Self { addresses, worth: Worth::Fresh },
            View::Stale { addresses, prompt: true } => Self { addresses, worth: Worth::Stale },
            View::Stale { addresses, prompt: false } => Self { addresses, worth: Worth::Old },
            View::Fresh(_) | View::Failed(_) | View::Unknown => {
                Self { addresses: &[], worth: Worth::Nothing }
            }
        }
    }
}

/// Neither family has addresses.
fn without_addresses(v4: &View<'_>, v6: &View<'_>) -> Decision {
    let views = [v4, v6];
    let errors = || {
        views.into_iter().filter_map(|view| match view {
            View::Fresh(Word::Error(error)) => Some(error),
            _ => None,
        })
    };
    // That there is no such name is true of both families.
    if let Some(error) = errors().find(|error| error.kind() != DnsErrorKind::Denied) {
        return Decision::Fail(error.clone());
    }
    if views.into_iter().any(|view| matches!(view, View::Unknown)) {
        return Decision::Wait { stale: None };
    }
    let failed = views.into_iter().find_map(|view| match view {
        View::Failed(error) => Some(*error),
        _ => None,
    });
    match errors().next().or(failed) {
        Some(error) => Decision::Fail(error.clone()),
        None => Decision::Fail(DnsError::new(DnsErrorKind::NoData)),
    }
}
