//! Which requests a response answers (RFC 9111 section 4.1).

use http::HeaderName;

use crate::Key;

/// The request fields that chose a response, with the values that chose it.
///
/// The values are normalised: lines joined, white space evened out. A field that the request did not
/// have is `None`, which differs from an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vary {
    fields: Box<[Field]>,
}

type Field = (HeaderName, Option<Box<[u8]>>);

impl Vary {
    /// Takes fields and their values, as a store gives them back.
    #[must_use]
    pub fn from_fields(fields: impl IntoIterator<Item = Field>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// The fields and their values.
    #[must_use]
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|(name, value)| (name, value.as_deref()))
    }

    /// Whether the response answers every request for its URI.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The key of the variant that is chosen by these values.
    #[must_use]
    pub fn key(&self, primary: &Key) -> Key {
        let parts = self.fields.iter();
        primary.derive(
            parts.flat_map(|(name, value)| [Some(name.as_str().as_bytes()), value.as_deref()]),
        )
    }
}
