//! Several servers, one answer: who is asked when, and whose word counts.

use std::{pin::pin, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use crate::{DnsError, DnsErrorKind};

/// How the servers of one lot are asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How many are asked at once.
    pub(super) width: usize,
    /// After so long without an answer one more is asked.
    pub(super) stagger: Duration,
    /// For so long "there is none" may be contradicted by those who were asked as well.
    pub(super) grace: Duration,
    /// Then it is given up.
    pub(super) until: Instant,
}

/// Asks the servers of `order`, by `ask`, until one has records.
///
/// The first records win. That there are none counts only if nobody who was asked contradicts
/// within the grace: a server that is behind, or that was told to lie, is often the fastest. An
/// error never wins while another server may still answer; it makes the next one be asked at once.
pub(super) async fn race<T, F>(
    order: &[usize],
    rules: Rules,
    ask: impl Fn(usize) -> F,
) -> Result<T, DnsError>
where
    F: Future<Output = Result<T, DnsError>>,
{
    let mut waiting = order.iter().copied();
    let mut asked: FuturesUnordered<F> = waiting.by_ref().take(rules.width).map(&ask).collect();
    let mut verdict = Verdict::default();
    let mut next = pin!(sleep_until(Instant::now() + rules.stagger));
    loop {
        let end = verdict.settles.map_or(rules.until, |settles| settles.min(rules.until));
        tokio::select! {
            biased;
            answer = asked.next() => match answer {
                Some(Ok(records)) => return Ok(records),
                Some(Err(error)) if says_none(&error) => verdict.none(error, rules.grace),
                Some(Err(error)) => {
                    verdict.failed(error);
                    if verdict.none.is_none() {
                        asked.extend(waiting.next().map(&ask));
                    }
                }
                None => return Err(verdict.into_error()),
            },
            () = sleep_until(end) => return Err(verdict.into_error()),
            () = &mut next, if waiting.len() > 0 && verdict.none.is_none() => {
                asked.extend(waiting.next().map(&ask));
                next.as_mut().reset(Instant::now() + rules.stagger);
            }
        }
    }
}

/// Whether a server says of the name that there is none.
pub(super) const fn says_none(error: &DnsError) -> bool {
    matches!(error.kind(), DnsErrorKind::NxDomain | DnsErrorKind::NoData)
}

/// The best that was heard so far.
#[derive(Default)]
struct Verdict {
    none: Option<DnsError>,
    settles: Option<Instant>,
    failure: Option<DnsError>,
}

impl Verdict {
    fn none(&mut self, error: DnsError, grace: Duration) {
        if self.none.is_none() {
            self.none = Some(error);
            self.settles = Some(Instant::now() + grace);
        }
    }

    /// Of several failures the one that tells most is kept.
    fn failed(&mut self, error: DnsError) {
        if self.failure.as_ref().is_none_or(|kept| tells(&error) > tells(kept)) {
            self.failure = Some(error);
        }
    }

    fn into_error(self) -> DnsError {
        let timeout = || DnsError::new(DnsErrorKind::Timeout);
        self.none.or(self.failure).unwrap_or_else(timeout)
    }
}

const fn tells(error: &DnsError) -> u8 {
    match error.kind() {
        // Somebody else may be answering in the server's place.
        DnsErrorKind::Tls => 5,
        DnsErrorKind::ServFail | DnsErrorKind::Refused | DnsErrorKind::Rcode => 4,
        DnsErrorKind::Malformed => 3,
        DnsErrorKind::Io => 2,
        DnsErrorKind::Timeout => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    type Said = (u64, Result<&'static str, DnsErrorKind>);

    /// Each server says its thing after its time; what comes of it, when, and who was asked.
    async fn of(
        width: usize,
        servers: &[Said],
    ) -> (Result<&'static str, DnsErrorKind>, u128, usize) {
        let start = Instant::now();
        let rules = Rules { width, stagger: ms(100), grace: ms(50), until: start + ms(2_000) };
        let order: Vec<_> = (0..servers.len()).collect();
        let asked = std::cell::Cell::new(0);
        let outcome = race(&order, rules, |at| {
            asked.set(asked.get() + 1);
            let (after, said) = servers[at];
            async move {
                sleep(ms(after)).await;
                said.map_err(DnsError::new)
            }
        });
        let outcome = outcome.await.map_err(|error| error.kind());
        (outcome, start.elapsed().as_millis(), asked.get())
    }

    use DnsErrorKind::{NoData, NxDomain, Refused, ServFail, Timeout, Tls};

    #[tokio::test(start_paused = true)]
    async fn the_first_records_win() {
        assert_eq!(of(2, &[(30, Ok("slow")), (20, Ok("fast"))]).await, (Ok("fast"), 20, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_never_beats_an_answer_that_is_to_come() {
        for error in [ServFail, Refused, DnsErrorKind::Malformed, DnsErrorKind::Io] {
            let servers = [(0, Err(error)), (20, Ok("good"))];
            assert_eq!(of(2, &servers).await, (Ok("good"), 20, 2));
            assert_eq!(of(1, &servers).await, (Ok("good"), 20, 2), "the next is asked at once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_none_may_be_contradicted_for_a_while() {
        for none in [NxDomain, NoData] {
            assert_eq!(of(2, &[(0, Err(none)), (40, Ok("good"))]).await, (Ok("good"), 40, 2));
            assert_eq!(of(2, &[(0, Err(none)), (60, Ok("late"))]).await, (Err(none), 50, 2));
            assert_eq!(of(2, &[(0, Err(none)), (10, Err(none))]).await, (Err(none), 10, 2));
            assert_eq!(of(2, &[(0, Err(none)), (10, Err(ServFail))]).await, (Err(none), 10, 2));
            assert_eq!(of(2, &[(0, Err(ServFail)), (10, Err(none))]).await, (Err(none), 10, 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_only_to_contradict() {
        assert_eq!(of(1, &[(0, Err(NxDomain)), (0, Ok("good"))]).await, (Err(NxDomain), 0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_is_asked_when_nobody_answers_in_time() {
        assert_eq!(of(1, &[(500, Ok("slow")), (10, Ok("fast"))]).await, (Ok("fast"), 110, 2));
        assert_eq!(of(1, &[(90, Ok("first")), (10, Ok("fast"))]).await, (Ok("first"), 90, 1));
        let dead = (10_000, Ok("never"));
        assert_eq!(of(2, &[dead, dead, dead, (5, Ok("last"))]).await, (Ok("last"), 205, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_given_up_when_time_is_up() {
        assert_eq!(of(2, &[(9_000, Ok("late"))]).await, (Err(Timeout), 2_000, 1));
        let servers = [(9_000, Ok("late")), (0, Err(ServFail))];
        assert_eq!(of(2, &servers).await, (Err(ServFail), 2_000, 2));
        assert_eq!(of(2, &[]).await, (Err(Timeout), 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_not_who_it_should_be_is_what_is_told() {
        let servers = [(0, Err(Tls)), (1, Err(ServFail)), (2, Err(Timeout))];
        assert_eq!(of(3, &servers).await, (Err(Tls), 2, 3));
    }
}
