//! A stored response brought up to date (RFC 9111 sections 3.2, 4.3.4 and 4.3.5).

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{
    Exchange, Flags, Profile, conditional, kept,
    parts::{Held, has_strong_date},
    storing::{self, Control},
};
use crate::{Entry, EntryId};

/// What came of a 304, or of a HEAD.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Freshened {
    /// The stored response, up to date. What it says of its storage may have changed too:
    /// `keep` is false if it must not be stored any longer.
    Entry {
        /// The new version.
        entry: Box<Entry>,
        /// Whether it stays stored.
        keep: bool,
    },
    /// It speaks of another response; this one must not be updated by it.
    Other,
}

/// Puts the fields of a 304 into a stored response and reckons its freshness anew.
#[must_use]
pub fn freshen(profile: &Profile, entry: &Entry, exchange: &Exchange<'_>) -> Freshened {
    if !conditional::fits(entry, exchange.response) {
        return Freshened::Other;
    }
    updated(profile, entry, exchange)
}

fn updated(profile: &Profile, entry: &Entry, exchange: &Exchange<'_>) -> Freshened {
    let mut updates = kept::updates(profile, exchange.response, exchange.response_time);
    if !may_be_tagged(entry) {
        updates.remove(header::ETAG);
    }
    let mut headers = entry.headers.clone();
    for name in updates.keys() {
        headers.remove(name);
    }
    for (name, value) in &updates {
        headers.append(name, value.clone());
    }
    kept::withheld_too(profile, &mut headers);
    let control = Control::of(profile, &headers);
    let posted = entry.policy.flags.has(Flags::POSTED);
    // The age is that of the new response, so it is not in what was stored.
    let with_age = with_age(&headers, exchange.response);
    let seen = Exchange {
        method: if posted { &Method::POST } else { &Method::GET },
        status: entry.status,
        response: with_age.as_ref().unwrap_or(&headers),
        ..*exchange
    };
    let mut policy = storing::policy(profile, &seen, &control);
    policy.flags = policy.flags.with(Flags::WEAK_DATE.when(!date_stays_strong(entry, &headers)));
    // Selected by other fields than it was stored under, it would be found by the wrong requests.
    let same_selection = lines(&headers, &header::VARY).eq(lines(&entry.headers, &header::VARY));
    // What is stored of a part is a response with status 200 that is not complete (section 3.3).
    let part = entry.policy.flags.has(Flags::PARTIAL);
    let seen = Exchange { status: if part { StatusCode::OK } else { entry.status }, ..seen };
    let keep = same_selection && storing::judge(profile, &seen).is_ok();
    let entry = Entry {
        id: EntryId::random(),
        headers,
        policy,
        request_time: exchange.request_time,
        ..entry.clone()
    };
    Freshened::Entry { entry: Box::new(entry), keep }
}

/// Whether an entity tag that comes with a 304 is one of the stored bytes.
///
/// What has one keeps it: another that differs in strength is of the same thing before or after it was
/// coded. What has none gets one only if it is not coded, and its date stands for the bytes.
fn may_be_tagged(entry: &Entry) -> bool {
    let has = |name| entry.headers.contains_key(name);
    !has(header::ETAG)
        && !has(header::CONTENT_ENCODING)
        && !entry.policy.flags.has(Flags::WEAK_DATE)
        && has_strong_date(&entry.headers)
}

/// Whether the date of modification still stands for the very bytes: by the `Date` of the response that
/// brought them, not by that of this one (RFC 9110 section 8.8.2.2).
fn date_stays_strong(entry: &Entry, headers: &HeaderMap) -> bool {
    !entry.policy.flags.has(Flags::WEAK_DATE)
        && has_strong_date(&entry.headers)
        && lines(headers, &header::LAST_MODIFIED).eq(lines(&entry.headers, &header::LAST_MODIFIED))
}

fn lines<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
    headers.get_all(name).into_iter()
}

fn with_age(headers: &HeaderMap, response: &HeaderMap) -> Option<HeaderMap> {
    let age = response.get(header::AGE)?;
    let mut headers = headers.clone();
    headers.insert(header::AGE, age.clone());
    Some(headers)
}

/// What the answer to a HEAD request says of a stored response to GET: the response up to date, or
/// that it is not what the origin has any more (RFC 9111 section 4.3.5).
#[must_use]
pub fn head_update(profile: &Profile, entry: &Entry, exchange: &Exchange<'_>) -> Freshened {
    let part = entry.policy.flags.has(Flags::PARTIAL);
    if exchange.status != StatusCode::OK || (entry.status != StatusCode::OK && !part) {
        return Freshened::Other;
    }
    let Some(held) = Held::of(entry) else { return Freshened::Other };
    let length = held.total();
    let same = [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH].iter().all(|name| {
        match exchange.response.get(name) {
            None => true,
            Some(new) if *name == header::CONTENT_LENGTH => {
                new.as_bytes() == length.to_string().as_bytes()
            }
            Some(new) => entry.headers.get(name) == Some(new),
        }
    });
    if same { updated(profile, entry, exchange) } else { Freshened::Other }
}
