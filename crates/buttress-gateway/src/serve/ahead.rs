//! Requests that are read before they are sent, where their tokens are limited.

use std::{sync::Arc, time::Duration};

use buttress::{Deadline, limit::Estimate};
use buttress_core::ReadAhead;
use bytes::Bytes;
use http::{Request, header::CONTENT_LENGTH};
use http_body::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::Arguments;

/// The most of one body that is read.
const MOST: usize = 1 << 20;
/// How long it may take to come.
const WAIT: Duration = Duration::from_secs(5);
/// Memory is counted in so many bytes.
const UNIT: usize = 1024;

/// How much longer than nothing it has to take for the time to matter.
const QUICK: Duration = Duration::from_millis(10);

/// Reads requests ahead to estimate their tokens.
#[derive(Clone, Debug)]
pub(crate) struct ReadsAhead {
    estimate: Estimate,
    /// Room for what is read and not sent yet.
    room: Arc<Semaphore>,
    deadline: Option<Duration>,
}

/// Bytes, and the room that they take for as long as anybody has them.
struct Kept {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The room of a body of which only the beginning was read, for as long as its head is there.
#[derive(Clone, Debug)]
struct Begun {
    _room: Arc<OwnedSemaphorePermit>,
}

impl ReadsAhead {
    /// `None` where nothing has to be known of a request.
    pub(crate) fn new(arguments: &Arguments) -> Option<Self> {
        arguments.limits.upstream_tpm?;
        let deadline = arguments.deadline.duration();
        let wait = deadline.map_or(WAIT, |deadline| deadline.min(WAIT));
        let units = (arguments.replay_memory.bytes() / UNIT).min(Semaphore::MAX_PERMITS);
        Some(Self {
            estimate: Estimate::new().max_body(MOST as u64).max_wait(wait),
            room: Arc::new(Semaphore::new(units)),
            deadline,
        })
    }

    /// Reads a request, if there is something to be found in it and room for it. The time that takes is
    /// part of what the request has.
    pub(crate) async fn read<B: Body + Unpin>(&self, request: Request<B>) -> Request<ReadAhead<B>> {
        if !self.estimate.reads(&request) {
            return request.map(ReadAhead::unread);
        }
        let Some(mut room) = self.room_for(&request) else {
            tracing::debug!(
                "no room in --replay-memory to read a request; its length is what counts"
            );
            return request.map(ReadAhead::unread);
        };
        let begun = Instant::now();
        let (mut parts, body) = self.estimate.ahead(request).await.into_parts();
        if let Some(deadline) = self.deadline.filter(|_| begun.elapsed() > QUICK) {
            parts.extensions.insert(Deadline::at((begun + deadline).into_std()));
        }
        let body = match body.into_bytes() {
            Ok(bytes) => {
                // It is known by now how much it is.
                drop(room.split(room.num_permits().saturating_sub(units(bytes.len()))));
                ReadAhead::whole(Bytes::from_owner(Kept { bytes, _room: room }))
            }
            Err(begun) => {
                parts.extensions.insert(Begun { _room: Arc::new(room) });
                begun
            }
        };
        Request::from_parts(parts, body)
    }

    fn room_for<B>(&self, request: &Request<B>) -> Option<OwnedSemaphorePermit> {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(MOST);
        // A longer one is not read.
        let length = if length > MOST { 0 } else { length };
        let units = u32::try_from(units(length)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(units).ok()
    }
}

const fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}
