//! What becomes of a response.

use std::sync::{Arc, Weak};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};

use super::{
    Answer, Fetches, Job,
    sent::{Asked, Sent, Verdict},
};
use crate::{
    CacheDirective, CacheResult, Entry, EntryId, Generation, Identity, Key, Observer, ResponseBody,
    Store, Time, Vary,
    body::{End, Fill, Reader, source::Source},
    clock,
    core::Core,
    directive::Way,
    flight::{Landing, Lead, Ticket},
    keep::write,
    look::{Found, falls_short},
    rfc::{
        CacheStatus, Exchange, Freshened, Joined, Refusal, Storable, freshen, judge, named_in,
        same_bytes, tags_of, withheld_until_confirmed,
    },
    serve::ttl,
    tasks::Tasks,
};

/// Whether a stale response may stand in for this one (RFC 5861 section 4).
const fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

impl<S, B, O> Job<S, B, O>
where
    S: Fetches<B>,
    B: Send + 'static,
    O: Observer,
{
    /// Asks the inner service, and stores what comes back if it may be.
    pub(super) async fn fetch(self, mut sent: Sent) -> Answer<S, B> {
        let Self { core, tasks, mut inner, parts, body, again } = self;
        clock::adjust();
        let mut asked = Asked::of(&parts);
        let mut headers = parts.headers.clone();
        core.settings.keys.clean(&mut headers);
        let mut plain = headers.clone();
        let mut copy = again.and_then(|again| again(&body));
        let conditional = sent.conditions(&mut headers, copy.is_some());
        let copy = copy.take().filter(|_| conditional).map(|body| (parts.clone(), body));
        let mut answer = Self::send(&mut inner, parts, body, headers).await;
        let mut verdict = match &answer {
            Ok(answer) => sent.verdict(&asked.headers, answer),
            Err(_) => Verdict::Plain,
        };
        match (&verdict, copy) {
            (Verdict::Again, Some((parts, body))) => {
                drop(answer);
                sent.unconditional(&mut plain);
                asked.request_time = clock::now();
                answer = Self::send(&mut inner, parts, body, plain).await;
                verdict = Verdict::Plain;
            }
            // All that can be said of what is stored.
            (Verdict::Again, None) => {
                let found = sent.fetch.validates().cloned();
                verdict = found.map_or(Verdict::Plain, Verdict::Confirmed);
            }
            _ => {}
        }
        if let Some(stale) = core.instead(&mut sent, &asked, &answer) {
            return Ok(stale);
        }
        let response = answer.inspect_err(|_| sent.land(Landing::Disconnected))?;
        Ok(match verdict {
            Verdict::Confirmed(found) => {
                core.confirmed(sent, &asked, &found, &response.map(drop)).await
            }
            Verdict::Joined(joined) => {
                sent.came = Some(response.status());
                core.arrived(sent, &asked, join(response, joined), tasks).await
            }
            Verdict::Plain | Verdict::Again => {
                core.arrived(sent, &asked, response.map(Source::new), tasks).await
            }
        })
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
            .and_then(|uri| core.settings.keys.identify_at(parts, &core.own_name(&uri), scope).ok())
            .filter(|named| named.uri() == target.uri() && response.status().is_success());
        let exchange = asked.exchange(&response, clock::now());
        // Kept for those only who ask with the same headers that are guarded against.
        let storable = named.and_then(|named| {
            let lookup = core.state.store.peek(named.key())?;
            let storable = judge(&core.settings.profile, &exchange).ok()?;
            Some((named, storable, lookup.generation))
        });
        match storable {
            Some((named, storable, seen)) => {
                let head = core.entry(&named, &asked, &response, storable);
                core.fill(head, response.map(Source::new), seen, *named.key(), None, tasks).0
            }
            None => response.map(ResponseBody::pass),
        }
    }
}

/// Puts stored bytes around a body that is what was missing between them.
fn join<B>(response: Response<B>, joined: Joined) -> Response<Source<B>> {
    let Joined { status, headers, before, after, between } = joined;
    let mut response = response.map(|body| Source::joined(body, before, between, after));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl<O: Observer> Core<O> {
    /// The stale response that stands in for an error, or for no answer, if one may.
    pub(super) fn instead<B, R, E>(
        &self,
        sent: &mut Sent,
        asked: &Asked,
        answer: &Result<Response<R>, E>,
    ) -> Option<Response<ResponseBody<B>>> {
        let landing = match answer {
            Err(_) if sent.fetch.staleness.on_disconnect => Landing::Disconnected,
            Ok(response) if sent.fetch.staleness.on_error && is_error(response.status()) => {
                Landing::Error
            }
            _ => return None,
        };
        let found = sent.fetch.stored.clone()?;
        self.observer.revalidation_failed();
        sent.land(landing);
        let (wanted, now) = (&sent.wanted, clock::now());
        let mut response =
            self.serve(&found.entry, wanted, &asked.headers, CacheResult::Stale, now);
        // It was asked for, and so is no hit (RFC 9211 section 2.1).
        let forwarded_status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        self.restate(
            &mut response,
            &CacheStatus {
                forwarded: Some(sent.fetch.why),
                forwarded_status,
                ttl: Some(ttl(&found.entry, now)),
                ..CacheStatus::default()
            },
        );
        Some(response)
    }

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
        let authorized = asked.headers.contains_key(header::AUTHORIZATION);
        let (entry, keep, own) = match freshen(&self.settings.profile, &found.entry, &exchange) {
            Freshened::Entry { mut entry, keep } => {
                self.tag_anew(&found.entry, &mut entry);
                (Arc::from(entry), keep, authorized)
            }
            // It must not be updated by this, and what it is now is anybody's guess.
            Freshened::Other => (Arc::clone(&found.entry), false, true),
        };
        // It was stored for requests with other values than this.
        let other = !sent.fetch.others.is_empty();
        if keep {
            let new = Arc::clone(&entry);
            self.touch(&found.key, found.entry.id, new, sent.look.generation).await;
            self.confirm_others(&sent, found, &exchange).await;
            let own = if other { self.keep_too(&sent, asked, &entry).await } else { None };
            sent.land(Landing::Confirmed(own.unwrap_or_else(|| Arc::clone(&entry))));
        } else {
            // What may not be kept for others of an authorised exchange says nothing against what was
            // kept without one.
            if !other && !authorized {
                self.forget(&found.key).await;
            }
            sent.land(if own { Landing::Own } else { Landing::Alone });
        }
        self.state.failing.clear(&sent.look.flight);
        let (wanted, result) = (&sent.wanted, CacheResult::Revalidated);
        // What the request named may be what was said of the bytes before.
        let fits = !falls_short(&entry, wanted, &asked.headers);
        let served = if fits { &entry } else { &found.entry };
        let mut answer = self.serve(served, wanted, &asked.headers, result, now);
        let said = sent.status(response.status());
        self.restate(&mut answer, &CacheStatus { ttl: Some(ttl(served, now)), ..said });
        // Whoever asked for the confirmation has what it withholds from others.
        for name in withheld_until_confirmed(&self.settings.profile, &entry.headers) {
            for value in response.headers().get_all(&name) {
                answer.headers_mut().append(&name, value.clone());
            }
        }
        answer
    }

    /// Brings up to date what else is of the very same bytes (RFC 9111 section 4.3.4).
    async fn confirm_others(&self, sent: &Sent, found: &Found, exchange: &Exchange<'_>) {
        let same = |other: &&Found| {
            other.key != found.key && same_bytes(&found.entry, &other.entry.headers)
        };
        let others: Vec<_> = sent.fetch.others.iter().filter(same).cloned().collect();
        for other in others {
            let fresh = freshen(&self.settings.profile, &other.entry, exchange);
            let Freshened::Entry { mut entry, keep: true } = fresh else { continue };
            self.tag_anew(&other.entry, &mut entry);
            let id = other.entry.id;
            self.touch(&other.key, id, Arc::from(entry), sent.look.generation).await;
        }
    }

    /// Keeps a variant for the values of this request too (RFC 9111 section 4.1).
    async fn keep_too(&self, sent: &Sent, asked: &Asked, entry: &Entry) -> Option<Arc<Entry>> {
        let most = self.settings.profile.vary_bytes;
        let vary = Vary::of(&entry.headers, &asked.headers, most).ok()?;
        let entry = Entry { id: EntryId::random(), vary: Arc::new(vary), ..entry.clone() };
        let entry = Arc::new(entry);
        let primary = sent.wanted.identity.key();
        self.keep(primary, Arc::clone(&entry), sent.look.generation).await;
        Some(entry)
    }

    /// Any other response.
    async fn arrived<B>(
        self: &Arc<Self>,
        mut sent: Sent,
        asked: &Asked,
        response: Response<Source<B>>,
        tasks: Weak<Tasks>,
    ) -> Response<ResponseBody<B>>
    where
        B: http_body::Body<Data: Send, Error: Into<buttress_core::BoxError>> + Send + 'static,
    {
        let status = response.status();
        let mut said = sent.status(status);
        match self.judge(&sent, asked, &response) {
            Ok(storable) => {
                said.stored = true;
                let mut head = self.entry(&sent.wanted.identity, asked, &response, storable);
                // What was stored is in it.
                if let Some(part) = sent.look.part.as_ref().filter(|_| sent.came.is_some()) {
                    head.tags = tags_of(&part.entry.tags, &head.tags);
                }
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
                // What this request alone is the reason of says nothing of others.
                let own = matches!(status, StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT)
                    || refusal.is_some_and(Refusal::is_of_request);
                if !own {
                    for found in sent.outdated(status, response.headers()) {
                        self.forget(&found.key).await;
                    }
                }
                if sent.lead.is_some() && !own {
                    self.state.unshared.set(&sent.look.flight, self.settings.hit_for_miss);
                }
                sent.land(if own { Landing::Own } else { Landing::Alone });
                let mut response = response.map(ResponseBody::source);
                self.tell(&mut response, CacheResult::Miss, &said);
                response
            }
        }
    }

    /// The head of a response as it is stored.
    pub(super) fn entry<B>(
        &self,
        identity: &Identity,
        asked: &Asked,
        response: &Response<B>,
        storable: Storable,
    ) -> Entry {
        let Storable { policy, vary, headers } = storable;
        let mut tags = self.tags(&headers);
        tags.extend(asked.tags.iter().cloned());
        tags.extend(identity.resource().map(|_| identity.partitions()));
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
        response: Response<Source<B>>,
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
        let fill = Fill::new(body, expected, most, in_flight, finish);
        let body =
            Reader::new(Arc::clone(&fill)).map_or_else(ResponseBody::empty, ResponseBody::follow);
        (Response::from_parts(parts, body), head, fill)
    }
}

/// The length that a response announces, unless its transfer coding overrides that (RFC 9112 section
/// 6.3).
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
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
