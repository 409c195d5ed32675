//! What an upstream's `RateLimit-Policy` says.

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor, ParameterVisitor,
    },
};

use crate::cost::Unit;

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How many policies of an answer are looked at.
const MOST: usize = 16;

/// Calls `found` with the quota of each policy, and with the time that it is for. Those without a
/// time and those in a unit that is not known here are left out.
pub(crate) fn read(headers: &HeaderMap, mut found: impl FnMut(Unit, u64, Duration)) {
    for line in headers.get_all(&POLICY) {
        let Ok(text) = str::from_utf8(line.as_bytes()) else { continue };
        let mut list = Policies::default();
        // One that is malformed is to be ignored as a whole.
        if Parser::new(text).parse_list_with_visitor(&mut list).is_err() {
            continue;
        }
        for (unit, amount, per) in list.found {
            found(unit, amount, per);
        }
    }
}

/// The list of the draft: `"burst";q=100;w=60, "daily";q=1000;w=86400;qu="requests"`.
#[derive(Default)]
struct Policies {
    found: Vec<(Unit, u64, Duration)>,
}

/// What one policy has said so far.
struct Policy<'a> {
    all: &'a mut Policies,
    quota: Option<u64>,
    window: Option<u64>,
    unit: Option<Unit>,
}

impl<'de> ListVisitor<'de> for Policies {
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Policy { all: self, quota: None, window: None, unit: Some(Unit::Requests) })
    }
}

impl<'de> ItemVisitor<'de> for Policy<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        _name: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        Ok(self)
    }
}

impl<'de> EntryVisitor<'de> for Policy<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ParameterVisitor<'de> for Policy<'_> {
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Infallible> {
        match key.as_str() {
            "q" => self.quota = natural(&value),
            "w" => self.window = natural(&value),
            "qu" => self.unit = unit(&value),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        if let (Some(quota), Some(window), Some(unit)) = (self.quota, self.window, self.unit)
            && self.all.found.len() < MOST
        {
            self.all.found.push((unit, quota, Duration::from_secs(window)));
        }
        Ok(())
    }
}

fn natural(value: &BareItemFromInput<'_>) -> Option<u64> {
    match value {
        BareItemFromInput::Integer(number) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    }
}

fn unit(value: &BareItemFromInput<'_>) -> Option<Unit> {
    let BareItemFromInput::String(name) = value else { return None };
    Unit::ALL.into_iter().find(|unit| unit.as_str() == name.as_str())
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
