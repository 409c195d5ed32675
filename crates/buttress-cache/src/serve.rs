//! Responses made of what is stored.

use std::{
    io::{Cursor, Write as _},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::{
    CacheOutcome, CacheResult, Chunks, Entry, Observer, ResponseBody, Time, clock,
    core::{Core, Wanted},
    rfc::{CacheStatus, Flags, Forwarded, Held, Served, date_stands, not_modified, serve},
};

/// The field of RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Fields that describe a body, and so have no place in a 304 (RFC 9110 section 15.4.5).
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_RANGE,
];

impl<O: Observer> Core<O> {
    /// Answers a request with a stored response: all of it, a part, its head, or that it has not
    /// changed. Whoever knows why it was not answered at once [restates](Self::restate) that.
    pub(crate) fn serve<B>(
        &self,
        entry: &Arc<Entry>,
        wanted: &Wanted,
        request: &HeaderMap,
        result: CacheResult,
        now: Time,
    ) -> Response<ResponseBody<B>> {
        let whole = |body: Chunks| ResponseBody::stored(body);
        let mut response = self.head(entry, wanted, request, result, now, whole);
        if wanted.head {
            if !entry.policy.flags.has(Flags::HEAD) && response.status() != StatusCode::NOT_MODIFIED
            {
                let length = HeaderValue::from(entry.body.length());
                response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length);
            }
            *response.body_mut() = ResponseBody::empty();
        }
        response
    }

    /// The same with a body that `whole` makes, unless the request's preconditions or its range call
    /// for another.
    pub(crate) fn head<B>(
        &self,
        entry: &Arc<Entry>,
        wanted: &Wanted,
        request: &HeaderMap,
        result: CacheResult,
        now: Time,
        whole: impl FnOnce(Chunks) -> ResponseBody<B>,
    ) -> Response<ResponseBody<B>> {
        // What is here of a part is part of a 200.
        let part_of_it = entry.policy.flags.has(Flags::PARTIAL);
        let ok = entry.status == StatusCode::OK || part_of_it;
        // RFC 9110 section 13.2.1: of an answer of any success.
        let unchanged =
            entry.status.is_success() && wanted.ask.conditional && not_modified(request, entry);
        let mut headers = entry.headers.clone();
        let (status, body) = if unchanged {
            for name in OF_THE_BODY {
                headers.remove(name);
            }
            (StatusCode::NOT_MODIFIED, ResponseBody::empty())
        } else if ok && wanted.ask.range && result != CacheResult::Collapsed {
            part(entry, request, &mut headers)
        } else {
            (entry.status, whole(entry.body.clone()))
        };
        let age = entry.policy.age(now);
        headers.insert(header::AGE, number(age.as_secs()));
        if let Some(name) = &self.settings.status_name {
            let status = CacheStatus {
                hit: matches!(result, CacheResult::Hit | CacheResult::Stale),
                ttl: Some(ttl(entry, now)),
                ..CacheStatus::default()
            };
            headers.append(CACHE_STATUS, status.write(name));
        }
        let outcome = CacheOutcome::new(result, age);
        self.answered(&outcome);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.extensions_mut().insert(outcome);
        response
    }

    /// 504: nothing is stored, and the request wants nothing else (RFC 9111 section 5.2.1.7).
    pub(crate) fn unsatisfied<B>(&self) -> Response<ResponseBody<B>> {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        let status = CacheStatus { detail: Some("only-if-cached"), ..CacheStatus::default() };
        self.tell(&mut response, CacheResult::Unsatisfied, &status);
        response
    }

    /// Says something else about a response that [`serve`](Self::serve) made.
    pub(crate) fn restate<B>(&self, response: &mut Response<B>, status: &CacheStatus) {
        let Some(name) = &self.settings.status_name else { return };
        let headers = response.headers_mut();
        let mut lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().cloned().collect();
        lines.pop();
        headers.remove(CACHE_STATUS);
        for line in lines.into_iter().chain([status.write(name)]) {
            headers.append(CACHE_STATUS, line);
        }
    }

    /// Says why a request went on that is answered with the fetch of another.
    pub(crate) fn restate_shared<B>(
        &self,
        response: &mut Response<B>,
        entry: &Entry,
        result: CacheResult,
        why: Forwarded,
    ) {
        let status = CacheStatus {
            forwarded: Some(why),
            forwarded_status: (result == CacheResult::Revalidated).then_some(304),
            ttl: Some(ttl(entry, clock::now())),
            collapsed: true,
            ..CacheStatus::default()
        };
        self.restate(response, &status);
    }

    /// Says in a response from the inner service what the cache had to do with it.
    pub(crate) fn tell<B>(
        &self,
        response: &mut Response<B>,
        result: CacheResult,
        status: &CacheStatus,
    ) {
        if let Some(name) = &self.settings.status_name {
            response.headers_mut().append(CACHE_STATUS, status.write(name));
        }
        let outcome = CacheOutcome::new(result, std::time::Duration::ZERO);
        self.answered(&outcome);
        response.extensions_mut().insert(outcome);
    }
}

/// Writes a number on the stack, which saves an allocation over the value's own way.
fn number(number: u64) -> HeaderValue {
    let mut text = Cursor::new([0; 20]);
    // There is room for the largest.
    let _ = write!(text, "{number}");
    let end = usize::try_from(text.position()).unwrap_or_default();
    let digits = text.get_ref().get(..end).unwrap_or_default();
    HeaderValue::from_bytes(digits).unwrap_or_else(|_| HeaderValue::from(number))
}

/// How many seconds of freshness are left; less than none if it is stale.
pub(crate) fn ttl(entry: &Entry, now: Time) -> i64 {
    let secs = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let left = secs(entry.policy.lifetime()).saturating_sub(secs(entry.policy.age(now)));
    left.saturating_sub(i64::from(entry.policy.overdue))
}

/// What a request for a part gets of a stored response, which may be a part itself; `None` if that has
/// not what is asked for.
pub(crate) fn cut(entry: &Entry, request: &HeaderMap) -> Option<Served> {
    let partial = entry.policy.flags.has(Flags::PARTIAL);
    if !date_stands(request, entry) {
        return (!partial).then_some(Served::Whole);
    }
    serve(request, &entry.headers, &Held::of(entry)?, partial)
}

/// Takes out what a client that has a part of the same already knows (RFC 9110 section 15.3.7).
fn leave_out_what_is_known(headers: &mut HeaderMap) {
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
        headers.remove(name);
    }
    if headers.contains_key(header::ETAG) {
        headers.remove(header::LAST_MODIFIED);
    }
}

/// The part that is asked for; the whole if none that counts.
fn part<B>(
    entry: &Entry,
    request: &HeaderMap,
    headers: &mut HeaderMap,
) -> (StatusCode, ResponseBody<B>) {
    match cut(entry, request) {
        Some(Served::Part(parts)) => {
            if request.contains_key(header::IF_RANGE) {
                leave_out_what_is_known(headers);
            }
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(parts.body.length()));
            headers.remove(header::CONTENT_RANGE);
            if let Some(value) = parts.content_range {
                headers.insert(header::CONTENT_RANGE, value);
            }
            if let Some(value) = parts.content_type {
                headers.insert(header::CONTENT_TYPE, value);
            }
            (StatusCode::PARTIAL_CONTENT, ResponseBody::stored(parts.body))
        }
        Some(Served::Unsatisfiable(value)) => {
            // It says nothing of the response, and must not be kept for it by anybody.
            let date = headers.remove(header::DATE);
            headers.clear();
            headers.extend(date.map(|date| (header::DATE, date)));
            headers.insert(header::CONTENT_RANGE, value);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            (StatusCode::RANGE_NOT_SATISFIABLE, ResponseBody::empty())
        }
        // Spans are never served as if they were one. It is not asked for what it has not.
        None if entry.policy.flags.has(Flags::PARTIAL) => {
            headers.clear();
            (StatusCode::GATEWAY_TIMEOUT, ResponseBody::empty())
        }
        Some(Served::Whole) | None => (entry.status, ResponseBody::stored(entry.body.clone())),
    }
}
