//! Finds the `usage` in JSON that passes by in pieces, with little memory and without a tree.

/// The most bytes of a `usage` that are kept.
const LONGEST: usize = 4 * 1024;

/// How deep a `usage` may lie: at the top, or in the `response` or `message` of an event.
const DEEPEST: u32 = 2;

const KEY: &[u8] = b"usage";

/// Reads JSON, one value or many, byte by byte.
///
/// It knows strings from what is outside of them, and how deep it is. Text within a string, however
/// much it looks like a `usage`, is not taken for one.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    depth: u32,
    string: Option<Text>,
    /// Whether the last string was the key, and a colon or a value is to come.
    key: Key,
    /// The depth at which the `usage` began that is being kept, and what there is of it.
    kept: Option<(u32, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Text {
    escaped: bool,
    /// How much of the key it matches; `None` if it does not.
    matched: Option<usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Key {
    #[default]
    No,
    Named,
    Value,
}

impl Scanner {
    /// Reads on. Calls `found` with each object that is the value of a `usage`.
    pub(super) fn read(&mut self, bytes: &[u8], mut found: impl FnMut(&[u8])) {
        for byte in bytes {
            if let Some((depth, usage)) = self.next(*byte) {
                debug_assert!(depth <= DEEPEST, "a deeper one is not kept");
                found(&usage);
            }
        }
    }

    /// Begins anew, as at the start of an event.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    fn next(&mut self, byte: u8) -> Option<(u32, Vec<u8>)> {
        if let Some((_, kept)) = &mut self.kept {
            kept.push(byte);
            if kept.len() > LONGEST {
                self.kept = None;
            }
        }
        if self.string.is_some() {
            self.within_string(byte);
            return None;
        }
        match byte {
            b'"' => {
                let matched = (self.depth <= DEEPEST && self.kept.is_none()).then_some(0);
                self.string = Some(Text { escaped: false, matched });
                self.key = Key::No;
            }
            b':' if self.key == Key::Named => self.key = Key::Value,
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                if byte == b'{' && self.key == Key::Value {
                    self.kept = Some((self.depth, vec![byte]));
                }
                self.key = Key::No;
            }
            b'}' | b']' => {
                let ended = self.kept.take_if(|(depth, _)| *depth == self.depth);
                self.depth = self.depth.saturating_sub(1);
                self.key = Key::No;
                return ended.map(|(depth, usage)| (depth - 1, usage));
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.key = Key::No,
        }
        None
    }

    fn within_string(&mut self, byte: u8) {
        let Some(text) = &mut self.string else { return };
        if text.escaped {
            text.escaped = false;
            return;
        }
        match byte {
            b'\\' => {
                text.escaped = true;
                text.matched = None;
            }
            b'"' => {
                let is_key = text.matched == Some(KEY.len());
                self.key = if is_key { Key::Named } else { Key::No };
                self.string = None;
            }
            _ => {
                text.matched =
                    text.matched.filter(|at| KEY.get(*at) == Some(&byte)).map(|at| at + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pieces: &[&str]) -> Vec<String> {
        let (mut scanner, mut all) = (Scanner::default(), Vec::new());
        for piece in pieces {
            scanner.read(piece.as_bytes(), |usage| {
                all.push(String::from_utf8(usage.to_vec()).unwrap());
            });
        }
        all
    }

    #[test]
    fn a_usage_is_found_wherever_the_pieces_break() {
        let text =
            r#"{"id":"x","choices":[{"text":"a\"b"}],"usage" : {"total_tokens":7,"d":{"e":1}}}"#;
        for at in 0..text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(found(&[a, b]), [r#"{"total_tokens":7,"d":{"e":1}}"#], "{at}");
        }
    }

    #[test]
    fn what_a_text_says_is_no_usage() {
        for text in [
            r#"{"content":"\"usage\":{\"total_tokens\":9}"}"#,
            r#"{"content":"usage","x":{"total_tokens":9}}"#,
            r#"{"usage":null}"#,
            r#"{"usage":[{"total_tokens":9}]}"#,
            r#"{"usages":{"total_tokens":9}}"#,
            r#"{"a":{"b":{"c":{"usage":{"total_tokens":9}}}}}"#,
            r#"}}}]]]{"usag":{"e":1}}"#,
        ] {
            assert!(found(&[text]).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_usage_without_end_is_not_kept() {
        let long = format!(r#"{{"usage":{{"x":"{}"}}}}"#, "y".repeat(LONGEST));
        assert!(found(&[&long]).is_empty());
        let after = format!(r#"{long} {{"usage":{{"total_tokens":1}}}}"#);
        assert_eq!(found(&[&after]), [r#"{"total_tokens":1}"#]);
    }
}
