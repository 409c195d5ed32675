//! The books of one request and its answer: the slot it holds and the line in the access log.

use std::{error::Error, fmt, net::SocketAddr, sync::Arc};

use buttress_core::{BodyEnd, causes};
use http::{Method, StatusCode, Uri, Version};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::Instant,
};

use super::socket::Ending;

/// The target of the access log in `--log` filters.
const ACCESS: &str = "access";

/// How many requests may be under way at once; those above are turned away, not queued.
#[derive(Clone, Debug)]
pub(crate) struct InFlight(Arc<Semaphore>);

impl InFlight {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))))
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Overloaded> {
        self.0.clone().try_acquire_owned().map_err(|_: TryAcquireError| Overloaded)
    }
}

/// The gateway carries as many requests as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many requests under way")
    }
}

impl Error for Overloaded {}

/// One request and its answer, from the head of the one to the last byte of the other.
///
/// However it ends, also when the client goes away and everything is dropped, the slot is given
/// back and one line is logged. The line has the path without its query, and no header.
pub(crate) struct Exchange {
    begun: Instant,
    peer: SocketAddr,
    method: Method,
    uri: Uri,
    version: Version,
    status: Option<StatusCode>,
    endpoint: Option<Box<str>>,
    bytes: u64,
    slot: Option<OwnedSemaphorePermit>,
    ending: Option<Ending>,
    ended: bool,
}

impl Exchange {
    /// Opens the books for a request.
    pub(crate) fn open<B>(request: &http::Request<B>, peer: SocketAddr) -> Self {
        Self {
            begun: Instant::now(),
            peer,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            status: None,
            endpoint: None,
            bytes: 0,
            slot: None,
            ending: None,
            ended: false,
        }
    }

    /// Takes a slot, held until the answer has ended.
    pub(crate) fn enter(&mut self, in_flight: &InFlight) -> Result<(), Overloaded> {
        self.slot = Some(in_flight.enter()?);
        Ok(())
    }

    /// Hands the slot over, to whatever goes on after the answer has ended.
    pub(crate) fn take_slot(&mut self) -> Option<OwnedSemaphorePermit> {
        self.slot.take()
    }

    /// Notes what is answered; `ending` is told when the answer ends as it should.
    pub(crate) fn answered(&mut self, status: StatusCode, ending: Option<Ending>) {
        self.status = Some(status);
        self.ending = ending;
    }

    /// Notes which upstream answered.
    pub(crate) fn served(&mut self, endpoint: &str) {
        self.endpoint = Some(endpoint.into());
    }

    /// Counts the bytes of a body.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Closes the books, once.
    pub(crate) fn end(&mut self, end: BodyEnd) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.slot = None;
        if let (BodyEnd::Complete, Some(ending)) = (end, &self.ending) {
            ending.clean();
        }
        self.log(end);
    }

    fn log(&self, end: BodyEnd) {
        let end = match (end, self.status) {
            (BodyEnd::Complete, _) => "complete",
            (BodyEnd::Failed, _) => "upstream failed",
            // No answer yet, or half of one: nobody was left to read it.
            _ => "client gone",
        };
        tracing::info!(
            target: ACCESS,
            peer = %self.peer,
            method = %self.method,
            path = self.uri.path(),
            version = ?self.version,
            endpoint = self.endpoint.as_deref(),
            status = self.status.map_or(0, |status| status.as_u16()),
            bytes = self.bytes,
            ms = self.begun.elapsed().as_secs_f64() * 1e3,
            end,
        );
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(BodyEnd::Dropped);
    }
}

/// An error and what lies below it, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = String::new();
        for error in causes(self.0) {
            let text = error.to_string();
            if text == last {
                continue;
            }
            let colon = if last.is_empty() { "" } else { ": " };
            write!(f, "{colon}{text}")?;
            last = text;
        }
        Ok(())
    }
}
