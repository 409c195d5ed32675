//! The capacity of one endpoint: slots, and a first-in, first-out queue before them.

use std::{
    collections::VecDeque,
    iter::Sum,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{draws::Draws, parameters::BusySpells};

/// What a gate had to give, and what was taken of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// Time for which there were slots, one after the other.
    pub offered: Duration,
    /// Time of it for which they were taken.
    pub taken: Duration,
}

impl Usage {
    /// What came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { offered: self.offered - before.offered, taken: self.taken - before.taken }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |sum, usage| Self {
            offered: sum.offered + usage.offered,
            taken: sum.taken + usage.taken,
        })
    }
}

/// A number of slots with a bounded queue before them; both can change while calls hold them.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    slots: usize,
    places: usize,
    serving: usize,
    usage: Usage,
    /// Up to when `usage` counts.
    counted: Instant,
    next_ticket: u64,
    /// Each hears since when its slot is free.
    waiting: VecDeque<(u64, oneshot::Sender<Instant>)>,
}

impl State {
    /// Counts what was used until now. Slots that are lost while they are held are none.
    fn count(&mut self) {
        let now = Instant::now();
        let past = now - self.counted;
        let times = |slots: usize| past * u32::try_from(slots).unwrap_or(u32::MAX);
        self.usage.offered += times(self.slots);
        self.usage.taken += times(self.slots.min(self.serving));
        self.counted = now;
    }

    /// Gives the free slots to those who wait longest.
    fn promote(&mut self, free_since: Instant) {
        while self.serving < self.slots {
            let Some((_, turn)) = self.waiting.pop_front() else {
                return;
            };
            // A ticket leaves the queue, under this lock, before its receiver is dropped; so one
            // that is still in the queue always hears.
            if turn.send(free_since).is_ok() {
                self.serving += 1;
            }
        }
    }
}

impl Gate {
    /// Makes a gate with `slots` slots and `places` places in the queue.
    #[must_use]
    pub fn new(slots: usize, places: usize) -> Arc<Self> {
        let state = State {
            slots,
            places,
            serving: 0,
            usage: Usage::default(),
            counted: Instant::now(),
            next_ticket: 0,
            waiting: VecDeque::default(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Takes a slot or, if none is free, a place in the queue; `None` if that is full as well.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        let mut state = self.lock();
        let arrived = Instant::now();
        let id = state.next_ticket;
        state.next_ticket += 1;
        let (turn, receiver) = oneshot::channel();
        if state.serving < state.slots && state.waiting.is_empty() {
            state.count();
            state.serving += 1;
            // Its turn has come: the receiver is in this scope and hears.
            let _ = turn.send(arrived);
        } else if state.waiting.len() < state.places {
            state.waiting.push_back((id, turn));
        } else {
            return None;
        }
        Some(Ticket { gate: Arc::clone(self), id, arrived, turn: receiver, taken: false })
    }

    /// Changes the number of slots and of places; whoever holds or waits for one keeps it.
    pub fn resize(&self, slots: usize, places: usize) {
        let mut state = self.lock();
        state.count();
        state.slots = slots;
        state.places = places;
        state.promote(Instant::now());
    }

    /// Loses slots and places for one spell after another. The first calm begins at `start`; it never ends.
    pub async fn fall_busy(&self, spells: &BusySpells, mut draws: Draws, start: Instant) {
        let (slots, places) = {
            let state = self.lock();
            (state.slots, state.places)
        };
        let mut change = start;
        loop {
            // On from when it was due: what timers are late by must not add up.
            change += draws.exponential(spells.calm_mean);
            sleep_until(change).await;
            self.resize(spells.remaining(slots), spells.remaining(places));
            change += draws.exponential(spells.spell_mean);
            sleep_until(change).await;
            self.resize(slots, places);
        }
    }

    /// How many slots are taken.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.lock().serving
    }

    /// How many calls wait for a slot.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// What was there and what was taken of it since the gate was made.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut state = self.lock();
        state.count();
        state.usage
    }

    fn release(&self, free_since: Instant) {
        let mut state = self.lock();
        state.count();
        state.serving -= 1;
        state.promote(free_since);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place before a slot. Dropping it gives the place back, or the slot if its turn had come.
#[derive(Debug)]
pub struct Ticket {
    gate: Arc<Gate>,
    id: u64,
    arrived: Instant,
    turn: oneshot::Receiver<Instant>,
    taken: bool,
}

impl Ticket {
    /// Waits for the slot.
    pub async fn turn(mut self) -> Slot {
        // The sender lives in the queue as long as this ticket does, so it cannot close unheard.
        let free_since = (&mut self.turn).await.unwrap_or(self.arrived);
        self.taken = true;
        Slot { gate: Arc::clone(&self.gate), since: free_since.max(self.arrived), until: None }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut state = self.gate.lock();
        let place = state.waiting.iter().position(|(id, _)| *id == self.id);
        if let Some(place) = place {
            state.waiting.remove(place);
            return;
        }
        state.count();
        state.serving -= 1;
        state.promote(Instant::now());
    }
}

/// A slot that is held. Dropping it gives it to whoever waits longest.
#[derive(Debug)]
pub struct Slot {
    gate: Arc<Gate>,
    since: Instant,
    until: Option<Instant>,
}

impl Slot {
    /// Since when it is held. With a queue, that is when the call before was due to end, not when a
    /// timer noticed: late timers must not take away capacity.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Holds the slot for this long from [`since`](Self::since) and gives it back.
    pub async fn serve(mut self, service: Duration) {
        let due = self.since + service;
        sleep_until(due).await;
        self.until = Some(due);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gate.release(self.until.unwrap_or_else(Instant::now));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn a_full_gate_refuses() {
        let gate = Gate::new(1, 1);
        let first = gate.enter();
        let second = gate.enter();
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter().is_none());
        assert_eq!((gate.serving(), gate.waiting()), (1, 1));
    }

    #[test]
    fn slots_are_given_in_the_order_of_arrival() {
        let gate = Gate::new(1, 2);
        let mut first = task::spawn(gate.enter().unwrap().turn());
        let mut second = task::spawn(gate.enter().unwrap().turn());
        let mut third = task::spawn(gate.enter().unwrap().turn());
        let slot = assert_ready!(first.poll());
        assert_pending!(third.poll());
        assert_pending!(second.poll());
        drop(slot);
        assert_pending!(third.poll());
        let slot = assert_ready!(second.poll());
        drop(slot);
        drop(assert_ready!(third.poll()));
        assert_eq!((gate.serving(), gate.waiting()), (0, 0));
    }

    #[test]
    fn a_dropped_ticket_gives_its_place_back() {
        let gate = Gate::new(1, 1);
        let _held = gate.enter().unwrap();
        let waiting = gate.enter().unwrap();
        drop(waiting);
        assert_eq!(gate.waiting(), 0);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn a_ticket_dropped_after_its_turn_came_gives_the_slot_back() {
        let gate = Gate::new(1, 1);
        let held = gate.enter().unwrap();
        let mut waiting = task::spawn(gate.enter().unwrap().turn());
        assert_pending!(waiting.poll());
        drop(held);
        assert_eq!((gate.serving(), gate.waiting()), (1, 0));
        drop(waiting);
        assert_eq!(gate.serving(), 0);
    }

    #[test]
    fn a_smaller_gate_keeps_who_is_inside_and_a_larger_one_lets_the_waiting_in() {
        let gate = Gate::new(2, 2);
        let _first = gate.enter().unwrap();
        let second = gate.enter().unwrap();
        let mut third = task::spawn(gate.enter().unwrap().turn());
        gate.resize(1, 1);
        assert_eq!((gate.serving(), gate.waiting()), (2, 1));
        assert!(gate.enter().is_none());
        drop(second);
        assert_pending!(third.poll());
        gate.resize(2, 2);
        let _slot = assert_ready!(third.poll());
        assert_eq!((gate.serving(), gate.waiting()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_of_the_slots_is_counted() {
        let gate = Gate::new(2, 1);
        let _held = gate.enter().unwrap().turn().await;
        sleep(Duration::from_secs(1)).await;
        let (offered, taken) = (Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(gate.usage(), Usage { offered, taken });
        let _other = gate.enter().unwrap().turn().await;
        let before = gate.usage();
        gate.resize(1, 1);
        sleep(Duration::from_secs(3)).await;
        let (offered, taken) = (Duration::from_secs(3), Duration::from_secs(3));
        assert_eq!(gate.usage().since(before), Usage { offered, taken });
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_served_from_the_time_the_slot_was_due_to_be_free() {
        let gate = Gate::new(1, 1);
        let start = Instant::now();
        let first = gate.enter().unwrap().turn().await;
        let waiting = gate.enter().unwrap();
        // Paused time moves in whole milliseconds, as timers do: the first is noticed late.
        first.serve(Duration::from_micros(2_500)).await;
        let second = waiting.turn().await;
        assert_eq!(second.since() - start, Duration::from_micros(2_500));
        second.serve(Duration::from_micros(2_500)).await;
        assert_eq!(start.elapsed(), Duration::from_millis(5));
    }
}
