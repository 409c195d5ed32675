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
    /// so does the end of the stream. Endpoints named twice count once. What was done by hand
    /// ([`drain`](Self::drain), [`set_weight`](Self::set_weight)) stays while the endpoint does.
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
            Ok(endpoints) => {
                if let Err(error) = ended.0.follow(endpoints) {
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
    use std::{
        collections::{HashMap, HashSet},
        fmt::Display,
        future::poll_fn,
        hash::Hash,
    };

    use tower::discover::{Change, Discover};

    use super::{
        super::{EndpointSet, Source},
        Ended, Watching,
    };
    use crate::{Endpoint, EndpointId};

    impl EndpointSet {
        /// Follows a tower `Discover` whose services are endpoints. An error leaves the set as it
        /// was, and so does the end. The last endpoint stays, though it be removed, until there
        /// is another one. An endpoint that has several keys stays until the last one is removed.
        /// What was done by hand stays, as with [`watch`](Self::watch).
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
            let mut followed = Followed::new(self.clone());
            Watching(tokio::spawn(async move { followed.all(changes).await }).abort_handle())
        }
    }

    /// What a `Discover` has said so far.
    struct Followed<K> {
        ended: Ended,
        ids: HashMap<K, EndpointId>,
        /// How many keys an endpoint has.
        keys: HashMap<EndpointId, usize>,
        /// Those that have no key left but were the last one in the set.
        doomed: HashSet<EndpointId>,
    }

    impl<K: Hash + Eq> Followed<K> {
        fn new(set: EndpointSet) -> Self {
            let (ids, keys, doomed) = (HashMap::new(), HashMap::new(), HashSet::new());
            Self { ended: Ended(set), ids, keys, doomed }
        }

        async fn all<D>(&mut self, changes: D)
        where
            D: Discover<Key = K, Service = Endpoint>,
            D::Error: Display,
        {
            let mut changes = Box::pin(changes);
            while let Some(change) = poll_fn(|cx| changes.as_mut().poll_discover(cx)).await {
                match change {
                    Err(error) => self.ended.0.feed_failed(error),
                    Ok(Change::Insert(key, endpoint)) => self.insert(key, endpoint),
                    Ok(Change::Remove(key)) => self.remove(&key),
                }
            }
        }

        fn insert(&mut self, key: K, endpoint: Endpoint) {
            let id = self.ended.0.insert_from(endpoint, Source::Feed);
            *self.keys.entry(id).or_default() += 1;
            self.doomed.remove(&id);
            if let Some(before) = self.ids.insert(key, id) {
                self.unkey(before);
            }
            self.clear();
        }

        fn remove(&mut self, key: &K) {
            if let Some(id) = self.ids.remove(key) {
                self.unkey(id);
                self.clear();
                if self.doomed.contains(&id) {
                    self.ended.0.feed_failed("the last endpoint stays until there is another");
                }
            }
        }

        /// The endpoint has one key less.
        fn unkey(&mut self, id: EndpointId) {
            let Some(keys) = self.keys.get_mut(&id) else { return };
            *keys -= 1;
            if *keys == 0 {
                self.keys.remove(&id);
                self.doomed.insert(id);
            }
        }

        /// Removes what has no key, but for the last one.
        fn clear(&mut self) {
            let set = &self.ended.0;
            self.doomed.retain(|&id| {
                if set.len() == 1 {
                    return set.candidates().iter().any(|candidate| candidate.id() == id);
                }
                set.remove(id);
                false
            });
        }
    }
}
