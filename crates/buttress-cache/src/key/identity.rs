//! A request's key, and the URI that it is the key of.

use std::fmt;

use super::{
    Key,
    material::{Label, Material},
};

/// A request's key, and the canonical URI that it is the key of.
///
/// The URI is kept with an entry and compared on a hit: should two requests ever share a key, they
/// still do not share an answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    key: Key,
    uri: String,
    origin: usize,
}

impl Identity {
    pub(crate) fn new(key: Key, uri: CanonicalUri) -> Self {
        Self { key, uri: uri.text, origin: uri.authority_end }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The canonical URI, without the parameters that the key leaves out.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The scheme and the authority of the URI, equal for what comes from one origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.uri[..self.origin]
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("key", &self.key).field("uri", &self.uri).finish()
    }
}

/// A URI in the one form that all its spellings share, and where its parts are.
pub(crate) struct CanonicalUri {
    pub(super) text: String,
    pub(super) scheme_end: usize,
    pub(super) authority_end: usize,
    pub(super) path_end: usize,
}

impl CanonicalUri {
    pub(super) fn scheme(&self) -> &str {
        &self.text[..self.scheme_end]
    }

    pub(super) fn write(&self, material: &mut Material) {
        let text = self.text.as_bytes();
        material.part(Label::Scheme, &text[..self.scheme_end]);
        material.part(Label::Authority, &text[self.scheme_end + "://".len()..self.authority_end]);
        material.part(Label::Path, &text[self.authority_end..self.path_end]);
        // The query begins with its question mark, or there is none.
        material.optional(Label::Query, text.get(self.path_end + 1..));
    }
}
