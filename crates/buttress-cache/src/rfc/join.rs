//! Parts put together (RFC 9111 section 3.4).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Profile,
    conditional::date_stands,
    kept::withheld_too,
    parts::{Held, Span, Spans, is_rest_of, length, part_of, same_bytes, strong_validator_of},
    range::one_span,
};
use crate::{Chunks, Entry, EntryId, Flags, Tag};

/// More spans of one response are not kept apart; the shortest go.
const MOST_SPANS: usize = 16;

/// Parts with more tags together are not put together: each purge would have to find them all.
const MOST_TAGS: usize = 512;

/// What is missing of a stored part to answer a request, and how to ask for it.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    /// What the request is to get; all of it, if it did not ask for a part.
    asked: Span,
    whole: bool,
    gap: Span,
    total: u64,
    validator: HeaderValue,
}

/// The head of an answer made of what is stored and what has come, and the stored bytes around it.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) before: Vec<Bytes>,
    pub(crate) after: Vec<Bytes>,
    /// How many bytes have to come between them.
    pub(crate) between: u64,
}

impl Rest {
    /// What of a stored part is missing for a request, which asks for a part itself or for the whole;
    /// `None` if asking for less would save nothing, or could not be trusted.
    pub(crate) fn of(entry: &Entry, request: &HeaderMap, part: bool) -> Option<Self> {
        let held = Held::of(entry)?;
        if part && !date_stands(request, entry) {
            return None;
        }
        let validator = strong_validator_of(entry)?.clone();
        let total = held.total();
        let whole = (0, total.checked_sub(1)?);
        let asked = if part { one_span(request, &entry.headers, total)? } else { whole };
        let gap = held.gap(asked).filter(|gap| *gap != asked)?;
        Some(Self { asked, whole: !part, gap, total, validator })
    }

    /// Asks for what is missing, if the rest is still the same (RFC 9110 section 13.1.5).
    pub(crate) fn ask(&self, request: &mut HeaderMap) {
        let (first, last) = self.gap;
        let Ok(range) = HeaderValue::from_str(&format!("bytes={first}-{last}")) else { return };
        request.insert(header::RANGE, range);
        request.insert(header::IF_RANGE, self.validator.clone());
    }

    /// Puts what came into what is stored, if it is what was missing.
    pub(crate) fn join(
        &self,
        entry: &Entry,
        status: StatusCode,
        response: &HeaderMap,
    ) -> Option<Joined> {
        let fits = part_of(status, response)? == (self.gap, self.total);
        if !fits || !is_rest_of(entry, response) {
            return None;
        }
        let between = length(self.gap);
        let coded = response.contains_key(header::TRANSFER_ENCODING);
        let announced = response.get(header::CONTENT_LENGTH).filter(|_| !coded);
        if announced.is_some_and(|announced| *announced != HeaderValue::from(between)) {
            return None;
        }
        let held = Held::of(entry)?;
        let stored = |first: u64, last: Option<u64>| match last {
            Some(last) if first <= last => held.pieces((first, last)),
            _ => Some(Vec::new()),
        };
        let before = stored(self.asked.0, self.gap.0.checked_sub(1))?;
        let after = stored(self.gap.1.checked_add(1)?, Some(self.asked.1))?;
        let mut headers = overlay(&entry.headers, response);
        headers.remove(header::TRANSFER_ENCODING);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length(self.asked)));
        let status = if self.whole {
            StatusCode::OK
        } else {
            headers.insert(header::CONTENT_RANGE, line(self.asked, self.total)?);
            StatusCode::PARTIAL_CONTENT
        };
        Some(Joined { status, headers, before, after, between })
    }
}

/// The fields of the newer response, and of the older those that the newer has not. What describes the
/// bytes of a part is left out.
fn overlay(older: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let mut headers = older.clone();
    for name in newer.keys().filter(|name| **name != header::CONTENT_ENCODING) {
        headers.remove(name);
    }
    for (name, value) in newer {
        if *name != header::CONTENT_ENCODING || !older.contains_key(name) {
            headers.append(name, value.clone());
        }
    }
    headers.remove(header::CONTENT_RANGE);
    headers.remove(header::CONTENT_LENGTH);
    if !newer.contains_key(header::DATE) {
        headers.remove(header::DATE);
    }
    headers
}

/// The fields of a part that came with all that is known of it from a stored response, if that is of the
/// very same bytes.
pub(crate) fn completed(entry: &Entry, part: &HeaderMap) -> Option<HeaderMap> {
    if !is_rest_of(entry, part) {
        return None;
    }
    let mut headers = overlay(&entry.headers, part);
    for name in [header::CONTENT_RANGE, header::CONTENT_LENGTH] {
        for value in part.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    Some(headers)
}

fn line((first, last): Span, total: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("bytes {first}-{last}/{total}")).ok()
}

/// Whether two stored parts are of the very same bytes.
pub(crate) fn fit(older: &Entry, newer: &Entry) -> bool {
    both(older, newer).is_some()
}

fn both<'a>(older: &'a Entry, newer: &'a Entry) -> Option<(Held<'a>, Held<'a>)> {
    let part = |entry: &Entry| entry.policy.flags.has(Flags::PARTIAL);
    let (old, new) = (Held::of(older)?, Held::of(newer)?);
    let fit = part(older)
        && part(newer)
        && old.total() == new.total()
        && older.uri == newer.uri
        && older.vary == newer.vary
        && same_bytes(older, &newer.headers);
    fit.then_some((old, new))
}

/// A stored part and a newer one as one, which is the whole if nothing is missing any more. `None` if
/// they are not of the very same bytes, or have more than `most` together, or
/// too many tags.
#[must_use]
pub fn combine(profile: &Profile, older: &Entry, newer: &Entry, most: u64) -> Option<Entry> {
    let (old, new) = both(older, newer)?;
    let pieces = Pieces::of(&old, &new)?;
    let bytes: u64 = pieces.0.iter().map(|piece| length(piece.span)).sum();
    if bytes > most {
        return None;
    }
    let (spans, body) = pieces.merge();
    let mut headers = overlay(&older.headers, &newer.headers);
    // The policy is that of the newer, and so is what it was read off.
    let control = [header::CACHE_CONTROL, header::EXPIRES, header::PRAGMA];
    for name in profile.targeted.iter().chain(&control) {
        if !newer.headers.contains_key(name) {
            headers.remove(name);
        }
    }
    withheld_too(profile, &mut headers);
    for span in &spans {
        headers.append(header::CONTENT_RANGE, line(*span, new.total())?);
    }
    let tags = tags_of(&older.tags, &newer.tags);
    if tags.len() > MOST_TAGS {
        return None;
    }
    let both = Entry { id: EntryId::random(), headers, body, tags, ..newer.clone() };
    Some(promote(&both).unwrap_or(both))
}

/// By what can be purged what is made of both.
pub(crate) fn tags_of(older: &Arc<[Tag]>, newer: &Arc<[Tag]>) -> Arc<[Tag]> {
    let more: Vec<_> = older.iter().filter(|tag| !newer.contains(tag)).cloned().collect();
    if more.is_empty() {
        return Arc::clone(newer);
    }
    newer.iter().cloned().chain(more).collect()
}

/// A stored part that is all there is, as what it is part of.
pub(crate) fn promote(entry: &Entry) -> Option<Entry> {
    if !entry.policy.flags.has(Flags::PARTIAL) {
        return None;
    }
    let held = Held::of(entry)?;
    let last = held.total().checked_sub(1)?;
    if held.spans() != [(0, last)] {
        return None;
    }
    let mut whole = Entry { id: EntryId::random(), status: StatusCode::OK, ..entry.clone() };
    whole.policy.flags = whole.policy.flags.without(Flags::PARTIAL);
    whole.headers.remove(header::CONTENT_RANGE);
    whole.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(held.total()));
    whole.vary = Arc::new(entry.vary.whole(&entry.headers));
    Some(whole)
}

/// Spans with their bytes, in order and without overlap.
struct Pieces(Vec<Piece>);

struct Piece {
    span: Span,
    slices: Vec<Bytes>,
    new: bool,
}

impl Pieces {
    /// All that is new, and of the old what is not among it.
    fn of(old: &Held<'_>, new: &Held<'_>) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut add = |held: &Held<'_>, span, new| {
            pieces.push(Piece { span, slices: held.pieces(span)?, new });
            Some(())
        };
        for &span in new.spans() {
            add(new, span, true)?;
        }
        for &(first, last) in old.spans() {
            let mut next = first;
            for &(from, to) in new.spans().iter().filter(|(from, to)| *from <= last && *to >= first)
            {
                if from > next {
                    add(old, (next, from - 1), false)?;
                }
                next = next.max(to + 1);
            }
            if next <= last {
                add(old, (next, last), false)?;
            }
        }
        pieces.sort_unstable_by_key(|piece| piece.span);
        Some(Self(pieces))
    }

    /// Makes one span of those that touch, and one body of all.
    fn merge(self) -> (Spans, Chunks) {
        let mut merged: Vec<Piece> = Vec::new();
        for piece in self.0 {
            match merged.last_mut() {
                Some(last) if last.span.1 + 1 == piece.span.0 => {
                    last.span.1 = piece.span.1;
                    last.slices.extend(piece.slices);
                    last.new |= piece.new;
                }
                _ => merged.push(piece),
            }
        }
        while merged.len() > MOST_SPANS {
            let rest = merged.iter().enumerate().filter(|(_, piece)| !piece.new);
            let Some((shortest, _)) = rest.min_by_key(|(_, piece)| length(piece.span)) else {
                break;
            };
            merged.remove(shortest);
        }
        let spans = merged.iter().map(|piece| piece.span).collect();
        let slices = merged.into_iter().flat_map(|piece| piece.slices).collect();
        (spans, Chunks::compact(slices))
    }
}
