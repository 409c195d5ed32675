//! What all services of a layer share, and what they decide with it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, request::Parts};
use tokio::sync::Semaphore;

use crate::{
    CacheDirective, CacheOutcome, CacheResult, Entry, Generation, Identity, Key, Lookup, Observer,
    SharedStore, Slot, Store, StoreError, Time,
    body::InFlight,
    directive::Way,
    flight::{Flights, Marks},
    rfc::{Ask, Decision, Flags, Forwarded, Staleness, decide, is_safe},
    serve::cut,
    settings::Settings,
    statistics::Counters,
};

/// How many background revalidations may run at once.
const BACKGROUND: usize = 64;
/// How many keys are remembered as not to be shared, and as failing.
const MARKS: usize = 16 * 1024;

/// What a layer, its clones and its services share, whatever their settings.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: SharedStore,
    pub(crate) flights: Arc<Flights>,
    /// Keys whose responses cannot be shared, so that nobody waits for another's.
    pub(crate) unshared: Marks,
    /// Keys whose revalidation failed just now.
    pub(crate) failing: Marks,
    pub(crate) counters: Counters,
    pub(crate) background: Arc<Semaphore>,
}

impl State {
    pub(crate) fn new(store: SharedStore) -> Self {
        Self {
            store,
            flights: Arc::new(Flights::new()),
            unshared: Marks::new(MARKS),
            failing: Marks::new(MARKS),
            counters: Counters::default(),
            background: Arc::new(Semaphore::new(BACKGROUND)),
        }
    }
}

/// The settings and the state, as a service has them.
#[derive(Debug)]
pub(crate) struct Core<O> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) state: Arc<State>,
    pub(crate) in_flight: InFlight,
    pub(crate) observer: O,
}

/// The key of a prompt, found by whoever has read its body; a request extension.
#[derive(Clone, Debug)]
pub(crate) struct PromptKey {
    pub(crate) identity: Identity,
    pub(crate) ttl: Duration,
}

/// What the cache may do for a request.
#[derive(Debug)]
pub(crate) enum Access {
    /// Nothing: it goes on to the inner service, for this reason.
    Pass(&'static str),
    /// It goes on, and what is stored may become invalid by it.
    Unsafe(Identity),
    /// It may be answered from the store.
    Lookup(Wanted),
}

/// What a request that may be answered from the store wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) identity: Identity,
    pub(crate) ask: Ask,
    pub(crate) head: bool,
    pub(crate) refresh: bool,
    pub(crate) only_if_cached: bool,
    /// For a prompt: the lifetime of its answer.
    pub(crate) prompt: Option<Duration>,
}

/// A stored response, and the key it is under.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) entry: Arc<Entry>,
}

/// What the store has for a request.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) found: Option<Found>,
    pub(crate) generation: Generation,
    /// By what concurrent requests for the same thing know each other.
    pub(crate) flight: Key,
    /// Why nothing was found.
    why: Forwarded,
}

/// What is done about a request.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Answer with this.
    Serve(Arc<Entry>, CacheResult),
    /// Answer with this, and revalidate it meanwhile.
    Background(Found),
    /// There is nothing, and nothing may be fetched.
    Unsatisfied,
    /// Ask the inner service.
    Fetch(Fetch),
}

/// Why the inner service is asked, and what may stand in for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) stored: Option<Found>,
    pub(crate) staleness: Staleness,
    pub(crate) why: Forwarded,
}

impl Fetch {
    /// What is stored, if the inner service can say whether it is still good.
    pub(crate) fn validates(&self) -> Option<&Found> {
        self.stored.as_ref().filter(|found| found.entry.policy.flags.has(Flags::VALIDATOR))
    }
}

impl<O: Observer> Core<O> {
    /// Says what may be done for a request with this head.
    pub(crate) fn access(&self, parts: &Parts) -> Access {
        let directive = parts.extensions.get::<CacheDirective>();
        let way = directive.map_or(Way::Through, |directive| directive.way);
        let prompt = parts.extensions.get::<PromptKey>();
        // What it changes is no longer what is stored, also if it does not use the store itself.
        let changes = prompt.is_none() && !is_safe(&parts.method);
        if way == Way::Bypass && !changes {
            return Access::Pass("bypass");
        }
        let read = matches!(parts.method, Method::GET | Method::HEAD);
        if !read && prompt.is_none() && !changes {
            return Access::Pass("method");
        }
        let scope = directive.and_then(|directive| directive.scope.as_deref());
        let identity = match prompt {
            Some(prompt) => Ok(prompt.identity.clone()),
            None if changes => {
                self.settings.keys.for_changes(&parts.headers).identify(parts, scope)
            }
            None => self.settings.keys.identify(parts, scope),
        };
        let identity = match identity {
            Ok(identity) => identity,
            Err(why) => return Access::Pass(why.as_str()),
        };
        if changes {
            return Access::Unsafe(identity);
        }
        let mut ask = Ask::of(&parts.method, &parts.headers);
        if ask.origin_only || ask.directives.no_store {
            return Access::Pass("request");
        }
        // Preconditions are about what GET selects.
        ask.conditional &= prompt.is_none();
        Access::Lookup(Wanted {
            identity,
            head: parts.method == Method::HEAD,
            refresh: way == Way::Refresh,
            only_if_cached: way == Way::OnlyIfCached || ask.directives.only_if_cached,
            prompt: prompt.map(|prompt| prompt.ttl),
            ask,
        })
    }

    /// Looks into the store if that takes no waiting.
    pub(crate) fn peek(&self, wanted: &Wanted, headers: &HeaderMap) -> Option<Look> {
        let key = wanted.identity.key();
        let lookup = self.state.store.peek(key)?;
        let variant = match variant(lookup, key, wanted, headers) {
            Ok(look) => return Some(look),
            Err(variant) => variant,
        };
        let lookup = self.state.store.peek(&variant.key)?;
        Some(variant.look(lookup, wanted, headers))
    }

    /// Looks into the store. One that fails has nothing.
    pub(crate) async fn look(&self, wanted: &Wanted, headers: &HeaderMap) -> Look {
        if let Some(look) = self.peek(wanted, headers) {
            return look;
        }
        let key = wanted.identity.key();
        let lookup = self.get(key).await;
        match variant(lookup, key, wanted, headers) {
            Ok(look) => look,
            Err(variant) => {
                let lookup = self.get(&variant.key).await;
                variant.look(lookup, wanted, headers)
            }
        }
    }

    async fn get(&self, key: &Key) -> Lookup {
        match self.state.store.get(key).await {
            Ok(lookup) => lookup,
            Err(error) => {
                self.store_failed(&error);
                Lookup::default()
            }
        }
    }

    pub(crate) fn store_failed(&self, error: &StoreError) {
        self.state.counters.store_errors.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.observer.store_failed(error);
        tracing::debug!(
            error = error as &dyn std::error::Error,
            "the cache goes on without its store"
        );
    }

    /// Says what to do, given what is stored.
    pub(crate) fn plan(&self, wanted: &Wanted, look: &Look, now: Time) -> Plan {
        let found = look.found.as_ref().filter(|_| !wanted.refresh);
        let Some(found) = found else {
            let why = if wanted.refresh { Forwarded::Request } else { look.why };
            let fetch = Fetch { stored: None, staleness: Staleness::default(), why };
            return if wanted.only_if_cached { Plan::Unsatisfied } else { Plan::Fetch(fetch) };
        };
        let policy = &found.entry.policy;
        let serve = |result| Plan::Serve(Arc::clone(&found.entry), result);
        match decide(&self.settings.profile, policy, &wanted.ask, now) {
            Decision::Fresh => serve(CacheResult::Hit),
            Decision::Stale => serve(CacheResult::Stale),
            Decision::StaleWhileRevalidate if wanted.only_if_cached || wanted.head => {
                serve(CacheResult::Stale)
            }
            Decision::StaleWhileRevalidate => Plan::Background(found.clone()),
            Decision::Revalidate(_) if wanted.only_if_cached => Plan::Unsatisfied,
            Decision::Revalidate(staleness) => {
                let fresh = policy.is_fresh(now);
                let why = if fresh { Forwarded::Request } else { Forwarded::Stale };
                Plan::Fetch(Fetch { stored: Some(found.clone()), staleness, why })
            }
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, outcome: &CacheOutcome) {
        self.state.counters.count(outcome.result);
        self.observer.answered(outcome);
    }
}

/// One of several variants, still to be looked up.
struct Chosen {
    key: Key,
    generation: Generation,
}

impl Chosen {
    fn look(self, lookup: Lookup, wanted: &Wanted, headers: &HeaderMap) -> Look {
        // That of the resource: it is what is purged, and what the variant is linked to.
        let generation = self.generation;
        let entry = match lookup.slot {
            Some(Slot::Entry(entry)) => is_of(&entry, wanted).then_some(entry),
            _ => None,
        };
        // A part is found by those only whose own part lies in it.
        let part = |entry: &Entry| entry.policy.flags.has(Flags::PARTIAL);
        let entry = entry.filter(|entry| !part(entry) || cut(entry, headers).is_some());
        let found = entry.map(|entry| Found { key: self.key, entry });
        Look { found, generation, flight: self.key, why: Forwarded::VaryMiss }
    }
}

/// What a lookup under the primary key means: the answer, or which variant to look up.
fn variant(
    lookup: Lookup,
    key: &Key,
    wanted: &Wanted,
    headers: &HeaderMap,
) -> Result<Look, Chosen> {
    let generation = lookup.generation;
    let look = |found, flight, why| Look { found, generation, flight, why };
    match lookup.slot {
        None => Ok(look(None, *key, Forwarded::UriMiss)),
        Some(Slot::Entry(entry)) => {
            let fits = is_of(&entry, wanted) && entry.vary.matches(headers);
            let found = fits.then_some(Found { key: *key, entry });
            Ok(look(found, *key, Forwarded::UriMiss))
        }
        Some(Slot::Variants(variants)) => {
            if let Some(variant) = variants.iter().find(|variant| variant.vary.matches(headers)) {
                return Err(Chosen { key: variant.key, generation });
            }
            let mut parts = variants.iter().filter(|_| wanted.ask.range);
            if let Some(part) = parts.find(|part| part.vary.matches_but_for_range(headers)) {
                return Err(Chosen { key: part.key, generation });
            }
            // Requests for another variant each wait for their own.
            let flight =
                variants.first().map_or(*key, |variant| variant.vary.of_request(headers).key(key));
            Ok(look(None, flight, Forwarded::VaryMiss))
        }
    }
}

/// Keys are digests; that they stand for the same URI is checked all the same.
fn is_of(entry: &Entry, wanted: &Wanted) -> bool {
    *entry.uri == *wanted.identity.uri()
}
