//! Which requests share a key, and which have none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use buttress_cache::{ForwardingGuard, Identity, KeySpec, Scope, Unkeyed};
use http::{HeaderName, Method, Request, request::Parts, uri::Scheme};
use proptest::prelude::*;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let head =
        headers.iter().fold(Request::get(uri), |head, (name, value)| head.header(*name, *value));
    head.body(()).unwrap().into_parts().0
}

fn identity(keys: &KeySpec, uri: &str, headers: &[(&str, &str)]) -> Result<Identity, Unkeyed> {
    keys.identify(&parts(uri, headers), None)
}

fn of(uri: &str) -> Identity {
    identity(&KeySpec::new(), uri, &[]).unwrap()
}

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

#[test]
fn spellings_of_one_uri_share_a_key_and_a_canonical_uri() {
    let plain = of("http://a.example/");
    assert_eq!(plain.uri(), "http://a.example/");
    for spelling in
        ["http://a.example", "HTTP://A.EXAMPLE:80/", "http://a.example:/", "http://a.example#x"]
    {
        assert_eq!(of(spelling), plain, "{spelling}");
    }
    assert_eq!(of("https://a:443/%7Eada/%2f?q=%61%26"), of("https://A/~ada/%2F?q=a%26"));
    assert_eq!(of("http://[::AB]:80/x").uri(), "http://[::ab]/x");
}

#[test]
fn what_is_another_uri_has_another_key() {
    let uris = [
        "http://a/",
        "https://a/",
        "http://a:81/",
        "http://b/",
        "http://a./",
        "http://a/?",
        "http://a/?x",
        "http://a/?x=",
        "http://a/?x&y",
        "http://a/?y&x",
        "http://a/x",
        "http://a/X",
        "http://a/x/",
        "http://a//x",
        "http://a/b/../x",
        "http://a/%2Fx",
        "http://a/x?/y",
        "http://a/x/y",
        "http://a/b/%2E%2E/x",
        "http://a/x%3Fy",
        "http://a/+",
        "http://a/%20",
    ];
    let keys: std::collections::HashSet<_> = uris.iter().map(|uri| *of(uri).key()).collect();
    assert_eq!(keys.len(), uris.len());
    let texts: std::collections::HashSet<_> =
        uris.iter().map(|uri| of(uri).uri().to_owned()).collect();
    assert_eq!(texts.len(), uris.len());
}

#[test]
fn the_host_header_stands_for_an_authority_that_the_uri_lacks() {
    let keys = KeySpec::server();
    let with_host = |host| identity(&keys, "/x", &[("host", host)]);
    assert_eq!(with_host("A:80").unwrap(), of("http://a/x"));
    assert_ne!(with_host("evil.example"), with_host("good.example"));
    assert_eq!(with_host("").unwrap(), identity(&keys, "/x", &[]).unwrap());
    let tls = KeySpec::server().scheme(Scheme::HTTPS);
    assert_eq!(identity(&tls, "/x", &[("host", "a:443")]).unwrap(), of("https://a/x"));
}

#[test]
fn an_authority_and_a_host_header_must_agree() {
    let keys = KeySpec::new();
    assert_eq!(identity(&keys, "http://a/x", &[("host", "A:80")]).unwrap(), of("http://a/x"));
    let mismatch = identity(&keys, "http://a/x", &[("host", "b")]);
    assert_eq!(mismatch, Err(Unkeyed::AuthorityMismatch));
    assert_eq!(identity(&keys, "http://a/x", &[("host", "a:81")]), Err(Unkeyed::AuthorityMismatch));
}

#[test]
fn a_host_that_is_none_leaves_the_request_without_a_key() {
    let keys = KeySpec::server();
    for host in ["a b", "a/b", "a:x", "a, b", "[::1", "a:99999"] {
        assert_eq!(identity(&keys, "/", &[("host", host)]), Err(Unkeyed::InvalidHost), "{host}");
    }
    let twice = [("host", "a"), ("host", "a")];
    assert_eq!(identity(&keys, "/", &twice), Err(Unkeyed::InvalidHost));
    assert_eq!(identity(&keys, "/", &[("host", "u@a")]), Err(Unkeyed::UserInfo));
    assert_eq!(identity(&keys, "http://u:p@a/", &[]), Err(Unkeyed::UserInfo));
    let mut obs_text = parts("/", &[]);
    obs_text.headers.insert("host", http::HeaderValue::from_bytes(b"a\xff").unwrap());
    assert_eq!(keys.identify(&obs_text, None), Err(Unkeyed::InvalidHost));
}

#[test]
fn a_target_that_is_no_path_has_no_key() {
    let keys = KeySpec::new();
    assert_eq!(identity(&keys, "*", &[("host", "a")]), Err(Unkeyed::NoPath));
    let mut connect = parts("a:443", &[]);
    connect.method = Method::CONNECT;
    assert_eq!(keys.identify(&connect, None), Err(Unkeyed::NoPath));
}

#[test]
fn head_shares_the_key_of_get() {
    let mut head = parts("http://a/x", &[]);
    head.method = Method::HEAD;
    assert_eq!(KeySpec::new().identify(&head, None).unwrap(), of("http://a/x"));
}

#[test]
fn a_configured_header_that_is_absent_is_not_an_empty_one() {
    let keys = KeySpec::new().header(name("x-tenant")).header(name("x-more"));
    let key = |headers: &[(&str, &str)]| *identity(&keys, "http://a/", headers).unwrap().key();
    let all = [
        key(&[]),
        key(&[("x-tenant", "")]),
        key(&[("x-tenant", "a")]),
        key(&[("x-more", "a")]),
        key(&[("x-tenant", "a"), ("x-tenant", "b")]),
        key(&[("x-tenant", "ab")]),
        key(&[("x-tenant", "a, b")]),
        key(&[("x-tenant", "a"), ("x-more", "b")]),
    ];
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(key(&[("x-other", "a")]), all[0], "what is not configured does not matter");
}

#[test]
fn a_part_of_ones_own_and_a_scope_tell_requests_apart() {
    let spec =
        || KeySpec::new().part(|parts: &Parts| parts.extensions.get::<u8>().map(u8::to_string));
    let key = |own: Option<u8>, scope: Option<&[u8]>| {
        let mut parts = parts("http://a/", &[]);
        if let Some(own) = own {
            parts.extensions.insert(own);
        }
        *spec().identify(&parts, scope).unwrap().key()
    };
    assert_ne!(key(None, None), key(Some(1), None));
    assert_ne!(key(Some(1), None), key(Some(2), None));
    assert_ne!(key(None, None), key(None, Some(b"")));
    assert_ne!(key(None, Some(b"a")), key(None, Some(b"b")));
    assert_eq!(key(Some(1), Some(b"a")), key(Some(1), Some(b"a")));
}

#[test]
fn a_scope_by_credential_knows_no_anonymous_request() {
    let keys = KeySpec::new().scope(Scope::credential());
    let key = |headers: &[(&str, &str)]| identity(&keys, "http://a/", headers);
    assert_eq!(key(&[]), Err(Unkeyed::NoScope));
    let one = key(&[("authorization", "Bearer 1")]).unwrap();
    assert_eq!(key(&[("authorization", "Bearer 1"), ("accept", "x")]).unwrap(), one);
    assert_ne!(key(&[("authorization", "Bearer 2")]).unwrap(), one);
    assert_ne!(
        key(&[("x-api-key", "Bearer 1")]).unwrap(),
        one,
        "another header is another credential"
    );
    assert_ne!(key(&[("authorization", "Bearer 1"), ("x-api-key", "2")]).unwrap(), one);
}

#[test]
fn another_uri_takes_its_server_from_itself_or_from_the_host_header() {
    let keys = KeySpec::server();
    let parts = parts("/x", &[("host", "a")]);
    let at = |uri: &str| keys.identify_at(&parts, &uri.parse().unwrap(), None).unwrap();
    assert_eq!(at("/y"), of("http://a/y"));
    assert_eq!(at("http://b/y"), of("http://b/y"));
    assert_eq!(at("http://b/y").origin(), "http://b");
    assert_eq!(keys.identify(&parts, None).unwrap().origin(), "http://a");
}

#[test]
fn a_server_keeps_no_answer_to_a_request_with_a_forwarding_header() {
    let keys = KeySpec::server();
    let headers = [
        "Forwarded",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Scheme",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "Front-End-Https",
    ];
    for header in headers {
        let refused = identity(&keys, "/", &[("host", "a"), (header, "evil.example")]);
        assert_eq!(refused, Err(Unkeyed::ForwardingHeader), "{header}");
    }
    let harmless =
        [("host", "a"), ("x-forwarded-for", "192.0.2.1"), ("from", "x"), ("x-real-ip", "y")];
    assert!(identity(&keys, "/", &harmless).is_ok());
}

#[test]
fn forwarding_headers_can_be_kept_from_the_origin() {
    let keys = KeySpec::server().guard(ForwardingGuard::strip().header(name("x-custom-host")));
    let headers =
        [("host", "a"), ("x-forwarded-host", "evil"), ("x-custom-host", "evil"), ("x-y", "z")];
    let mut parts = parts("/", &headers);
    assert_eq!(keys.identify(&parts, None).unwrap(), of("http://a/"));
    keys.clean(&mut parts.headers);
    let left: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["host", "x-y"]);
}

#[test]
fn forwarding_headers_can_be_part_of_the_key() {
    let keys = KeySpec::server().guard(ForwardingGuard::keyed());
    let key = |headers: &[(&str, &str)]| identity(&keys, "http://a/", headers).unwrap();
    let evil = key(&[("x-forwarded-host", "evil")]);
    assert_ne!(evil, key(&[]));
    assert_ne!(evil, key(&[("x-forwarded-host", "good")]));
    assert_ne!(evil, key(&[("x-forwarded-proto", "evil")]));
    assert_eq!(evil, key(&[("x-forwarded-host", "evil"), ("x-forwarded-for", "192.0.2.1")]));
    let mut headers = parts("/", &[("x-forwarded-host", "a")]).headers;
    keys.clean(&mut headers);
    assert_eq!(headers.len(), 1, "the origin sees what is in the key");
}

#[test]
fn a_header_that_only_a_trusted_proxy_sets_can_be_left_alone() {
    let guard = ForwardingGuard::bypass().trust(&name("x-forwarded-proto"));
    let keys = KeySpec::server().guard(guard);
    assert!(identity(&keys, "http://a/", &[("x-forwarded-proto", "https")]).is_ok());
    assert!(identity(&keys, "http://a/", &[("x-forwarded-host", "b")]).is_err());
    let open = KeySpec::server().unguarded();
    assert!(identity(&open, "http://a/", &[("x-forwarded-host", "b")]).is_ok());
}

#[test]
fn a_pattern_of_parameters_that_can_match_nothing_is_refused_by_name() {
    let error = KeySpec::new().ignore_query(["a*b"]).unwrap_err();
    assert_eq!(error.setting(), "key.ignore_query");
}

proptest! {
    #[test]
    fn canonical_uris_are_as_different_as_keys(
        one in "https?://[a-b]{1,2}(:[0-9]{1,3})?(/[a-b%41]{0,3}){0,2}(\\?[a-b&=]{0,4})?",
        other in "https?://[a-b]{1,2}(:[0-9]{1,3})?(/[a-b%41]{0,3}){0,2}(\\?[a-b&=]{0,4})?",
    ) {
        let (one, other) = (of(&one), of(&other));
        prop_assert_eq!(one.key() == other.key(), one.uri() == other.uri());
    }

    #[test]
    fn a_canonical_uri_is_its_own_canonical_form(
        uri in "https?://[A-Za-z.]{1,8}(:[0-9]{1,4})?(/[a-zA-Z.%0-9]{0,5}){0,3}(\\?[a-z&=%0-9+]{0,8})?",
    ) {
        let once = of(&uri);
        prop_assert_eq!(of(once.uri()), once);
    }

    #[test]
    fn no_host_header_panics(host in prop::collection::vec(32..=255_u8, 0..24)) {
        let mut parts = parts("/", &[]);
        if let Ok(host) = http::HeaderValue::from_bytes(&host) {
            parts.headers.insert("host", host);
        }
        let _key = KeySpec::server().identify(&parts, None);
    }
}
