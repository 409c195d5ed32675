//! The decision alone, beside governor's.

use std::{hint::black_box, io, net::Ipv4Addr, num::NonZeroU32, time::Duration};

use buttress_limit::{Ask, Cost, Key, Limiter, Local, Policy, Quota, SettingError};
use buttress_testkit::Bench;
use governor::{RateLimiter, state::keyed::DefaultKeyedStateStore};

use crate::{judge, over};

/// So much that it is never spent, and so slowly back that no key is forgotten meanwhile: one that has
/// its whole burst again is, and a limiter that has forgotten them all finds its keys in the cache.
const MANY: u64 = 100_000_000;

pub(crate) fn generous() -> Result<Quota, SettingError> {
    Quota::per_day(8_640)?.burst(MANY)
}

pub(crate) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(number.wrapping_mul(2_654_435_761))
}

pub(crate) fn key(number: u32) -> Key {
    Key::ip(address(number).into(), 64)
}

/// Numbers below `count` in an order that no prefetcher foresees, another one for each `start`.
pub(crate) fn wander(count: u32, start: u32) -> impl FnMut() -> u32 {
    let mut at = start.wrapping_mul(0x9e37_79b9);
    move || {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (at >> 8) % count
    }
}

pub(crate) fn refused(error: SettingError) -> io::Error {
    io::Error::other(error)
}

const ADMIT: &str = "Local";
const DENY: &str = "Local, denied";

fn three() -> Result<Policy, SettingError> {
    let quota = |days: u64| {
        let per = Duration::from_secs(days * 86_400);
        Quota::of(buttress_limit::Unit::Requests, 8_640 * days, per)?.burst(MANY)
    };
    Policy::new([quota(1)?, quota(2)?, quota(3)?])
}

/// Whether a limiter still knows all of these keys.
pub(crate) fn knows(limiter: &Local, count: u32) {
    assert_eq!(limiter.keys(), count as usize, "a key that is forgotten costs another decision");
}

pub(crate) fn run() -> io::Result<bool> {
    let mut met = true;
    for count in [1, 100_000] {
        let local = |policy| Local::new(policy)?.max_keys(200_000);
        // One limiter for all that is admitted, so that there are as many keys as is said. Each case
        // walks among them in an order of its own, so that none finds its next in the nearest cache.
        let ours = generous().and_then(local).map_err(refused)?;
        let spent = Quota::per_day(1).and_then(local).map_err(refused)?;
        let many = three().and_then(|three| Local::new(three)?.max_keys(200_000));
        let (many, theirs) = (many.map_err(refused)?, governor());
        for number in 0..count {
            for limiter in [&ours, &spent, &many] {
                let _ = limiter.pass(&Ask::new(key(number), Cost::request()));
            }
            let _ = theirs.check_key(&address(number));
        }
        let mut starts = 0..;
        let [mut a, mut b, mut c, mut d, mut e, mut f] =
            [(); 6].map(|()| wander(count, starts.next().unwrap_or(0)));
        let summary = Bench::new(format!("the decision alone: {count} keys"))
            .case("a key", move || black_box(key(a())))
            .case("governor, keyed", move || theirs.check_key(&address(b())).is_ok())
            .case(ADMIT, || pass(&ours, c()))
            .case(DENY, || pass(&spent, e()))
            .case("Local, with a ticket", || decide(&ours, f()))
            .case("Local, three windows at once", || decide(&many, d()))
            .baseline("a key")
            .rounds(300)
            .run()?;
        [&ours, &spent, &many].into_iter().for_each(|limiter| knows(limiter, count));
        let most = if count == 1 { 60.0 } else { 180.0 };
        met &= judge("Local over a key", over(&summary, ADMIT, "a key"), most, "ns")?;
        if let (Some(admit), Some(deny)) = (summary.case(ADMIT), summary.case(DENY)) {
            let times = summary.is_timed().then(|| deny.min() / admit.min());
            met &= judge("a denial, in admissions", times, 2.0, "times")?;
        }
    }
    Ok(met)
}

fn pass(local: &Local, number: u32) -> bool {
    matches!(local.pass(&Ask::new(key(number), Cost::request())), Some(Ok(())))
}

fn decide(local: &Local, number: u32) -> bool {
    let decided = local.try_acquire(&Ask::new(key(number), Cost::request()));
    matches!(decided, Some(Ok(_)))
}

fn governor()
-> RateLimiter<Ipv4Addr, DefaultKeyedStateStore<Ipv4Addr>, governor::clock::DefaultClock> {
    let quota = governor::Quota::per_second(NonZeroU32::MAX).allow_burst(NonZeroU32::MAX);
    RateLimiter::keyed(quota)
}
