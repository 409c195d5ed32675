//! What a key takes, and what ten million of them do that are offered to a limiter with room for a
//! hundredth.

use std::{io, time::Duration};

use buttress_limit::{Ask, Cost, Limiter, Local, Quota};
use tokio::time::Instant;

use crate::{
    judge,
    raw::{key, refused},
};

/// Decisions that are timed together; the longest of them is not longer than all.
const BATCH: u32 = 8;

/// How often the system has taken the processor from this thread, where it says so.
fn preempted() -> Option<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("nonvoluntary_ctxt_switches"))?;
    Some(line.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be looked at")]
pub(crate) fn run() -> io::Result<bool> {
    let spent = || Local::new(Quota::per_day(1)?)?.max_keys(100_000);
    let limiter = spent().map_err(refused)?;
    let (mut most, mut forgotten) = (0.0_f64, 0.0);
    let exhausted = Ask::new(key(u32::MAX), Cost::request());
    let _ = limiter.pass(&exhausted);
    for number in 0..10_000_000 {
        let _ = limiter.try_acquire(&Ask::new(key(number), Cost::request()));
        if number % 1_000 == 0 && matches!(limiter.pass(&exhausted), Some(Ok(()))) {
            forgotten += 1.0;
        }
        if number % 1_000 == 999 && number < 100_000 && limiter.keys() >= 10_000 {
            most = most.max(limiter.memory() as f64 / limiter.keys() as f64);
        }
    }
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let limiter = spent().map_err(refused)?;
        for number in 0..120_000 / BATCH {
            let (switches, before) = (preempted(), Instant::now());
            for key in (number * BATCH..).take(BATCH as usize).map(key) {
                let _ = limiter.try_acquire(&Ask::new(key, Cost::request()));
            }
            let took = before.elapsed();
            // What else the machine had to do meanwhile is not the limiter's.
            if preempted() == switches {
                worst = worst.max(took);
            }
        }
    }
    let mut met = judge("bytes a key, at the worst moment", Some(most), 96.0, "B")?;
    let all = limiter.memory() as f64 / 1e6;
    met &= judge("ten million keys offered to a hundred thousand", Some(all), 9.6, "MB")?;
    met &= judge("times that an exhausted key came back", Some(forgotten), 0.0, "times")?;
    met &= judge("the longest eight decisions", Some(worst.as_secs_f64() * 1e3), 5.0, "ms")?;
    Ok(met)
}
