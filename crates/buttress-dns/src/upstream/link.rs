//! The one connection to a server: opened when it is needed, by one for all, and replaced when it
//! has gone silent.

use std::{
    fmt,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hickory_proto::op::Message;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{
    dial::{Connection, Dial},
    question::Question,
};
use crate::{DnsError, DnsErrorKind};

/// A connection that is kept, or the place for one.
pub(super) struct Link {
    dial: Dial,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    opened: u64,
}

/// A connection, or the attempt at one.
struct Current {
    number: u64,
    outcome: watch::Receiver<Option<Result<Connection, DnsError>>>,
    /// When the last answer came over it.
    heard: Option<Instant>,
    _opening: Opening,
}

/// Ends the attempt with the last who wanted it.
struct Opening(AbortHandle);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Attempt<'a> = BoxFuture<'a, (u64, Result<Message, DnsError>)>;

impl Link {
    /// Nothing is opened yet. An attempt to may take as long as `patience`.
    pub(super) fn new(dial: Dial, patience: Duration) -> Self {
        Self { dial, patience, state: Mutex::default() }
    }

    /// Opens the connection, if there is none.
    pub(super) async fn warm(&self) -> Result<(), DnsError> {
        self.up().await.map(drop)
    }

    /// Asks. A connection that breaks, or is silent for `silence` after the question, is replaced,
    /// and the question asked once more over the new one; whichever answers first counts.
    pub(super) async fn exchange(
        &self,
        question: &Question,
        edns: bool,
        silence: Duration,
    ) -> Result<Message, DnsError> {
        let (number, connection) = self.up().await?;
        let asked = Instant::now();
        let mut attempts: FuturesUnordered<Attempt<'_>> = FuturesUnordered::new();
        attempts.push(async move { (number, connection.ask(question, edns).await) }.boxed());
        let mut again = Some(number);
        let (mut silent, mut watching) = (pin!(sleep(silence)), true);
        loop {
            tokio::select! {
                Some((number, answer)) = attempts.next() => {
                    let error = match answer {
                        Ok(message) => {
                            self.heard(number);
                            return Ok(message);
                        }
                        Err(error) => error,
                    };
                    if error.kind() == DnsErrorKind::Malformed {
                        return Err(error);
                    }
                    self.replace(number);
                    if again.take().is_some() {
                        attempts.push(self.ask_anew(question, edns).boxed());
                    } else if attempts.is_empty() {
                        return Err(error);
                    }
                }
                () = &mut silent, if watching => {
                    watching = false;
                    // If others have had answers meanwhile, it is this question that takes long.
                    if again.is_some_and(|number| !self.heard_since(number, asked)) {
                        again = None;
                        self.replace(number);
                        attempts.push(self.ask_anew(question, edns).boxed());
                    }
                }
            }
        }
    }

    async fn ask_anew(&self, question: &Question, edns: bool) -> (u64, Result<Message, DnsError>) {
        match self.up().await {
            Ok((number, connection)) => (number, connection.ask(question, edns).await),
            Err(error) => (0, Err(error)),
        }
    }

    /// The connection, which is opened if there is none; all who ask meanwhile wait for the same.
    async fn up(&self) -> Result<(u64, Connection), DnsError> {
        let (number, mut outcome) = self.current();
        // The runtime that opened it may be gone; whoever asks next opens another.
        let gone = |_| DnsError::new(DnsErrorKind::Cancelled);
        let outcome = outcome.wait_for(Option::is_some).await.map_err(gone)?.clone();
        match outcome {
            Some(Ok(connection)) => Ok((number, connection)),
            Some(Err(error)) => {
                self.replace(number);
                Err(error)
            }
            None => Err(DnsError::new(DnsErrorKind::Cancelled)),
        }
    }

    fn current(&self) -> (u64, watch::Receiver<Option<Result<Connection, DnsError>>>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &state.current
            && (current.outcome.has_changed().is_ok() || current.outcome.borrow().is_some())
        {
            return (current.number, current.outcome.clone());
        }
        state.opened += 1;
        let number = state.opened;
        let (sender, outcome) = watch::channel(None);
        let (dial, patience) = (self.dial.clone(), self.patience);
        let opening = tokio::spawn(async move {
            let opened = dial.open(patience).await;
            let _ = sender.send(Some(opened));
        });
        let opening = Opening(opening.abort_handle());
        let waited = outcome.clone();
        state.current = Some(Current { number, outcome, heard: None, _opening: opening });
        (number, waited)
    }

    /// Lets go of this connection, unless another has taken its place already.
    fn replace(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.current.as_ref().is_some_and(|current| current.number == number) {
            state.current = None;
        }
    }

    fn heard(&self, number: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &mut state.current
            && current.number == number
        {
            current.heard = Some(Instant::now());
        }
    }

    fn heard_since(&self, number: u64, then: Instant) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.current.as_ref().is_some_and(|current| {
            current.number != number || current.heard.is_some_and(|heard| heard > then)
        })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("dial", &self.dial).finish_non_exhaustive()
    }
}
