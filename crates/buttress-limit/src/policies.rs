//! What an upstream's `RateLimit-Policy` says.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, List, ListEntry, Parser};

use crate::cost::Unit;

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How many policies of a line are looked at.
const MOST: usize = 16;

/// Calls `found` with the quota of each policy, and with the time that it is for. Those without a
/// time and those in a unit that is not known here are left out.
///
/// The list of the draft: `"burst";q=100;w=60, "daily";q=1000;w=86400;qu="requests"`.
pub(crate) fn read(headers: &HeaderMap, mut found: impl FnMut(Unit, u64, Duration)) {
    for line in headers.get_all(&POLICY) {
        // One that is malformed is to be ignored as a whole.
        let Ok(list) = Parser::new(line.as_bytes()).parse::<List>() else { continue };
        let items = list.iter().filter_map(|entry| match entry {
            ListEntry::Item(item) => Some(item),
            ListEntry::InnerList(_) => None,
        });
        for (unit, amount, per) in items.filter_map(policy).take(MOST) {
            found(unit, amount, per);
        }
    }
}

fn policy(item: &Item) -> Option<(Unit, u64, Duration)> {
    let natural = |name: &str| match item.params.get(name)? {
        BareItem::Integer(number) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    };
    let unit = match item.params.get("qu") {
        None => Unit::Requests,
        Some(BareItem::String(name)) => {
            Unit::ALL.into_iter().find(|unit| unit.as_str() == name.as_str())?
        }
        Some(_) => return None,
    };
    Some((unit, natural("q")?, Duration::from_secs(natural("w")?)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn said(lines: &[&str]) -> Vec<(Unit, u64, u64)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&POLICY, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let mut all = Vec::new();
        read(&headers, |unit, quota, per| all.push((unit, quota, per.as_secs())));
        all
    }

    #[test]
    fn each_policy_with_a_quota_and_a_time_is_read() {
        let (requests, bytes) = (Unit::Requests, Unit::Bytes);
        for (lines, expected) in [
            (&[r#""burst";q=100;w=60"#][..], &[(requests, 100, 60)][..]),
            (&[r#""a";q=100;w=60,"b";q=9;w=1"#], &[(requests, 100, 60), (requests, 9, 1)]),
            (&[r#""a";q=100;w=60"#, r#""b";q=9;w=1"#], &[(requests, 100, 60), (requests, 9, 1)]),
            (&[r#""a";q=5;w=60;qu="content-bytes";pk=:dQ==:"#], &[(bytes, 5, 60)]),
            (&[r#""a";q=5;w=60;qu="tokens""#], &[(Unit::Tokens, 5, 60)]),
        ] {
            assert_eq!(said(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_malformed_or_unknown_says_nothing() {
        for text in [
            "",
            "100",
            r#""a";q=100"#,
            r#""a";w=60"#,
            r#""a";q=-1;w=60"#,
            r#""a";q=1e9;w=60"#,
            r#""a";q="100";w=60"#,
            r#""a";q=1.5;w=60"#,
            r#""a";q=99999999999999999999;w=60"#,
            r#""a";q=5;w=60;qu="concurrent-requests""#,
            r#""a";q=5;w=60;qu=requests"#,
            r#"("a" "b");q=5;w=60"#,
            r#""a";q=5;w=60, "broken"#,
            "\u{e4}",
        ] {
            assert_eq!(said(&[text]), [], "{text}");
        }
        let many = vec![r#""a";q=5;w=60"#; 1_000].join(", ");
        assert_eq!(said(&[&many]).len(), MOST);
    }
}
