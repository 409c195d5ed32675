//! What an entry is found by.

mod authority;
mod guard;
mod identity;
mod material;
mod percent;
mod query;
mod scope;
mod spec;
mod unkeyed;

use std::fmt;

pub use self::{
    guard::ForwardingGuard, identity::Identity, scope::Scope, spec::KeySpec, unkeyed::Unkeyed,
};
pub(crate) use self::{
    material::{Label, Material},
    percent::normal_path,
    spec::Class,
};

/// The name of an entry in a store: a digest of everything that tells one request from another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes 32 bytes that were digested elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of something that belongs to this one, such as one variant of a resource.
    ///
    /// The parts are digested with their lengths, so that no two lists of parts are alike; `None` and
    /// an empty part differ.
    #[must_use]
    pub fn derive<'a>(&self, parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut digest = blake3::Hasher::new();
        digest.update(b"buttress cache variant 1");
        digest.update(&self.0);
        for part in parts {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            digest.update(&length.to_le_bytes());
            digest.update(part.unwrap_or_default());
        }
        Self(*digest.finalize().as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two apart in a log.
        let head = self.0.iter().take(8).fold(0_u64, |head, &byte| head << 8 | u64::from(byte));
        write!(f, "Key({head:016x}..)")
    }
}
