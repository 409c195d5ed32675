//! What happens to endpoints, told to those who subscribed.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};

use crate::EndpointId;

/// Something happened to an endpoint.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was added.
    Added {
        /// Its number from now on.
        id: EndpointId,
        /// The name it is shown by.
        name: Arc<str>,
    },
    /// It was removed; calls in flight finish.
    Removed {
        /// Its number.
        id: EndpointId,
    },
    /// Its failures put it out of use.
    Ejected {
        /// Its number.
        id: EndpointId,
        /// For how long at least.
        time: Duration,
    },
    /// A call tried it and was answered: it is in use again.
    Readmitted {
        /// Its number.
        id: EndpointId,
    },
    /// Its server asked to be left alone.
    Held {
        /// Its number.
        id: EndpointId,
        /// For how long.
        time: Duration,
    },
    /// Active checks found it down.
    Down {
        /// Its number.
        id: EndpointId,
    },
    /// Active checks found it up again.
    Up {
        /// Its number.
        id: EndpointId,
    },
    /// Every endpoint is out, or no longer so.
    Panic {
        /// Whether all are out.
        on: bool,
    },
    /// The stream that feeds the set gave an error or nothing at all; the endpoints stay.
    FeedFailed {
        /// What it said.
        reason: Arc<str>,
    },
    /// The stream that feeds the set ended; the endpoints stay.
    FeedEnded,
}

/// The events of a set, from the subscription on.
#[derive(Debug)]
pub struct Events(Receiver<Event>);

impl Events {
    pub(super) const fn new(receiver: Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// The next event; `None` once the set and everything that uses it are gone. Whoever is too
    /// slow misses the oldest ones. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.0.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
