//! A request that goes to the inner service: with which conditions, and what its answer means.

use std::time::Duration;

use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};

use crate::{
    CacheDirective, Time, clock,
    core::{Fetch, Wanted},
    flight::{Landing, Lead},
    look::{Found, Look},
    rfc::{
        CacheStatus, Exchange, Joined, fits, names_own, same_bytes, select, validate, validate_any,
    },
};

/// A request that goes to the inner service, and why.
pub(crate) struct Sent {
    pub(super) wanted: Wanted,
    pub(super) look: Look,
    pub(super) fetch: Fetch,
    pub(super) lead: Option<Lead>,
    detail: Option<&'static str>,
    /// Whether it can be sent again.
    again: bool,
    /// The status that came, where it is not that of the answer.
    pub(super) came: Option<StatusCode>,
}

/// Whether a response says that what the resource was before is no more, also if it is not stored
/// itself.
///
/// RFC 9111 leaves that to the cache. A new representation takes the place of the old, whether it may
/// be stored or not; a redirection says that there is none here; 404, 405, 410 and 451 that there is
/// none any more. All else speaks of the request or of the moment: who asked (401, 403, 407), how (the
/// other statuses that begin with 4), how often (429), for which part (206, 416), or of a server that
/// cannot say (5xx). What is stored is as good as it was, and may still be confirmed.
pub(super) fn is_news(status: StatusCode) -> bool {
    match status.as_u16() {
        206 | 304 => false,
        404 | 405 | 410 | 451 => true,
        _ => status.is_success() || status.is_redirection(),
    }
}

/// What an answer means, given the conditions under which it was asked for.
pub(super) enum Verdict {
    /// What it says.
    Plain,
    /// This stored response is good.
    Confirmed(Found),
    /// This is what was missing of what is stored.
    Joined(Joined),
    /// Nothing: it has to be asked for without conditions.
    Again,
}

impl Sent {
    pub(super) const fn new(
        wanted: Wanted,
        look: Look,
        fetch: Fetch,
        lead: Option<Lead>,
        detail: Option<&'static str>,
    ) -> Self {
        Self { wanted, look, fetch, lead, detail, again: false, came: None }
    }

    /// Puts the cache's own conditions into the request, and says whether there are any. Those that
    /// may come to nothing need a request that can be sent again.
    pub(super) fn conditions(&mut self, request: &mut HeaderMap, again: bool) -> bool {
        self.again = again;
        if !again {
            self.fetch.rest = None;
            self.fetch.others.clear();
        }
        if let Some(rest) = &self.fetch.rest {
            rest.ask(request);
            return true;
        }
        if !self.fetch.others.is_empty() {
            validate_any(request, self.fetch.others.iter().map(|found| &*found.entry));
            return true;
        }
        let validates = self.fetch.validates();
        if let Some(found) = validates {
            validate(request, &found.entry, again);
        }
        validates.is_some()
    }

    /// Gives up the cache's own conditions, and those of the client in whose place they were.
    pub(super) fn unconditional(&mut self, request: &mut HeaderMap) {
        if self.fetch.validates().is_some() {
            request.remove(header::IF_NONE_MATCH);
            request.remove(header::IF_MODIFIED_SINCE);
        }
        self.fetch.rest = None;
        self.fetch.others.clear();
        self.fetch.confirms = false;
    }

    /// `asked` is what the client asked with.
    pub(super) fn verdict<B>(&self, asked: &HeaderMap, response: &Response<B>) -> Verdict {
        let (status, headers) = (response.status(), response.headers());
        if let (Some(rest), Some(part)) = (&self.fetch.rest, &self.look.part) {
            return match status {
                StatusCode::PARTIAL_CONTENT => {
                    rest.join(&part.entry, status, headers).map_or(Verdict::Again, Verdict::Joined)
                }
                // It may hold for what was asked for, and not for what the client asked for.
                StatusCode::NOT_MODIFIED
                | StatusCode::PRECONDITION_FAILED
                | StatusCode::RANGE_NOT_SATISFIABLE => Verdict::Again,
                _ => Verdict::Plain,
            };
        }
        if status != StatusCode::NOT_MODIFIED {
            return Verdict::Plain;
        }
        if !self.fetch.others.is_empty() {
            let selected = select(self.fetch.others.iter().map(|found| &*found.entry), headers);
            let selected = selected.and_then(|at| self.fetch.others.get(at));
            return selected.cloned().map_or(Verdict::Again, Verdict::Confirmed);
        }
        let Some(found) = self.fetch.validates() else { return Verdict::Plain };
        // The client's own tags were sent only if it can be asked again.
        let own = if self.again { names_own(asked, &found.entry, headers) } else { Some(false) };
        match own {
            Some(true) => Verdict::Plain,
            Some(false) if fits(&found.entry, headers) => Verdict::Confirmed(found.clone()),
            _ => Verdict::Again,
        }
    }

    /// What is stored and is no more what the origin has, given an answer that is not stored itself. One
    /// of the same bytes says nothing against it.
    pub(super) fn outdated(&self, status: StatusCode, response: &HeaderMap) -> Vec<Found> {
        if self.wanted.prompt.is_some() || !is_news(status) {
            return Vec::new();
        }
        let stored = self.fetch.stored.iter().chain(&self.look.part);
        let differs = |found: &&Found| !same_bytes(&found.entry, response);
        stored.filter(differs).cloned().collect()
    }

    pub(super) fn land(&mut self, landing: Landing) {
        if let Some(lead) = self.lead.take() {
            lead.land(landing);
        }
    }

    pub(super) fn status(&self, status: StatusCode) -> CacheStatus {
        CacheStatus {
            forwarded: Some(self.fetch.why),
            forwarded_status: Some(self.came.unwrap_or(status).as_u16()),
            detail: self.detail,
            ..CacheStatus::default()
        }
    }
}

/// The request that a response answers, for the engine.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<crate::Tag>,
    pub(super) request_time: Time,
}

impl Asked {
    pub(super) fn of(parts: &Parts) -> Self {
        let directive = parts.extensions.get::<CacheDirective>();
        Self {
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            ttl: directive.and_then(|directive| directive.ttl),
            tags: directive.map_or_else(Vec::new, |directive| directive.tags.clone()),
            request_time: clock::now(),
        }
    }

    pub(super) fn exchange<'a, B>(&'a self, response: &'a Response<B>, now: Time) -> Exchange<'a> {
        Exchange::new(&self.method, &self.headers, response.status(), response.headers(), now)
            .sent_at(self.request_time)
    }
}
