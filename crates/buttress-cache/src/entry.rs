//! What is stored: one response with what decides over its reuse.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{Flags, Key, Policy, Time, Vary};

/// The number of one version of an entry. No two versions have the same, whichever process made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId(u64);

impl EntryId {
    /// A new number, from the generator of this thread.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u64(..))
    }

    /// A number that a store gives back.
    #[must_use]
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// A name that several entries share, to be purged together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// Makes a tag of a name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Tag {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// The bytes of a stored body, in the pieces in which they came. Clones share them.
#[derive(Clone, Default)]
pub struct Chunks {
    pieces: Pieces,
    length: u64,
}

#[derive(Clone, Default)]
enum Pieces {
    #[default]
    None,
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Chunks {
    /// Takes the pieces of a body in order; empty ones are left out.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let mut pieces = pieces;
        pieces.retain(|piece| !piece.is_empty());
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        let pieces = match pieces.len() {
            0 => Pieces::None,
            1 => pieces.pop().map_or(Pieces::None, Pieces::One),
            _ => Pieces::Many(pieces.into()),
        };
        Self { pieces, length }
    }

    /// Takes the pieces of a body to be kept for long. Small ones are copied into one: what comes off
    /// a socket is often a slice of a buffer that is larger than itself, and would keep all of it.
    #[must_use]
    pub fn compact(pieces: Vec<Bytes>) -> Self {
        /// Pieces of this size fill the buffers they are read into.
        const LARGE: u64 = 16 * 1024;
        let chunks = Self::new(pieces);
        let pieces = chunks.as_slice();
        if pieces.is_empty() || chunks.length / pieces.len() as u64 >= LARGE {
            return chunks;
        }
        Self::from(Bytes::from(pieces.concat()))
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The pieces, none of which is empty.
    #[must_use]
    pub fn as_slice(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::None => &[],
            Pieces::One(piece) => std::slice::from_ref(piece),
            Pieces::Many(pieces) => pieces,
        }
    }
}

impl From<Bytes> for Chunks {
    fn from(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        let pieces = if bytes.is_empty() { Pieces::None } else { Pieces::One(bytes) };
        Self { pieces, length }
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = self.as_slice().len();
        f.debug_struct("Chunks").field("length", &self.length).field("pieces", &pieces).finish()
    }
}

/// A stored response. It never changes; a new version takes its place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The number of this version.
    pub id: EntryId,
    /// The canonical URI that was asked for, compared on a hit.
    pub uri: Arc<str>,
    /// The status.
    pub status: StatusCode,
    /// The fields, without those that belong to one connection.
    pub headers: HeaderMap,
    /// The body, complete unless [`Flags::PARTIAL`] says otherwise.
    pub body: Chunks,
    /// When the request was sent.
    pub request_time: Time,
    /// What may be done with it, and when it arrived.
    pub policy: Policy,
    /// Which requests it answers.
    pub vary: Arc<Vary>,
    /// By what it can be purged.
    pub tags: Arc<[Tag]>,
}

impl Entry {
    /// Puts an entry together with a new number; a store that gives one back sets the old.
    #[must_use]
    pub fn new(uri: Arc<str>, status: StatusCode, headers: HeaderMap, policy: Policy) -> Self {
        Self {
            id: EntryId::random(),
            uri,
            status,
            headers,
            body: Chunks::default(),
            request_time: policy.response_time,
            policy,
            vary: Arc::default(),
            tags: Arc::new([]),
        }
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        /// Of the entry itself, and of a field beyond its name and value.
        const ENTRY: usize = 512;
        const FIELD: usize = 80;
        let fields =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        let vary = self.vary.fields().map(|(_, value)| value.map_or(0, <[u8]>::len) + FIELD);
        let tags = self.tags.iter().map(|tag| tag.as_str().len() + FIELD);
        let pieces = size_of_val(self.body.as_slice());
        let head = ENTRY + self.uri.len() + pieces + fields.chain(vary).chain(tags).sum::<usize>();
        self.body.length().saturating_add(head as u64)
    }

    /// The same, with a new number and stale from now on: what a soft purge puts in its place.
    #[must_use]
    pub fn purged(&self) -> Self {
        Self { id: EntryId::random(), policy: self.policy.purged(), ..self.clone() }
    }

    /// Whether it was purged softly.
    #[must_use]
    pub const fn is_purged(&self) -> bool {
        self.policy.flags.has(Flags::PURGED)
    }
}

/// One of the variants of a resource, each of which is an entry under a key of its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Variant {
    /// The key of its entry.
    pub key: Key,
    /// Which requests it answers.
    pub vary: Arc<Vary>,
    /// Its language, for requests that would take several.
    pub language: Option<HeaderValue>,
    /// When it was made by the origin, as far as the store knows: of several that answer a request,
    /// the newest does.
    pub date: Time,
}

impl Variant {
    /// The variant that `entry` is, of the resource under `primary`.
    #[must_use]
    pub fn of(primary: &Key, entry: &Entry) -> Self {
        Self {
            key: entry.vary.key(primary),
            vary: Arc::clone(&entry.vary),
            language: entry.headers.get(http::header::CONTENT_LANGUAGE).cloned(),
            date: crate::rfc::date_of(entry),
        }
    }

    /// Puts a variant together, as a store gives it back.
    #[must_use]
    pub fn new(key: Key, vary: Arc<Vary>, language: Option<HeaderValue>) -> Self {
        Self { key, vary, language, date: Time::default() }
    }

    /// Says when it was made.
    #[must_use]
    pub const fn dated(mut self, date: Time) -> Self {
        self.date = date;
        self
    }
}

/// What a key leads to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Slot {
    /// A response.
    Entry(Arc<Entry>),
    /// The variants of a resource, the one that was stored last first.
    Variants(Arc<[Variant]>),
}

impl Slot {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.weight(),
            // Most of what a variant takes is counted with its entry, which shares it.
            Self::Variants(variants) => 128 + 128 * variants.len() as u64,
        }
    }
}
