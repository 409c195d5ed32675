//! A set under random operations, beside a plain account of what should be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;

use buttress_balance::{
    Ask, Balancer, EndpointId, EndpointSet, Health, Lease, LeastRequest, Moment, Observation,
    State, Verdict,
};
use buttress_core::Attempts;
use common::endpoint;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u32),
    Remove(u8),
    Weight(u8, u32),
    Pick { avoid: bool },
    End(usize, Option<bool>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0_u8..5, 0_u32..4).prop_map(|(host, weight)| Step::Insert(host, weight)),
        1 => (0_u8..5).prop_map(Step::Remove),
        1 => (0_u8..5, 0_u32..4).prop_map(|(host, weight)| Step::Weight(host, weight)),
        6 => any::<bool>().prop_map(|avoid| Step::Pick { avoid }),
        6 => (any::<usize>(), prop::option::weighted(0.8, prop::bool::weighted(0.3)))
            .prop_map(|(call, good)| Step::End(call, good)),
        2 => (0_u64..20_000).prop_map(Step::Wait),
    ]
}

struct Model {
    set: EndpointSet,
    balancer: Balancer<LeastRequest>,
    members: HashMap<u8, (EndpointId, u32)>,
    leases: Vec<Lease>,
    attempts: Attempts,
    now: u64,
}

impl Model {
    fn new(percent: u8) -> Self {
        let set = EndpointSet::empty();
        let health = Health::new().max_ejected_percent(percent).unwrap();
        let balancer = Balancer::new(set.clone(), LeastRequest::new(), health).seeded(7);
        let attempts = Attempts::first_of(u32::MAX);
        Self { set, balancer, members: HashMap::new(), leases: Vec::new(), attempts, now: 0 }
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.now)
    }

    fn out(&self) -> usize {
        let out = |state| matches!(state, State::Ejected | State::Probed);
        let weighty = self.set.snapshot().into_iter().filter(|endpoint| endpoint.weight > 0);
        weighty.filter(|endpoint| out(endpoint.state)).count()
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Insert(host, weight) => {
                let endpoint = endpoint(&format!("h{host}")).weight(weight).unwrap();
                let id = self.set.insert(endpoint);
                if let Some((before, _)) = self.members.insert(host, (id, weight)) {
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
                    member.1 = weight;
                    prop_assert_eq!(self.set.set_weight(member.0, weight), Ok(true));
                }
            }
            Step::Pick { avoid } => self.pick(avoid)?,
            Step::End(call, good) => self.end(call, good)?,
            Step::Wait(millis) => self.now += millis,
        }
        Ok(())
    }

    fn pick(&mut self, avoid: bool) -> Result<(), TestCaseError> {
        let ask = Ask::new();
        let ask = if avoid { ask.tried(&self.attempts) } else { ask };
        let now = self.now();
        let eligible: Vec<_> =
            self.members.values().filter(|(_, weight)| *weight > 0).map(|(id, _)| *id).collect();
        let tried = |id: &EndpointId| avoid && self.attempts.has_tried(id.number());
        match self.balancer.lease(&ask, now) {
            Ok(lease) => {
                prop_assert!(eligible.contains(&lease.id()), "no member, or weightless");
                prop_assert!(!tried(&lease.id()));
                prop_assert!(!lease.is_panic() || self.out() == eligible.len());
                self.attempts.note_endpoint(lease.id().number());
                self.leases.push(lease);
            }
            // Whoever is in use and was not tried would have been taken.
            Err(_) => {
                let in_use = |id: &EndpointId| {
                    let mut all = self.set.snapshot().into_iter();
                    all.any(|endpoint| endpoint.id == *id && endpoint.state == State::InUse)
                };
                prop_assert!(!eligible.iter().any(|id| in_use(id) && !tried(id)));
                prop_assert!(eligible.is_empty() || avoid, "someone is always to be had");
            }
        }
        Ok(())
    }

    fn end(&mut self, call: usize, good: Option<bool>) -> Result<(), TestCaseError> {
        if self.leases.is_empty() {
            return Ok(());
        }
        let mut lease = self.leases.swap_remove(call % self.leases.len());
        let before = self.out();
        if let Some(good) = good {
            let verdict = if good { Verdict::Success } else { Verdict::Failure };
            self.balancer.observe(&mut lease, &Observation::new(verdict), self.now());
        }
        let members = self.members.values().filter(|(_, weight)| *weight > 0).count();
        let cap = if members < 2 { 0 } else { members.div_ceil(2).min(members - 1) };
        prop_assert!(self.out() <= before.max(cap), "{} out of {members}", self.out());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_set_keeps_its_account(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new(50);
        for step in &steps {
            model.run(step)?;
            let live: usize = model.set.snapshot().iter().map(|e| e.in_flight as usize).sum();
            let held = model.leases.iter().filter(|lease| {
                model.members.values().any(|(id, _)| *id == lease.id())
            });
            prop_assert_eq!(live, held.count());
        }
        let candidates = model.set.candidates();
        model.leases.clear();
        prop_assert!(candidates.iter().all(|candidate| candidate.in_flight() == 0));
    }
}
