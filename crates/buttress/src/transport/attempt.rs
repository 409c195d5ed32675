//! One attempt to connect, and what a resolver that remembers is told of it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::resolve::Watch;

/// An attempt under way. If it is dropped because another address was faster, and it had its head
/// start, it has failed.
pub(super) struct Attempt<'a> {
    watch: Option<&'a Arc<dyn Watch>>,
    address: IpAddr,
    head_start: Duration,
    begun: Instant,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        watch: Option<&'a Arc<dyn Watch>>,
        address: IpAddr,
        head_start: Duration,
    ) -> Self {
        Self { watch, address, head_start, begun: Instant::now() }
    }

    /// Tells what came of it.
    pub(super) fn end(mut self, worked: bool) {
        match self.watch.take() {
            Some(watch) if worked => watch.worked(self.address),
            Some(watch) => watch.failed(self.address),
            None => {}
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let waited = self.begun.elapsed();
        if let Some(watch) = self.watch.filter(|_| waited >= self.head_start) {
            watch.failed(self.address);
        }
    }
}
