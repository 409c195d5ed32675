//! What the store has for a request.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::{
    Entry, Generation, Key, Lookup, Observer, Slot, Store, Time, Variant,
    core::{Core, Wanted},
    rfc::{Flags, Forwarded, MOST_TAGS, offered},
    serve::cut,
};

/// A stored response, and the key it is under.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) entry: Arc<Entry>,
}

/// What the store has for a request.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) found: Option<Found>,
    /// A part of what is asked for, which alone does not answer the request.
    pub(crate) part: Option<Found>,
    pub(crate) generation: Generation,
    /// By what concurrent requests for the same thing know each other.
    pub(crate) flight: Key,
    /// Why nothing was found.
    pub(crate) why: Forwarded,
}

impl<O: Observer> Core<O> {
    /// Looks into the store if that takes no waiting.
    pub(crate) fn peek(&self, wanted: &Wanted, headers: &HeaderMap) -> Option<Look> {
        let key = wanted.identity.key();
        let lookup = self.state.store.peek(key)?;
        let chosen = match variant(lookup, key, wanted, headers) {
            Ok(look) => return Some(look),
            Err(chosen) => chosen,
        };
        let lookup = self.state.store.peek(&chosen.key)?;
        Some(chosen.look(lookup, wanted, headers))
    }

    /// Looks into the store. One that fails has nothing.
    pub(crate) async fn look(&self, wanted: &Wanted, headers: &HeaderMap) -> Look {
        if let Some(look) = self.peek(wanted, headers) {
            return look;
        }
        let key = wanted.identity.key();
        let lookup = self.get(key).await;
        match variant(lookup, key, wanted, headers) {
            Ok(look) => look,
            Err(chosen) => {
                let lookup = self.get(&chosen.key).await;
                chosen.look(lookup, wanted, headers)
            }
        }
    }

    /// Stored variants that the origin may confirm for a request that matches none of them, because it
    /// may select for other reasons than the values that it was asked with: those whose entity tag can
    /// be [`offered`], as far as they are at hand.
    pub(crate) fn others(&self, wanted: &Wanted) -> Vec<Found> {
        /// A longer list costs more than it brings.
        const MOST: usize = 8;
        let store = &self.state.store;
        let lookup = store.peek(wanted.identity.key());
        let Some(Slot::Variants(variants)) = lookup.and_then(|lookup| lookup.slot) else {
            return Vec::new();
        };
        let mut others: Vec<Found> = Vec::new();
        let mut room = MOST_TAGS;
        for key in variants.iter().map(|variant| variant.key) {
            let slot = store.peek(&key).and_then(|lookup| lookup.slot);
            let Some(Slot::Entry(entry)) = slot else { continue };
            let Some(tag) = offered(&entry) else { continue };
            let known = others.iter().any(|other| offered(&other.entry) == Some(tag));
            let taken = if known { 0 } else { tag.len() + ", ".len() };
            let whole = !entry.policy.flags.has(Flags::PARTIAL) && entry.status == StatusCode::OK;
            if taken <= room && whole && is_of(&entry, wanted) {
                room -= taken;
                others.push(Found { key, entry });
            }
            if others.len() == MOST {
                break;
            }
        }
        others
    }

    pub(crate) async fn get(&self, key: &Key) -> Lookup {
        match self.state.store.get(key).await {
            Ok(lookup) => lookup,
            Err(error) => {
                self.store_failed(&error);
                Lookup::default()
            }
        }
    }
}

/// One of several variants, still to be looked up.
struct Chosen {
    key: Key,
    generation: Generation,
}

impl Chosen {
    fn look(self, lookup: Lookup, wanted: &Wanted, headers: &HeaderMap) -> Look {
        let entry = match lookup.slot {
            Some(Slot::Entry(entry)) => is_of(&entry, wanted).then_some(entry),
            _ => None,
        };
        let found = entry.map(|entry| Found { key: self.key, entry });
        // The generation is that of the resource: it is what is purged, and what the variant is linked
        // to.
        Look::of(found, self.generation, self.key, Forwarded::VaryMiss, wanted, headers)
    }
}

impl Look {
    /// What was found, or nothing and why.
    fn of(
        found: Option<Found>,
        generation: Generation,
        flight: Key,
        why: Forwarded,
        wanted: &Wanted,
        headers: &HeaderMap,
    ) -> Self {
        let mut look = Self { found, part: None, generation, flight, why };
        // A part answers those only whose own part lies in it (RFC 9111 section 3.3).
        look.part = look.found.take_if(|found| falls_short(&found.entry, wanted, headers));
        look
    }

    /// Why a request goes on though the store may have something.
    pub(crate) fn why_not(&self, wanted: &Wanted, now: Time) -> Forwarded {
        match &self.part {
            _ if wanted.refresh => Forwarded::Request,
            Some(part) if part.entry.policy.flags.has(Flags::HEAD) => self.why,
            Some(part) if part.entry.policy.is_fresh(now) => Forwarded::Partial,
            Some(_) => Forwarded::Stale,
            None => self.why,
        }
    }
}

/// Whether what is here of a response is less than what a request asks for.
pub(crate) fn falls_short(entry: &Entry, wanted: &Wanted, headers: &HeaderMap) -> bool {
    let flags = entry.policy.flags;
    if !flags.has(Flags::PARTIAL) || (wanted.head && flags.has(Flags::HEAD)) {
        return false;
    }
    !wanted.ask.range || cut(entry, headers).is_none()
}

/// What a lookup under the primary key means: the answer, or which variant to look up.
fn variant(
    lookup: Lookup,
    key: &Key,
    wanted: &Wanted,
    headers: &HeaderMap,
) -> Result<Look, Chosen> {
    let generation = lookup.generation;
    let look = |found, flight, why| Look::of(found, generation, flight, why, wanted, headers);
    match lookup.slot {
        None => Ok(look(None, *key, Forwarded::UriMiss)),
        Some(Slot::Entry(entry)) => {
            let fits = is_of(&entry, wanted) && entry.vary.matches(headers);
            let found = fits.then_some(Found { key: *key, entry });
            Ok(look(found, *key, Forwarded::UriMiss))
        }
        Some(Slot::Variants(variants)) => {
            if let Some(variant) = newest(&variants, headers) {
                return Err(Chosen { key: variant.key, generation });
            }
            let mut parts = variants.iter().filter(|_| wanted.ask.range);
            if let Some(part) = parts.find(|part| part.vary.matches_but_for_range(headers)) {
                return Err(Chosen { key: part.key, generation });
            }
            // Requests for another variant each wait for their own.
            let flight =
                variants.first().map_or(*key, |variant| variant.vary.of_request(headers).key(key));
            Ok(look(None, flight, Forwarded::VaryMiss))
        }
    }
}

/// The newest of the variants that answer a request (RFC 9111 section 4).
fn newest<'a>(variants: &'a [Variant], headers: &HeaderMap) -> Option<&'a Variant> {
    let mut found = variants.iter().position(|variant| variant.vary.matches(headers))?;
    for (at, variant) in variants.iter().enumerate().skip(found + 1) {
        let newer = variant.date > variants.get(found)?.date;
        let best = &variants.get(found)?.vary;
        // Only where the origin has changed what it selects by do two answer the same request.
        if newer && !variant.vary.has_fields_of(best) && variant.vary.matches(headers) {
            found = at;
        }
    }
    variants.get(found)
}

/// Keys are digests; that they stand for the same URI is checked all the same.
fn is_of(entry: &Entry, wanted: &Wanted) -> bool {
    *entry.uri == *wanted.identity.uri()
}
