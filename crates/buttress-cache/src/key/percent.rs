//! Percent-encoding in the one form that all its spellings share.

/// Appends `text`, a path or a query, with those escapes decoded that stand for an unreserved
/// character, and the others in upper case.
///
/// RFC 3986 says that this is the same URI (sections 2.3 and 6.2.2). It says it of nothing else:
/// `%2F` is not `/`, `+` is not `%20`, and a text with a `%` that starts no escape is left alone.
pub(super) fn write(text: &str, out: &mut String) {
    let start = out.len();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let Some(byte) = rest.get(at + 1..at + 3).and_then(decode) else {
            // Decoding what follows could make an escape of it: `%%411` is not `%A1`.
            out.truncate(start);
            return out.push_str(text);
        };
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&rest[at + 1..at + 3].to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
}

/// Appends a path. A segment that would become `.` or `..` stays as it was: many servers resolve
/// the one and not the other, so that they are better kept apart.
pub(super) fn write_path(path: &str, out: &mut String) {
    if !path.contains('%') {
        return out.push_str(path);
    }
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        let start = out.len();
        write(segment, out);
        if segment.contains('%') && matches!(&out[start..], "." | "..") {
            out.truncate(start);
            out.push_str(&segment.to_ascii_uppercase());
        }
    }
}

/// A path in its normal form.
pub(crate) fn normal_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    write_path(path, &mut out);
    out
}

fn decode(digits: &str) -> Option<u8> {
    let both = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    both.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        write(text, &mut out);
        out
    }

    fn path(text: &str) -> String {
        let mut out = String::new();
        write_path(text, &mut out);
        out
    }

    #[test]
    fn escapes_of_unreserved_characters_are_decoded_and_no_others() {
        assert_eq!(written("/%41%7e%2D%5f"), "/A~-_");
        assert_eq!(written("/a%2fb%3f%26%3d%25"), "/a%2Fb%3F%26%3D%25");
        assert_eq!(written("+%20"), "+%20");
    }

    #[test]
    fn a_text_with_a_percent_sign_that_starts_no_escape_is_left_alone() {
        for odd in ["%", "%4", "%zz", "a%%", "%+1", "%\u{e9}1", "%%411", "%41%"] {
            assert_eq!(written(odd), odd);
        }
    }

    #[test]
    fn a_segment_never_becomes_a_dot_segment() {
        assert_eq!(path("/a/%2e%2E/b"), "/a/%2E%2E/b");
        assert_eq!(path("/.%2e/%2e/%2e%2e%2e/x%2ey"), "/.%2E/%2E/.../x.y");
        assert_eq!(path("/a/../b"), "/a/../b");
    }

    proptest! {
        #[test]
        fn what_a_server_decodes_is_the_same_before_and_after(text in "(%[0-9a-fA-F]{2}|[a-z/?&=+])*") {
            let plain = |text: &str| {
                let mut bytes = Vec::new();
                let mut rest = text;
                while let Some(first) = rest.chars().next() {
                    if first == '%' {
                        bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                        rest = &rest[3..];
                    } else {
                        bytes.extend(first.to_string().bytes());
                        rest = &rest[first.len_utf8()..];
                    }
                }
                bytes
            };
            prop_assert_eq!(plain(&written(&text)), plain(&text));
            let reserved = |text: &str| text.chars().filter(|c| "/?&=+".contains(*c)).count();
            prop_assert_eq!(reserved(&written(&text)), reserved(&text));
        }
    }
}
