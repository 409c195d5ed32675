//! The fields that are stored (RFC 9111 sections 3.1 and 3.2).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Directives, Profile, date, list::Members, profile::is_hop_by_hop, storing::Control};
use crate::Time;

/// The fields that are stored: not those of one hop, not those that the response withholds, and not
/// `Age`, which is computed anew; with a `Date` in any case (RFC 9110 section 6.6.1).
pub(super) fn kept(
    profile: &Profile,
    response: &HeaderMap,
    directives: &Directives,
    received: Time,
) -> HeaderMap {
    let listed = listed_in_connection(response);
    // RFC 9112 section 6.3: a transfer coding overrides the length, which must not be passed on.
    let coded = response.contains_key(header::TRANSFER_ENCODING);
    let private: &[_] = if profile.is_shared() { directives.private.fields() } else { &[] };
    let withheld = |name: &HeaderName| {
        is_hop_by_hop(name)
            || *name == header::AGE
            || (coded && *name == header::CONTENT_LENGTH)
            || listed.contains(name)
            || directives.no_cache.fields().contains(name)
            || private.contains(name)
    };
    let mut headers = compact(response, |name| !withheld(name));
    if !headers.contains_key(header::DATE) {
        headers.insert(header::DATE, date::format(received));
    }
    headers
}

/// Copies fields into one buffer of their own: as they come off a socket, each keeps alive the whole
/// buffer that it was read into.
fn compact(response: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let fields = || response.iter().filter(|(name, _)| keep(name));
    let mut text = Vec::with_capacity(fields().map(|(_, value)| value.len()).sum());
    fields().for_each(|(_, value)| text.extend_from_slice(value.as_bytes()));
    let mut text = Bytes::from(text);
    // Room for what a hit adds: `Age` and `Cache-Status`.
    let mut headers = HeaderMap::with_capacity(response.keys_len() + 2);
    for (name, value) in fields() {
        let copy = HeaderValue::from_maybe_shared(text.split_to(value.len()));
        let mut copy = copy.unwrap_or_else(|_| value.clone());
        copy.set_sensitive(value.is_sensitive());
        headers.append(name, copy);
    }
    headers
}

/// Takes out of fields that came together from two responses what they withhold now.
pub(super) fn withheld_too(profile: &Profile, headers: &mut HeaderMap) {
    let Directives { no_cache, private, .. } = Control::of(profile, headers).directives;
    let private: &[_] = if profile.is_shared() { private.fields() } else { &[] };
    for name in no_cache.fields().iter().chain(private) {
        headers.remove(name);
    }
}

/// The fields of a stored response that only those have who had it confirmed (RFC 9111 section
/// 5.2.2.4).
pub(crate) fn withheld_until_confirmed(profile: &Profile, headers: &HeaderMap) -> Vec<HeaderName> {
    Control::of(profile, headers).directives.no_cache.fields().to_vec()
}

fn listed_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| Members::of(line.as_bytes()))
        .filter_map(|member| HeaderName::from_bytes(member).ok())
        .collect()
}

/// The fields of a 304 that go into the stored response (RFC 9111 section 3.2).
pub(super) fn updates(profile: &Profile, response: &HeaderMap, received: Time) -> HeaderMap {
    let control = Control::of(profile, response);
    let mut headers = kept(profile, response, &control.directives, received);
    // What describes the stored bytes stays what it was when they were stored.
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE] {
        headers.remove(name);
    }
    headers
}
