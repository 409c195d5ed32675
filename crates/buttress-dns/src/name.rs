//! A name that can be asked for.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    str::FromStr,
    sync::Arc,
};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::{DnsError, DnsErrorKind};

/// The name of a host, checked and in one spelling: lower case, in ASCII (IDNA), without the dot at
/// its end. Underscores are fine.
///
/// What `getaddrinfo` reads as an address is one here as well, in whatever spelling, so that no
/// check of addresses can be walked around.
///
/// ```
/// use buttress_dns::Name;
///
/// let name: Name = "BÜCHER.example.".parse()?;
/// assert_eq!(name.as_str(), "xn--bcher-kva.example");
/// assert!(name.is_absolute());
///
/// let name: Name = "0x7f.1".parse()?;
/// assert_eq!(name.address(), Some("127.0.0.1:0".parse().unwrap()));
///
/// assert!("a..b".parse::<Name>().is_err());
/// # Ok::<(), buttress_dns::DnsError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    text: Arc<str>,
    absolute: bool,
    address: Option<SocketAddr>,
}

/// RFC 1035 section 2.3.4: 255 octets on the wire, which are 253 characters and no dot at the end.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

impl Name {
    /// Reads a host as it stands in a URI: a name, or an address with or without brackets.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](DnsErrorKind::InvalidName) if nobody could be asked for it.
    pub fn new(host: &str) -> Result<Self, DnsError> {
        if let Some(address) = literal(host) {
            let text = address.ip().to_string().into();
            return Ok(Self { text, absolute: true, address: Some(address) });
        }
        let invalid = |reason: &'static str| {
            let shown: String = host.chars().take(LONGEST_NAME).collect();
            DnsError::new(DnsErrorKind::InvalidName).of_name(shown).because(reason)
        };
        if host.len() > 4 * LONGEST_NAME {
            return Err(invalid("it is longer than 253 characters"));
        }
        let deny = AsciiDenyList::EMPTY;
        let text = Uts46::new()
            .to_ascii(host.as_bytes(), deny, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| invalid("it is no internationalised name"))?;
        let absolute = text.ends_with('.');
        let text = text.strip_suffix('.').unwrap_or(&text);
        check(text).map_err(invalid)?;
        // What was no address before IDNA may be one now: full-width digits.
        if let Some(address) = literal(text) {
            let text = address.ip().to_string().into();
            return Ok(Self { text, absolute: true, address: Some(address) });
        }
        if text.rsplit('.').next().is_some_and(is_number) {
            return Err(invalid("it ends in a number and is no address"));
        }
        Ok(Self { text: text.into(), absolute, address: None })
    }

    /// The name, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was written with a dot at its end, so that no search list applies to it.
    #[must_use]
    pub const fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// The same name, to which no search list applies.
    #[must_use]
    pub fn absolute(mut self) -> Self {
        self.absolute = true;
        self
    }

    /// The address that the name is, with port 0; `None` if it is a name indeed.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// How many labels it has.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.text.split('.').count()
    }

    /// Whether it is `suffix` or lies below it.
    #[must_use]
    pub fn is_within(&self, suffix: &Self) -> bool {
        self.address.is_none()
            && self
                .text
                .strip_suffix(&*suffix.text)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The name made of this one and `suffix` behind it.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](DnsErrorKind::InvalidName) if it would be too long.
    pub fn under(&self, suffix: &Self) -> Result<Self, DnsError> {
        Ok(Self::new(&format!("{}.{}", self.text, suffix.text))?.absolute())
    }

    /// The spelling for a resolver: with the dot at its end if the name is absolute.
    #[must_use]
    pub fn to_question(&self) -> String {
        let dot = if self.absolute && self.address.is_none() { "." } else { "" };
        format!("{}{dot}", self.text)
    }
}

impl FromStr for Name {
    type Err = DnsError;

    fn from_str(host: &str) -> Result<Self, DnsError> {
        Self::new(host)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_question(), f)
    }
}

/// Says what is wrong with a name in ASCII, without the dot at its end.
fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > LONGEST_NAME {
        return Err("it is longer than 253 characters");
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err("a label is empty");
        }
        if label.len() > LONGEST_LABEL {
            return Err("a label is longer than 63 characters");
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err("it has a character that is not allowed");
        }
    }
    Ok(())
}

/// Whether the URL standard's host parser would hold the label for a part of an IPv4 address.
fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit()) || number(label).is_some()
}

/// Reads an address in any spelling that the system's resolver takes.
fn literal(host: &str) -> Option<SocketAddr> {
    if let Some(inside) = host.strip_prefix('[') {
        return v6(inside.strip_suffix(']')?);
    }
    if host.contains(':') {
        return v6(host);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    v4(host).map(|address| SocketAddr::new(IpAddr::V4(address), 0))
}

/// `inet_aton`: one to four parts, decimal, octal or hexadecimal, the last of which fills the rest.
fn v4(host: &str) -> Option<Ipv4Addr> {
    // The commonest case first: a name does not begin with a digit.
    if !host.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let mut parts = [0_u32; 4];
    let mut count = 0;
    for part in host.split('.') {
        *parts.get_mut(count)? = number(part)?;
        count += 1;
    }
    let (last, before) = parts.get(..count)?.split_last()?;
    let free = 8 * (4 - u32::try_from(before.len()).ok()?);
    if u64::from(*last) >= 1 << free {
        return None;
    }
    let mut bits = *last;
    for (place, part) in before.iter().enumerate() {
        let byte = u8::try_from(*part).ok()?;
        bits |= u32::from(byte) << (24 - 8 * u32::try_from(place).ok()?);
    }
    Some(Ipv4Addr::from_bits(bits))
}

fn number(part: &str) -> Option<u32> {
    let hexadecimal = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, part.strip_prefix('0')) {
        // The URL standard reads an empty rest as zero.
        (Some(""), _) => return Some(0),
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (part, 10),
    };
    // `from_str_radix` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(())?;
    u32::from_str_radix(digits, radix).ok()
}

fn v6(inside: &str) -> Option<SocketAddr> {
    // In a URI the percent sign of a zone is written %25 (RFC 6874).
    let (address, zone) = match inside.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (inside, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = zone.map_or(Some(0), scope)?;
    Some(SocketAddrV6::new(address, 0, 0, scope).into())
}

/// The number of a network interface that is given by its number or its name.
fn scope(zone: &str) -> Option<u32> {
    if zone.is_empty() || zone.contains(['/', '.', '\0']) {
        return None;
    }
    zone.parse().ok().or_else(|| {
        let number = std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex"));
        number.ok()?.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(host: &str) -> Name {
        Name::new(host).unwrap_or_else(|error| panic!("{host:?}: {error}"))
    }

    #[test]
    fn equal_names_have_one_spelling() {
        for host in ["example.com", "EXAMPLE.com", "example.com.", "ExAmPlE。com"] {
            assert_eq!(name(host).as_str(), "example.com", "{host}");
        }
        assert_eq!(name("bücher.example"), name("XN--BCHER-KVA.example"));
        assert_eq!(name("my_service").as_str(), "my_service");
        assert_eq!(name("foo_bar.example.com").as_str(), "foo_bar.example.com");
        assert_eq!(name("-x-.1e100.net").as_str(), "-x-.1e100.net");
    }

    #[test]
    fn the_dot_at_the_end_is_remembered() {
        assert!(name("example.com.").is_absolute());
        assert!(!name("example.com").is_absolute());
        assert_eq!(name("example.com.").to_question(), "example.com.");
        assert_eq!(name("Example.com").to_question(), "example.com");
    }

    #[test]
    fn lengths_are_those_of_the_wire() {
        let label = |length| "a".repeat(length);
        assert!(Name::new(&format!("{}.example", label(63))).is_ok());
        assert!(Name::new(&format!("{}.example", label(64))).is_err());
        let name = |last| [label(63), label(63), label(63), label(last)].join(".");
        assert_eq!(name(61).len(), 253);
        assert!(Name::new(&name(61)).is_ok());
        assert!(Name::new(&format!("{}.", name(61))).is_ok());
        assert!(Name::new(&name(62)).is_err());
        assert!(Name::new(&name(63)).is_err());
        assert!(Name::new(&"ü.".repeat(1_000)).is_err());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for host in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a\0b",
            "a b",
            " a",
            "a/b",
            "a@b",
            "a:b:c",
            "[::1",
            "1.2.3.4.5",
            "256.256.256.256",
            "a.1",
            "0x1g.0x",
            "example.com..",
            "%31.example",
            "\u{ad}",
        ] {
            let error = Name::new(host).expect_err(host);
            assert_eq!(error.kind(), DnsErrorKind::InvalidName, "{host}");
        }
    }

    #[test]
    fn addresses_are_known_in_every_spelling() {
        for (host, expected) in [
            ("127.0.0.1", "127.0.0.1:0"),
            ("127.0.0.1.", "127.0.0.1:0"),
            ("2130706433", "127.0.0.1:0"),
            ("0x7f.1", "127.0.0.1:0"),
            ("0X7F000001", "127.0.0.1:0"),
            ("127.1", "127.0.0.1:0"),
            ("017700000001", "127.0.0.1:0"),
            ("192.0.513", "192.0.2.1:0"),
            ("１２７.0.0.1", "127.0.0.1:0"),
            ("169.254.169.254", "169.254.169.254:0"),
            ("[::1]", "[::1]:0"),
            ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]:0"),
            ("fe80::1%3", "[fe80::1%3]:0"),
            ("[fe80::1%253]", "[fe80::1%3]:0"),
        ] {
            assert_eq!(name(host).address(), Some(expected.parse().unwrap()), "{host}");
        }
        assert_eq!(name("a.0x7f.example").address(), None);
        assert_eq!(name("1e100.net").address(), None);
    }

    #[test]
    fn a_suffix_ends_at_a_label() {
        let suffix = name("corp.example");
        assert!(name("corp.example").is_within(&suffix));
        assert!(name("a.b.corp.example.").is_within(&suffix));
        assert!(!name("acorp.example").is_within(&suffix));
        assert_eq!(name("db").under(&suffix).unwrap(), name("db.corp.example."));
    }

    proptest! {
        #[test]
        fn no_host_makes_it_panic(host in "\\PC{0,80}") {
            drop(Name::new(&host));
        }

        #[test]
        fn a_spelling_is_read_as_itself(host in "[A-Za-zä_.-]{1,40}") {
            if let Ok(name) = Name::new(&host) {
                prop_assert_eq!(&Name::new(&name.to_question()).unwrap(), &name);
            }
        }

        #[test]
        fn a_number_is_its_address(bits: u32) {
            let expected = SocketAddr::from((Ipv4Addr::from_bits(bits), 0));
            for host in [format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}")] {
                prop_assert_eq!(name(&host).address(), Some(expected));
            }
        }
    }
}
