//! Which requests a response answers (RFC 9111 section 4.1).

use http::{HeaderMap, HeaderName, header};

use super::list::Members;
use crate::Key;

/// The request fields that chose a response, with the values that chose it.
///
/// The values are normalised: lines joined, white space around commas evened out, and where the
/// order and the case mean nothing, those too. A field that the request did not have is `None`, which
/// differs from an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vary {
    fields: Box<[Field]>,
}

type Field = (HeaderName, Option<Box<[u8]>>);

/// Why a response answers no other request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswersNoOther;

impl Vary {
    /// Takes fields and their values, as a store gives them back.
    #[must_use]
    pub fn from_fields(fields: impl IntoIterator<Item = Field>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// Reads all lines of a response's `Vary` and takes the values from the request.
    ///
    /// `*` anywhere, a name that is none, and more than `most` bytes of values match nothing.
    pub(crate) fn of(
        response: &HeaderMap,
        request: &HeaderMap,
        most: usize,
    ) -> Result<Self, AnswersNoOther> {
        let mut names = Vec::new();
        for line in response.get_all(header::VARY) {
            for member in Members::of(line.as_bytes()) {
                let name = HeaderName::from_bytes(member).map_err(|_| AnswersNoOther)?;
                if name.as_str() == "*" {
                    return Err(AnswersNoOther);
                }
                names.push(name);
            }
            if names.len() > most {
                return Err(AnswersNoOther);
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let mut room = most;
        let mut fields = Vec::with_capacity(names.len());
        for name in names {
            let value = value(request, &name);
            let taken = name.as_str().len() + value.as_ref().map_or(0, Vec::len);
            room = room.checked_sub(taken).ok_or(AnswersNoOther)?;
            fields.push((name, value.map(Vec::into_boxed_slice)));
        }
        Ok(Self { fields: fields.into() })
    }

    /// The same for a part: another `Range` selects another part.
    pub(crate) fn and_range(self, request: &HeaderMap) -> Self {
        let range = value(request, &header::RANGE).map(Vec::into_boxed_slice);
        let fields = self.fields.into_iter().filter(|(name, _)| *name != header::RANGE);
        Self { fields: fields.chain([(header::RANGE, range)]).collect() }
    }

    /// The same for the whole: any `Range` selects it, unless the response says otherwise.
    pub(crate) fn whole(&self, response: &HeaderMap) -> Self {
        let lines = response.get_all(header::VARY).iter();
        let mut names = lines.flat_map(|line| Members::of(line.as_bytes()));
        let named = names.any(|name| name.eq_ignore_ascii_case(b"range"));
        let fields = self.fields.iter().filter(|(name, _)| named || *name != header::RANGE);
        Self { fields: fields.cloned().collect() }
    }

    /// Whether it selects a part, and the request asks for one too of what is otherwise the same.
    pub(crate) fn matches_but_for_range(&self, request: &HeaderMap) -> bool {
        let part = |name: &HeaderName| *name == header::RANGE;
        let others = self.fields.iter().filter(|(name, _)| !part(name));
        self.fields.iter().any(|(name, chosen)| part(name) && chosen.is_some())
            && others
                .into_iter()
                .all(|(name, chosen)| value(request, name).as_deref() == chosen.as_deref())
    }

    /// Whether both select by the same fields, so that no request matches both.
    pub(crate) fn has_fields_of(&self, other: &Self) -> bool {
        self.fields.len() == other.fields.len()
            && self.fields.iter().zip(&other.fields).all(|(one, other)| one.0 == other.0)
    }

    /// Whether a request has the same values.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.fields
            .iter()
            .all(|(name, chosen)| value(request, name).as_deref() == chosen.as_deref())
    }

    /// The same fields with the values of another request.
    pub(crate) fn of_request(&self, request: &HeaderMap) -> Self {
        let fields = self
            .fields
            .iter()
            .map(|(name, _)| (name.clone(), value(request, name).map(Vec::into_boxed_slice)));
        Self { fields: fields.collect() }
    }

    /// The fields and their values.
    #[must_use]
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|(name, value)| (name, value.as_deref()))
    }

    /// Whether the response answers every request for its URI.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The key of the variant that is chosen by these values.
    #[must_use]
    pub fn key(&self, primary: &Key) -> Key {
        let parts = self.fields.iter();
        primary.derive(
            parts.flat_map(|(name, value)| [Some(name.as_str().as_bytes()), value.as_deref()]),
        )
    }
}

/// The normalised value of a field, all lines together; `None` if the request does not have it.
fn value(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter().peekable();
    let first = lines.peek()?;
    if is_one_value(name) && request.get_all(name).iter().nth(1).is_none() {
        return Some(first.as_bytes().trim_ascii().to_vec());
    }
    let members = lines.flat_map(|line| Members::of(line.as_bytes()));
    if *name == header::ACCEPT_ENCODING || *name == header::ACCEPT_LANGUAGE {
        return Some(preferences(members));
    }
    Some(join(members))
}

/// Fields whose value is one, so that a comma in it separates nothing and white space counts.
fn is_one_value(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 14] = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::DATE,
        header::FROM,
        header::HOST,
        header::IF_MODIFIED_SINCE,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
        header::ORIGIN,
        header::PROXY_AUTHORIZATION,
        header::REFERER,
        header::USER_AGENT,
        header::CONTENT_LENGTH,
    ];
    NAMES.contains(name)
}

fn join<'a>(members: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut joined = Vec::new();
    for member in members {
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(member);
    }
    joined
}

/// Members in one case and one order: by preference, then by name, since the order of equals means
/// nothing (RFC 9110 sections 12.5.3 and 12.5.4).
fn preferences<'a>(members: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    /// All ways to write a weight of 1 (RFC 9110 section 12.4.2). What only looks like one, or like none,
    /// may mean something else to the origin.
    const ONE: [&[u8]; 5] = [b"q=1", b"q=1.", b"q=1.0", b"q=1.00", b"q=1.000"];
    let mut members: Vec<_> = members
        .map(|member| {
            let member = member.to_ascii_lowercase();
            let all = || member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let quality = quality(all());
            // Saying what holds anyway says nothing.
            let weights = all().skip(1).filter(|parameter| parameter.starts_with(b"q=")).count();
            let told = all().skip(1).filter(|said| weights != 1 || !ONE.contains(said));
            let lower = all().take(1).chain(told).collect::<Vec<_>>().join(&b';');
            (std::cmp::Reverse(quality), lower)
        })
        .collect();
    members.sort_unstable();
    join(members.iter().map(|(_, member)| &**member))
}

/// The weight of a member in thousandths; one that cannot be read counts as 1.
fn quality<'a>(member: impl Iterator<Item = &'a [u8]>) -> u32 {
    let weight = member.skip(1).find_map(|parameter| parameter.strip_prefix(b"q="));
    let weight = weight.and_then(|weight| std::str::from_utf8(weight).ok());
    let Some(weight) = weight else { return 1000 };
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let thousandths: String = part.chars().chain("000".chars()).take(3).collect();
    match (whole, thousandths.parse()) {
        ("0", Ok(thousandths)) => thousandths,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter();
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn vary(lines: &[&'static str], request: &HeaderMap) -> Result<Vary, AnswersNoOther> {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        Vary::of(&headers(&lines), request, 8192)
    }

    #[test]
    fn a_star_anywhere_matches_nothing() {
        for lines in
            [&["*"][..], &["*, *"], &["*", "*"], &["foo, *"], &["foo", "*"], &["", "*"], &[", *"]]
        {
            assert_eq!(vary(lines, &HeaderMap::new()), Err(AnswersNoOther), "{lines:?}");
        }
        assert_eq!(vary(&["a b"], &HeaderMap::new()), Err(AnswersNoOther));
        assert!(vary(&[""], &HeaderMap::new()).unwrap().is_empty());
    }

    #[test]
    fn every_line_of_a_request_field_counts() {
        let one = headers(&[("x", "1"), ("x", "secret-a")]);
        let other = headers(&[("x", "1"), ("x", "secret-b")]);
        let vary = vary(&["X"], &one).unwrap();
        assert!(vary.matches(&one) && !vary.matches(&other));
        assert!(vary.matches(&headers(&[("x", "1 ,secret-a")])));
    }

    #[test]
    fn absent_and_empty_differ() {
        let absent = vary(&["x"], &HeaderMap::new()).unwrap();
        let empty = vary(&["x"], &headers(&[("x", "")])).unwrap();
        assert!(!absent.matches(&headers(&[("x", "")])));
        assert!(!empty.matches(&HeaderMap::new()));
        let primary = Key::from_bytes([7; 32]);
        assert_ne!(absent.key(&primary), empty.key(&primary));
    }

    #[test]
    fn names_have_no_order_and_no_case() {
        let request = headers(&[("a", "1"), ("b", "2")]);
        let primary = Key::from_bytes([7; 32]);
        let one = vary(&["A, b"], &request).unwrap();
        let other = vary(&["B", "a, A"], &request).unwrap();
        assert_eq!(one.key(&primary), other.key(&primary));
        assert!(!one.matches(&headers(&[("a", "1")])));
    }

    #[test]
    fn languages_and_codings_are_compared_by_meaning() {
        let request = headers(&[("accept-language", "en, DE;q=0.5, fr;q=0.50")]);
        let vary = vary(&["accept-language"], &request).unwrap();
        assert!(vary.matches(&headers(&[("accept-language", "EN,fr;q=0.50 , de; q=0.5")])));
        assert!(!vary.matches(&headers(&[("accept-language", "de, en;q=0.5, fr;q=0.5")])));
        assert!(!vary.matches(&headers(&[("accept-language", "fr")])));
        let one = headers(&[("accept-encoding", "gzip;q=1.0, br ; q=1")]);
        let vary = self::vary(&["accept-encoding"], &one).unwrap();
        assert!(vary.matches(&headers(&[("accept-encoding", "br, gzip")])));
        assert!(!vary.matches(&headers(&[("accept-encoding", "br, gzip;q=0.9")])));
    }

    #[test]
    fn only_a_weight_of_one_says_nothing() {
        let request = headers(&[("accept-language", "fr, en;q=0.8")]);
        let vary = vary(&["accept-language"], &request).unwrap();
        for weight in ["1", "1.", "1.0", "1.00", "1.000"] {
            let line: &'static str = format!("fr;q={weight}, en;q=0.8").leak();
            assert!(vary.matches(&headers(&[("accept-language", line)])), "{weight}");
        }
        for weight in
            [".0", "00", "", "0,5", "1.5", "01", "1.0000", "2", "x", "0", "1;q=0", "0;q=1"]
        {
            let line: &'static str = format!("fr;q={weight}, en;q=0.8").leak();
            assert!(!vary.matches(&headers(&[("accept-language", line)])), "{weight}");
        }
        for line in ["f r, en;q=0.8", "fr;q =1, en;q=0.8", "q=1, en;q=0.8"] {
            assert!(!vary.matches(&headers(&[("accept-language", line)])), "{line}");
        }
    }

    #[test]
    fn a_comma_in_what_is_no_list_is_part_of_it() {
        for (name, one, other) in [
            ("cookie", "a=x, y", "a=x,y"),
            ("user-agent", "M (X, Y)", "M (X,Y)"),
            ("referer", "http://a.example/?q=a,,b", "http://a.example/?q=a,b"),
        ] {
            let vary = vary(&[name], &headers(&[(name, one)])).unwrap();
            assert!(vary.matches(&headers(&[(name, one)])), "{name}");
            assert!(!vary.matches(&headers(&[(name, other)])), "{name}");
        }
    }

    #[test]
    fn a_request_that_is_too_long_is_not_remembered() {
        let long: &'static str = "x".repeat(9000).leak();
        assert!(vary(&["x"], &headers(&[("x", long)])).is_err());
        let many: &'static str = (0..9000).map(|n| format!("x{n},")).collect::<String>().leak();
        assert!(vary(&[many], &HeaderMap::new()).is_err());
    }
}
