//! Which addresses could not be connected to lately.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::clock::Moment;

/// How long an address comes last after it failed once; it doubles with each further failure.
const COOL_DOWN: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);
/// So many are remembered.
const MOST: usize = 4_096;

/// The addresses that failed. Those that did come last in answers, until it is time to try whether
/// they are back: then one lookup has them in their place.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// How many there are, so that those who look names up need no lock while there are none.
    count: AtomicUsize,
    failed: Mutex<HashMap<IpAddr, Mark>>,
}

#[derive(Debug)]
struct Mark {
    failures: u32,
    until: Moment,
    /// Whether one lookup has it in its place and has not told yet.
    tried: bool,
}

impl Mark {
    fn cool_down(&self) -> Duration {
        COOL_DOWN.saturating_mul(1 << self.failures.saturating_sub(1).min(8)).min(LONGEST)
    }
}

impl Memory {
    pub(crate) fn failed(&self, address: IpAddr, now: Moment) {
        let mut failed = self.lock();
        if failed.len() >= MOST && !failed.contains_key(&address) {
            failed.retain(|_, mark| now < mark.until);
        }
        if failed.len() >= MOST && !failed.contains_key(&address) {
            return;
        }
        let mark = failed.entry(address).or_insert(Mark { failures: 0, until: now, tried: true });
        // Those that dialled together fail together: that is one failure.
        if mark.tried || now >= mark.until {
            mark.failures = mark.failures.saturating_add(1);
            mark.tried = false;
        }
        mark.until = now.after(mark.cool_down());
        self.count.store(failed.len(), Ordering::Relaxed);
    }

    pub(crate) fn worked(&self, address: IpAddr) {
        if self.is_empty() {
            return;
        }
        let mut failed = self.lock();
        failed.remove(&address);
        self.count.store(failed.len(), Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// The same addresses, those that failed at the end.
    pub(crate) fn order(&self, addresses: Arc<[SocketAddr]>, now: Moment) -> Arc<[SocketAddr]> {
        if self.is_empty() || addresses.len() < 2 {
            return addresses;
        }
        let mut failed = self.lock();
        let is_out = |address: &SocketAddr| match failed.get_mut(&address.ip()) {
            Some(mark) if now < mark.until => true,
            Some(mark) => {
                // This lookup tries it; the next ones wait for what comes of that.
                mark.until = now.after(mark.cool_down());
                mark.tried = true;
                false
            }
            None => false,
        };
        let (out, fit): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_out);
        if out.is_empty() || fit.is_empty() {
            return addresses;
        }
        fit.into_iter().chain(out).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Mark>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    fn addresses() -> Arc<[SocketAddr]> {
        ["192.0.2.1:0", "192.0.2.2:0"].map(|address| address.parse().unwrap()).into()
    }

    fn first(memory: &Memory, now: u64) -> u8 {
        match memory.order(addresses(), at(now))[0].ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => unreachable!("there is none"),
        }
    }

    #[test]
    fn what_failed_comes_last_until_one_tries_it() {
        let memory = Memory::default();
        assert_eq!(first(&memory, 0), 1);
        memory.failed(addresses()[0].ip(), at(0));
        assert_eq!(first(&memory, 1), 2);
        assert_eq!(first(&memory, 29), 2);
        assert_eq!([first(&memory, 30), first(&memory, 30)], [1, 2]);
        memory.failed(addresses()[0].ip(), at(31));
        memory.worked(addresses()[0].ip());
        assert_eq!(first(&memory, 32), 1);
    }

    #[test]
    fn when_all_have_failed_none_is_left_out() {
        let memory = Memory::default();
        for address in addresses().iter() {
            memory.failed(address.ip(), at(0));
        }
        assert_eq!(memory.order(addresses(), at(1)), addresses());
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = Memory::default();
        for bits in 0..4_200 {
            memory.failed(IpAddr::V4(bits.into()), at(0));
        }
        assert_eq!(memory.lock().len(), MOST);
        memory.failed(IpAddr::V4(77_777.into()), at(31));
        assert_eq!(memory.lock().len(), 1);
    }
}
