//! Preconditions: the client's, judged, and the cache's own (RFC 9111 section 4.3).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{date, list::Members, parts::only};
use crate::{Entry, Flags, Time};

/// Longer lists of entity tags are not sent.
pub(crate) const MOST_TAGS: usize = 1024;

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

/// Whether it is one entity tag and nothing else (RFC 9110 section 8.8.3).
fn is_tag(tag: &[u8]) -> bool {
    let inner = weak(tag).strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.is_some_and(|inner| inner.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)))
}

/// The one entity tag of a response, if it can stand for the very bytes.
fn strong_tag(headers: &HeaderMap) -> Option<&[u8]> {
    let tag = only(headers, header::ETAG)?.as_bytes().trim_ascii();
    (is_tag(tag) && is_strong(tag)).then_some(tag)
}

/// Replaces the client's preconditions by those that ask whether `entry` is still good (RFC 9111
/// section 4.3.1). If `too`, the client's own entity tags are asked about as well (section 4.3.2), so
/// that a client that has what the origin has now need not be sent it. A 304 may not say which it
/// means, and then has to be asked again.
pub(crate) fn validate(request: &mut HeaderMap, entry: &Entry, too: bool) {
    let own = own_tags(request, entry).filter(|_| too);
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
    let stored = entry.headers.get(header::ETAG)?.as_bytes().trim_ascii();
    if !is_tag(stored) {
        return None;
    }
    let mut list = stored.to_vec();
    let lines = request.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
    for tag in lines.flat_map(tags).filter(|tag| weak(tag) != weak(stored)) {
        if !is_tag(tag) || list.len() + tag.len() > MOST_TAGS {
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

/// The entity tag by which a stored response is offered to the origin for a request that does not
/// select it.
///
/// It is a strong one, which no two contents share. And the response is not selected by what a client
/// can decode or by who it is: an origin that compares tags before it looks at those (a server that
/// codes what it sends, a program whose tag is a revision) would say that the page of another will do.
pub(crate) fn offered(entry: &Entry) -> Option<&[u8]> {
    let mut names = entry.vary.fields().map(|(name, _)| name.as_str().as_bytes());
    strong_tag(&entry.headers).filter(|_| !names.any(is_of_the_client))
}

/// Whether a name in `Vary` is of what one client is or can do, rather than of what it asks for.
fn is_of_the_client(name: &[u8]) -> bool {
    const NAMES: [&str; 5] =
        ["accept-encoding", "authorization", "cookie", "proxy-authorization", "*"];
    NAMES.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// Puts the entity tags of several stored responses in the place of the client's preconditions: none
/// of them is selected by the request, and the origin may select any (RFC 9111 section 4.3.1).
pub(crate) fn validate_any<'a>(
    request: &mut HeaderMap,
    entries: impl IntoIterator<Item = &'a Entry>,
) {
    let mut tags: Vec<&[u8]> = Vec::new();
    for tag in entries.into_iter().filter_map(offered) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    request.remove(header::IF_MODIFIED_SINCE);
    if let Ok(list) = HeaderValue::from_bytes(&tags.join(&b", "[..])) {
        request.insert(header::IF_NONE_MATCH, list);
    }
}

/// Which of the responses whose entity tags were sent a 304 speaks of: that with the strong tag that it
/// names; of several, the one that came last (RFC 9111 section 4.3.4). Without one it selects none.
pub(crate) fn select<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    not_modified: &HeaderMap,
) -> Option<usize> {
    let named = strong_tag(not_modified)?;
    let lines = not_modified.get_all(header::VARY).iter();
    if lines.flat_map(|line| Members::of(line.as_bytes())).any(is_of_the_client) {
        return None;
    }
    let fitting = entries.enumerate().filter(|(_, entry)| offered(entry) == Some(named));
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

/// Whether a date in `If-Range` can stand for the bytes of a stored response at all.
pub(crate) fn date_stands(request: &HeaderMap, entry: &Entry) -> bool {
    let date = |value: &HeaderValue| !value.as_bytes().trim_ascii().ends_with(b"\"");
    !entry.policy.flags.has(Flags::WEAK_DATE) || !request.get_all(header::IF_RANGE).iter().any(date)
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
    fn only_a_tag_is_a_tag() {
        for tag in ["\"\"", "\"a\"", "W/\"a\"", "\"a,b\"", "\"\\\"", "\"a/b;q=1\""] {
            assert!(is_tag(tag.as_bytes()), "{tag}");
        }
        for other in
            ["", "\"", "a", "\"a", "w/\"a\"", "\"a\" \"b\"", "\"a\", \"b\"", "\"a b\"", "W/"]
        {
            assert!(!is_tag(other.as_bytes()), "{other}");
        }
        assert!(is_tag(b"\"\xfc\"") && !is_tag(b"\"\x7f\""));
    }

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
