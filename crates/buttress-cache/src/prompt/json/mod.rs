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

/// The parts of `text`, without those members of the outermost object whose names are `left_out`.
///
/// `None` if `text` is not JSON (RFC 8259), if an object has one name twice, which readers take
/// differently, if a string is no Unicode, or if it nests too deeply.
pub(super) fn canonical(text: &[u8], left_out: &[String]) -> Option<Vec<u8>> {
    // Lengths are written in four bytes.
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
    members: Vec<(Cow<'a, str>, usize)>,
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
            TokenKind::Plain | TokenKind::Escaped => {
                let string = self.string(at)?;
                self.part(b's', string.as_bytes());
                Some(())
            }
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
            self.members.push((self.string(name)?, value));
            name = self.tokens[value].next();
        }
        let members = &mut self.members[first..];
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let kept = members.iter().filter(|(name, _)| !left_out.iter().any(|field| field == name));
        let (end, kept) = (first + members.len(), kept.count());
        self.head(b'o', kept);
        for member in first..end {
            let (name, value) = &mut self.members[member];
            let (name, value) = (std::mem::take(name), *value);
            let before = self.out.len();
            self.part(b's', name.as_bytes());
            // What is left out must be readable all the same.
            self.value(value, &[])?;
            if left_out.iter().any(|field| *field == name) {
                self.out.truncate(before);
            }
        }
        self.members.truncate(first);
        Some(())
    }

    fn string(&self, at: usize) -> Option<Cow<'a, str>> {
        let token = self.tokens[at];
        let quoted = token.of(self.text);
        let inside = &quoted[1..quoted.len() - 1];
        match token.kind {
            TokenKind::Escaped => scan::unescape(inside).map(Cow::Owned),
            _ => Some(Cow::Borrowed(inside)),
        }
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
