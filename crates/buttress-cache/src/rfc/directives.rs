//! `Cache-Control` and its relatives, read (RFC 9111 section 5.2).

use http::{HeaderMap, HeaderName, header};

use super::list::{Members, unquote};

/// The number that a directive has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// The directive is not there.
    #[default]
    Absent,
    /// It is there, and its value is no number.
    Invalid,
    /// So many seconds; never more than [`Delta::MOST`].
    Secs(u64),
}

/// What a directive applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// The directive is not there.
    #[default]
    Absent,
    /// The whole response.
    Whole,
    /// These fields of it.
    Fields(Vec<HeaderName>),
}

/// The directives of a request or a response, of all lines together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of RFC 9111 section 5.2 and of RFC 5861")]
pub struct Directives {
    pub max_age: Delta,
    pub s_maxage: Delta,
    pub max_stale: Delta,
    /// `max-stale` without a number: however stale.
    pub any_stale: bool,
    pub min_fresh: Delta,
    pub stale_while_revalidate: Delta,
    pub stale_if_error: Delta,
    pub no_cache: Extent,
    pub private: Extent,
    pub no_store: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub only_if_cached: bool,
}

impl Delta {
    /// What is larger counts as this (RFC 9111 section 1.2.2).
    pub const MOST: u64 = 1 << 31;

    /// Reads a number, with or without quotes.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let unquoted = unquote(value);
        Self::digits(unquoted.as_deref().unwrap_or(value))
    }

    /// Reads digits and nothing else.
    pub(crate) fn digits(value: &[u8]) -> Self {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Self::Invalid;
        }
        let secs = value.iter().fold(0_u64, |secs, &digit| {
            secs.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        });
        Self::Secs(secs.min(Self::MOST))
    }

    /// The seconds, if it is a number.
    #[must_use]
    pub const fn secs(self) -> Option<u64> {
        match self {
            Self::Secs(secs) => Some(secs),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The lifetime that it gives: an invalid one is over at once (RFC 9111 section 4.2.1).
    #[must_use]
    pub const fn lifetime(self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Invalid => Some(0),
            Self::Secs(secs) => Some(secs),
        }
    }

    /// Of several, the one that allows less.
    fn meet(&mut self, other: Self) {
        *self = match (*self, other) {
            (Self::Absent, new) => new,
            (Self::Secs(old), Self::Secs(new)) => Self::Secs(old.min(new)),
            _ => Self::Invalid,
        };
    }
}

impl Extent {
    fn meet(&mut self, value: Option<&[u8]>) {
        let fields = value.and_then(field_names);
        match (&mut *self, fields) {
            (Self::Whole, _) => {}
            (_, None) => *self = Self::Whole,
            (Self::Fields(old), Some(new)) => old.extend(new),
            (Self::Absent, Some(new)) => *self = Self::Fields(new),
        }
    }

    /// Whether it applies to the whole response.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    /// Whether anything at all is said.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// The fields that it applies to.
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        if let Self::Fields(fields) = self { fields } else { &[] }
    }
}

/// The names in an argument; `None` if it has none that is one, so that the directive holds for all.
fn field_names(value: &[u8]) -> Option<Vec<HeaderName>> {
    let unquoted = unquote(value);
    let list = unquoted.as_deref().unwrap_or(value);
    let names: Result<Vec<_>, _> = Members::of(list).map(HeaderName::from_bytes).collect();
    names.ok().filter(|names| !names.is_empty())
}

impl Directives {
    /// Reads `Cache-Control`, all its lines.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::CACHE_CONTROL).iter();
        Self::parse(lines.map(http::HeaderValue::as_bytes))
    }

    /// Reads lines.
    #[must_use]
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            let mut members = Members::of(line);
            for member in members.by_ref() {
                let equals = member.iter().position(|&byte| byte == b'=');
                let (name, value) = match equals {
                    Some(at) => (&member[..at], member.get(at + 1..)),
                    None => (member, None),
                };
                directives.add(name, value);
            }
            // An open quote may hide what forbids the reuse.
            directives.no_store |= members.is_unclosed();
        }
        directives
    }

    /// Adds one directive. White space around `=` is no part of the grammar: it makes a number invalid
    /// rather than the directive unknown, which errs towards staleness.
    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let spaced = name.iter().any(|byte| matches!(byte, b';' | b' ' | b'\t'));
        let number = || match value {
            Some(value) if !spaced => Delta::parse(value),
            _ => Delta::Invalid,
        };
        let mut lower = [0_u8; 24];
        // What should not follow a directive does not hide it.
        let end = name.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t'));
        let name = end.map_or(name, |end| &name[..end]);
        let Some(buffer) = lower.get_mut(..name.len()) else { return };
        buffer.copy_from_slice(name);
        buffer.make_ascii_lowercase();
        match &*buffer {
            b"max-age" => self.max_age.meet(number()),
            b"s-maxage" => self.s_maxage.meet(number()),
            b"max-stale" if value.is_none() => self.any_stale = true,
            b"max-stale" => self.max_stale.meet(number()),
            b"min-fresh" => self.min_fresh.meet(number()),
            b"stale-while-revalidate" => self.stale_while_revalidate.meet(number()),
            b"stale-if-error" => self.stale_if_error.meet(number()),
            b"no-cache" => self.no_cache.meet(value),
            b"private" => self.private.meet(value),
            b"no-store" => self.no_store = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }

    /// Reads a targeted field such as `CDN-Cache-Control`, which is a structured dictionary; `None`
    /// if it is absent, empty or breaks the rules, and so is as if it were not there (RFC 9213
    /// section 2.1). Any other takes the place of `Cache-Control`, whatever it says: `none` is an example
    /// of section 3.1. A time of a wrong type is no time, rather than none that was said; what forbids
    /// does so whatever its type.
    #[must_use]
    pub fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).iter();
        let mut text = lines.next()?.as_bytes().to_vec();
        for line in lines {
            text.extend_from_slice(b", ");
            text.extend_from_slice(line.as_bytes());
        }
        let members: sfv::Dictionary = sfv::Parser::new(&text).parse().ok()?;
        if members.is_empty() {
            return None;
        }
        let mut directives = Self::default();
        for (name, member) in &members {
            match member {
                sfv::ListEntry::Item(item) => {
                    directives.add_structured(name.as_str(), &item.bare_item);
                }
                sfv::ListEntry::InnerList(_) => directives.add(name.as_str().as_bytes(), None),
            }
        }
        Some(directives)
    }

    fn add_structured(&mut self, name: &str, value: &sfv::BareItem) {
        const NO_NUMBER: &str = "?";
        let number = matches!(value, sfv::BareItem::Integer(number) if i64::from(*number) >= 0);
        let text = match value {
            sfv::BareItem::Boolean(true) => None,
            sfv::BareItem::Boolean(false) => return,
            _ if is_number(name) && !number => Some(NO_NUMBER.to_owned()),
            sfv::BareItem::Integer(number) => Some(number.to_string()),
            sfv::BareItem::String(text) => Some(text.as_str().to_owned()),
            sfv::BareItem::Token(text) => Some(text.as_str().to_owned()),
            _ => Some(NO_NUMBER.to_owned()),
        };
        self.add(name.as_bytes(), text.as_deref().map(str::as_bytes));
    }
}

/// Whether a directive has a number of seconds.
fn is_number(name: &str) -> bool {
    matches!(name, "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Directives {
        Directives::parse([line.as_bytes()])
    }

    fn max_age(line: &str) -> Delta {
        parse(line).max_age
    }

    #[test]
    fn names_are_known_in_any_case_and_on_any_line() {
        let directives = Directives::parse([&b"PRIVATE, Max-Age=60"[..], b"No-Store"]);
        assert!(directives.private.is_whole() && directives.no_store);
        assert_eq!(directives.max_age, Delta::Secs(60));
    }

    #[test]
    fn bytes_beyond_ascii_hide_nothing() {
        let directives = Directives::parse([&b"x=\xff\xfe, private, no-store"[..]]);
        assert!(directives.private.is_whole() && directives.no_store);
    }

    #[test]
    fn numbers_may_be_quoted_and_saturate() {
        assert_eq!(max_age("max-age=3600"), Delta::Secs(3600));
        assert_eq!(max_age("max-age=\"3600\""), Delta::Secs(3600));
        assert_eq!(max_age("max-age=003600"), Delta::Secs(3600));
        assert_eq!(max_age(&format!("max-age=1{}", "0".repeat(30))), Delta::Secs(Delta::MOST));
    }

    #[test]
    fn what_is_no_number_is_invalid_which_is_stale() {
        for bad in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age='3600'",
            "max-age=a1",
            "max-age=1a",
            "max-age =1",
            "max-age= 1",
            "max-age=\"1",
            "max-age=1, max-age=x",
        ] {
            assert_eq!(max_age(bad), Delta::Invalid, "{bad}");
            assert_eq!(max_age(bad).lifetime(), Some(0));
        }
    }

    #[test]
    fn of_several_numbers_the_smallest_counts() {
        assert_eq!(max_age("max-age=1, max-age=3600"), Delta::Secs(1));
        assert_eq!(max_age("max-age=3600, max-age=1"), Delta::Secs(1));
    }

    #[test]
    fn what_stands_in_quotes_is_no_directive() {
        assert_eq!(max_age("extension=\"max-age=3600\""), Delta::Absent);
        assert_eq!(max_age("extension=\"max-age=3600\", max-age=1"), Delta::Secs(1));
        assert_eq!(max_age("a=\"x\\\", max-age=3600\""), Delta::Absent);
    }

    #[test]
    fn what_should_not_follow_a_directive_does_not_hide_it() {
        assert!(parse("no-store ; x, max-age=60").no_store);
        assert!(parse("max-age=60,no-store;").no_store);
        assert!(parse("private x, max-age=60").private.is_whole());
        assert!(parse("no-cache; foo").no_cache.is_whole());
    }

    #[test]
    fn an_open_quote_forbids_storing() {
        assert!(parse("a=\"b, max-age=3600").no_store);
    }

    #[test]
    fn fields_are_named_with_and_without_quotes() {
        let names = [HeaderName::from_static("a"), HeaderName::from_static("b")];
        assert_eq!(parse("no-cache=\"a, B\"").no_cache.fields(), names);
        assert_eq!(parse("private=a, private=\"b\"").private.fields(), names);
        for whole in ["no-cache", "no-cache=\"\"", "no-cache=\"a b\"", "no-cache=a, no-cache"] {
            assert!(parse(whole).no_cache.is_whole(), "{whole}");
        }
    }

    fn targeted(value: &'static str) -> Option<Directives> {
        let name = HeaderName::from_static("cdn-cache-control");
        let headers = HeaderMap::from_iter([(name.clone(), http::HeaderValue::from_static(value))]);
        Directives::targeted(&headers, &name)
    }

    #[test]
    fn a_targeted_field_is_a_structured_dictionary() {
        let directives = targeted("max-age=60, private;a=1, x=1.5").unwrap();
        assert_eq!(directives.max_age, Delta::Secs(60));
        assert!(directives.private.is_whole());
        assert!(!targeted("no-store=?0, max-age=1").unwrap().no_store);
        for bad in ["", "MaX-aGe=60", "max-age =60", "max-age=60, &&&"] {
            assert_eq!(targeted(bad), None, "{bad}");
        }
        for wrong in ["max-age=\"60\"", "max-age=-1", "max-age=1.0", "max-age=(1)", "max-age"] {
            assert_eq!(targeted(wrong).unwrap().max_age, Delta::Invalid, "{wrong}");
        }
        for wrong in [
            "no-store, max-age=\"60\"",
            "no-store, foo=(a b)",
            "max-age=(1), no-store",
            "no-store=(a)",
            "no-store=1",
        ] {
            assert!(targeted(wrong).unwrap().no_store, "{wrong}");
        }
        let directives = targeted("max-age=60, stale-while-revalidate=\"5\", foo=(a)").unwrap();
        assert_eq!(directives.max_age, Delta::Secs(60));
        assert_eq!(targeted("none"), Some(Directives::default()), "said, and unknown");
    }

    proptest::proptest! {
        #[test]
        fn any_lines_can_be_read(lines in proptest::collection::vec(
            proptest::collection::vec(0_u8.., 0..80), 0..5,
        )) {
            let _ = Directives::parse(lines.iter().map(Vec::as_slice));
        }
    }
}
