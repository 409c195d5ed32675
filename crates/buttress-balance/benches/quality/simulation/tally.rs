//! What came of it.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::client::Ended;

/// What is counted of a run, or of several.
pub(crate) struct Tally {
    /// Microseconds of calls that were answered well.
    latency: Histogram<u64>,
    failed: u64,
    refused: u64,
    given_up: u64,
    /// Failed, refused and given up at each client.
    lost: Vec<u64>,
    /// Attempts at each server, by the second.
    sent: Vec<Vec<u64>>,
    ejected: usize,
    looks: usize,
}

impl Tally {
    pub(crate) fn new(servers: usize, clients: usize) -> Self {
        let Ok(latency) = Histogram::new_with_bounds(1, 1_000_000_000, 3) else {
            unreachable!("the bounds are in order");
        };
        Self {
            latency,
            failed: 0,
            refused: 0,
            given_up: 0,
            lost: vec![0; clients],
            sent: vec![Vec::new(); servers],
            ejected: 0,
            looks: 0,
        }
    }

    pub(super) fn ended(&mut self, client: usize, ended: Ended, took: Duration) {
        match ended {
            Ended::Answered => return self.latency.saturating_record(super::micros(took).max(1)),
            Ended::Failed => self.failed += 1,
            Ended::GivenUp => self.given_up += 1,
        }
        self.lost[client] += 1;
    }

    pub(super) fn refused(&mut self, client: usize) {
        self.refused += 1;
        self.lost[client] += 1;
    }

    pub(super) fn sent(&mut self, server: usize, measured: Duration) {
        let second = usize::try_from(measured.as_secs()).unwrap_or(usize::MAX);
        let seconds = &mut self.sent[server];
        if seconds.len() <= second {
            seconds.resize(second + 1, 0);
        }
        seconds[second] += 1;
    }

    pub(super) fn ejected(&mut self, ejected: usize, clients: usize) {
        self.ejected += ejected;
        self.looks += clients;
    }

    /// Adds another run of the same plan.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.latency.add(&other.latency).is_err() {
            unreachable!("the bounds are the same");
        }
        self.failed += other.failed;
        self.refused += other.refused;
        self.given_up += other.given_up;
        self.ejected += other.ejected;
        self.looks += other.looks;
        for (lost, more) in self.lost.iter_mut().zip(&other.lost) {
            *lost = (*lost).max(*more);
        }
        for (sent, more) in self.sent.iter_mut().zip(&other.sent) {
            sent.resize(sent.len().max(more.len()), 0);
            sent.iter_mut().zip(more).for_each(|(sent, more)| *sent += more);
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.latency.len() + self.failed + self.refused + self.given_up
    }

    /// The share of calls that failed or were refused.
    pub(crate) fn errors(&self) -> f64 {
        share(self.failed + self.refused, self.calls())
    }

    pub(crate) fn refusals(&self) -> f64 {
        share(self.refused, self.calls())
    }

    pub(crate) fn timeouts(&self) -> f64 {
        share(self.given_up, self.calls())
    }

    /// The most calls that one client lost in one run.
    pub(crate) fn most_lost(&self) -> u64 {
        self.lost.iter().copied().max().unwrap_or(0)
    }

    /// Milliseconds that this share of the good answers took at most.
    pub(crate) fn millis(&self, share: f64) -> f64 {
        exact(self.latency.value_at_quantile(share)) / 1e3
    }

    /// The share of attempts that went to `server` in these seconds.
    pub(crate) fn share_in(&self, server: usize, seconds: std::ops::Range<usize>) -> f64 {
        let within =
            |sent: &Vec<u64>| -> u64 { sent.iter().skip(seconds.start).take(seconds.len()).sum() };
        share(within(&self.sent[server]), self.sent.iter().map(within).sum())
    }

    /// The share of attempts that went to `server`.
    pub(crate) fn share(&self, server: usize) -> f64 {
        self.share_in(server, 0..usize::MAX)
    }

    /// How many servers a client left out, on average.
    pub(crate) fn mean_ejected(&self) -> f64 {
        share(to_u64(self.ejected), to_u64(self.looks))
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn share(part: u64, whole: u64) -> f64 {
    exact(part) / exact(whole.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below two to the 53rd")]
fn exact(count: u64) -> f64 {
    count as f64
}
