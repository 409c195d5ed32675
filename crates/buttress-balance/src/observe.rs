//! The judgement of endpoints by what their calls come to.

use std::{sync::PoisonError, time::Duration};

use crate::{
    Endpoint, Event, Lease, Moment, Observation, Observer, Pick, Verdict,
    balancer::Core,
    health::{Failed, Succeeded},
    lease::Judged,
};

/// What an observation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Ejected(Duration),
    Readmitted,
}

/// Is told of every change, whatever it came from: an answer, the end of its body, a call that was
/// dropped.
pub(crate) type Watch = Box<dyn Fn(&Endpoint, Change) + Send + Sync>;

/// Tells an observer.
pub(crate) fn watch<O: Observer + Send + Sync + 'static>(observer: O) -> Watch {
    Box::new(move |endpoint, change| match change {
        Change::Ejected(time) => observer.ejected(endpoint, time),
        Change::Readmitted => observer.readmitted(endpoint),
    })
}

impl<P: Pick> Core<P> {
    pub(crate) fn observe(&self, lease: &mut Lease, observation: &Observation, now: Moment) {
        let late = match (lease.judged, observation.verdict) {
            (Judged::Good, Verdict::Failure) => true,
            (_, Verdict::Neutral) | (Judged::Finally | Judged::Good, _) => return,
            (Judged::Nothing, _) => false,
        };
        let good = observation.verdict == Verdict::Success;
        lease.judged = if good { Judged::Good } else { Judged::Finally };
        let node = lease.candidate().node();
        if !good {
            // An endpoint that only fails gets no sample; an estimate that faded would make it look
            // quicker the longer it fails.
            node.latency().confirm(now);
        } else if let Some(latency) = observation.latency {
            node.latency().sample(seconds(latency), now);
        }
        node.success().record(good, now);
        if late {
            node.window().turn_bad(now, &self.span);
        } else if observation.verdict != Verdict::Soft {
            node.window().record(good, now, &self.span);
        }
        if let Some(learned) = &self.learned {
            learned.learn(lease, observation, now);
        }
        self.policy.observe(lease.candidate(), observation, now);
        if !good {
            self.hold(lease, observation, now);
        }
        match observation.verdict {
            Verdict::Success => self.succeeded(lease, now),
            Verdict::Failure => self.failed(lease, now),
            // It was there to say so.
            Verdict::Soft if lease.is_probe() => self.succeeded(lease, now),
            Verdict::Soft | Verdict::Neutral => {}
        }
    }

    fn tell(&self, lease: &Lease, change: Change) {
        if let Some(watch) = &self.watch {
            watch(lease.endpoint(), change);
        }
    }

    #[cold]
    fn hold(&self, lease: &Lease, observation: &Observation, now: Moment) {
        let asked = observation.hold.or(observation.spare);
        let (Some(asked), Some(most)) = (asked, self.health.max_hold) else { return };
        let time = asked.min(most);
        let node = lease.candidate().node();
        node.ask_until(now.after(asked));
        if time.is_zero() || self.is_alone() {
            return;
        }
        if node.hold(now.after(time), now, observation.hold.is_some()) {
            tracing::debug!(endpoint = %node.endpoint, ?time, "held");
            node.pulse().changed();
            node.pulse().tell(|| Event::Held { id: node.id, time });
        }
    }

    fn succeeded(&self, lease: &Lease, now: Moment) {
        let node = lease.candidate().node();
        let millis = now.as_millis();
        let changed = if self.health.exact {
            node.health().exact_succeed(lease.epoch, millis)
        } else {
            node.health().succeed(lease.epoch, millis)
        };
        match changed {
            Succeeded::Unchanged => {}
            Succeeded::Due => node.pulse().due_at(0),
            Succeeded::Readmitted => self.readmitted(lease, now),
        }
    }

    #[cold]
    fn readmitted(&self, lease: &Lease, now: Moment) {
        let node = lease.candidate().node();
        node.start_slowly(now);
        node.window().clear();
        node.pulse().changed();
        tracing::info!(endpoint = %node.endpoint, "in use again");
        node.pulse().tell(|| Event::Readmitted { id: node.id });
        self.tell(lease, Change::Readmitted);
    }

    #[cold]
    fn failed(&self, lease: &Lease, now: Moment) {
        // What another balancer of the same set has ejected stays so until a call to it succeeds.
        if self.health.max_fails == 0 && !lease.is_probe() {
            return;
        }
        let node = lease.candidate().node();
        let ejected = if self.health.exact {
            self.failed_exactly(lease, now)
        } else {
            self.failed_again(lease, now)
        };
        let Some(left) = ejected else { return };
        node.pulse().due_at(now.as_millis().saturating_add(left));
        node.pulse().changed();
        let time = Duration::from_millis(left);
        tracing::warn!(endpoint = %node.endpoint, ?time, "ejected");
        node.pulse().tell(|| Event::Ejected { id: node.id, time });
        self.tell(lease, Change::Ejected(time));
    }

    /// For how many milliseconds the endpoint is left out, if this failure was one too many.
    fn failed_again(&self, lease: &Lease, now: Moment) -> Option<u64> {
        let node = lease.candidate().node();
        let run = match node.health().fail(lease.epoch) {
            Failed::Stale => return None,
            Failed::Probe => u64::MAX,
            Failed::Run(run) => run,
        };
        let fleet = self.failures_elsewhere(lease, now);
        let ejects = run >= self.health.run_that_ejects(fleet)
            || self.health.ratio_ejects(node.window().counts(now, &self.span), fleet);
        if ejects { self.eject(lease, run == u64::MAX, now) } else { None }
    }

    /// Whether there is nowhere else to go.
    fn is_alone(&self) -> bool {
        self.table.load().members.iter().filter(|member| member.weight() > 0).count() < 2
    }

    fn failed_exactly(&self, lease: &Lease, now: Moment) -> Option<u64> {
        // A lone peer is never marked down.
        if self.is_alone() {
            return None;
        }
        let max_fails = u64::from(self.health.max_fails);
        let fail_timeout = crate::clock::millis(self.health.fail_timeout);
        let health = lease.candidate().node().health();
        health.exact_fail(now.as_millis(), max_fails, fail_timeout)
    }

    fn eject(&self, lease: &Lease, probe: bool, now: Moment) -> Option<u64> {
        let node = lease.candidate().node();
        let _one = node.pulse().ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.set.candidates();
        let members: Vec<_> = members.iter().filter(|member| member.weight() > 0).collect();
        let out = members.iter().filter(|member| !member.node().health().in_use()).count();
        // One that is being tried is out already.
        if !probe && out >= self.health.most_ejected(members.len()) {
            return None;
        }
        let base = crate::clock::millis(self.health.fail_timeout);
        let random = fastrand::u64(..);
        node.health()
            .eject(lease.epoch, now.as_millis(), base, |count| self.health.ejection(count, random))
    }

    /// The share of failures at the other endpoints.
    fn failures_elsewhere(&self, lease: &Lease, now: Moment) -> f64 {
        let table = self.table.load();
        let others = table.members.iter().filter(|member| member.id() != lease.id());
        let counts = others.map(|member| member.node().window().counts(now, &self.span));
        let (good, bad) = counts.fold((0.0, 0.0), |(good, bad), (g, b)| (good + g, bad + b));
        if good + bad > 0.0 { bad / (good + bad) } else { 0.0 }
    }
}

/// `as_secs_f32` without its division.
fn seconds(time: Duration) -> f32 {
    time.as_secs() as f32 + time.subsec_nanos() as f32 * 1e-9
}
