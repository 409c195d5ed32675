//! A time limit on something that is waited for.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Phase, TimedOut};
use tokio::time::{Instant, Sleep, sleep_until};

/// Goes off when it was polled for longer than its limit without being put off.
///
/// The timer is made when it is first needed and used again after that.
#[derive(Debug)]
pub(crate) struct Alarm {
    phase: Phase,
    limit: Duration,
    armed: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    pub(crate) const fn new(phase: Phase, limit: Duration) -> Self {
        Self { phase, limit, armed: false, timer: None }
    }

    /// Starts the time anew with the next poll.
    ///
    /// The timer is left where it is: at worst it wakes the task once for nothing, which is
    /// cheaper than to register it again for every piece of a body.
    pub(crate) const fn put_off(&mut self) {
        self.armed = false;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        if !self.armed {
            self.count_from(Instant::now());
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(TimedOut::new(self.phase, self.limit))
    }

    /// Starts the time at `start`, which may have been a while ago.
    pub(crate) fn count_from(&mut self, start: Instant) {
        // A limit beyond what the clock can say is as good as a year.
        let year = Duration::from_secs(31_536_000);
        let end = start.checked_add(self.limit).unwrap_or(start + year);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(end),
            None => self.timer = Some(Box::pin(sleep_until(end))),
        }
        self.armed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_after_its_limit_and_starts_anew_when_it_was_put_off() {
        let mut alarm = Alarm::new(Phase::IdleRead, Duration::from_secs(3));
        let start = Instant::now();
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(3));

        alarm.put_off();
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_without_end_does_not_overflow() {
        let mut alarm = Alarm::new(Phase::Connect, Duration::MAX);
        let polled = poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await;
        assert!(polled.is_pending());
    }
}
