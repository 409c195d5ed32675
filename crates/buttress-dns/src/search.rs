//! The search list: a name that is not absolute, asked for under several suffixes at once.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use crate::{
    Answer, DnsError, DnsErrorKind, Family, Learned, Name, Observer, Side, core::Core,
    files::ResolvConf,
};

/// How long a name further down the list waits for those before it once it has addresses. Those
/// before it are asked at the same time, so they are late by then.
const GRACE: Duration = Duration::from_secs(1);

/// The names that `name` may stand for, in the order of their right: with at least `ndots` dots
/// the name itself comes first, otherwise last.
pub(crate) fn candidates(name: &Name, conf: &ResolvConf) -> Vec<Name> {
    if name.is_absolute() || name.address().is_some() || conf.search().is_empty() {
        return vec![name.clone()];
    }
    // A name that is too long with the suffix cannot be meant.
    let mut names: Vec<Name> =
        conf.search().iter().filter_map(|suffix| name.under(suffix).ok()).collect();
    let own = name.clone().absolute();
    if name.labels() > conf.ndots() {
        names.insert(0, own);
    } else {
        names.push(own);
    }
    names
}

/// Asks for all of `names` at once, one family at a time.
pub(crate) fn answer<O: Observer>(core: &Arc<Core<O>>, names: Vec<Name>) -> Answer {
    let names: Arc<[Name]> = names.into();
    let side = |family| Side::coming(ask(Arc::clone(core), Arc::clone(&names), family));
    Answer::new(side(Family::V4), side(Family::V6))
}

async fn ask<O: Observer>(core: Arc<Core<O>>, names: Arc<[Name]>, family: Family) -> Learned {
    let asks = names.iter().enumerate().map(|(place, name)| {
        let core = &core;
        async move { (place, one(core, name, family).await) }
    });
    choose(asks.collect(), names.len(), GRACE).await
}

async fn one<O: Observer>(core: &Core<O>, name: &Name, family: Family) -> Learned {
    let (v4, v6) = core.resolver(name).ask(name).await?.into_sides();
    match family {
        Family::V4 => v4.await,
        Family::V6 => v6.await,
    }
}

/// The first by right that says the name exists. One further down is taken when all before it say
/// otherwise, or are later than `grace`.
async fn choose<F>(mut asks: FuturesUnordered<F>, count: usize, grace: Duration) -> Learned
where
    F: Future<Output = (usize, Learned)>,
{
    let mut came: Vec<Option<Learned>> = (0..count).map(|_| None).collect();
    loop {
        let best = came.iter().position(|learned| learned.as_ref().is_some_and(exists));
        let all_before = |best| came.iter().take(best).all(Option::is_some);
        let next = match best {
            Some(best) if all_before(best) => None,
            Some(_) => timeout(grace, asks.next()).await.ok().flatten(),
            None => asks.next().await,
        };
        match (next, best) {
            (Some((place, learned)), _) => came[place] = Some(learned),
            (None, Some(best)) => return came.swap_remove(best).unwrap_or_else(|| Err(lost())),
            (None, None) => return Err(worst(came)),
        }
    }
}

fn exists(learned: &Learned) -> bool {
    match learned {
        Ok(_) => true,
        Err(error) => error.kind() == DnsErrorKind::NoData,
    }
}

/// No name exists if all say so; a failure leaves it open.
fn worst(came: Vec<Option<Learned>>) -> DnsError {
    let errors: Vec<DnsError> = came.into_iter().flatten().filter_map(Result::err).collect();
    let open = errors.iter().find(|error| error.kind().may_pass());
    open.or(errors.last()).cloned().unwrap_or_else(lost)
}

fn lost() -> DnsError {
    DnsError::new(DnsErrorKind::Cancelled)
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::Records;

    fn conf(text: &str) -> ResolvConf {
        ResolvConf::read(text)
    }

    fn names(name: &str, text: &str) -> Vec<String> {
        let name = Name::new(name).unwrap();
        candidates(&name, &conf(text)).iter().map(Name::to_question).collect()
    }

    #[test]
    fn the_list_applies_before_or_after_the_name_itself() {
        let text = "search one.example two.example\noptions ndots:2";
        assert_eq!(names("a.b", text), ["a.b.one.example.", "a.b.two.example.", "a.b."]);
        assert_eq!(names("a.b.c", text)[0], "a.b.c.");
        assert_eq!(names("a.b.", text), ["a.b."]);
        assert_eq!(names("a.b", ""), ["a.b"]);
    }

    fn found() -> Learned {
        Ok(Records::none(None))
    }

    fn error(kind: DnsErrorKind) -> Learned {
        Err(DnsError::new(kind))
    }

    async fn run(asks: Vec<(u64, Learned)>) -> (Learned, u128) {
        let (start, count) = (Instant::now(), asks.len());
        let asks = asks.into_iter().enumerate().map(|(place, (after, learned))| async move {
            sleep(Duration::from_millis(after)).await;
            (place, learned)
        });
        let learned = choose(asks.collect(), count, GRACE).await;
        (learned, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_by_right_wins_if_it_exists() {
        let (learned, took) = run(vec![(20, found()), (0, error(DnsErrorKind::NxDomain))]).await;
        assert!(learned.is_ok());
        assert_eq!(took, 20);
        let (learned, took) = run(vec![(30, error(DnsErrorKind::NxDomain)), (10, found())]).await;
        assert!(learned.is_ok());
        assert_eq!(took, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_before_an_answer_is_not_waited_for() {
        let (learned, took) = run(vec![(9_000, found()), (100, found())]).await;
        assert!(learned.is_ok());
        assert_eq!(took, 1_100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_no_proof_that_there_is_no_such_name() {
        let asks = vec![(5, error(DnsErrorKind::ServFail)), (0, error(DnsErrorKind::NxDomain))];
        assert_eq!(run(asks).await.0.unwrap_err().kind(), DnsErrorKind::ServFail);
        let asks = vec![(5, error(DnsErrorKind::NxDomain)), (0, error(DnsErrorKind::NxDomain))];
        assert_eq!(run(asks).await.0.unwrap_err().kind(), DnsErrorKind::NxDomain);
    }
}
