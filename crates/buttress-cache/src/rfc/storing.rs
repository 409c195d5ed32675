//! Whether a response is stored, and what its head says of its reuse (RFC 9111 sections 3 and 4.2).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    Delta, Directives, Flags, Policy, Profile, SetCookie, Vary, date,
    kept::kept,
    list::Members,
    parts::{part_of, strong_validator},
    profile::{is_heuristic, is_never_stored, is_understood},
};
use crate::Time;

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The method's responses are not stored.
    Method,
    /// The request says `no-store`.
    Request,
    /// The response says `no-store`, or nobody can tell what it says.
    NoStore,
    /// It is for one user.
    Private,
    /// The request was authorised, and the response does not say that others may have it.
    Authorization,
    /// The status has rules that are not known here.
    Status,
    /// It answers no other request, or depends on too much.
    Vary,
    /// It sets cookies.
    SetCookie,
    /// It is neither fresh for any time nor can it be revalidated.
    Freshness,
}

impl Refusal {
    /// Whether the request is the reason, so that it says nothing of what others get.
    pub(crate) const fn is_of_request(self) -> bool {
        matches!(self, Self::Authorization | Self::Request)
    }

    /// A short name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Request => "request_no_store",
            Self::NoStore => "no_store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::Status => "status",
            Self::Vary => "vary",
            Self::SetCookie => "set_cookie",
            Self::Freshness => "no_freshness",
        }
    }
}

/// The head of a request and its response, with the times at which they went and came.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub struct Exchange<'a> {
    pub method: &'a Method,
    pub request: &'a HeaderMap,
    pub status: StatusCode,
    pub response: &'a HeaderMap,
    pub request_time: Time,
    pub response_time: Time,
}

impl<'a> Exchange<'a> {
    /// A request and its response that went and came at the same moment.
    #[must_use]
    pub const fn new(
        method: &'a Method,
        request: &'a HeaderMap,
        status: StatusCode,
        response: &'a HeaderMap,
        now: Time,
    ) -> Self {
        Self { method, request, status, response, request_time: now, response_time: now }
    }

    /// Says when the request went.
    #[must_use]
    pub const fn sent_at(mut self, time: Time) -> Self {
        self.request_time = time;
        self
    }
}

/// What is kept of a response that is stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Storable {
    /// What may be done with it.
    pub policy: Policy,
    /// Which requests it answers.
    pub vary: Vary,
    /// Its fields, without those that are not stored.
    pub headers: HeaderMap,
}

/// Decides whether a response is stored.
///
/// A method other than GET has a response that can be stored for a later GET only if it is POST, and
/// it says for how long and under which URI (RFC 9110 section 9.3.3); the URI is the caller's to
/// check.
///
/// # Errors
///
/// The reason why not.
pub fn judge(profile: &Profile, exchange: &Exchange<'_>) -> Result<Storable, Refusal> {
    let control = Control::of(profile, exchange.response);
    may_store(profile, exchange, &control)?;
    let vary = Vary::of(exchange.response, exchange.request, profile.vary_bytes);
    let vary = vary.map_err(|_| Refusal::Vary)?;
    let policy = policy(profile, exchange, &control);
    is_allowed(profile, exchange, &control)?;
    is_worth_it(exchange, &policy)?;
    let headers = kept(profile, exchange.response, &control.directives, exchange.response_time);
    let vary = selection(exchange, vary, &headers);
    Ok(Storable { policy, vary, headers })
}

/// Decides whether a response is stored that is fresh for `ttl` because the program says so.
///
/// # Errors
///
/// The reason why not; its own freshness is none.
pub(crate) fn judge_for(
    profile: &Profile,
    exchange: &Exchange<'_>,
    ttl: Duration,
) -> Result<Storable, Refusal> {
    let control = Control::of(profile, exchange.response);
    may_store(profile, exchange, &control)?;
    let vary = Vary::of(exchange.response, exchange.request, profile.vary_bytes);
    let vary = vary.map_err(|_| Refusal::Vary)?;
    let policy = policy(profile, exchange, &control).lasting(ttl);
    let headers = kept(profile, exchange.response, &control.directives, exchange.response_time);
    let vary = selection(exchange, vary, &headers);
    Ok(Storable { policy, vary, headers })
}

/// By what requests find a response. Parts that nothing holds together are kept apart, each for its
/// own `Range`.
fn selection(exchange: &Exchange<'_>, vary: Vary, headers: &HeaderMap) -> Vary {
    let part = exchange.status == StatusCode::PARTIAL_CONTENT;
    if part && strong_validator(headers).is_none() {
        return vary.and_range(exchange.request);
    }
    vary
}

/// Decides whether the answer to a prompt is stored. Its scope is in its key and its lifetime is the
/// route's, so of what it says itself only `no-store` and `Vary` count; cookies are left out, since
/// load balancers set them on every answer.
///
/// # Errors
///
/// The reason why not.
pub(crate) fn judge_prompt(
    profile: &Profile,
    exchange: &Exchange<'_>,
    ttl: Duration,
) -> Result<Storable, Refusal> {
    let control = Control::of(profile, exchange.response);
    if Directives::of(exchange.request).no_store {
        return Err(Refusal::Request);
    }
    if control.directives.no_store {
        return Err(Refusal::NoStore);
    }
    if !exchange.status.is_success() || exchange.status == StatusCode::PARTIAL_CONTENT {
        return Err(Refusal::Status);
    }
    let vary = Vary::of(exchange.response, exchange.request, profile.vary_bytes);
    let vary = vary.map_err(|_| Refusal::Vary)?;
    let policy = Policy {
        lifetime: 0,
        overdue: 0,
        initial_age: initial_age(exchange),
        response_time: exchange.response_time,
        while_revalidate: 0,
        if_error: None,
        flags: Flags::POSTED,
    };
    let received = exchange.response_time;
    let mut headers = kept(profile, exchange.response, &control.directives, received);
    headers.remove(header::SET_COOKIE);
    Ok(Storable { policy: policy.lasting(ttl), vary, headers })
}

/// The directives that count for this cache.
pub(crate) struct Control {
    pub(crate) directives: Directives,
    /// They come from a targeted field, so that `Expires` counts for nothing.
    targeted: bool,
}

impl Control {
    pub(crate) fn of(profile: &Profile, response: &HeaderMap) -> Self {
        let mut targeted = profile.targeted.iter();
        match targeted.find_map(|name| Directives::targeted(response, name)) {
            Some(directives) => Self { directives, targeted: true },
            None => Self { directives: Directives::of(response), targeted: false },
        }
    }

    /// The lifetime that the response gives itself, in seconds (RFC 9111 section 4.2.1). One that ended
    /// before it began is less than nothing.
    fn lifetime(&self, profile: &Profile, response: &HeaderMap, received: Time) -> Option<i64> {
        let secs = |secs: u64| i64::try_from(secs.min(Delta::MOST)).unwrap_or(i64::MAX);
        let shared = profile.is_shared().then(|| self.directives.s_maxage.lifetime()).flatten();
        let explicit = shared.or_else(|| self.directives.max_age.lifetime());
        if explicit.is_some() || self.targeted || !response.contains_key(header::EXPIRES) {
            return explicit.map(secs);
        }
        // An invalid date lies in the past (RFC 9111 section 5.3).
        let Some(expires) = date::field(response, &header::EXPIRES) else { return Some(0) };
        let from = date::field(response, &header::DATE).unwrap_or(received);
        Some(secs(expires.since(from).as_secs()) - secs(from.since(expires).as_secs()))
    }
}

fn may_store(profile: &Profile, exchange: &Exchange<'_>, control: &Control) -> Result<(), Refusal> {
    let directives = &control.directives;
    if !matches!(*exchange.method, Method::GET | Method::POST) {
        return Err(Refusal::Method);
    }
    if Directives::of(exchange.request).no_store {
        return Err(Refusal::Request);
    }
    let status = exchange.status;
    let part = status == StatusCode::PARTIAL_CONTENT;
    // What answers a condition or a range of this request answers no other.
    let range = exchange.request.contains_key(header::RANGE);
    let own = status == StatusCode::NOT_MODIFIED
        || (range && status == StatusCode::RANGE_NOT_SATISFIABLE);
    let never = own || status.is_informational() || is_never_stored(status);
    if never || (part && !is_one_part(exchange)) {
        return Err(Refusal::Status);
    }
    let understood = is_understood(status);
    if directives.must_understand && !understood {
        return Err(Refusal::Status);
    }
    if directives.no_store && !(directives.must_understand && understood) {
        return Err(Refusal::NoStore);
    }
    if profile.is_shared() && directives.private.is_whole() {
        return Err(Refusal::Private);
    }
    let authorised = exchange.request.contains_key(header::AUTHORIZATION);
    // RFC 9111 section 3.5. An invalid number shows no intention to share.
    let for_others =
        directives.public || directives.must_revalidate || directives.s_maxage.secs().is_some();
    if profile.is_shared() && authorised && !for_others {
        return Err(Refusal::Authorization);
    }
    let sets_cookie = exchange.response.contains_key(header::SET_COOKIE);
    if sets_cookie && profile.set_cookie == SetCookie::Refuse {
        return Err(Refusal::SetCookie);
    }
    Ok(())
}

/// Whether a 206 is one part of a whole whose length is known, as it was asked for.
fn is_one_part(exchange: &Exchange<'_>) -> bool {
    /// A longer `Range` asks for more than one part, or for nothing sensible.
    const LONGEST: usize = 64;
    let range = exchange.request.get(header::RANGE);
    *exchange.method == Method::GET
        && range.is_some_and(|range| range.len() <= LONGEST)
        && part_of(exchange.status, exchange.response).is_some()
}

/// Whether a response says in any way that it may be stored (the list at the end of RFC 9111 section
/// 3). A validator alone does not, nor does how long it may be stale.
fn is_allowed(
    profile: &Profile,
    exchange: &Exchange<'_>,
    control: &Control,
) -> Result<(), Refusal> {
    let Control { directives, targeted } = control;
    let for_this = if profile.is_shared() {
        directives.s_maxage != Delta::Absent
    } else {
        directives.private.is_present()
    };
    let says = for_this
        || directives.public
        || directives.max_age != Delta::Absent
        || (!targeted && exchange.response.contains_key(header::EXPIRES))
        || is_heuristic(exchange.status);
    says.then_some(()).ok_or(Refusal::Freshness)
}

/// What can never be reused is not worth its room.
fn is_worth_it(exchange: &Exchange<'_>, policy: &Policy) -> Result<(), Refusal> {
    let explicit = policy.lifetime > 0 && !policy.flags.has(Flags::HEURISTIC);
    if *exchange.method == Method::POST && !explicit {
        return Err(Refusal::Method);
    }
    if policy.flags.has(Flags::VALIDATOR) {
        return Ok(());
    }
    let stale = policy.while_revalidate.max(policy.if_error.unwrap_or_default());
    // One that arrives stale may still serve who takes it stale.
    let usable = policy.lifetime > 0 || stale > 0;
    if !usable || policy.flags.has(Flags::NO_CACHE) {
        return Err(Refusal::Freshness);
    }
    Ok(())
}

/// Reads a head into numbers.
pub(crate) fn policy(profile: &Profile, exchange: &Exchange<'_>, control: &Control) -> Policy {
    let Exchange { response, response_time, .. } = *exchange;
    let directives = &control.directives;
    let explicit = control.lifetime(profile, response, response_time);
    let guess = || guess(profile, exchange, directives).and_then(|secs| i64::try_from(secs).ok());
    let lifetime = explicit.or_else(guess);
    let shared = profile.is_shared();
    let must_revalidate = directives.must_revalidate
        || (shared && (directives.proxy_revalidate || directives.s_maxage != Delta::Absent));
    let has = |name| response.contains_key(name);
    let secs = |delta: Delta| delta.secs().map(|secs| secs * 1000);
    let flags = [
        (Flags::NO_CACHE, directives.no_cache.is_whole()),
        (Flags::MUST_REVALIDATE, must_revalidate),
        (Flags::HEURISTIC, explicit.is_none() && lifetime.is_some()),
        (Flags::VALIDATOR, has(header::ETAG) || has(header::LAST_MODIFIED)),
        (Flags::POSTED, *exchange.method == Method::POST),
        (Flags::PARTIAL, exchange.status == StatusCode::PARTIAL_CONTENT),
    ];
    Policy {
        lifetime: u64::try_from(lifetime.unwrap_or(0)).unwrap_or(0).saturating_mul(1000),
        overdue: lifetime.map_or(0, |secs| u32::try_from(secs.saturating_neg()).unwrap_or(0)),
        initial_age: initial_age(exchange),
        response_time,
        while_revalidate: secs(directives.stale_while_revalidate).unwrap_or(0),
        if_error: secs(directives.stale_if_error),
        flags: flags.into_iter().fold(Flags::default(), |all, (flag, so)| all.with(flag.when(so))),
    }
}

/// RFC 9111 section 4.2.2: only where the response gives no lifetime of its own.
fn guess(profile: &Profile, exchange: &Exchange<'_>, directives: &Directives) -> Option<u64> {
    let heuristic = profile.heuristic?;
    let status = exchange.status;
    let allowed = is_heuristic(status) || directives.public;
    // A server that still says so to caches of HTTP/1.0 does not want to be guessed at.
    let pragma = says_no_cache(exchange.response);
    if !allowed || pragma || *exchange.method != Method::GET {
        return None;
    }
    let modified = date::field(exchange.response, &header::LAST_MODIFIED)?;
    let date = date::field(exchange.response, &header::DATE).unwrap_or(exchange.response_time);
    let percent = date.since(modified).as_secs().saturating_mul(heuristic.percent) / 100;
    Some(percent.min(heuristic.most))
}

/// RFC 9111 section 4.2.3, in milliseconds. Dates know seconds only, so they are compared as such.
fn initial_age(exchange: &Exchange<'_>) -> u64 {
    let received = exchange.response_time;
    let date = date::field(exchange.response, &header::DATE);
    let apparent = date.map_or(0, |date| {
        (received.millis() / 1000).saturating_sub(date.millis() / 1000).saturating_mul(1000)
    });
    let delay = received.millis().saturating_sub(exchange.request_time.millis());
    let corrected = age_value(exchange.response).saturating_mul(1000).saturating_add(delay);
    apparent.max(corrected)
}

/// The first member of `Age`; what is no number is ignored (RFC 9111 section 5.1).
fn age_value(response: &HeaderMap) -> u64 {
    let first = response.get(header::AGE).map(HeaderValue::as_bytes);
    let first = first.and_then(|line| line.split(|&byte| byte == b',').next());
    first.map_or(0, |value| Delta::digits(value.trim_ascii()).secs().unwrap_or(0))
}

/// Whether `Pragma` says `no-cache` (RFC 9111 section 5.4).
pub(crate) fn says_no_cache(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::PRAGMA)
        .iter()
        .flat_map(|line| Members::of(line.as_bytes()))
        .any(|member| member.eq_ignore_ascii_case(b"no-cache"))
}
