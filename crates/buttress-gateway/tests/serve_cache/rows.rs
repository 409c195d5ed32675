//! What becomes of the second of two equal requests, by section of the RFCs.

/// Whether the second of two equal requests is answered without asking the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    Kept,
    Asked,
}

use Second::{Asked, Kept};

/// The section, the status and the fields of the first answer, the fields of both requests, and what
/// becomes of the second.
pub(crate) type Row = (&'static str, u16, &'static str, &'static str, Second);

pub(crate) const FAR: &str = "Sun, 06 Nov 2095 08:49:37 GMT";

pub(crate) const ROWS: &[Row] = &[
    // RFC 9111 section 3: what is stored.
    ("3", 200, "", "", Asked),
    ("3", 200, "cache-control: max-age=60", "", Kept),
    ("3", 404, "cache-control: max-age=60", "", Kept),
    ("3", 500, "cache-control: max-age=60", "", Kept),
    ("3", 599, "cache-control: max-age=60", "", Kept),
    ("3", 204, "cache-control: max-age=60", "", Kept),
    ("3", 301, "cache-control: max-age=60", "", Kept),
    ("3.1", 200, "cache-control: max-age=60\nset-cookie: a=1", "", Kept),
    ("3.5", 200, "cache-control: max-age=60", "authorization: x", Asked),
    ("3.5", 200, "cache-control: max-age=60, public", "authorization: x", Kept),
    ("3.5", 200, "cache-control: max-age=60, must-revalidate", "authorization: x", Kept),
    ("3.5", 200, "cache-control: s-maxage=60", "authorization: x", Kept),
    // Section 4.1: Vary.
    ("4.1", 200, "cache-control: max-age=60\nvary: foo", "foo: 1", Kept),
    ("4.1", 200, "cache-control: max-age=60\nvary: *", "", Asked),
    ("4.1", 200, "cache-control: max-age=60\nvary: *, foo", "", Asked),
    ("4.1", 200, "cache-control: max-age=60\nvary: foo\nvary: *", "foo: 1", Asked),
    // Section 4.2: freshness.
    ("4.2", 200, "cache-control: max-age=0", "", Asked),
    ("4.2", 200, "cache-control: max-age=60\nage: 60", "", Asked),
    ("4.2", 200, "cache-control: max-age=60\nage: 30", "", Kept),
    ("4.2", 200, "cache-control: max-age=60\ndate: Sun, 06 Nov 1994 08:49:37 GMT", "", Asked),
    ("4.2.1", 200, "cache-control: max-age=0, s-maxage=60", "", Kept),
    ("4.2.1", 200, "cache-control: s-maxage=0, max-age=60", "", Asked),
    ("4.2.1", 200, "cache-control: max-age=2147483648", "", Kept),
    ("4.2.1", 200, "cache-control: max-age=99999999999999999999", "", Kept),
    ("4.2.1", 200, "cache-control: max-age=60.5", "", Asked),
    ("4.2.1", 200, "cache-control: max-age='60'", "", Asked),
    ("4.2.1", 200, "cache-control: max-age=-60", "", Asked),
    ("4.2.1", 200, "cache-control: max-age=\"60\"", "", Kept),
    ("4.2.1", 200, "cache-control: MaX-aGe=60", "", Kept),
    ("4.2.1", 200, "cache-control: x=\"max-age=60\"", "", Asked),
    ("4.2.1", 200, "cache-control: max-age=60\nexpires: 0", "", Kept),
    ("4.2.2", 200, "last-modified: Sun, 06 Nov 1994 08:49:37 GMT", "", Kept),
    ("4.2.2", 404, "last-modified: Sun, 06 Nov 1994 08:49:37 GMT", "", Kept),
    ("4.2.2", 201, "last-modified: Sun, 06 Nov 1994 08:49:37 GMT", "", Asked),
    ("4.2.2", 599, "last-modified: Sun, 06 Nov 1994 08:49:37 GMT", "", Asked),
    ("4.2.2", 599, "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\ncache-control: public", "", Kept),
    // Section 5.1: Age.
    ("5.1", 200, "cache-control: max-age=60\nage: 0, 60", "", Kept),
    ("5.1", 200, "cache-control: max-age=60\nage: 60, 0", "", Asked),
    ("5.1", 200, "cache-control: max-age=60\nage: x", "", Kept),
    ("5.1", 200, "cache-control: max-age=60\nage: 2147483648", "", Asked),
    // Section 5.2: directives.
    ("5.2.1", 200, "cache-control: max-age=60", "cache-control: max-age=0", Asked),
    ("5.2.1", 200, "cache-control: max-age=60", "cache-control: no-cache", Asked),
    ("5.2.1", 200, "cache-control: max-age=60", "cache-control: no-store", Asked),
    ("5.2.1", 200, "cache-control: max-age=60", "cache-control: min-fresh=30", Kept),
    ("5.2.1", 200, "cache-control: max-age=60", "cache-control: min-fresh=90", Asked),
    ("5.2.1", 200, "cache-control: max-age=60\nage: 70", "cache-control: max-stale=30", Kept),
    ("5.2.2", 200, "cache-control: max-age=60, no-cache", "", Asked),
    ("5.2.2", 200, "cache-control: max-age=60, no-cache=\"a\"", "", Kept),
    ("5.2.2", 200, "cache-control: no-store, max-age=60", "", Asked),
    ("5.2.2", 200, "cache-control: max-age=60\ncache-control: No-StOre", "", Asked),
    ("5.2.2", 200, "cache-control: private, max-age=60", "", Asked),
    ("5.2.2", 200, "cache-control: private=\"a\", max-age=60", "", Kept),
    ("5.2.2", 200, "cache-control: max-age=60, must-understand, no-store", "", Kept),
    ("5.2.2", 599, "cache-control: max-age=60, must-understand", "", Asked),
    ("5.2.3", 200, "cache-control: max-age=60, x=y, \"z\"", "", Kept),
    // Section 5.4: Pragma.
    ("5.4", 200, "cache-control: max-age=60", "pragma: no-cache", Asked),
    ("5.4", 200, "cache-control: max-age=60", "pragma: other", Kept),
    // RFC 9213.
    ("9213", 200, "cdn-cache-control: max-age=60\ncache-control: no-store", "", Kept),
    ("9213", 200, "cdn-cache-control: no-store\ncache-control: max-age=60", "", Asked),
    ("9213", 200, "cdn-cache-control: max-age=0, &\ncache-control: max-age=60", "", Kept),
    (
        "9213",
        200,
        "cdn-cache-control: max-age=0\nexpires: Sun, 06 Nov 2095 08:49:37 GMT",
        "",
        Asked,
    ),
    // RFC 5861.
    ("5861", 200, "cache-control: max-age=60, stale-while-revalidate=60\nage: 70", "", Kept),
    ("5861", 200, "cache-control: max-age=60, stale-while-revalidate=5\nage: 70", "", Asked),
];
