//! One throttle: dormant until the other side says that it is busy, then a window and the rule.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::{Rule, window::Window};
use crate::overload::{Clock, Resting};

/// Accepts from before the first busy answer, as far as they count once it comes.
const CREDIT: u32 = 20;

#[derive(Debug)]
pub(super) struct Meter {
    rule: Rule,
    clock: Clock,
    awake: AtomicBool,
    /// What was accepted while dormant; it stops at [`CREDIT`], so that nothing is written then.
    credit: AtomicU32,
    /// Calls sent while awake that have no answer yet.
    in_flight: AtomicU32,
    state: Mutex<Option<Box<Awake>>>,
}

#[derive(Debug)]
struct Awake {
    window: Window,
    last_busy: u64,
    /// When a call is let through whatever the rule says.
    probe_at: u64,
    /// Until when the other side asked to be left alone.
    asked_until: u64,
}

/// A call is not to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) share: f64,
    /// In microseconds.
    pub(super) retry_after: u64,
}

/// Whether a busy answer woke the throttle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    Woke,
    Counted,
}

impl Meter {
    pub(super) const fn new(rule: Rule, clock: Clock) -> Self {
        let (credit, in_flight) = (AtomicU32::new(0), AtomicU32::new(0));
        let awake = AtomicBool::new(false);
        Self { rule, clock, awake, credit, in_flight, state: Mutex::new(None) }
    }

    pub(super) fn is_awake(&self) -> bool {
        self.awake.load(Ordering::Acquire)
    }

    /// Whether a call may be sent, and if it counts as [under way](Self::ended). `draw` is from 0 to 1
    /// and decides where the rule gives a share.
    ///
    /// While dormant that is one load: neither the clock nor chance is asked.
    pub(super) fn ask(
        &self,
        now: impl FnOnce() -> u64,
        draw: impl FnOnce() -> f64,
    ) -> Result<bool, Refused> {
        if !self.is_awake() {
            return Ok(false);
        }
        let mut state = self.lock();
        let Some(awake) = state.as_mut() else { return Ok(false) };
        let now = now();
        if now.saturating_sub(awake.last_busy) > self.rule.window {
            self.sleep(state);
            return Ok(false);
        }
        let share = self.judge(awake, now);
        if now >= awake.probe_at || draw() >= share {
            awake.probe_at = now.saturating_add(self.rule.probe);
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            return Ok(true);
        }
        awake.window.unsent(now);
        let retry_after = awake.probe_at.max(awake.asked_until).saturating_sub(now);
        Err(Refused { share, retry_after })
    }

    /// A call that counted as under way has its answer, or was dropped.
    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn accepted(&self, now: impl FnOnce() -> u64) {
        if !self.is_awake() {
            if self.credit.load(Ordering::Relaxed) < CREDIT {
                self.credit.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        if let Some(awake) = self.lock().as_mut() {
            awake.window.accepted(now(), 1);
        }
    }

    /// The other side says that it is busy, and maybe for how long; `after_all` if it had seemed to
    /// accept the call.
    pub(super) fn busy(&self, now: u64, asked: Option<u64>, after_all: bool) -> Busy {
        let mut state = self.lock();
        let woke = if state.is_none() { Busy::Woke } else { Busy::Counted };
        let awake = state.get_or_insert_with(|| {
            let mut window = Window::new(self.rule.window, now);
            window.accepted(now, self.credit.swap(0, Ordering::Relaxed).min(CREDIT));
            let probe_at = now.saturating_add(self.rule.probe);
            Box::new(Awake { window, last_busy: now, probe_at, asked_until: 0 })
        });
        awake.last_busy = awake.last_busy.max(now);
        if after_all {
            awake.window.revoke(now);
        } else {
            awake.window.busy(now);
        }
        if let Some(asked) = asked {
            // Nobody is sent away for longer than anything is remembered.
            awake.asked_until = now.saturating_add(asked.min(self.rule.window));
        }
        self.awake.store(true, Ordering::Release);
        woke
    }

    /// The share of calls that is refused now.
    pub(super) fn share(&self, now: u64) -> f64 {
        let mut state = self.lock();
        let Some(awake) = state.as_mut() else { return 0.0 };
        if now.saturating_sub(awake.last_busy) > self.rule.window {
            return 0.0;
        }
        self.judge(awake, now)
    }

    fn judge(&self, awake: &mut Awake, now: u64) -> f64 {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let (requests, accepts) = awake.window.recent(now).judged(in_flight);
        self.rule.share(requests, accepts)
    }

    fn sleep(&self, mut state: MutexGuard<'_, Option<Box<Awake>>>) {
        *state = None;
        // It was not busy for a whole window, so it starts with what it has earned.
        self.credit.store(CREDIT, Ordering::Relaxed);
        self.awake.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Awake>>> {
        // Every step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resting for Meter {
    fn rests(&self) -> bool {
        // It falls asleep when it is asked, and it may be that nobody asks any more.
        let now = self.clock.now();
        let state = self.lock();
        state.as_ref().is_none_or(|awake| now.saturating_sub(awake.last_busy) > self.rule.window)
    }
}
