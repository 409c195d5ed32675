//! The callers: a closed loop of people who think, ask, and wait for the answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    draws::{Draws, Stream},
    error::Error,
    parameters::{Parameters, TrafficParameters},
    progress::Progress,
    provider::Provider,
    route::Route,
    tally::{Figures, Tally},
    timeline::Timeline,
};

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(200);

/// What one run came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Side {
    /// The figures of its measured window.
    pub figures: Figures,
    /// Calls in the measured window that failed below HTTP.
    pub broken: u64,
    /// Latency over time, warm-up included.
    pub timeline: Timeline,
}

/// Lets the callers loose on `route` for the scheduled time, then stops them where they stand.
///
/// Caller `n` asks the same questions, with the same pauses, whenever the seed is the same.
///
/// # Errors
///
/// [`Error::NoCalls`] if none ended in the measured window.
pub async fn send_traffic<R: Route>(
    label: &'static str,
    route: R,
    parameters: &Parameters,
    provider: &Provider,
    mut progress: Progress,
) -> Result<Side, Error> {
    let schedule = &parameters.schedule;
    let tally = Arc::new(Mutex::new(Tally::new(schedule)));
    let route = Arc::new(route);
    let start = Instant::now();
    provider.begin(start);
    let mut callers = JoinSet::new();
    for number in 0..parameters.traffic.callers {
        let draws = Draws::new(parameters.seed, Stream::Caller(number));
        let traffic = parameters.traffic.clone();
        let (route, tally) = (Arc::clone(&route), Arc::clone(&tally));
        callers.spawn(async move {
            let mut caller = Caller { number, asked: 0, draws, traffic };
            caller.call_for_ever(&*route, start, &tally).await;
        });
    }

    let mut wait_until = async |end: Duration| {
        while start.elapsed() < end {
            sleep_until((start + end).min(Instant::now() + TICK)).await;
            progress.advance(start.elapsed(), lock(&tally).ended());
        }
    };
    wait_until(schedule.warm_up).await;
    let (requests, usage) = (provider.requests(), provider.usage());
    wait_until(schedule.total()).await;
    let requests = provider.requests() - requests;
    let usage = provider.usage().since(usage);

    // Callers never stop by themselves; a run with fewer of them would be another run.
    if callers.try_join_next().is_some() {
        return Err(Error::CallerDied);
    }
    callers.shutdown().await;
    let tally = Arc::into_inner(tally).ok_or(Error::CallerDied)?;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let figures = tally.figures(requests, usage).ok_or(Error::NoCalls(label))?;
    Ok(Side { figures, broken: tally.broken(), timeline: tally.into_timeline() })
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Caller {
    number: u64,
    asked: u64,
    draws: Draws,
    traffic: TrafficParameters,
}

impl Caller {
    async fn call_for_ever<R: Route>(&mut self, route: &R, start: Instant, tally: &Mutex<Tally>) {
        loop {
            sleep(self.draws.exponential(self.traffic.think_mean)).await;
            let body = self.next_body();
            let asked = Instant::now();
            let outcome = route.chat(body).await;
            let ended = Instant::now();
            lock(tally).record(ended - start, ended - asked, outcome);
        }
    }

    fn next_body(&mut self) -> Bytes {
        let Self { number, asked, draws, traffic } = self;
        // Both are drawn for every call, so that the share changes nothing but the prompts.
        let common = draws.happens(traffic.repeat);
        let which = draws.below(traffic.common_prompts);
        let prompt = if common {
            format!("Question {which} that many people ask: what does a buttress do for a wall?")
        } else {
            format!("Question {asked} of caller {number}: what does a buttress do for a wall?")
        };
        *asked += 1;
        let body = json!({
            "model": "busy-chat",
            "messages": [
                { "role": "system", "content": "You are a patient teacher of architecture." },
                { "role": "user", "content": prompt },
            ],
        });
        Bytes::from(body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(seed: u64, repeat: f64) -> Vec<Bytes> {
        let traffic = TrafficParameters { repeat, ..TrafficParameters::default() };
        let draws = Draws::new(seed, Stream::Caller(3));
        let mut caller = Caller { number: 3, asked: 0, draws, traffic };
        (0..500).map(|_| caller.next_body()).collect()
    }

    fn distinct(mut prompts: Vec<Bytes>) -> usize {
        prompts.sort();
        prompts.dedup();
        prompts.len()
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        assert_eq!(prompts(1, 0.2), prompts(1, 0.2));
        assert_ne!(prompts(1, 0.2), prompts(2, 0.2));
    }

    #[test]
    fn prompts_are_unique_unless_they_are_common_ones() {
        assert_eq!(distinct(prompts(1, 0.0)), 500);
        assert!(distinct(prompts(1, 1.0)) <= 100);
    }
}
