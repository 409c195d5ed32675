//! Fields that are comma-separated lists (RFC 9110 section 5.6.1).

/// The members of a line, with quoted commas left alone; empty members are left out.
///
/// A quote that is never closed reaches to the end of the line; [`Members::is_unclosed`] tells.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a> {
    rest: Option<&'a [u8]>,
    unclosed: bool,
}

impl<'a> Members<'a> {
    pub(crate) const fn of(line: &'a [u8]) -> Self {
        Self { rest: Some(line), unclosed: false }
    }

    /// Whether a quote was left open, once all members were taken.
    pub(crate) const fn is_unclosed(&self) -> bool {
        self.unclosed
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let Some(rest) = self.rest {
            let (end, unclosed) = end(rest);
            self.unclosed |= unclosed;
            let member = rest.get(..end).unwrap_or(rest).trim_ascii();
            self.rest = rest.get(end + 1..);
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

/// Where the first member ends, and whether a quote was left open in it.
fn end(line: &[u8]) -> (usize, bool) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (at, false),
            _ => {}
        }
    }
    (line.len(), quoted)
}

/// The text of a quoted string without its quotes and escapes; `None` if it is none.
pub(crate) fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next()?),
            b'"' => return None,
            _ => text.push(byte),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(line: &str) -> Vec<&str> {
        Members::of(line.as_bytes()).map(|member| std::str::from_utf8(member).unwrap()).collect()
    }

    #[test]
    fn commas_in_quotes_separate_nothing() {
        assert_eq!(members(r#"a, b="c,d" ,,e"#), ["a", r#"b="c,d""#, "e"]);
        assert_eq!(members(r#"a="x\",y", b"#), [r#"a="x\",y""#, "b"]);
        assert_eq!(members(" , "), [""; 0]);
        assert_eq!(members(""), [""; 0]);
    }

    #[test]
    fn an_open_quote_is_noticed() {
        let mut list = Members::of(br#"a, b="c, d"#);
        assert_eq!(list.by_ref().count(), 2);
        assert!(list.is_unclosed());
    }

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        assert_eq!(unquote(br#""a\"b""#), Some(b"a\"b".to_vec()));
        for bad in [&b"a"[..], b"\"", b"\"a", b"\"a\"b\"", b"\"a\\\""] {
            assert_eq!(unquote(bad), None, "{bad:?}");
        }
    }
}
