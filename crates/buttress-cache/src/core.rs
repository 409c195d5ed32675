//! What all services of a layer share, and what they decide with it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, header, request::Parts};
use tokio::sync::Semaphore;

use crate::{
    CacheDirective, CacheOutcome, CacheResult, Entry, Identity, Observer, SharedStore, StoreError,
    Time,
    body::InFlight,
    directive::Way,
    flight::{Flights, Marks},
    look::{Found, Look},
    rfc::{Ask, Decision, Directives, Flags, Forwarded, Rest, Staleness, decide, is_safe},
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
    /// It wants what is stored, and may not be answered with that.
    Unsatisfied,
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

/// Why the inner service is asked, for what of the answer, and what may stand in for it.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) stored: Option<Found>,
    /// Whether what is stored may be confirmed.
    pub(crate) confirms: bool,
    /// What is missing of the part that is stored, if that is all that is asked for.
    pub(crate) rest: Option<Rest>,
    /// Other variants that may be confirmed for this request.
    pub(crate) others: Vec<Found>,
    pub(crate) staleness: Staleness,
    pub(crate) why: Forwarded,
}

impl Fetch {
    /// For nothing but the answer.
    fn plain(why: Forwarded) -> Self {
        Self {
            stored: None,
            confirms: false,
            rest: None,
            others: Vec::new(),
            staleness: Staleness::default(),
            why,
        }
    }

    /// To hear whether what is stored is still good.
    pub(crate) fn confirming(stored: Found, staleness: Staleness, why: Forwarded) -> Self {
        Self { stored: Some(stored), confirms: true, staleness, ..Self::plain(why) }
    }

    /// What is stored, if the inner service can say whether it is still good.
    pub(crate) fn validates(&self) -> Option<&Found> {
        let stored = self.stored.as_ref().filter(|_| self.confirms);
        stored.filter(|found| found.entry.policy.flags.has(Flags::VALIDATOR))
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
        if read && prompt.is_none() && has_content(&parts.headers) {
            return forwarded(parts, "content");
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
            Err(why) if changes => return Access::Pass(why.as_str()),
            Err(why) => return forwarded(parts, why.as_str()),
        };
        if changes {
            return Access::Unsafe(identity);
        }
        let mut ask = Ask::of(&parts.method, &parts.headers);
        if ask.origin_only || ask.directives.no_store {
            return forwarded(parts, "request");
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
            if wanted.only_if_cached {
                return Plan::Unsatisfied;
            }
            // What is refreshed has been replaced once there is an answer, whatever that is.
            let stored = look.found.clone().filter(|_| wanted.refresh);
            return Plan::Fetch(Fetch { stored, ..Fetch::plain(look.why_not(wanted, now)) });
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
                Plan::Fetch(Fetch::confirming(found.clone(), staleness, why))
            }
        }
    }

    /// Sees whether less than the whole answer will do: what is missing of a stored part, or a word on
    /// stored variants.
    pub(crate) fn spare(
        &self,
        wanted: &Wanted,
        look: &Look,
        headers: &HeaderMap,
        fetch: &mut Fetch,
    ) {
        // The answer to a client's own validators is between it and the origin.
        if wanted.refresh || wanted.ask.conditional || wanted.prompt.is_some() {
            return;
        }
        let part = look.part.as_ref();
        fetch.rest = part.and_then(|part| Rest::of(&part.entry, headers, wanted.ask.range));
        let missed = look.found.is_none() && part.is_none() && look.why == Forwarded::VaryMiss;
        if missed && !wanted.ask.range {
            fetch.others = self.others(wanted);
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, outcome: &CacheOutcome) {
        self.state.counters.count(outcome.result);
        self.observer.answered(outcome);
    }
}

/// A request that passes the store by, unless it wants nothing but what is in there (RFC 9111 section
/// 5.2.1.7).
fn forwarded(parts: &Parts, why: &'static str) -> Access {
    let only = Directives::of(&parts.headers).only_if_cached;
    if only { Access::Unsatisfied } else { Access::Pass(why) }
}

/// Whether a request announces content. In a GET or HEAD it has no meaning (RFC 9110 section 9.3.1), and
/// if it has one for the origin all the same, the answer is none to other requests.
fn has_content(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length.as_bytes().iter().any(|&digit| digit != b'0'))
        || headers.contains_key(header::TRANSFER_ENCODING)
}
