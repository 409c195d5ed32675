//! What becomes of a response.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::{Answer, Fetches, Job};
use crate::{
    CacheDirective, CacheResult, Entry, Generation, Identity, Key, Observer, ResponseBody, Store,
    Time,
    body::{End, Fill, Reader, source::Source},
    clock,
    core::{Core, Fetch, Found, Look, Wanted},
    directive::Way,
    flight::{Landing, Lead, Ticket},
    keep::write,
    rfc::{
        CacheStatus, Exchange, Freshened, Refusal, Storable, freshen, judge, judge_prompt,
        named_in, validate,
    },
    tasks::Tasks,
};

/// A request that goes to the inner service, and why.
pub(crate) struct Sent {
    wanted: Wanted,
    look: Look,
    fetch: Fetch,
    lead: Option<Lead>,
    detail: Option<&'static str>,
}

impl Sent {
    pub(super) const fn new(
        wanted: Wanted,
        look: Look,
        fetch: Fetch,
        lead: Option<Lead>,
        detail: Option<&'static str>,
    ) -> Self {
        Self { wanted, look, fetch, lead, detail }
    }

    fn land(&mut self, landing: Landing) {
        if let Some(lead) = self.lead.take() {
            lead.land(landing);
        }
    }

    fn status(&self, status: StatusCode) -> CacheStatus {
        CacheStatus {
            forwarded: Some(self.fetch.why),
            forwarded_status: Some(status.as_u16()),
            detail: self.detail,
            ..CacheStatus::default()
        }
    }
}

/// The request that a response answers, for the engine.
struct Asked {
    method: Method,
    headers: HeaderMap,
    ttl: Option<Duration>,
    tags: Vec<crate::Tag>,
    request_time: Time,
}

impl Asked {
    fn of(parts: &Parts) -> Self {
        let directive = parts.extensions.get::<CacheDirective>();
        Self {
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            ttl: directive.and_then(|directive| directive.ttl),
            tags: directive.map_or_else(Vec::new, |directive| directive.tags.clone()),
            request_time: clock::now(),
        }
    }

    fn exchange<'a, B>(&'a self, response: &'a Response<B>, now: Time) -> Exchange<'a> {
        Exchange::new(&self.method, &self.headers, response.status(), response.headers(), now)
            .sent_at(self.request_time)
    }
}

/// Whether a stale response may stand in for this one (RFC 5861 section 4).
const fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether a response says something of the resource, rather than of this request or this moment.
fn is_news(status: StatusCode) -> bool {
    let passing = matches!(status.as_u16(), 206 | 304 | 408 | 425 | 429);
    !status.is_server_error() && !passing
}

impl<S, B, O> Job<S, B, O>
where
    S: Fetches<B>,
    B: Send + 'static,
    O: Observer,
{
    /// Asks the inner service, and stores what comes back if it may be.
    pub(super) async fn fetch(self, mut sent: Sent) -> Answer<S, B> {
        let Self { core, tasks, inner, parts, body } = self;
        clock::adjust();
        let asked = Asked::of(&parts);
        let mut headers = parts.headers.clone();
        core.settings.keys.clean(&mut headers);
        if let Some(found) = sent.fetch.validates() {
            validate(&mut headers, &found.entry);
        }
        let answer = Self::send(inner, parts, body, headers).await;
        let failed = match &answer {
            Err(_) if sent.fetch.staleness.on_disconnect => Some(Landing::Disconnected),
            Ok(response) if sent.fetch.staleness.on_error && is_error(response.status()) => {
                Some(Landing::Error)
            }
            _ => None,
        };
        if let (Some(landing), Some(found)) = (failed, sent.fetch.stored.clone()) {
            core.observer.revalidation_failed();
            sent.land(landing);
            let now = clock::now();
            let (wanted, headers) = (&sent.wanted, &asked.headers);
            return Ok(core.serve(&found.entry, wanted, headers, CacheResult::Stale, now));
        }
        let response = answer.inspect_err(|_| sent.land(Landing::Disconnected))?;
        let confirms = response.status() == StatusCode::NOT_MODIFIED;
        match sent.fetch.validates().cloned().filter(|_| confirms) {
            Some(found) => {
                let response = response.map(drop);
                Ok(core.confirmed(sent, &asked, &found, &response).await)
            }
            None => Ok(core.arrived(sent, &asked, response, tasks).await),
        }
    }

    /// Stores the answer to a POST for later GETs, if it says that it is what they would get, and for
    /// how long (RFC 9110 section 9.3.3).
    pub(super) fn keep_for_get(
        core: &Arc<Core<O>>,
        tasks: &Weak<Tasks>,
        parts: &Parts,
        target: &Identity,
        response: Response<S::Body>,
        request_time: Time,
    ) -> Response<ResponseBody<S::Body>> {
        let asked = Asked { request_time, ..Asked::of(parts) };
        let named = named_in(&parts.uri, response.headers(), &header::CONTENT_LOCATION);
        let directive = parts.extensions.get::<CacheDirective>();
        let bypasses = directive.is_some_and(|directive| directive.way == Way::Bypass);
        let scope = directive.and_then(|directive| directive.scope.as_deref());
        let named = named
            .filter(|_| !bypasses)
            .and_then(|uri| core.settings.keys.identify_at(parts, &uri, scope).ok());
        let is_of_target = named.is_some_and(|named| named == *target);
        let exchange = asked.exchange(&response, clock::now());
        let lookup = core.state.store.peek(target.key());
        let storable = match lookup {
            Some(lookup) if is_of_target && response.status().is_success() => {
                let storable = judge(&core.settings.profile, &exchange).ok();
                storable.map(|storable| (storable, lookup.generation))
            }
            _ => None,
        };
        match storable {
            Some((storable, seen)) => {
                let head = core.entry(target, &asked, &response, storable);
                core.fill(head, response, seen, *target.key(), None, tasks).0
            }
            None => response.map(ResponseBody::pass),
        }
    }
}

impl<O: Observer> Core<O> {
    /// A 304: what is stored is still good (RFC 9111 section 4.3.4).
    async fn confirmed<B>(
        &self,
        mut sent: Sent,
        asked: &Asked,
        found: &Found,
        response: &Response<()>,
    ) -> Response<ResponseBody<B>> {
        let now = clock::now();
        let exchange = asked.exchange(response, now);
        let (entry, keep) = match freshen(&self.settings.profile, &found.entry, &exchange) {
            Freshened::Entry { mut entry, keep } => {
                self.tag_anew(&found.entry, &mut entry);
                (Arc::from(entry), keep)
            }
            // It must not be updated by this, and what it is now is anybody's guess.
            Freshened::Other => (Arc::clone(&found.entry), false),
        };
        if keep {
            let entry = Arc::clone(&entry);
            let new = Arc::clone(&entry);
            self.touch(&found.key, found.entry.id, new, sent.look.generation).await;
            sent.land(Landing::Confirmed(entry));
        } else {
            self.forget(&found.key).await;
            sent.land(Landing::Alone);
        }
        self.state.failing.clear(&sent.look.flight);
        self.serve(&entry, &sent.wanted, &asked.headers, CacheResult::Revalidated, now)
    }

    /// Any other response.
    async fn arrived<B>(
        self: &Arc<Self>,
        mut sent: Sent,
        asked: &Asked,
        response: Response<B>,
        tasks: Weak<Tasks>,
    ) -> Response<ResponseBody<B>>
    where
        B: http_body::Body<Data: Send, Error: Into<buttress_core::BoxError>> + Send + 'static,
    {
        let status = response.status();
        let mut said = sent.status(status);
        match self.judge(&sent.wanted, sent.fetch.stored.as_ref(), asked, &response) {
            Ok(storable) => {
                said.stored = true;
                let head = self.entry(&sent.wanted.identity, asked, &response, storable);
                let (seen, primary) = (sent.look.generation, *sent.wanted.identity.key());
                let lead = sent.lead.take();
                self.state.unshared.clear(&sent.look.flight);
                let ticket = lead.as_ref().and_then(Lead::ticket);
                let (mut response, head, fill) =
                    self.fill(head, response, seen, primary, ticket, &tasks);
                if let Some(lead) = lead {
                    lead.fill(head, &fill);
                }
                self.tell(&mut response, CacheResult::Miss, &said);
                response
            }
            Err(refusal) => {
                if let Some(refusal) = refusal {
                    self.observer.refused(refusal);
                }
                // What the origin has now takes the place of what is stored, also if it cannot be.
                if sent.wanted.prompt.is_none() && is_news(status) {
                    self.forget_found(sent.fetch.stored.as_ref()).await;
                }
                if sent.lead.is_some() {
                    self.state.unshared.set(&sent.look.flight, self.settings.hit_for_miss);
                }
                sent.land(Landing::Alone);
                let mut response = response.map(ResponseBody::pass);
                self.tell(&mut response, CacheResult::Miss, &said);
                response
            }
        }
    }

    /// Whether a response is stored. `None` is one that is too large.
    fn judge<B>(
        &self,
        wanted: &Wanted,
        stored: Option<&Found>,
        asked: &Asked,
        response: &Response<B>,
    ) -> Result<Storable, Option<Refusal>> {
        let exchange = asked.exchange(response, clock::now());
        if announced(response.headers()).is_some_and(|length| length > self.settings.max_body) {
            return Err(None);
        }
        // A part of what is stored as a whole would take its place.
        let whole = stored.is_some_and(|found| found.entry.status == StatusCode::OK);
        if whole && response.status() == StatusCode::PARTIAL_CONTENT {
            return Err(Some(Refusal::Status));
        }
        let profile = &self.settings.profile;
        match (wanted.prompt, asked.ttl) {
            (Some(ttl), own) => judge_prompt(profile, &exchange, own.unwrap_or(ttl)),
            (None, Some(ttl)) => crate::rfc::judge_for(profile, &exchange, ttl),
            (None, None) => judge(profile, &exchange),
        }
        .map_err(Some)
    }

    /// The head of a response as it is stored.
    fn entry<B>(
        &self,
        identity: &Identity,
        asked: &Asked,
        response: &Response<B>,
        storable: Storable,
    ) -> Entry {
        let Storable { policy, vary, headers } = storable;
        let mut tags = self.tags(&headers);
        tags.extend(asked.tags.iter().cloned());
        let mut entry = Entry::new(identity.uri().into(), response.status(), headers, policy);
        entry.request_time = asked.request_time;
        entry.vary = Arc::new(vary);
        entry.tags = tags.into();
        entry
    }

    /// Lets a response through and stores it when all of it has passed.
    fn fill<B>(
        self: &Arc<Self>,
        head: Entry,
        response: Response<B>,
        seen: Generation,
        primary: Key,
        ticket: Option<Ticket>,
        tasks: &Weak<Tasks>,
    ) -> (Response<ResponseBody<B>>, Arc<Entry>, Arc<Fill>)
    where
        B: http_body::Body<Data: Send, Error: Into<buttress_core::BoxError>> + Send + 'static,
    {
        let (parts, body) = response.into_parts();
        let head = Arc::new(head);
        let (core, tasks, stored) = (Arc::clone(self), Weak::clone(tasks), Arc::clone(&head));
        let finish = move |end: End| {
            let End::Complete(body) = end else { return };
            let entry = Arc::new(Entry { body, ..Entry::clone(&stored) });
            write(&tasks, async move {
                core.keep(&primary, entry, seen).await;
                // Only now, so that whoever finds nothing under way finds it in the store.
                drop(ticket);
            });
        };
        let expected = announced(&parts.headers).filter(|_| has_body(parts.status));
        let in_flight = self.in_flight.clone();
        let most = self.settings.max_body;
        let fill = Fill::new(Source::new(body), expected, most, in_flight, finish);
        let body =
            Reader::new(Arc::clone(&fill)).map_or_else(ResponseBody::empty, ResponseBody::follow);
        (Response::from_parts(parts, body), head, fill)
    }
}

/// The length that a response announces, unless its transfer coding overrides that (RFC 9112 section
/// 6.3).
fn announced(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::to_str);
    let first = values.next()?.ok()?.trim().parse().ok()?;
    values.next().is_none().then_some(first)
}

/// Whether a `Content-Length` speaks of this message's own body (RFC 9110 section 8.6).
const fn has_body(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 204 | 304)
}
