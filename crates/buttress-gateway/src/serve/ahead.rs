//! Requests that are read before they are sent, where their tokens are limited.

use std::{sync::Arc, time::Duration};

use buttress::{Deadline, limit::Estimate};
use buttress_core::ReadAhead;
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

/// Reads requests ahead to estimate their tokens.
#[derive(Clone, Debug)]
pub(crate) struct ReadsAhead {
    estimate: Estimate,
    /// Room for what is read and not sent yet.
    room: Arc<Semaphore>,
    deadline: Option<Duration>,
}

/// The room that a request takes for as long as it may be sent.
#[derive(Clone, Debug)]
struct Room {
    _taken: Arc<OwnedSemaphorePermit>,
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
    pub(crate) async fn read<B: Body + Unpin>(
        &self,
        mut request: Request<B>,
    ) -> Request<ReadAhead<B>> {
        let room = if self.estimate.reads(&request) { self.room_for(&request) } else { None };
        let Some(room) = room else { return request.map(ReadAhead::unread) };
        let extensions = request.extensions_mut();
        extensions.insert(room);
        if let Some(deadline) = self.deadline {
            extensions.insert(Deadline::at((Instant::now() + deadline).into_std()));
        }
        self.estimate.ahead(request).await
    }

    fn room_for<B>(&self, request: &Request<B>) -> Option<Room> {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(MOST);
        // A longer one is not read.
        let length = if length > MOST { 0 } else { length };
        let units = u32::try_from(length.div_ceil(UNIT)).ok()?;
        let taken = Arc::clone(&self.room).try_acquire_many_owned(units).ok()?;
        Some(Room { _taken: Arc::new(taken) })
    }
}
