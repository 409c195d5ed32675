//! What a key takes, and what a million of them do that are offered to a limiter with room for a
//! tenth.

use std::{io, time::Duration};

use buttress_limit::{Ask, Cost, Limiter, Local, Quota};
use tokio::time::Instant;

use crate::{
    judge,
    raw::{key, refused},
};

#[expect(clippy::cast_precision_loss, reason = "a figure to be looked at")]
pub(crate) fn run() -> io::Result<bool> {
    let spent = || Local::new(Quota::per_day(1)?)?.max_keys(100_000);
    let limiter = spent().map_err(refused)?;
    let mut most = 0.0_f64;
    for number in 0..1_000_000 {
        let _ = limiter.try_acquire(&Ask::new(key(number), Cost::request()));
        if number % 1_000 == 999 && number < 100_000 && limiter.keys() >= 10_000 {
            most = most.max(limiter.memory() as f64 / limiter.keys() as f64);
        }
    }
    // The longest decision of the best of several runs: the others were longer by what else the
    // machine had to do.
    let mut worst = Duration::MAX;
    for _ in 0..20 {
        let limiter = spent().map_err(refused)?;
        let longest = (0..120_000).map(|number| {
            let before = Instant::now();
            let _ = limiter.try_acquire(&Ask::new(key(number), Cost::request()));
            before.elapsed()
        });
        worst = worst.min(longest.max().unwrap_or_default());
    }
    let mut met = judge("bytes a key, at the worst moment", Some(most), 96.0, "B")?;
    let all = limiter.memory() as f64 / 1e6;
    met &= judge("a million keys offered to a hundred thousand", Some(all), 9.6, "MB")?;
    met &= judge("the longest decision", Some(worst.as_secs_f64() * 1e3), 5.0, "ms")?;
    Ok(met)
}
