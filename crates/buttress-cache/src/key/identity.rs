//! A request's key, and the URI that it is the key of.

use std::fmt;

use super::{
    Key,
    material::{Label, Material},
};
use crate::Tag;

/// A request's key, and the canonical URI that it is the key of.
///
/// The URI is kept with an entry and compared on a hit: should two requests ever share a key, they
/// still do not share an answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    key: Key,
    /// The key of the whole resource, where the other is that of a partition of it.
    resource: Option<Key>,
    uri: String,
    origin: usize,
}

impl Identity {
    pub(crate) fn new(key: Key, uri: CanonicalUri) -> Self {
        Self { key, resource: None, uri: uri.text, origin: uri.authority_end }
    }

    /// The same for those requests only that have in common what is in `material`.
    pub(super) fn partition(self, material: &Material) -> Self {
        let key = self.key.derive([Some(material.digest().as_bytes().as_slice())]);
        Self { key, resource: Some(self.key), ..self }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The key of the whole resource, if this is a partition of it.
    pub(crate) const fn resource(&self) -> Option<&Key> {
        self.resource.as_ref()
    }

    /// The tag of all partitions of this resource, and of the one that this is. A tag that a response
    /// names has no space in it.
    pub(crate) fn partitions(&self) -> Tag {
        let key = self.resource.as_ref().unwrap_or(&self.key).as_bytes();
        let digits = key.iter().map(|byte| format!("{byte:02x}"));
        Tag::from(format!("{} partitions", digits.collect::<String>()).as_str())
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
    pub(crate) fn scheme(&self) -> &str {
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
