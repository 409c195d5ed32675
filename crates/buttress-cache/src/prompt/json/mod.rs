//! JSON in the one form that all its spellings share.
//!
//! What comes out is not JSON. It is a list of parts, each with its kind and its length, made to be
//! digested: equal for texts that differ in white space, in the order of an object's members or in how a
//! string is escaped, and different for all others. Numbers are kept as they are written: to some
//! readers 1 and 1.0 are not the same, and no reader's idea of large numbers is everybody's.

mod scan;

use std::borrow::Cow;

use self::scan::{Scan, Token, TokenKind};

/// Objects and arrays that stand in each other, at most. Real prompts have ten.
const MAX_DEPTH: usize = 96;

/// The bytes of a length.
const LENGTH: usize = size_of::<u32>();

/// The parts of `text`, without those members of the outermost object whose names are `left_out`.
///
/// `None` if `text` is not JSON (RFC 8259), if an object has one name twice, which readers take
/// differently, if a string is no Unicode, or if it nests too deeply.
pub(super) fn canonical(text: &[u8], left_out: &[String]) -> Option<Vec<u8>> {
    // Lengths fit the bytes that they are written in.
    u32::try_from(text.len()).ok()?;
    let text = std::str::from_utf8(text).ok()?;
    let tokens = Scan::new(text, MAX_DEPTH).document()?;
    let mut writer = Writer {
        text,
        tokens: &tokens,
        members: Vec::new(),
        out: Vec::with_capacity(text.len() + text.len() / 4 + 16),
    };
    writer.value(0, left_out)?;
    Some(writer.out)
}

/// Writes the parts of a document that was scanned.
struct Writer<'a> {
    text: &'a str,
    tokens: &'a [Token],
    /// The members of the objects that are being written, those of the innermost last.
    members: Vec<(Cow<'a, [u8]>, usize)>,
    out: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Writes the value that starts at a token; it nests no deeper than the scan allowed.
    fn value(&mut self, at: usize, left_out: &[String]) -> Option<()> {
        let token = self.tokens[at];
        match token.kind {
            TokenKind::Object => self.object(at, left_out),
            TokenKind::Array => {
                self.array(at);
                let mut item = at + 1;
                while item < token.next() {
                    self.value(item, &[])?;
                    item = self.tokens[item].next();
                }
                Some(())
            }
            TokenKind::Literal => {
                self.part(b'l', token.of(self.text).as_bytes());
                Some(())
            }
            TokenKind::Plain | TokenKind::Escaped => self.string(at),
        }
    }

    fn array(&mut self, at: usize) {
        let mut items = 0;
        let mut item = at + 1;
        while item < self.tokens[at].next() {
            items += 1;
            item = self.tokens[item].next();
        }
        self.head(b'a', items);
    }

    fn object(&mut self, at: usize, left_out: &[String]) -> Option<()> {
        let first = self.members.len();
        let mut name = at + 1;
        while name < self.tokens[at].next() {
            let value = name + 1;
            self.members.push((self.name(name)?, value));
            name = self.tokens[value].next();
        }
        let members = &mut self.members[first..];
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let is_left_out = |name: &[u8]| left_out.iter().any(|field| field.as_bytes() == name);
        let kept = members.iter().filter(|(name, _)| !is_left_out(name));
        let (end, kept) = (first + members.len(), kept.count());
        self.head(b'o', kept);
        for member in first..end {
            let (name, value) = &mut self.members[member];
            let (name, value) = (std::mem::take(name), *value);
            let before = self.out.len();
            self.part(b's', &name);
            // What is left out must be readable all the same.
            self.value(value, &[])?;
            if is_left_out(&name) {
                self.out.truncate(before);
            }
        }
        self.members.truncate(first);
        Some(())
    }

    /// Writes a string, unescaped; its length is known afterwards only.
    fn string(&mut self, at: usize) -> Option<()> {
        let inside = self.inside(at);
        if self.tokens[at].kind == TokenKind::Plain {
            self.part(b's', inside.as_bytes());
            return Some(());
        }
        self.head(b's', 0);
        let start = self.out.len();
        scan::unescape(inside, &mut self.out)?;
        let length = u32::try_from(self.out.len() - start).ok()?;
        self.out[start - LENGTH..start].copy_from_slice(&length.to_le_bytes());
        Some(())
    }

    fn name(&self, at: usize) -> Option<Cow<'a, [u8]>> {
        let inside = self.inside(at);
        if self.tokens[at].kind == TokenKind::Plain {
            return Some(Cow::Borrowed(inside.as_bytes()));
        }
        let mut name = Vec::with_capacity(inside.len());
        scan::unescape(inside, &mut name)?;
        Some(Cow::Owned(name))
    }

    /// A string without its quotes.
    fn inside(&self, at: usize) -> &'a str {
        let quoted = self.tokens[at].of(self.text);
        &quoted[1..quoted.len() - 1]
    }

    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.head(kind, bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// A kind, and the number of bytes, items or members that follow.
    fn head(&mut self, kind: u8, count: usize) {
        self.out.push(kind);
        // Nothing is longer than the text, and that was found to fit.
        self.out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
