//! What a key is the digest of: parts with a label and a length, so that no two lists of parts meet.

use smallvec::SmallVec;

use super::Key;

/// Changes whenever the same request would get other material, so that a store that outlives the
/// program never mistakes an old key for a new one.
const FORMAT: u8 = 1;

/// Longer than the material of most requests; more goes to the heap.
const INLINE: usize = 512;

/// What a part is. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Label {
    Class = 1,
    Scheme,
    Authority,
    Path,
    Query,
    HeaderName,
    HeaderValue,
    Custom,
    Scope,
    RequestScope,
    ContentType,
    ContentEncoding,
    LeftOut,
    Bytes,
    Json,
}

/// Collects parts and digests them.
#[derive(Debug)]
pub(crate) struct Material(SmallVec<[u8; INLINE]>);

impl Material {
    pub(crate) fn new() -> Self {
        let mut bytes = SmallVec::new();
        bytes.push(FORMAT);
        Self(bytes)
    }

    /// A part that is there, be it empty.
    pub(crate) fn part(&mut self, label: Label, bytes: &[u8]) {
        self.0.push(label as u8);
        // Zero stands for a part that is not there.
        self.length(bytes.len() as u64 + 1);
        self.0.extend_from_slice(bytes);
    }

    /// A part that is not there, which is another thing than an empty one.
    pub(crate) fn absent(&mut self, label: Label) {
        self.0.push(label as u8);
        self.length(0);
    }

    pub(crate) fn optional(&mut self, label: Label, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.part(label, bytes),
            None => self.absent(label),
        }
    }

    /// All the lines of a header, in their order.
    pub(crate) fn lines<'a>(&mut self, label: Label, lines: impl IntoIterator<Item = &'a [u8]>) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            self.absent(label);
        }
        for line in lines {
            self.part(label, line);
        }
    }

    pub(crate) fn digest(&self) -> Key {
        Key::from_bytes(*blake3::hash(&self.0).as_bytes())
    }

    /// Seven bits a byte, the lowest first: every number has one form, and none begins another.
    fn length(&mut self, length: u64) {
        let mut rest = length;
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELS: [Label; 4] = [Label::Path, Label::Query, Label::HeaderValue, Label::Custom];

    type Parts = Vec<(usize, Option<Vec<u8>>)>;

    fn material(parts: &Parts) -> Vec<u8> {
        let mut material = Material::new();
        for (label, bytes) in parts {
            material.optional(LABELS[*label], bytes.as_deref());
        }
        material.0.to_vec()
    }

    /// Reads material back. That this is possible is why no two lists share it.
    fn read(material: &[u8]) -> Parts {
        let mut rest = &material[1..];
        let mut parts = Vec::new();
        while let [label, tail @ ..] = rest {
            let label = LABELS.iter().position(|known| *known as u8 == *label).unwrap();
            let (mut length, mut digits) = (0_usize, 0);
            while tail[digits] >= 0x80 {
                length |= usize::from(tail[digits] & 0x7f) << (7 * digits);
                digits += 1;
            }
            length |= usize::from(tail[digits]) << (7 * digits);
            rest = &tail[digits + 1..];
            parts.push((
                label,
                length.checked_sub(1).map(|length| {
                    let (bytes, tail) = rest.split_at(length);
                    rest = tail;
                    bytes.to_vec()
                }),
            ));
        }
        parts
    }

    proptest! {
        #[test]
        fn different_lists_of_parts_never_share_material(
            parts in prop::collection::vec(
                (0..LABELS.len(), prop::option::of(prop::collection::vec(any::<u8>(), 0..300))),
                0..8,
            ),
        ) {
            prop_assert_eq!(read(&material(&parts)), parts);
        }
    }

    #[test]
    fn a_part_that_is_absent_is_not_an_empty_one() {
        let absent = material(&vec![(0, None)]);
        assert_ne!(absent, material(&vec![(0, Some(Vec::new()))]));
        assert_ne!(absent, material(&Vec::new()));
    }

    #[test]
    fn bytes_do_not_move_from_one_part_to_the_next() {
        let parts = |a: &str, b: &str| {
            material(&vec![(0, Some(a.as_bytes().to_vec())), (0, Some(b.as_bytes().to_vec()))])
        };
        assert_ne!(parts("ab", "c"), parts("a", "bc"));
    }
}
