//! Parts: served, stored, put together, and asked for (RFC 9111 sections 3.3 and 3.4, RFC 9110
//! sections 13.1.5, 14 and 15.3.7).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod careful;
mod joined;
mod stored;
#[path = "../support/mod.rs"]
mod support;

use buttress_testkit::Script;
use http::{Response, request::Parts};
use support::{Client, Got, Origin, get_with, ok, respond, respond_with};

pub(crate) const WHOLE: &str = "0123456789";
pub(crate) const FRESH: (&str, &str) = ("cache-control", "max-age=60");
pub(crate) const TAG: (&str, &str) = ("etag", "\"a\"");

/// What a server that knows parts makes of a request for `WHOLE`, whose fields these are.
pub(crate) fn serve(parts: &Parts, fields: &[(&str, &str)]) -> Response<Script> {
    let field = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap());
    let tag = fields.iter().find(|field| field.0 == "etag").map(|field| field.1);
    let stands = field("if-range").is_none_or(|condition| Some(condition) == tag);
    let Some(range) = field("range").filter(|_| stands) else { return ok(fields, WHOLE) };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let end = WHOLE.len();
    let (first, last): (usize, usize) = match (first, last) {
        ("", last) => (end - last.parse::<usize>().unwrap(), end - 1),
        (first, "") => (first.parse().unwrap(), end - 1),
        (first, last) => (first.parse().unwrap(), last.parse().unwrap()),
    };
    if first >= end {
        return respond(416, &[("content-range", "bytes */10")]);
    }
    let last = last.min(end - 1);
    let range = format!("bytes {first}-{last}/{end}");
    let length = (last - first + 1).to_string();
    let mut fields = fields.to_vec();
    fields.extend([("content-range", &*range), ("content-length", &*length)]);
    respond_with(206, &fields, Script::new().data(&WHOLE[first..=last]))
}

/// A server that knows parts of something with these fields.
pub(crate) fn server(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |parts, _| serve(parts, fields))
}

pub(crate) async fn part(client: &Client, range: &str) -> Got {
    get_with(client, &[("range", range)]).await
}

pub(crate) fn asked(origin: &Origin, number: usize) -> (Option<String>, Option<String>) {
    let seen = origin.seen(number);
    let field = |name: &str| seen.get(name).map(|value| value.to_str().unwrap().to_owned());
    (field("range"), field("if-range"))
}

pub(crate) fn asked_for(range: &str) -> (Option<String>, Option<String>) {
    (Some(range.to_owned()), Some("\"a\"".to_owned()))
}
