//! What is known of one family of a name. Pure: the time and the randomness come from outside.

use std::{collections::VecDeque, net::IpAddr, sync::Arc, time::Duration};

use super::rules::Rules;
use crate::{DnsError, DnsErrorKind, clock::Moment, order::Ranked};

/// One family of a name: what was learned last, what has failed since, what is under way.
#[derive(Debug, Default)]
pub(crate) struct Half {
    known: Option<Known>,
    failure: Option<Failure>,
    flight: Option<Flight>,
    /// Which answer is the last one.
    version: u64,
    /// The last answers, newest first; empty ones as well.
    history: VecDeque<Arc<[Ranked]>>,
}

/// So many answers are remembered.
pub(crate) const HISTORY: usize = 8;

/// The last word of a resolver that was no failure.
#[derive(Debug)]
struct Known {
    word: Word,
    refresh: Moment,
    end: Moment,
    /// Until here it may be served without a wait for anything better.
    prompt: Moment,
    /// Until here it may be served at all.
    stale: Moment,
}

/// What a resolver says of a family, its addresses ranked.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    Addresses(Arc<[Ranked]>),
    Nothing,
    Error(DnsError),
}

/// Why nothing newer is known.
#[derive(Debug)]
struct Failure {
    error: DnsError,
    count: u32,
    until: Moment,
}

#[derive(Debug)]
struct Flight {
    id: u64,
    begun: Moment,
}

/// What can be said of a family now.
#[derive(Debug)]
pub(crate) enum View<'a> {
    Fresh(&'a Word),
    /// It has ended. `prompt` if there is nothing to wait for.
    Stale {
        addresses: &'a Arc<[Ranked]>,
        prompt: bool,
    },
    Failed(&'a DnsError),
    Unknown,
}

impl Half {
    pub(crate) fn view(&self, now: Moment) -> View<'_> {
        let failure = self.failure.as_ref().filter(|failure| now < failure.until);
        match (&self.known, failure) {
            (Some(known), _) if now < known.end => View::Fresh(&known.word),
            (Some(Known { word: Word::Addresses(addresses), prompt, stale, .. }), _)
                if now < *stale =>
            {
                // A failure that is being retried is no reason to wait either.
                let prompt = now < *prompt || self.failure.is_some();
                View::Stale { addresses, prompt }
            }
            (_, Some(failure)) => View::Failed(&failure.error),
            _ => View::Unknown,
        }
    }

    /// The last addresses while they hold, and which answer they come from.
    pub(crate) fn addresses(&self, now: Moment) -> Option<(u64, &Arc<[Ranked]>)> {
        match self.view(now) {
            View::Fresh(Word::Addresses(addresses)) => Some((self.version, addresses)),
            _ => None,
        }
    }

    /// Whether it holds that there is no address.
    pub(crate) fn is_empty(&self, now: Moment) -> bool {
        matches!(self.view(now), View::Fresh(Word::Nothing))
    }

    /// From how many answers in a row an address is missing, counted back from the last.
    pub(crate) fn missing(&self, address: IpAddr) -> usize {
        let has = |answer: &Arc<[Ranked]>| answer.iter().any(|known| known.address.ip() == address);
        self.history.iter().position(has).unwrap_or(self.history.len())
    }

    /// When, after `now`, the view may be another one although nothing is learned.
    pub(crate) fn changes_after(&self, now: Moment) -> Moment {
        let known = self.known.iter().flat_map(|known| [known.end, known.prompt, known.stale]);
        let failure = self.failure.iter().map(|failure| failure.until);
        known.chain(failure).filter(|moment| *moment > now).min().unwrap_or(Moment::NEVER)
    }

    /// When it should be asked for again while it still holds.
    pub(crate) fn refresh_at(&self) -> Option<Moment> {
        self.known.as_ref().map(|known| known.refresh)
    }

    /// Whether it should be asked for now. `lost` is the age at which a flight must have ended.
    pub(crate) fn is_due(&self, now: Moment, lost: Duration) -> bool {
        let flying = self.flight.as_ref().is_some_and(|flight| now.since(flight.begun) < lost);
        let backing_off = self.failure.as_ref().is_some_and(|failure| now < failure.until);
        let fresh = self.known.as_ref().is_some_and(|known| now < known.refresh);
        !flying && !backing_off && !fresh
    }

    pub(crate) fn is_flying(&self) -> bool {
        self.flight.is_some()
    }

    /// The answer that is learned next is this one.
    pub(crate) fn number(&mut self, version: u64) {
        self.version = version;
    }

    pub(crate) fn depart(&mut self, id: u64, now: Moment) {
        self.flight = Some(Flight { id, begun: now });
    }

    /// The flight is over; nothing if it is not that one's any more.
    pub(crate) fn land(&mut self, id: u64) {
        self.flight.take_if(|flight| flight.id == id);
    }

    /// Takes in what a resolver says; `spread`, from 0 to 1, keeps names from falling due together.
    pub(crate) fn learn(
        &mut self,
        word: Word,
        ttl: Option<Duration>,
        now: Moment,
        spread: f64,
        rules: &Rules,
    ) {
        let positive = matches!(word, Word::Addresses(_));
        match word {
            Word::Error(error) if error.kind().may_pass() => self.fail(error, now, spread, rules),
            Word::Error(error)
                if error.kind() != DnsErrorKind::Denied && self.keeps(now, rules) =>
            {
                self.fail(error, now, spread, rules);
            }
            Word::Nothing if self.keeps(now, rules) => {
                self.fail(DnsError::new(DnsErrorKind::NoData), now, spread, rules);
            }
            word => {
                let ttl = if positive { rules.positive(ttl) } else { rules.negative(ttl) };
                let end = now.after(ttl);
                self.remember(&word);
                self.failure = None;
                self.known = Some(Known {
                    word,
                    refresh: now.after(rules.refresh(ttl, spread)),
                    end,
                    prompt: end.after(rules.stale_at_once.min(rules.max_stale)),
                    stale: end.after(rules.max_stale),
                });
            }
        }
    }

    /// Everything known has ended: the network is another one.
    pub(crate) fn age(&mut self, now: Moment) {
        self.failure = None;
        if let Some(known) = &mut self.known {
            known.end = known.end.min(now);
            known.refresh = known.refresh.min(now);
            // Addresses of the old network are the answer of last resort.
            known.prompt = now;
        }
    }

    fn remember(&mut self, word: &Word) {
        self.history.truncate(HISTORY - 1);
        match word {
            Word::Addresses(addresses) => self.history.push_front(Arc::clone(addresses)),
            Word::Nothing => self.history.push_front(Arc::default()),
            Word::Error(_) => {}
        }
    }

    /// Whether addresses are worth more than the word that there are none.
    fn keeps(&self, now: Moment, rules: &Rules) -> bool {
        let addresses = |known: &Known| matches!(known.word, Word::Addresses(_));
        rules.prefer_positive
            && self.known.as_ref().is_some_and(|known| addresses(known) && now < known.stale)
    }

    fn fail(&mut self, error: DnsError, now: Moment, spread: f64, rules: &Rules) {
        let count = self.failure.as_ref().map_or(1, |failure| failure.count.saturating_add(1));
        let until = now.after(rules.backoff(count, spread));
        self.failure = Some(Failure { error, count, until });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::order;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    fn addresses() -> Word {
        Word::Addresses(order::rank(&[([192, 0, 2, 1], 0).into()], |_| None).into())
    }

    fn failed() -> Word {
        Word::Error(DnsError::new(DnsErrorKind::ServFail))
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_gone() {
        let (mut half, rules) = (Half::default(), Rules::default());
        half.learn(addresses(), Some(60 * SECOND), at(0), 0.5, &rules);
        assert!(matches!(half.view(at(59)), View::Fresh(Word::Addresses(_))));
        assert!(matches!(half.view(at(61)), View::Stale { prompt: true, .. }));
        assert!(matches!(half.view(at(60 + 61)), View::Stale { prompt: false, .. }));
        assert!(matches!(half.view(at(60 + 3_601)), View::Unknown));
    }

    #[test]
    fn a_failure_leaves_what_is_known_and_waits_longer_each_time() {
        let (mut half, rules) = (Half::default(), Rules::default());
        half.learn(addresses(), Some(10 * SECOND), at(0), 0.5, &rules);
        half.learn(failed(), None, at(9), 0.0, &rules);
        assert!(!half.is_due(at(9), SECOND));
        assert!(half.is_due(at(10), SECOND));
        half.learn(failed(), None, at(600), 0.0, &rules);
        assert!(!half.is_due(at(601), SECOND));
        assert!(half.is_due(at(602), SECOND));
        assert!(matches!(half.view(at(602)), View::Stale { prompt: true, .. }));
    }

    #[test]
    fn that_the_name_is_gone_counts_unless_addresses_are_preferred() {
        let gone = || Word::Error(DnsError::new(DnsErrorKind::NxDomain));
        let (mut half, mut rules) = (Half::default(), Rules::default());
        half.learn(addresses(), Some(10 * SECOND), at(0), 0.5, &rules);
        half.learn(gone(), None, at(9), 0.5, &rules);
        assert!(matches!(half.view(at(9)), View::Fresh(Word::Error(_))));

        rules.prefer_positive = true;
        let mut half = Half::default();
        half.learn(addresses(), Some(10 * SECOND), at(0), 0.5, &rules);
        half.learn(gone(), None, at(9), 0.5, &rules);
        assert!(matches!(half.view(at(11)), View::Stale { .. }));
        // That it may not be dialled does count.
        let denied = Word::Error(DnsError::new(DnsErrorKind::Denied));
        half.learn(denied, None, at(12), 0.5, &rules);
        assert!(matches!(half.view(at(12)), View::Fresh(Word::Error(_))));
    }

    #[test]
    fn a_flight_that_never_lands_is_given_up() {
        let mut half = Half::default();
        half.depart(1, at(0));
        assert!(!half.is_due(at(1), 5 * SECOND));
        assert!(half.is_due(at(5), 5 * SECOND));
        half.depart(2, at(5));
        half.land(1);
        assert!(half.is_flying());
        half.land(2);
        assert!(!half.is_flying());
    }

    #[test]
    fn another_network_ends_what_is_known() {
        let (mut half, rules) = (Half::default(), Rules::default());
        half.learn(addresses(), Some(60 * SECOND), at(0), 0.5, &rules);
        half.age(at(1));
        assert!(half.is_due(at(1), SECOND));
        assert!(matches!(half.view(at(1)), View::Stale { prompt: false, .. }));
    }

    proptest! {
        #[test]
        fn the_moments_of_an_answer_are_in_order(ttl: Option<u64>, spread in 0.0..1.0_f64, start: u32) {
            let (mut half, rules) = (Half::default(), Rules::default());
            let now = at(start.into());
            half.learn(addresses(), ttl.map(Duration::from_secs), now, spread, &rules);
            let known = half.known.unwrap();
            prop_assert!(now < known.refresh && known.refresh < known.end);
            prop_assert!(known.end <= known.prompt && known.prompt <= known.stale);
            prop_assert!(known.end <= now.after(300 * SECOND));
        }
    }
}
