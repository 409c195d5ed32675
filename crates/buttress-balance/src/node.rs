//! What is known of one endpoint while it runs, and what is shared by all of a set.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast;

use crate::{
    Endpoint, EndpointId, Event, Moment,
    ewma::{Ewma, SuccessRate},
    health::{Cell, Window},
    load::Load,
    queue::Line,
};

/// An in-flight limit that is none.
pub(crate) const UNLIMITED: u32 = u32::MAX;
/// A limit is kept in parts of this, so that it can grow by fractions.
pub(crate) const LIMIT_PART: u32 = 256;

/// One endpoint's state. It outlives its membership for as long as calls hold it.
#[derive(Debug)]
pub(crate) struct Node {
    hot: Hot,
    pub(crate) id: EndpointId,
    /// Boxed, so that the lines which matter lie close together.
    pub(crate) endpoint: Box<Endpoint>,
    /// A policy's own word.
    peak: Ewma,
    /// Until when a server's hint holds it, in milliseconds; 0 for never.
    hold_until: AtomicU64,
    /// Until when the hint was meant for all callers.
    firm_until: AtomicU64,
    /// Until when its server asked to be left alone, however little of that is heeded.
    asked_until: AtomicU64,
    /// Since when it comes to its full share, in milliseconds plus 1; 0 for long ago.
    warm_from: AtomicU64,
    /// When the learned limit was last cut, in microseconds.
    pub(crate) cut_at: AtomicU64,
    learned: AtomicBool,
    /// The endpoint's own limit in parts of [`LIMIT_PART`], as it was last told.
    own_limit: AtomicU32,
    /// Active checks found it down.
    down: AtomicBool,
}

/// What every call reads or writes, in one cache line: among a thousand endpoints, what a call costs is
/// the lines that it touches.
#[derive(Debug)]
#[repr(align(64))]
struct Hot {
    load: Load,
    latency: Ewma,
    success: SuccessRate,
    health: Cell,
    window: Window,
    pulse: Arc<Pulse>,
    limit: AtomicU32,
}

const _: () = assert!(size_of::<Hot>() == 64, "one cache line");

impl Node {
    pub(crate) fn new(id: EndpointId, endpoint: Endpoint, pulse: Arc<Pulse>, now: Moment) -> Self {
        let own_limit = in_parts(endpoint.max_in_flight);
        Self {
            hot: Hot {
                load: Load::new(),
                latency: Ewma::default(),
                success: SuccessRate::default(),
                health: Cell::new(now.as_millis()),
                window: Window::default(),
                pulse,
                limit: AtomicU32::new(own_limit),
            },
            id,
            endpoint: Box::new(endpoint),
            peak: Ewma::default(),
            hold_until: AtomicU64::new(0),
            firm_until: AtomicU64::new(0),
            asked_until: AtomicU64::new(0),
            warm_from: AtomicU64::new(0),
            cut_at: AtomicU64::new(0),
            learned: AtomicBool::new(false),
            own_limit: AtomicU32::new(own_limit),
            down: AtomicBool::new(false),
        }
    }

    pub(crate) const fn load(&self) -> &Load {
        &self.hot.load
    }

    pub(crate) const fn latency(&self) -> &Ewma {
        &self.hot.latency
    }

    pub(crate) const fn success(&self) -> &SuccessRate {
        &self.hot.success
    }

    pub(crate) const fn peak(&self) -> &Ewma {
        &self.peak
    }

    pub(crate) const fn health(&self) -> &Cell {
        &self.hot.health
    }

    pub(crate) const fn window(&self) -> &Window {
        &self.hot.window
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.hot.pulse
    }

    /// The limit in parts of [`LIMIT_PART`].
    pub(crate) const fn limit(&self) -> &AtomicU32 {
        &self.hot.limit
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.hot.limit.load(Ordering::Relaxed) != UNLIMITED
    }

    /// How many calls may be in flight.
    ///
    /// Sequentially consistent, as is every change of the limit: whoever stands in line before it looks
    /// here, and whoever raises the limit and looks at the line afterwards, cannot miss each other.
    pub(crate) fn most_in_flight(&self) -> u64 {
        match self.hot.limit.load(Ordering::SeqCst) {
            UNLIMITED => u64::MAX,
            limit => u64::from(limit / LIMIT_PART),
        }
    }

    /// The endpoint's own limit, in parts of [`LIMIT_PART`].
    pub(crate) fn own_limit(&self) -> u32 {
        self.own_limit.load(Ordering::SeqCst)
    }

    /// The endpoint was told another limit. One that is learned stays, as far as it may.
    pub(crate) fn set_own_limit(&self, calls: Option<NonZeroU32>) {
        let parts = in_parts(calls);
        let before = self.own_limit.swap(parts, Ordering::SeqCst);
        let (set, seen) = (Ordering::SeqCst, Ordering::SeqCst);
        let is_learned = self.learned.load(Ordering::SeqCst)
            || self.hot.limit.compare_exchange(before, parts, set, seen).is_err();
        if is_learned {
            self.keep_own_limit();
        }
    }

    /// Begins to learn the limit, from `calls` on, unless that has begun.
    pub(crate) fn begin_limit(&self, calls: u32) {
        let begun = self.learned.swap(true, Ordering::SeqCst);
        if !begun || !self.is_limited() {
            self.hot.limit.store(calls.saturating_mul(LIMIT_PART), Ordering::SeqCst);
            self.keep_own_limit();
        }
    }

    fn keep_own_limit(&self) {
        loop {
            let own = self.own_limit();
            self.hot.limit.fetch_min(own, Ordering::SeqCst);
            if self.own_limit() == own {
                return;
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.hot.load.in_flight_now() >= self.most_in_flight()
    }

    /// Holds it until `until`, unless it is held for longer; `firm` if for all callers. Whether that
    /// changed how it is held.
    pub(crate) fn hold(&self, until: Moment, now: Moment, firm: bool) -> bool {
        let until = until.as_millis();
        let firmer = firm && self.firm_until.fetch_max(until, Ordering::AcqRel) <= now.as_millis();
        let before = self.hold_until.fetch_max(until, Ordering::AcqRel);
        self.pulse().due_at(until);
        firmer || before <= now.as_millis()
    }

    /// Notes all of the time that a server asked for.
    pub(crate) fn ask_until(&self, until: Moment) {
        self.asked_until.fetch_max(until.as_millis(), Ordering::Relaxed);
    }

    /// When that is over.
    pub(crate) fn asked_until(&self) -> Moment {
        Moment::from_millis(self.asked_until.load(Ordering::Relaxed))
    }

    /// Whether calls are to wait rather than go there.
    pub(crate) fn is_firmly_held(&self, now: Moment) -> bool {
        self.firm_until.load(Ordering::Acquire) > now.as_millis()
    }

    /// Until when it is held, in milliseconds, if it is.
    pub(crate) fn held_until(&self, now: Moment) -> Option<u64> {
        let until = self.hold_until.load(Ordering::Acquire);
        (until > now.as_millis()).then_some(until)
    }

    /// When the first of its holds ends, in milliseconds, if it is held.
    pub(crate) fn next_end_of_hold(&self, now: Moment) -> Option<u64> {
        let firm = self.firm_until.load(Ordering::Acquire);
        let until = self.held_until(now)?;
        Some(if firm > now.as_millis() { until.min(firm) } else { until })
    }

    /// Whether a hold has ended since the last look.
    pub(crate) fn hold_ended(&self, now: Moment) -> bool {
        let ended = |time: &AtomicU64| {
            let until = time.load(Ordering::Acquire);
            let over = until != 0 && until <= now.as_millis();
            let first = || time.compare_exchange(until, 0, Ordering::AcqRel, Ordering::Relaxed);
            over && first().is_ok()
        };
        ended(&self.firm_until) | ended(&self.hold_until)
    }

    pub(crate) fn start_slowly(&self, now: Moment) {
        self.warm_from.store(now.as_millis().saturating_add(1), Ordering::Relaxed);
    }

    /// How far it has come to its full share, above 0 and at most 1.
    pub(crate) fn warmth(&self, now: Moment, slow_start: u64) -> f32 {
        let from = self.warm_from.load(Ordering::Relaxed);
        if from == 0 || slow_start == 0 {
            return 1.0;
        }
        let gone = now.as_millis().saturating_sub(from - 1);
        if gone >= slow_start {
            return 1.0;
        }
        let part = Duration::from_millis(gone).as_secs_f32();
        (part / Duration::from_millis(slow_start).as_secs_f32()).max(0.05)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Whether that is news.
    #[cfg(feature = "check")]
    pub(crate) fn set_down(&self, down: bool) -> bool {
        self.down.swap(down, Ordering::AcqRel) != down
    }
}

/// Calls in parts of [`LIMIT_PART`].
fn in_parts(calls: Option<NonZeroU32>) -> u32 {
    calls.map_or(UNLIMITED, |calls| calls.get().saturating_mul(LIMIT_PART).min(UNLIMITED - 1))
}

/// What the endpoints of a set and everyone who chooses from it share.
#[derive(Debug)]
pub(crate) struct Pulse {
    version: AtomicU64,
    /// When somebody should look at holds and ejections, in milliseconds.
    due: AtomicU64,
    pub(crate) line: Line,
    events: broadcast::Sender<Event>,
    /// Serialises ejections, so that their number stays under the cap.
    pub(crate) ejecting: std::sync::Mutex<()>,
}

/// Events that a slow subscriber may fall behind by.
const EVENTS: usize = 256;

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            due: AtomicU64::new(u64::MAX),
            line: Line::default(),
            events: broadcast::Sender::new(EVENTS),
            ejecting: std::sync::Mutex::new(()),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Says that the table of whoever chooses is out of date.
    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.line.wake();
    }

    /// Asks for a look at `millis`.
    pub(crate) fn due_at(&self, millis: u64) {
        self.due.fetch_min(millis, Ordering::AcqRel);
    }

    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.due.load(Ordering::Relaxed) <= now.as_millis()
    }

    pub(crate) fn next_due(&self) -> Option<Moment> {
        let due = self.due.load(Ordering::Acquire);
        (due != u64::MAX).then(|| Moment::from_millis(due))
    }

    /// Whoever looks takes the appointment away and makes the next ones as it goes along.
    pub(crate) fn attend(&self) {
        self.due.swap(u64::MAX, Ordering::AcqRel);
    }

    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            // The last receiver may have gone in between.
            let _ = self.events.send(event());
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
