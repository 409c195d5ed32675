//! The parts of a retry alone: paying for it, and the time to wait.

use std::{
    io::{self, Write},
    time::Duration,
};

use buttress_retry::{Backoff, Budget, Cost, Jitter};
use buttress_testkit::Bench;
use tower::{
    retry::{
        backoff::{Backoff as _, ExponentialBackoffMaker, MakeBackoff},
        budget::{Budget as _, TpsBudget},
    },
    util::rng::HasherRng,
};

const TPS: &str = "TpsBudget";

pub(crate) fn run() -> io::Result<()> {
    deposit()?;
    retry_paid_by_successes()?;
    backoff()
}

fn deposit() -> io::Result<()> {
    let (ours, tower) = (Budget::default(), TpsBudget::default());
    Bench::new("a success, the budget being full")
        .case("Budget", || ours.deposit())
        .case(TPS, || tower.deposit())
        .baseline(TPS)
        .run()?;
    writeln!(io::stdout())
}

/// One retry and the five successes that pay for it, both with their defaults.
fn retry_paid_by_successes() -> io::Result<()> {
    let (ours, tower) = (Budget::default(), TpsBudget::default());
    Bench::new("a retry and the five successes that pay for it")
        .case("Budget", || {
            let reservation = ours.reserve(Cost::TRANSIENT);
            let granted = reservation.is_some();
            if let Some(reservation) = reservation {
                reservation.spend();
            }
            for _ in 0..5 {
                ours.deposit();
            }
            granted
        })
        .case(TPS, || {
            let granted = tower.withdraw();
            for _ in 0..5 {
                tower.deposit();
            }
            granted
        })
        .baseline(TPS)
        .run()?;
    writeln!(io::stdout())
}

fn backoff() -> io::Result<()> {
    let (least, most) = (Duration::from_millis(50), Duration::from_secs(10));
    let Ok(mut maker) = ExponentialBackoffMaker::new(least, most, 0.99, HasherRng::default())
    else {
        unreachable!("the bounds are in order");
    };
    let mut tower = maker.make_backoff();
    let with = |jitter| {
        let backoff = Backoff::default().jitter(jitter);
        move || backoff.delay(3, least, fastrand::u64(..))
    };
    let full = with(Jitter::Full);
    Bench::new("the wait before the third retry")
        .case("Backoff, full", with(Jitter::Full))
        .case("Backoff, equal", with(Jitter::Equal))
        .case("Backoff, decorrelated", with(Jitter::Decorrelated))
        .case("Backoff, full, and a timer", || tokio::time::sleep(full()))
        .case("tower's ExponentialBackoff, with its timer", || tower.next_backoff())
        .baseline("tower's ExponentialBackoff, with its timer")
        .run()?;
    writeln!(io::stdout())
}
