//! Preconditions: the client's, judged, and the cache's own (RFC 9111 section 4.3).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{date, parts::only};
use crate::{Entry, Time};

/// Whether what the client has is what is stored (RFC 9111 section 4.3.2).
///
/// `If-Modified-Since` counts only without `If-None-Match` (RFC 9110 section 13.1.3).
pub(crate) fn not_modified(request: &HeaderMap, entry: &Entry) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let mut lines = request.get_all(header::IF_NONE_MATCH).iter();
        let stored = entry.headers.get(header::ETAG).map(HeaderValue::as_bytes);
        return lines.any(|line| names(line.as_bytes(), stored));
    }
    let since = only(request, header::IF_MODIFIED_SINCE);
    let since = since.and_then(|since| date::parse(since.as_bytes()));
    since.is_some_and(|since| modified(entry) <= since)
}

/// When a stored response was made by the origin.
pub(crate) fn date_of(entry: &Entry) -> Time {
    date::field(&entry.headers, &header::DATE).unwrap_or(entry.policy.response_time)
}

/// When the stored response was last modified, for the comparison with a date.
fn modified(entry: &Entry) -> Time {
    date::field(&entry.headers, &header::LAST_MODIFIED)
        .or_else(|| date::field(&entry.headers, &header::DATE))
        .unwrap_or(entry.policy.response_time)
}

/// Whether a line of `If-None-Match` names the stored entity tag, compared weakly.
fn names(line: &[u8], stored: Option<&[u8]>) -> bool {
    if line.trim_ascii() == b"*" {
        return true;
    }
    let Some(stored) = stored else { return false };
    tags(line).any(|tag| weak(tag) == weak(stored.trim_ascii()))
}

/// The entity tags of a line. A backslash escapes nothing in one (RFC 9110 section 8.8.3).
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let mut quoted = false;
            let end = rest.iter().position(|&byte| {
                quoted ^= byte == b'"';
                byte == b',' && !quoted
            });
            let (tag, left) = match end {
                Some(end) => (&rest[..end], rest.get(end + 1..).unwrap_or_default()),
                None => (rest, &[][..]),
            };
            rest = left;
            let tag = tag.trim_ascii();
            if !tag.is_empty() {
                return Some(tag);
            }
        }
    })
}

/// The part of an entity tag that counts in a weak comparison. `W` is case-sensitive.
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether an entity tag can stand for the very bytes.
pub(crate) fn is_strong(tag: &[u8]) -> bool {
    !tag.starts_with(b"W/")
}

/// Replaces the client's preconditions by those that ask whether `entry` is still good (RFC 9111
/// section 4.3.1). The client's own entity tags are asked about as well (section 4.3.2), so that a
/// client that has what the origin has now need not be sent it.
pub(crate) fn validate(request: &mut HeaderMap, entry: &Entry) {
    let own = own_tags(request, entry);
    request.remove(header::IF_NONE_MATCH);
    request.remove(header::IF_MODIFIED_SINCE);
    let copies: [(HeaderName, HeaderName); 2] =
        [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
    for (from, to) in copies {
        // What is no date means nothing to the origin.
        let invalid = from == header::LAST_MODIFIED
            && date::field(&entry.headers, &header::LAST_MODIFIED).is_none();
        if let Some(value) = entry.headers.get(from).filter(|_| !invalid) {
            request.insert(to, value.clone());
        }
    }
    if let Some(own) = own {
        request.insert(header::IF_NONE_MATCH, own);
    }
}

/// The entity tag of `entry` and those of a client that has others.
fn own_tags(request: &HeaderMap, entry: &Entry) -> Option<HeaderValue> {
    /// Longer lists are not passed on.
    const MOST: usize = 1024;
    let stored = entry.headers.get(header::ETAG)?.as_bytes().trim_ascii();
    let mut list = stored.to_vec();
    let lines = request.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
    for tag in lines.flat_map(tags).filter(|tag| weak(tag) != weak(stored)) {
        if !weak(tag).starts_with(b"\"") || list.len() + tag.len() > MOST {
            return None;
        }
        list.extend_from_slice(b", ");
        list.extend_from_slice(tag);
    }
    (list.len() > stored.len()).then(|| HeaderValue::from_bytes(&list).ok()).flatten()
}

/// Whether a 304 to a request with more tags than that of `entry` names one of the client's own;
/// `None` if it does not say which.
pub(crate) fn names_own(
    request: &HeaderMap,
    entry: &Entry,
    not_modified: &HeaderMap,
) -> Option<bool> {
    if own_tags(request, entry).is_none() {
        return Some(false);
    }
    let named = not_modified.get(header::ETAG)?.as_bytes().trim_ascii();
    let stored = entry.headers.get(header::ETAG)?.as_bytes().trim_ascii();
    let mut lines = request.get_all(header::IF_NONE_MATCH).iter();
    Some(weak(named) != weak(stored) && lines.any(|line| names(line.as_bytes(), Some(named))))
}

/// Puts the entity tags of several stored responses in the place of the client's preconditions: none
/// of them is selected by the request, and the origin may select any (RFC 9111 section 4.3.1).
pub(crate) fn validate_any<'a>(
    request: &mut HeaderMap,
    entries: impl IntoIterator<Item = &'a Entry>,
) {
    let mut tags: Vec<&[u8]> = Vec::new();
    for tag in entries.into_iter().filter_map(|entry| entry.headers.get(header::ETAG)) {
        if !tags.contains(&tag.as_bytes()) {
            tags.push(tag.as_bytes());
        }
    }
    request.remove(header::IF_MODIFIED_SINCE);
    if let Ok(list) = HeaderValue::from_bytes(&tags.join(&b", "[..])) {
        request.insert(header::IF_NONE_MATCH, list);
    }
}

/// Which of the responses whose entity tags were sent a 304 speaks of; of several that fit, the one
/// that came last (RFC 9111 section 4.3.4). One that names none speaks of the only one.
pub(crate) fn select<'a>(
    entries: impl ExactSizeIterator<Item = &'a Entry>,
    not_modified: &HeaderMap,
) -> Option<usize> {
    let named = not_modified.contains_key(header::ETAG);
    if !named && entries.len() > 1 {
        return None;
    }
    let fitting = entries
        .enumerate()
        .filter(|(_, entry)| entry.headers.contains_key(header::ETAG) && fits(entry, not_modified));
    fitting.max_by_key(|(_, entry)| entry.policy.response_time).map(|(at, _)| at)
}

/// Whether a 304 contradicts itself: it is of something that was modified after what is stored.
fn was_modified(entry: &Entry, not_modified: &HeaderMap) -> bool {
    /// Machines that serve the same file seldom agree to the second.
    const GRACE: Duration = Duration::from_secs(60);
    let modified = |headers: &HeaderMap| date::field(headers, &header::LAST_MODIFIED);
    let dates = modified(&entry.headers).zip(modified(not_modified));
    dates.is_some_and(|(stored, named)| named.since(stored) > GRACE)
}

/// Whether a 304 speaks of the stored response: it must not name another (RFC 9111 section 4.3.4).
///
/// One tag may be weak where the other is not: servers that code what they send weaken the tag of
/// that, and forget to in the 304.
pub(crate) fn fits(entry: &Entry, not_modified: &HeaderMap) -> bool {
    let tag = |headers: &HeaderMap| headers.get(header::ETAG).cloned();
    match (tag(&entry.headers), tag(not_modified)) {
        (Some(stored), Some(named)) => {
            weak(stored.as_bytes().trim_ascii()) == weak(named.as_bytes().trim_ascii())
        }
        _ => !was_modified(entry, not_modified),
    }
}

/// Whether `If-Range` lets a part be served (RFC 9110 section 13.1.5).
pub(crate) fn range_stands(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut values = request.get_all(header::IF_RANGE).iter();
    let Some(condition) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    let condition = condition.as_bytes().trim_ascii();
    if condition.ends_with(b"\"") {
        let tag = stored.get(header::ETAG).map(|tag| tag.as_bytes().trim_ascii());
        return is_strong(condition) && tag == Some(condition);
    }
    let modified = stored.get(header::LAST_MODIFIED).map(|date| date.as_bytes().trim_ascii());
    // A date is strong only if the response is a good deal younger than it (section 8.8.2.2).
    let dates = date::field(stored, &header::LAST_MODIFIED).zip(date::field(stored, &header::DATE));
    let strong = dates.is_some_and(|(modified, date)| date.since(modified).as_secs() >= 1);
    strong && modified == Some(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let stored = Some(&b"\"a\""[..]);
        for same in [
            "\"a\"",
            "W/\"a\"",
            "\"b\", \"a\"",
            "\"b\",W/\"a\" ,\"c\"",
            "*",
            " * ",
            "\"x,y\",\"a\"",
        ] {
            assert!(names(same.as_bytes(), stored), "{same}");
        }
        for other in ["\"b\"", "a", "w/\"a\"", "W\"a\"", "", "\"b,\"a\"", "\"*\""] {
            assert!(!names(other.as_bytes(), stored), "{other}");
        }
        assert!(names(b"\"a\"", Some(b"W/\"a\"")));
        assert!(names(b"\"b\\\", \"a\"", stored), "a backslash escapes nothing");
        assert!(names(b"a", Some(b"a")), "an unquoted tag is itself");
        assert!(names(b"\"\xfc\"", Some(b"\"\xfc\"")));
        assert!(!names(b"\"a\"", None));
    }
}
