//! Looking, joining, and trying again.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::timeout;

use super::{Answer, Fetches, Job, sent::Sent};
use crate::{
    CacheResult, Entry, Key, Observer, ResponseBody,
    body::{Fill, Reader},
    clock,
    core::{Core, Fetch, Plan, Wanted},
    flight::{Flight, Joined, Landing, Lead},
    look::{Found, Look},
    rfc::{Decision, Flags, Forwarded},
};

/// How a request goes to the inner service.
enum Turn {
    /// As one for whom others wait, or on its own.
    Go(Option<Lead>),
    /// With what another's fetch has brought.
    Read(Arc<Entry>, Arc<Fill>),
    /// With what another's fetch has confirmed.
    Serve(Arc<Entry>, CacheResult),
    /// From the beginning.
    Again,
}

/// How a request has fared so far.
#[derive(Default)]
struct Tries {
    /// It waits for nobody any more.
    alone: bool,
    /// How often a fetch that it waited for came to nothing.
    failures: u32,
    /// Why it is alone, if that is worth telling.
    detail: Option<&'static str>,
    /// Its variant, as the head of a fetch has shown that is not stored yet.
    variant: Option<Key>,
}

impl<S, B, O> Job<S, B, O>
where
    S: Fetches<B>,
    B: Send + 'static,
    O: Observer,
{
    /// Answers a request that could not be answered at once. `look` is what was found then.
    pub(crate) async fn run(self, wanted: Wanted, look: Option<Look>) -> Answer<S, B> {
        let mut look = look;
        let mut tries = Tries::default();
        loop {
            let mut look = match look.take() {
                Some(look) => look,
                None => self.core.look(&wanted, &self.parts.headers).await,
            };
            look.flight = tries.variant.unwrap_or(look.flight);
            let plan = self.core.plan(&wanted, &look, clock::now());
            let fetch = match plan {
                Plan::Serve(entry, result) => return Ok(self.serve(&entry, &wanted, result)),
                Plan::Unsatisfied => return Ok(self.core.unsatisfied()),
                Plan::Background(found) => return Ok(self.stale(wanted, look, found)),
                Plan::Fetch(fetch) => fetch,
            };
            if wanted.head {
                return self.ask_head(wanted, look, fetch).await;
            }
            let waiter = Waiter { core: &self.core, headers: &self.parts.headers };
            match waiter.turn(&wanted, &look, &fetch, &mut tries).await {
                Turn::Again => {}
                Turn::Go(lead) => {
                    let mut fetch = fetch;
                    self.core.spare(&wanted, &look, &self.parts.headers, &mut fetch);
                    let sent = Sent::new(wanted, look, fetch, lead, tries.detail);
                    return self.fetch(sent).await;
                }
                Turn::Serve(entry, result) => {
                    let mut response = self.serve(&entry, &wanted, result);
                    if result == CacheResult::Revalidated {
                        self.core.restate_shared(&mut response, &entry, result, fetch.why);
                    }
                    return Ok(response);
                }
                Turn::Read(head, fill) => match self.read(&head, fill, &wanted, fetch.why) {
                    Some(response) => return Ok(response),
                    None => tries.alone = true,
                },
            }
        }
    }

    /// Reads along with the fetch of another.
    fn read(
        &self,
        head: &Arc<Entry>,
        fill: Arc<Fill>,
        wanted: &Wanted,
        why: Forwarded,
    ) -> Option<http::Response<ResponseBody<S::Body>>> {
        let reader = Reader::new(fill)?;
        let whole = |_| ResponseBody::follow(reader);
        let now = clock::now();
        let headers = &self.parts.headers;
        let result = CacheResult::Collapsed;
        let mut response = self.core.head(head, wanted, headers, result, now, whole);
        self.core.restate_shared(&mut response, head, result, why);
        Some(response)
    }

    pub(super) fn serve(
        &self,
        entry: &Arc<Entry>,
        wanted: &Wanted,
        result: CacheResult,
    ) -> http::Response<ResponseBody<S::Body>> {
        self.core.serve(entry, wanted, &self.parts.headers, result, clock::now())
    }

    /// Serves a stale response, and has it revalidated by nobody else's time.
    fn stale(
        self,
        wanted: Wanted,
        look: Look,
        found: Found,
    ) -> http::Response<ResponseBody<S::Body>> {
        let response = self.serve(&found.entry, &wanted, CacheResult::Stale);
        self.revalidate(wanted, look, found);
        response
    }
}

/// A request that may wait for another's fetch.
struct Waiter<'a, O> {
    core: &'a Core<O>,
    headers: &'a HeaderMap,
}

impl<O: Observer> Waiter<'_, O> {
    /// Finds out whether somebody else is fetching the same, and waits for what comes of it.
    async fn turn(&self, wanted: &Wanted, look: &Look, fetch: &Fetch, tries: &mut Tries) -> Turn {
        let state = &self.core.state;
        if state.unshared.has(&look.flight) {
            tries.alone = true;
            tries.detail = Some("hit-for-miss");
        }
        // What comes back for a part, or for the client's own validators, is for nobody else.
        let own = wanted.ask.range || (wanted.ask.conditional && fetch.validates().is_none());
        if tries.alone || own || !self.core.settings.collapse {
            return Turn::Go(None);
        }
        if wanted.ask.end_to_end || wanted.refresh {
            // A fetch that began before this request does not answer it.
            return Turn::Go(state.flights.try_lead(&look.flight, &wanted.identity));
        }
        let flight = match state.flights.join(&look.flight, &wanted.identity) {
            Joined::Lead(lead) => return self.lead(wanted, lead),
            Joined::Follow(flight) => flight,
        };
        self.follow(&flight, wanted, fetch, tries).await
    }

    /// Another fetch may have ended between the look and the lead.
    fn lead(&self, wanted: &Wanted, lead: Lead) -> Turn {
        let look = self.core.peek(wanted, self.headers);
        let plan = look.map(|look| self.core.plan(wanted, &look, clock::now()));
        match plan {
            Some(Plan::Serve(entry, result)) => Turn::Serve(entry, result),
            _ => Turn::Go(Some(lead)),
        }
    }

    async fn follow(
        &self,
        flight: &Flight,
        wanted: &Wanted,
        fetch: &Fetch,
        tries: &mut Tries,
    ) -> Turn {
        let landing = timeout(self.core.settings.max_wait, flight.landing()).await;
        let Ok(landing) = landing else {
            tries.alone = true;
            tries.detail = Some("waited-too-long");
            return Turn::Go(None);
        };
        let stale = |allowed: bool| {
            let found = fetch.stored.as_ref().filter(|_| allowed)?;
            Some(Turn::Serve(Arc::clone(&found.entry), CacheResult::Stale))
        };
        if let Landing::Filling(head, _) = &landing {
            let variant = self.variant(head, wanted).filter(|key| tries.variant != Some(*key));
            if variant.is_some() {
                tries.variant = variant;
                return Turn::Again;
            }
        }
        let instead = match landing {
            Landing::Filling(head, fill) => fill
                .upgrade()
                .filter(|_| self.suits(&head, wanted))
                .map(|fill| Turn::Read(head, fill)),
            Landing::Confirmed(entry) => {
                self.suits(&entry, wanted).then_some(Turn::Serve(entry, CacheResult::Revalidated))
            }
            Landing::Error => stale(fetch.staleness.on_error),
            Landing::Disconnected => stale(fetch.staleness.on_disconnect),
            Landing::Alone => {
                tries.alone = true;
                None
            }
            Landing::Own => None,
            Landing::Again => return Turn::Again,
        };
        instead.unwrap_or_else(|| {
            // Once more together; a crowd that fails twice disperses.
            tries.failures += 1;
            tries.alone |= tries.failures > 1;
            Turn::Again
        })
    }

    /// The variant that this request gets of what arrives for another, if that is not the same.
    fn variant(&self, head: &Entry, wanted: &Wanted) -> Option<Key> {
        let other = *head.uri == *wanted.identity.uri() && !head.vary.matches(self.headers);
        other.then(|| head.vary.of_request(self.headers).key(wanted.identity.key()))
    }

    /// Whether a response that was fetched for another answers this request too.
    fn suits(&self, head: &Entry, wanted: &Wanted) -> bool {
        let now = clock::now();
        let decision =
            crate::rfc::decide(&self.core.settings.profile, &head.policy, &wanted.ask, now);
        decision == Decision::Fresh
            && !head.policy.flags.has(Flags::PARTIAL)
            && *head.uri == *wanted.identity.uri()
            && head.vary.matches(self.headers)
    }
}
