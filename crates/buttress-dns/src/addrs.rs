//! The addresses that a caller gets.

use std::{iter::FusedIterator, net::SocketAddr, sync::Arc};

/// The addresses of a name, in the order in which they should be tried.
///
/// They are shared with the cache: making it, cloning it and going through it allocate nothing.
#[derive(Clone, Debug)]
pub struct Addrs {
    all: Arc<[SocketAddr]>,
    next: usize,
}

impl Addrs {
    pub(crate) const fn new(all: Arc<[SocketAddr]>) -> Self {
        Self { all, next: 0 }
    }

    /// Those that were not taken yet.
    #[must_use]
    pub fn as_slice(&self) -> &[SocketAddr] {
        &self.all[self.next..]
    }
}

impl Iterator for Addrs {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        let next = self.all.get(self.next).copied()?;
        self.next += 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.all.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Addrs {}
impl FusedIterator for Addrs {}
