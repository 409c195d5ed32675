//! Requests whose responses are not stored, and those that nobody waits for.

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use http::{Response, StatusCode, Uri, request::Parts};
use http_body::Body;

use super::{Answer, Fetches, Job, sent::Sent};
use crate::{
    CacheDirective, CacheResult, Identity, Observer, ResponseBody, clock,
    core::{Core, Fetch, Wanted},
    look::{Found, Look},
    rfc::{CacheStatus, Exchange, Forwarded, Staleness, head_update, targets},
};

impl<S, B, O> Job<S, B, O>
where
    S: Fetches<B>,
    B: Send + 'static,
    O: Observer,
{
    /// Sends a HEAD on, and learns from the answer (RFC 9111 section 4.3.5).
    pub(super) async fn ask_head(self, wanted: &Wanted, look: Look, fetch: Fetch) -> Answer<S, B> {
        let Self { core, mut inner, parts, body, .. } = self;
        let (method, asked) = (parts.method.clone(), parts.headers.clone());
        let mut headers = asked.clone();
        core.settings.keys.clean(&mut headers);
        let request_time = clock::now();
        let mut response = Self::send(&mut inner, parts, body, headers).await?;
        let now = clock::now();
        let status = response.status();
        let exchange = Exchange::new(&method, &asked, status, response.headers(), now);
        let exchange = exchange.sent_at(request_time);
        let tells = !status.is_server_error() && status != StatusCode::NOT_MODIFIED;
        let stored = fetch.stored.as_ref().or(look.part.as_ref());
        if let Some(found) = stored.filter(|_| tells) {
            match head_update(&core.settings.profile, &found.entry, &exchange) {
                Some(mut entry) => {
                    core.tag_anew(&found.entry, &mut entry);
                    core.touch(&found.key, found.entry.id, Arc::from(entry), look.generation).await;
                }
                None => core.forget(&found.key).await,
            }
        }
        let said = CacheStatus {
            forwarded: Some(if wanted.refresh { Forwarded::Request } else { fetch.why }),
            forwarded_status: Some(status.as_u16()),
            ..CacheStatus::default()
        };
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
            core.change(target.key()).await;
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
    pub(super) fn revalidate(self, wanted: Wanted, look: Look, found: Found) {
        let state = Arc::clone(&self.core.state);
        if state.failing.has(&look.flight) {
            return;
        }
        let Ok(permit) = Arc::clone(&state.background).try_acquire_owned() else { return };
        let Some(lead) = state.flights.try_lead(&look.flight, wanted.identity.key()) else {
            return;
        };
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

impl<O: Observer> Core<O> {
    /// Removes what a response to an unsafe request names, if it is of the same origin.
    async fn forget_named(&self, parts: &Parts, target: &Identity, named: &[Uri]) {
        let scope = parts.extensions.get::<CacheDirective>();
        let scope = scope.and_then(|directive| directive.scope.as_deref());
        let keys = self.settings.keys.for_changes(&parts.headers);
        for uri in named {
            let alias = uri.authority().is_some_and(|name| self.settings.aliases.contains(name));
            let path = uri.path_and_query().filter(|_| alias);
            let local = path.map(|path| Uri::from(path.clone()));
            let uri = local.as_ref().unwrap_or(uri);
            let identity = keys.identify_at(parts, uri, scope);
            let same_origin = identity.ok().filter(|named| named.origin() == target.origin());
            if let Some(identity) = same_origin.filter(|named| named.key() != target.key()) {
                self.change(identity.key()).await;
            }
        }
    }

    fn revalidation_failed(&self, flight: &crate::Key) {
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
