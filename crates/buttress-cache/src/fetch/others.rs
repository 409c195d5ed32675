//! Requests whose responses are not stored, and those that nobody waits for.

use std::{borrow::Cow, future::poll_fn, pin::pin, sync::Arc, time::Duration};

use http::{Method, Response, StatusCode, Uri, header, request::Parts};
use http_body::Body;

use super::{
    Answer, Fetches, Job,
    sent::{Asked, Sent, is_news},
};
use crate::{
    CacheDirective, CacheResult, Entry, EntryId, Flags, Identity, Key, Observer, ResponseBody,
    clock,
    core::{Core, Fetch, Wanted},
    look::{Found, Look},
    rfc::{
        CacheStatus, Exchange, Forwarded, Freshened, Staleness, head_update, judge, same_bytes,
        targets,
    },
};

impl<S, B, O> Job<S, B, O>
where
    S: Fetches<B>,
    B: Send + 'static,
    O: Observer,
{
    /// Sends a HEAD on, and learns from the answer (RFC 9111 section 4.3.5).
    pub(super) async fn ask_head(self, wanted: Wanted, look: Look, fetch: Fetch) -> Answer<S, B> {
        let Self { core, mut inner, parts, body, .. } = self;
        let mut sent = Sent::new(wanted, look, fetch, None, None);
        let asked = Asked::of(&parts);
        let mut headers = parts.headers.clone();
        core.settings.keys.clean(&mut headers);
        let answer = Self::send(&mut inner, parts, body, headers).await;
        if let Some(stale) = core.instead(&mut sent, &asked, &answer) {
            return Ok(stale);
        }
        let mut response = answer?;
        let mut said = sent.status(response.status());
        if let Some((entry, place)) = core.learn(&sent, &asked, &response) {
            said.stored = place == Place::Own;
            core.note(&sent, entry, place).await;
        }
        core.tell(&mut response, CacheResult::Miss, &said);
        Ok(response.map(ResponseBody::pass))
    }

    /// Sends an unsafe request on, and makes invalid what it may have changed (RFC 9111 section 4.4).
    pub(crate) async fn change(self, target: Identity) -> Answer<S, B> {
        let Self { core, tasks, mut inner, parts, body, .. } = self;
        let mut headers = parts.headers.clone();
        core.settings.keys.clean(&mut headers);
        let seen = Parts::clone(&parts);
        let request_time = clock::now();
        let mut response = Self::send(&mut inner, parts, body, headers).await?;
        let status = response.status();
        if let Some(named) = targets(&seen.uri, status, response.headers()) {
            core.change(&target).await;
            core.forget_named(&seen, &target, &named).await;
        }
        let said = CacheStatus {
            forwarded: Some(Forwarded::Method),
            forwarded_status: Some(status.as_u16()),
            ..CacheStatus::default()
        };
        core.tell(&mut response, CacheResult::Bypass, &said);
        Ok(Self::keep_for_get(&core, &tasks, &seen, &target, response, request_time))
    }

    /// Revalidates a stored response in a task, unless somebody does already, or it failed just now.
    pub(super) fn revalidate(mut self, wanted: Wanted, look: Look, found: Found) {
        let state = Arc::clone(&self.core.state);
        if state.failing.has(&look.flight) {
            return;
        }
        let Ok(permit) = Arc::clone(&state.background).try_acquire_owned() else { return };
        let Some(lead) = state.flights.try_lead(&look.flight, &wanted.identity) else {
            return;
        };
        // A whole is renewed as that, unless parts of it are another thing.
        let of_parts = [header::RANGE, header::IF_RANGE];
        let varies = found.entry.vary.fields().any(|(name, _)| of_parts.contains(name));
        if !varies && !found.entry.policy.flags.has(Flags::PARTIAL) {
            for name in of_parts {
                self.parts.headers.remove(name);
            }
        }
        let fetch = Fetch::confirming(found, Staleness::default(), Forwarded::Stale);
        let Some(tasks) = self.tasks.upgrade() else { return };
        tasks.spawn(async move {
            let (core, flight) = (Arc::clone(&self.core), look.flight);
            let sent = Sent::new(wanted, look, fetch, Some(lead), None);
            let read = match self.fetch(sent).await {
                // Reading it to its end is what stores it.
                Ok(response) if !response.status().is_server_error() => drain(response).await,
                _ => false,
            };
            if !read {
                core.revalidation_failed(&flight);
            }
            drop(permit);
        });
    }
}

/// Where what was learnt from a HEAD is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where the stored answer to a GET is.
    Stored(Key, EntryId),
    /// Where such an answer would be.
    Own,
}

impl<O: Observer> Core<O> {
    /// What the answer to a HEAD says: a stored response to GET brought up to date, `None` if that is
    /// not what the origin has any more, or else a head for other HEAD requests.
    fn learn<B>(
        &self,
        sent: &Sent,
        asked: &Asked,
        response: &Response<B>,
    ) -> Option<(Option<Entry>, Place)> {
        let status = response.status();
        // Parts are of GET (RFC 9110 section 14.2): one to HEAD is of nothing.
        let says_nothing = status.is_server_error()
            || matches!(
                status,
                StatusCode::NOT_MODIFIED
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::RANGE_NOT_SATISFIABLE
            );
        if says_nothing {
            return None;
        }
        let stored = sent.fetch.stored.as_ref().or(sent.look.part.as_ref());
        if stored.is_some() && !is_news(status) {
            return None;
        }
        let exchange = asked.exchange(response, clock::now());
        let profile = &self.settings.profile;
        // What a HEAD and a GET may be told is the same.
        let judged = judge(profile, &Exchange { method: &Method::GET, ..exchange });
        if matches!(judged, Err(refusal) if refusal.is_of_request()) {
            return None;
        }
        let same = |found: &&Found| same_bytes(&found.entry, response.headers());
        let of_get = stored.filter(|found| !found.entry.policy.flags.has(Flags::HEAD));
        if let Some(found) = of_get {
            let entry = match head_update(profile, &found.entry, &exchange) {
                Freshened::Entry { mut entry, keep: true } => {
                    self.tag_anew(&found.entry, &mut entry);
                    Some(*entry)
                }
                // It is what it was, and may not be kept as this.
                Freshened::Entry { keep: false, .. } if same(&found) => return None,
                _ => None,
            };
            return Some((entry, Place::Stored(found.key, found.entry.id)));
        }
        let Ok(storable) = judged else {
            let differs = stored.filter(|found| !same(found));
            return differs.map(|found| (None, Place::Stored(found.key, found.entry.id)));
        };
        let mut entry = self.entry(&sent.wanted.identity, asked, response, storable);
        entry.policy.flags = entry.policy.flags.with(Flags::PARTIAL).with(Flags::HEAD);
        Some((Some(entry), Place::Own))
    }

    async fn note(&self, sent: &Sent, entry: Option<Entry>, place: Place) {
        let seen = sent.look.generation;
        match (place, entry) {
            (Place::Stored(key, id), Some(entry)) => {
                self.touch(&key, id, Arc::new(entry), seen).await;
            }
            (Place::Stored(key, _), None) => self.forget(&key).await,
            (Place::Own, Some(entry)) => {
                self.keep(sent.wanted.identity.key(), Arc::new(entry), seen).await;
            }
            (Place::Own, None) => {}
        }
    }

    /// Removes what a response to an unsafe request names, if it is of the same origin.
    async fn forget_named(&self, parts: &Parts, target: &Identity, named: &[Uri]) {
        let scope = parts.extensions.get::<CacheDirective>();
        let scope = scope.and_then(|directive| directive.scope.as_deref());
        let keys = self.settings.keys.for_changes(&parts.headers);
        for uri in named {
            let identity = keys.identify_at(parts, &self.own_name(uri), scope);
            let same_origin = identity.ok().filter(|named| named.origin() == target.origin());
            if let Some(identity) = same_origin.filter(|named| named.key() != target.key()) {
                self.change(&identity).await;
            }
        }
    }

    /// A URI of the origin under its other name, as clients know it here.
    pub(super) fn own_name<'a>(&self, uri: &'a Uri) -> Cow<'a, Uri> {
        let alias = uri.authority().is_some_and(|name| self.settings.aliases.contains(name));
        match uri.path_and_query().filter(|_| alias) {
            Some(path) => Cow::Owned(Uri::from(path.clone())),
            None => Cow::Borrowed(uri),
        }
    }

    fn revalidation_failed(&self, flight: &Key) {
        let backoff: Duration = self.settings.backoff;
        self.state.failing.set(flight, backoff);
        self.observer.revalidation_failed();
        tracing::debug!(?flight, "a background revalidation failed");
    }
}

/// Reads a body to its end and keeps nothing of it; says whether it got there.
async fn drain<B: Body>(response: Response<B>) -> bool {
    let mut body = pin!(response.into_body());
    loop {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(Ok(_)) => {}
            end => return end.is_none(),
        }
    }
}
