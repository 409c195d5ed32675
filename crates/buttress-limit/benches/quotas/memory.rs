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
    let (mut most, mut worst) = (0.0_f64, Duration::ZERO);
    for number in 0..1_000_000 {
        let before = Instant::now();
        let _ = limiter.try_acquire(&Ask::new(key(number), Cost::request()));
        worst = worst.max(before.elapsed());
        if number % 1_000 == 999 && limiter.keys() >= 10_000 && number < 100_000 {
            most = most.max(limiter.memory() as f64 / limiter.keys() as f64);
        }
    }
    let mut met = judge("bytes a key, at the worst moment", Some(most), 96.0, "B")?;
    let all = limiter.memory() as f64 / 1e6;
    met &= judge("a million keys offered to a hundred thousand", Some(all), 9.6, "MB")?;
    met &= judge("the longest decision", Some(worst.as_secs_f64() * 1e3), 5.0, "ms")?;
    Ok(met)
}
