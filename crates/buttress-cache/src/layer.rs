//! The layer, which is its own builder.

use std::{sync::Arc, time::Duration};

use buttress_core::SettingError;
use http::{HeaderName, uri::Authority};
use tower_layer::Layer;

use crate::{
    Cache, CacheHandle, KeySpec, Observer, SharedStore, Store,
    body::InFlight,
    core::{Core, State},
    rfc::{CacheStatus, Profile},
    settings::Settings,
    tasks::Tasks,
};

/// Answers requests from a store, and fills it with what passes.
///
/// The layer is its own builder. `O` is told what happens ([`Observer`]). Clones share the store and
/// the fetches under way, and so do all services made by one layer.
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheLayer<O = ()> {
    settings: Arc<Settings>,
    state: Arc<State>,
    in_flight: InFlight,
    tasks: Arc<Tasks>,
    observer: O,
}

impl CacheLayer {
    /// Keeps responses in `store`, with the defaults of every setting below.
    pub fn new(store: impl Store) -> Self {
        Self {
            settings: Arc::new(Settings::new()),
            state: Arc::new(State::new(SharedStore::new(store))),
            in_flight: InFlight::new(64 << 20),
            tasks: Arc::default(),
            observer: (),
        }
    }

    /// The same for a client: a private cache, whose keys guard against no header, since the program
    /// makes its requests itself.
    pub fn private(store: impl Store) -> Self {
        Self::new(store).profile(Profile::private()).keys(KeySpec::new())
    }
}

impl<O> CacheLayer<O> {
    /// What the RFCs leave open. Default: [`Profile::safe`].
    pub fn profile(self, profile: Profile) -> Self {
        self.set(|settings| settings.profile = profile)
    }

    /// What tells one request from another. Default: [`KeySpec::server`].
    pub fn keys(self, keys: KeySpec) -> Self {
        self.set(|settings| settings.keys = keys)
    }

    /// How many bytes of body a stored response has at most; a longer one streams through. Default:
    /// 8 MiB.
    pub fn max_body(self, bytes: u64) -> Self {
        self.set(|settings| settings.max_body = bytes)
    }

    /// How many bytes of bodies on their way to the store are held at most, all together; what is
    /// above streams through. Default: 64 MiB.
    pub fn max_in_flight(mut self, bytes: usize) -> Self {
        self.in_flight = InFlight::new(bytes);
        self
    }

    /// How long a request waits for the head of another's response before it goes on its own.
    /// Default: 10 seconds.
    pub fn max_wait(self, time: Duration) -> Self {
        self.set(|settings| settings.max_wait = time)
    }

    /// Lets each request that finds nothing go on its own, at the same time as others like it.
    pub fn no_collapse(self) -> Self {
        self.set(|settings| settings.collapse = false)
    }

    /// How many variants of one URI are kept. Default: 32.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn max_variants(self, most: usize) -> Result<Self, SettingError> {
        if most == 0 {
            return Err(SettingError::new("cache.max_variants", "0; at least 1"));
        }
        Ok(self.set(|settings| settings.max_variants = most))
    }

    /// How long requests do not wait for each other after a response that could not be shared.
    /// Default: 10 seconds.
    pub fn hit_for_miss(self, time: Duration) -> Self {
        self.set(|settings| settings.hit_for_miss = time)
    }

    /// How long a stale response is kept, so that it can be revalidated, or served where a stale one
    /// may be. Default: a day; less if the store needs the room.
    pub fn keep_stale(self, time: Duration) -> Self {
        self.set(|settings| settings.revalidation = time)
    }

    /// How long a stale response is not revalidated in the background after that failed. Default: 5
    /// seconds.
    pub fn backoff(self, time: Duration) -> Self {
        self.set(|settings| settings.backoff = time)
    }

    /// The name under which the cache says in `Cache-Status` what it did (RFC 9211). Default:
    /// `buttress`.
    ///
    /// # Errors
    ///
    /// If it is not a token of at most 128 characters.
    pub fn cache_status(self, name: &str) -> Result<Self, SettingError> {
        let letter =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
        let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
        if !starts || name.len() > CacheStatus::NAME || !name.bytes().all(letter) {
            let reason = format!("{name:?}; a token such as `edge` of at most 128 characters");
            return Err(SettingError::new("cache.cache_status", reason));
        }
        Ok(self.set(|settings| settings.status_name = Some(name.into())))
    }

    /// Says nothing in `Cache-Status`.
    pub fn no_cache_status(self) -> Self {
        self.set(|settings| settings.status_name = None)
    }

    /// The response field that lists tags to purge by, such as `Surrogate-Key` or `Cache-Tag`.
    /// Default: none.
    pub fn tags(self, field: HeaderName) -> Self {
        self.set(|settings| settings.tags = Some(field))
    }

    /// Another name of the origin. Where a response names a URI there that a change makes invalid, it
    /// is that of the same path here: for a proxy, whose clients and origin know it by different
    /// names. Default: none.
    pub fn alias(self, authority: Authority) -> Self {
        self.set(|settings| settings.aliases.push(authority))
    }

    /// How a request body of type `B` is had a second time, if it can be.
    ///
    /// A cache that has a part of an answer asks for the rest, and one that has other variants asks
    /// whether one of them will do. An origin may answer that in a way that helps nobody; then the
    /// request has to be sent again, as it came. Where it is not known how, such questions are not
    /// asked, and the whole is. Known are `Empty<Bytes>` and `Full<Bytes>` of `http-body-util`, and
    /// for all bodies behind [`prompts`](Self::prompts) those that are empty or were read for their
    /// key.
    pub fn repeat<B: 'static>(self, again: fn(&B) -> Option<B>) -> Self {
        let settings = (*self.settings).clone().with_again(again);
        Self { settings: Arc::new(settings), ..self }
    }

    /// Who is told what happens. Default: nobody.
    pub fn observer<O2: Observer>(self, observer: O2) -> CacheLayer<O2> {
        let Self { settings, state, in_flight, tasks, .. } = self;
        CacheLayer { settings, state, in_flight, tasks, observer }
    }

    /// A handle to purge with and to read statistics from.
    #[must_use]
    pub fn handle(&self) -> CacheHandle {
        CacheHandle::new(
            Arc::clone(&self.settings),
            Arc::clone(&self.state),
            self.in_flight.clone(),
        )
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, O: Clone> Layer<S> for CacheLayer<O> {
    type Service = Cache<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let core = Core {
            settings: Arc::clone(&self.settings),
            state: Arc::clone(&self.state),
            in_flight: self.in_flight.clone(),
            observer: self.observer.clone(),
        };
        Cache::new(inner, Arc::new(core), Arc::clone(&self.tasks))
    }
}
