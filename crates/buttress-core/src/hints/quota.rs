//! Quotas that a server reports as spent, and when they are full again.

use std::convert::Infallible;
use std::time::Duration;

use http::header::HeaderName;
use http::status::StatusCode;
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor,
    ParameterVisitor,
};
use sfv::{BareItemFromInput, KeyRef, Parser};

use super::amount::{self, SECOND};
use super::moment::Base;
use super::{HintSource, lines};

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Whether a response of this status may be the answer to a spent quota.
pub(super) fn may_be_spent(status: StatusCode) -> bool {
    matches!(status.as_u16(), 403 | 429 | 503 | 529)
}

/// The longest time until a spent quota is full again.
pub(super) fn delay(base: Base<'_>) -> Option<(Duration, HintSource)> {
    let paired = base.headers.keys().filter_map(|name| {
        let source = family(name)?;
        Some((until_full(base, name)?, source))
    });
    let field = lines(base.headers, &RATELIMIT)
        .flatten()
        .filter_map(|text| Some((field(text)?, HintSource::RateLimit)));
    paired.chain(field).max_by_key(|(delay, _)| *delay)
}

/// The family of a header that says how much of a quota remains.
fn family(remaining: &HeaderName) -> Option<HintSource> {
    let name = remaining.as_str();
    if !name.contains("remaining") {
        return None;
    }
    if name.starts_with("anthropic-") {
        return Some(HintSource::AnthropicRateLimitReset);
    }
    if name.starts_with("ratelimit-") {
        return Some(HintSource::RateLimitReset);
    }
    let related = name.contains("ratelimit") || name.contains("rate-limit");
    related.then_some(HintSource::XRateLimitReset)
}

/// The latest reset that belongs to a `…remaining…` header, if that one says zero.
fn until_full(base: Base<'_>, remaining: &HeaderName) -> Option<Duration> {
    let spent = lines(base.headers, remaining).flatten().any(is_zero);
    if !spent {
        return None;
    }
    let reset = remaining.as_str().replacen("remaining", "reset", 1);
    let resets = base.headers.get_all(reset).iter().filter_map(super::text);
    resets.filter_map(|text| base.until_reset(text)).max()
}

/// Zero and nothing below: `-1` is how some servers say that there is no limit.
fn is_zero(text: &str) -> bool {
    amount::decimal(text, SECOND) == Some(Duration::ZERO)
}

/// One line of `RateLimit`, in the form of the draft or in that of its earlier versions.
fn field(text: &str) -> Option<Duration> {
    let mut list = Policies::default();
    if Parser::new(text).parse_list_with_visitor(&mut list).is_ok() {
        return list.longest;
    }
    let mut dictionary = Policy::default();
    let parsed = Parser::new(text).parse_dictionary_with_visitor(&mut dictionary);
    parsed.ok().and_then(|()| dictionary.until_full())
}

/// What one policy says of its quota.
#[derive(Default)]
struct Policy {
    remaining: Option<u64>,
    reset: Option<u64>,
}

impl Policy {
    /// The reset is in seconds from now; a spent quota without one says nothing about when.
    fn until_full(&self) -> Option<Duration> {
        let spent = self.remaining == Some(0);
        self.reset.filter(|_| spent).map(Duration::from_secs)
    }
}

/// The list of the current draft: `"name";r=0;t=30, "other";r=7;t=5`.
#[derive(Default)]
struct Policies {
    longest: Option<Duration>,
}

struct Entry<'a> {
    policies: &'a mut Policies,
    policy: Policy,
}

impl<'de> ListVisitor<'de> for Policies {
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(Entry { policies: self, policy: Policy::default() })
    }
}

impl<'de> ItemVisitor<'de> for Entry<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        _name: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        Ok(self)
    }
}

impl<'de> EntryVisitor<'de> for Entry<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ParameterVisitor<'de> for Entry<'_> {
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Infallible> {
        match key.as_str() {
            "r" => self.policy.remaining = natural(&value),
            "t" => self.policy.reset = natural(&value),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        self.policies.longest = self.policies.longest.max(self.policy.until_full());
        Ok(())
    }
}

/// The dictionary of earlier drafts: `limit=100, remaining=0, reset=30`.
impl<'de> DictionaryVisitor<'de> for Policy {
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        Ok(match key.as_str() {
            "remaining" => Some(Member(&mut self.remaining)),
            "reset" => Some(Member(&mut self.reset)),
            _ => None,
        })
    }
}

struct Member<'a>(&'a mut Option<u64>);

impl<'de> ItemVisitor<'de> for Member<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        value: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        *self.0 = natural(&value);
        Ok(Ignored)
    }
}

impl<'de> EntryVisitor<'de> for Member<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        *self.0 = None;
        Ok(Ignored)
    }
}

fn natural(value: &BareItemFromInput<'_>) -> Option<u64> {
    match value {
        BareItemFromInput::Integer(number) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_read_in_the_form_of_the_draft_and_of_its_earlier_versions() {
        for (text, seconds) in [
            ("\"default\";r=0;t=30", 30),
            ("\"default\";t=30;r=0", 30),
            ("\"15min\"; r=0; t=870", 870),
            ("default;r=0;t=30", 30),
            ("\"a\";r=0;t=5, \"b\";r=0;t=50, \"c\";r=9;t=500", 50),
            ("\"a\";r=0;t=5;pk=:dHJpYWwxMjEzMjM=:", 5),
            ("\"a\";r=0;t=0", 0),
            ("limit=100, remaining=0, reset=30", 30),
            ("limit=100,remaining=0,reset=30", 30),
            ("reset=30;comment=1, remaining=0", 30),
        ] {
            assert_eq!(field(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn a_field_that_reports_no_spent_quota_or_is_malformed_says_nothing() {
        for text in [
            "",
            "\"default\"",
            "\"default\";r=50;t=30",
            "\"default\";r=0",
            "\"default\";t=30",
            "\"default\";r=0;t=-1",
            "\"default\";r=-1;t=30",
            "\"default\";r=0;t=1.5",
            "\"default\";r=0;t=\"30\"",
            "\"default\";r=0;t=9999999999999999",
            "\"default\";r=0;t=30,",
            "\"default\";r=0;t=30, \"broken",
            "(\"a\" \"b\");r=0;t=30",
            "limit=100, remaining=7, reset=30",
            "limit=100, remaining=0",
            "remaining=0, reset=(30)",
            "remaining=0, reset=30, reset=(5)",
            "remaining=0, reset=30,",
            "100",
        ] {
            assert_eq!(field(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_the_statuses_of_a_spent_quota_count() {
        for status in [403, 429, 503, 529] {
            assert!(may_be_spent(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 302, 400, 401, 408, 500, 502, 504] {
            assert!(!may_be_spent(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
