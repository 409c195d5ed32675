//! A set that follows a stream of answers.

use std::{fmt::Display, pin::Pin, sync::Arc};

use futures_core::Stream;
use tokio::task::AbortHandle;

use super::{EndpointSet, Event};
use crate::Endpoint;

/// Keeps a set following its source; dropping it ends that, and the set stays as it is.
#[must_use = "dropping it ends the watch"]
#[derive(Debug)]
pub struct Watching(AbortHandle);

impl Watching {
    /// Whether the source has ended; the set stays as it is.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl EndpointSet {
    /// Follows `answers`, each of which names all endpoints, as a name server does. Endpoints that
    /// stay keep their statistics; an answer that is an error or empty leaves the set as it was, and
    /// so does the end of the stream. Endpoints named twice count once.
    ///
    /// The stream is read whether or not there are calls, and never again once it has ended.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn watch<S, E>(&self, answers: S) -> Watching
    where
        S: Stream<Item = Result<Vec<Endpoint>, E>> + Send + 'static,
        E: Display + Send,
    {
        let set = self.clone();
        Watching(tokio::spawn(async move { follow(set, answers).await }).abort_handle())
    }

    fn feed_failed(&self, reason: impl Display) {
        tracing::warn!(%reason, "the endpoints stay as they are");
        let reason = reason.to_string();
        self.pulse().tell(|| Event::FeedFailed { reason: Arc::from(reason) });
    }
}

async fn follow<S, E>(set: EndpointSet, answers: S)
where
    S: Stream<Item = Result<Vec<Endpoint>, E>>,
    E: Display,
{
    let mut answers = Box::pin(answers);
    // If the stream panics, the task ends; its last act is this.
    let ended = Ended(set);
    while let Some(answer) = next(answers.as_mut()).await {
        match answer {
            Err(error) => ended.0.feed_failed(error),
            Ok(mut endpoints) => {
                let mut seen = std::collections::HashSet::new();
                endpoints.retain(|endpoint| seen.insert(endpoint.key().clone()));
                if let Err(error) = ended.0.replace_all(endpoints) {
                    ended.0.feed_failed(error);
                }
            }
        }
    }
}

struct Ended(EndpointSet);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.pulse().tell(|| Event::FeedEnded);
    }
}

async fn next<S: Stream>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

#[cfg(feature = "discover")]
mod discover {
    use std::{collections::HashMap, fmt::Display, future::poll_fn, hash::Hash};

    use tower::discover::{Change, Discover};

    use super::{super::EndpointSet, Ended, Watching};
    use crate::Endpoint;

    impl EndpointSet {
        /// Follows a tower `Discover` whose services are endpoints. An error leaves the set as it
        /// was, and so do the end and the removal of the last endpoint.
        ///
        /// # Panics
        ///
        /// Outside of a tokio runtime.
        pub fn discover<D>(&self, changes: D) -> Watching
        where
            D: Discover<Service = Endpoint> + Send + 'static,
            D::Key: Hash + Clone + Send,
            D::Error: Display + Send,
        {
            let set = self.clone();
            Watching(tokio::spawn(async move { follow(set, changes).await }).abort_handle())
        }
    }

    async fn follow<D>(set: EndpointSet, changes: D)
    where
        D: Discover<Service = Endpoint>,
        D::Key: Hash + Clone,
        D::Error: Display,
    {
        let mut changes = Box::pin(changes);
        let mut keys = HashMap::new();
        let ended = Ended(set);
        let set = &ended.0;
        while let Some(change) = poll_fn(|cx| changes.as_mut().poll_discover(cx)).await {
            match change {
                Err(error) => set.feed_failed(error),
                Ok(Change::Insert(key, endpoint)) => {
                    let id = set.insert(endpoint);
                    let before = keys.insert(key, id);
                    if let Some(before) = before.filter(|&before| before != id) {
                        set.remove(before);
                    }
                }
                Ok(Change::Remove(key)) => match keys.get(&key) {
                    Some(_) if set.len() == 1 => {
                        set.feed_failed("the last endpoint was to be removed");
                    }
                    Some(&id) => {
                        keys.remove(&key);
                        set.remove(id);
                    }
                    None => {}
                },
            }
        }
    }
}
