//! A set under random operations, beside a plain account of what should be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{cell::RefCell, collections::HashMap, time::Duration};

use buttress_balance::{
    Ask, Balancer, EndpointId, EndpointSet, EndpointStatus, Health, Lease, LeastRequest, Moment,
    Observation, State, Unavailable, Verdict,
};
use buttress_core::Attempts;
use common::endpoint;
use proptest::prelude::*;

/// What an endpoint is told to be.
#[derive(Clone, Copy, Debug)]
struct Told {
    weight: u32,
    priority: u8,
    limit: Option<u32>,
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, Told),
    Remove(u8),
    Weight(u8, u32),
    /// A choice by one of two layers.
    Pick {
        layer: usize,
        avoid: bool,
    },
    /// A call ends, with or without a word, and maybe asks for a pause of so many seconds.
    End {
        call: usize,
        verdict: Option<Verdict>,
        hold: u64,
    },
    Wait(u64),
}

fn told() -> impl Strategy<Value = Told> {
    (0_u32..4, 0_u8..2, prop::option::weighted(0.3, 1_u32..4))
        .prop_map(|(weight, priority, limit)| Told { weight, priority, limit })
}

fn verdict() -> impl Strategy<Value = Option<Verdict>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Verdict::Neutral)),
        1 => Just(Some(Verdict::Soft)),
        2 => Just(Some(Verdict::Success)),
        4 => Just(Some(Verdict::Failure)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0_u8..5, told()).prop_map(|(host, told)| Step::Insert(host, told)),
        1 => (0_u8..5).prop_map(Step::Remove),
        1 => (0_u8..5, 0_u32..4).prop_map(|(host, weight)| Step::Weight(host, weight)),
        7 => (0_usize..2, any::<bool>()).prop_map(|(layer, avoid)| Step::Pick { layer, avoid }),
        7 => (any::<usize>(), verdict(), prop_oneof![3 => Just(0), 1 => 1_u64..9])
            .prop_map(|(call, verdict, hold)| Step::End { call, verdict, hold }),
        2 => (0_u64..20_000).prop_map(Step::Wait),
    ]
}

struct Model {
    set: EndpointSet,
    /// Two layers over one set, of which the second takes no notice of holds.
    layers: [RefCell<Balancer<LeastRequest>>; 2],
    members: HashMap<u8, (EndpointId, Told)>,
    /// Until when an endpoint asked to be left alone.
    held: HashMap<EndpointId, u64>,
    /// How many could be chosen when the first layer last looked: a lone one is not held.
    seen: usize,
    leases: Vec<(usize, Lease)>,
    attempts: Attempts,
    now: u64,
}

/// The longest hold, in milliseconds.
const MAX_HOLD: u64 = 5_000;

impl Model {
    fn new(percent: u8) -> Self {
        let set = EndpointSet::empty();
        let health = Health::new().max_ejected_percent(percent).unwrap();
        let healths =
            [health.clone().max_hold(Duration::from_millis(MAX_HOLD)), health.ignore_retry_after()];
        let layers = healths.map(|health| {
            RefCell::new(Balancer::new(set.clone(), LeastRequest::new(), health).seeded(7))
        });
        Self {
            set,
            layers,
            members: HashMap::new(),
            held: HashMap::new(),
            seen: 0,
            leases: Vec::new(),
            attempts: Attempts::first_of(u32::MAX),
            now: 0,
        }
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.now)
    }

    fn told(&self, id: EndpointId) -> Option<Told> {
        self.members.values().find(|(member, _)| *member == id).map(|(_, told)| *told)
    }

    /// Members that may be chosen.
    fn eligible(&self) -> Vec<EndpointStatus> {
        let all = self.set.snapshot().into_iter();
        all.filter(|endpoint| endpoint.weight > 0).collect()
    }

    fn out(&self) -> usize {
        self.eligible().iter().filter(|endpoint| is_out(endpoint)).count()
    }

    fn is_held(&self, id: EndpointId) -> bool {
        // The set's own clock is not that of the model.
        self.held.get(&id).is_some_and(|&until| until > self.now)
    }

    /// Whoever is in use and not held.
    fn is_fit(&self, endpoint: &EndpointStatus) -> bool {
        !is_out(endpoint) && !self.is_held(endpoint.id)
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Insert(host, told) => {
                let endpoint = endpoint(&format!("h{host}"));
                let endpoint = endpoint.weight(told.weight).unwrap().priority(told.priority);
                let id = self.set.insert(match told.limit {
                    Some(calls) => endpoint.max_in_flight(calls).unwrap(),
                    None => endpoint,
                });
                if let Some((before, _)) = self.members.insert(host, (id, told)) {
                    prop_assert_eq!(before, id, "it was there");
                }
            }
            Step::Remove(host) => {
                if let Some((id, _)) = self.members.remove(&host) {
                    prop_assert!(self.set.remove(id));
                }
            }
            Step::Weight(host, weight) => {
                if let Some(member) = self.members.get_mut(&host) {
                    member.1.weight = weight;
                    prop_assert_eq!(self.set.set_weight(member.0, weight), Ok(true));
                }
            }
            Step::Pick { layer, avoid } => self.pick(layer, avoid)?,
            Step::End { call, verdict, hold } => self.end(call, verdict, hold)?,
            Step::Wait(millis) => self.now += millis,
        }
        Ok(())
    }

    fn pick(&mut self, layer: usize, avoid: bool) -> Result<(), TestCaseError> {
        let ask = Ask::new();
        let ask = if avoid { ask.tried(&self.attempts) } else { ask };
        let tried = |id: EndpointId| avoid && self.attempts.has_tried(id.number());
        let eligible = self.eligible();
        if layer == 0 {
            self.seen = eligible.len();
        }
        let fit = || eligible.iter().filter(|endpoint| self.is_fit(endpoint));
        let to_be_had = || fit().filter(|endpoint| !tried(endpoint.id) && !is_full(endpoint));
        let leased = self.layers[layer].borrow_mut().lease(&ask, self.now());
        match leased {
            Ok(lease) => {
                let chosen = eligible.iter().find(|endpoint| endpoint.id == lease.id());
                let Some(chosen) = chosen else {
                    return Err(TestCaseError::fail("no member, or weightless"));
                };
                prop_assert!(!tried(chosen.id));
                prop_assert!(!is_full(chosen), "{chosen:?}");
                if lease.is_panic() {
                    prop_assert!(fit().next().is_none() && is_out(chosen));
                } else if lease.is_probe() {
                    prop_assert!(is_out(chosen));
                } else {
                    prop_assert!(self.is_fit(chosen), "{chosen:?}");
                    let first = to_be_had().map(|endpoint| endpoint.priority).min();
                    prop_assert_eq!(first, Some(chosen.priority));
                }
                self.attempts.note_endpoint(lease.id().number());
                self.leases.push((layer, lease));
            }
            Err(reason) => {
                prop_assert!(to_be_had().next().is_none(), "{reason:?} {eligible:?}");
                match reason {
                    Unavailable::Empty => prop_assert!(eligible.is_empty()),
                    Unavailable::Full => prop_assert!(eligible.iter().any(is_full)),
                    Unavailable::Tried => prop_assert!(avoid),
                    Unavailable::Held(until) => {
                        prop_assert!(until > self.now() && fit().next().is_none());
                        prop_assert!(eligible.iter().any(|endpoint| self.is_held(endpoint.id)));
                    }
                    _ => prop_assert!(false, "{reason:?}, though calls go on"),
                }
            }
        }
        Ok(())
    }

    fn end(
        &mut self,
        call: usize,
        verdict: Option<Verdict>,
        hold: u64,
    ) -> Result<(), TestCaseError> {
        if self.leases.is_empty() {
            return Ok(());
        }
        let (layer, mut lease) = self.leases.swap_remove(call % self.leases.len());
        let before = self.out();
        if let Some(verdict) = verdict {
            let observation = Observation::new(verdict).hold(Duration::from_secs(hold));
            self.layers[layer].borrow().observe(&mut lease, &observation, self.now());
            let asks = matches!(verdict, Verdict::Soft | Verdict::Failure);
            if asks && layer == 0 && hold > 0 && self.seen > 1 {
                let until = self.now + (hold * 1_000).min(MAX_HOLD);
                let held = self.held.entry(lease.id()).or_default();
                *held = until.max(*held);
            }
        }
        drop(lease);
        let members = self.eligible().len();
        let cap = if members < 2 { 0 } else { members.div_ceil(2).min(members - 1) };
        prop_assert!(self.out() <= before.max(cap), "{} out of {members}", self.out());
        Ok(())
    }

    /// What is in flight is what is held, at each endpoint.
    fn check_account(&self) -> Result<(), TestCaseError> {
        for endpoint in self.set.snapshot() {
            let held = self.leases.iter().filter(|(_, lease)| lease.id() == endpoint.id);
            prop_assert_eq!(endpoint.in_flight as usize, held.count());
            let told = self.told(endpoint.id).unwrap();
            prop_assert_eq!(
                (endpoint.weight, endpoint.priority, endpoint.max_in_flight),
                (told.weight, told.priority, told.limit)
            );
        }
        Ok(())
    }

    /// Whoever answers again comes back, if it is in the row that is used first.
    fn recover(&mut self) -> Result<(), TestCaseError> {
        self.leases.clear();
        for _ in 0..12 {
            self.now += 60_000;
            for _ in 0..30 {
                let now = self.now();
                let mut layer = self.layers[0].borrow_mut();
                let Ok(mut lease) = layer.lease(&Ask::new(), now) else { return Ok(()) };
                layer.observe(&mut lease, &Observation::new(Verdict::Success), now);
            }
        }
        let eligible = self.eligible();
        let first = eligible.iter().map(|endpoint| endpoint.priority).min();
        let mut row = eligible.iter().filter(|endpoint| Some(endpoint.priority) == first);
        prop_assert!(row.all(|endpoint| self.is_fit(endpoint)), "{eligible:?}");
        Ok(())
    }
}

fn is_out(endpoint: &EndpointStatus) -> bool {
    matches!(endpoint.state, State::Ejected | State::Probed)
}

fn is_full(endpoint: &EndpointStatus) -> bool {
    endpoint.max_in_flight.is_some_and(|most| endpoint.in_flight >= most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_set_keeps_its_account(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new(50);
        for step in &steps {
            model.run(step)?;
            model.check_account()?;
        }
        let candidates = model.set.candidates();
        model.recover()?;
        prop_assert!(candidates.iter().all(|candidate| candidate.in_flight() == 0));
    }
}
