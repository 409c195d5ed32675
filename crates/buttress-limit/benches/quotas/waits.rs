//! How often those who wait are polled.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use buttress_limit::{Ask, Cost, Key, Limiter, Local, Quota, Wait};
use futures_util::future::join_all;

use crate::{judge, raw::refused};

struct Polled<F> {
    future: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Future for Polled<F> {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        self.polls += 1;
        let polls = self.polls;
        self.future.as_mut().poll(cx).map(|_| polls)
    }
}

pub(crate) fn run() -> io::Result<bool> {
    let quota = Quota::per_second(1_000).and_then(|quota| quota.burst(1)).map_err(refused)?;
    let limiter = Local::new(quota).map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let waiters = 200_u32;
    let polls = runtime.block_on(async {
        let ask = Ask::new(Key::GLOBAL, Cost::request());
        let waits = (0..waiters).map(|_| {
            let wait = Some(Wait::new(Duration::from_secs(60)));
            let future = Box::pin(limiter.acquire(ask, wait));
            tokio::spawn(Polled { future, polls: 0 })
        });
        let all = pin!(join_all(waits.collect::<Vec<_>>()));
        all.await.into_iter().flatten().sum::<u32>()
    });
    let each = f64::from(polls) / f64::from(waiters);
    judge("polls for each waiter admitted", Some(each), 4.0, "polls")
}
