//! Which prompts share an answer.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use buttress_cache::{Identity, KeySpec, PromptRoute, Prompts, Scope, Unkeyed, VOLATILE_FIELDS};
use http::{HeaderName, Request, request::Parts};

const CHAT: &str = "/v1/chat/completions";

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let head = Request::post(uri).header("host", "api.example");
    let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, *value));
    head.body(()).unwrap().into_parts().0
}

fn prompts(route: PromptRoute) -> Prompts {
    Prompts::new(Scope::credential()).route(route)
}

fn chat() -> PromptRoute {
    PromptRoute::exact(CHAT).unwrap()
}

fn key_of(prompts: &Prompts, headers: &[(&str, &str)], body: &[u8]) -> Result<Identity, Unkeyed> {
    let parts = head(CHAT, headers);
    let route = prompts.find(&parts).expect("a route");
    prompts.identify(route, &KeySpec::server(), &parts, body, None)
}

/// The key of a JSON prompt of one tenant.
fn json(prompts: &Prompts, body: &str) -> Identity {
    let headers = [("authorization", "Bearer one"), ("content-type", "application/json")];
    key_of(prompts, &headers, body.as_bytes()).unwrap()
}

#[test]
fn different_bodies_have_different_keys() {
    let prompts = prompts(chat());
    let plain = |body: &str| key_of(&prompts, &[("x-api-key", "1")], body.as_bytes()).unwrap();
    assert_ne!(plain("alice"), plain("bob"));
    assert_eq!(plain("alice"), plain("alice"));
    assert_ne!(json(&prompts, r#"{"user":"alice"}"#), json(&prompts, r#"{"user":"bob"}"#));
}

#[test]
fn two_tenants_never_share_and_a_request_of_none_has_no_key() {
    let prompts = prompts(chat());
    let tenant = |headers: &[(&str, &str)]| key_of(&prompts, headers, b"{}");
    let one = tenant(&[("authorization", "Bearer one")]).unwrap();
    assert_ne!(tenant(&[("authorization", "Bearer two")]).unwrap(), one);
    assert_eq!(tenant(&[]), Err(Unkeyed::NoScope));
}

#[test]
fn a_scope_may_be_everyone_if_one_says_so() {
    let prompts = Prompts::new(Scope::everyone()).route(chat());
    let one = key_of(&prompts, &[("authorization", "Bearer one")], b"{}").unwrap();
    assert_eq!(key_of(&prompts, &[], b"{}").unwrap(), one);
}

#[test]
fn a_scope_of_ones_own_decides_who_shares() {
    let scope = Scope::by(|parts: &Parts| parts.headers.get("x-team").cloned());
    let prompts = Prompts::new(scope).route(chat());
    let team = |team, token| key_of(&prompts, &[("x-team", team), ("authorization", token)], b"{}");
    assert_eq!(team("red", "1").unwrap(), team("red", "2").unwrap());
    assert_ne!(team("red", "1").unwrap(), team("blue", "1").unwrap());
    assert_eq!(key_of(&prompts, &[("authorization", "1")], b"{}"), Err(Unkeyed::NoScope));
}

#[test]
fn spellings_of_one_prompt_share_a_key() {
    let prompts = prompts(chat());
    let one = json(&prompts, r#"{"model":"m","messages":[{"role":"user","content":"é"}]}"#);
    let spaced = r#" {"messages": [ {"content":"\u00e9", "role":"user"} ], "model" : "m"}"#;
    assert_eq!(json(&prompts, spaced), one);
    let typed =
        [("authorization", "Bearer one"), ("content-type", "application/json; charset=utf-8")];
    let other = key_of(&prompts, &typed, spaced.as_bytes()).unwrap();
    assert_ne!(other, one, "the content type is part of the key");
}

#[test]
fn whether_an_answer_streams_is_part_of_the_key() {
    let prompts = prompts(chat().leave_out(VOLATILE_FIELDS).unwrap());
    let plain = json(&prompts, r#"{"model":"m"}"#);
    let streamed = json(&prompts, r#"{"model":"m","stream":true}"#);
    let silent = json(&prompts, r#"{"model":"m","stream":false}"#);
    assert_ne!(plain, streamed);
    assert_ne!(streamed, silent);
    assert_ne!(plain, silent);
}

#[test]
fn volatile_fields_are_left_out_only_if_they_are_named() {
    let bodies = [r#"{"model":"m","user":"a","metadata":{"n":1}}"#, r#"{"model":"m","user":"b"}"#];
    let kept = prompts(chat());
    assert_ne!(json(&kept, bodies[0]), json(&kept, bodies[1]));
    let left_out = prompts(chat().leave_out(VOLATILE_FIELDS).unwrap());
    assert_eq!(json(&left_out, bodies[0]), json(&left_out, bodies[1]));
    assert_ne!(json(&left_out, r#"{"model":"n"}"#), json(&left_out, bodies[1]));
    assert_ne!(json(&left_out, "{}"), json(&kept, "{}"), "other rules, other keys");
}

#[test]
fn what_has_no_canonical_form_is_taken_by_its_bytes() {
    let prompts = prompts(chat().leave_out(["user"]).unwrap());
    let twice = [r#"{"a":1,"a":2}"#, r#"{ "a":1,"a":2}"#];
    assert_ne!(json(&prompts, twice[0]), json(&prompts, twice[1]));
    assert_eq!(json(&prompts, twice[0]), json(&prompts, twice[0]));
    assert_ne!(json(&prompts, "{"), json(&prompts, "{ "));
}

#[test]
fn a_body_that_is_no_json_by_its_type_or_is_coded_is_taken_by_its_bytes() {
    let prompts = prompts(chat());
    let key = |more: &[(&str, &str)], body: &str| {
        let headers = [&[("authorization", "Bearer one")], more].concat();
        key_of(&prompts, &headers, body.as_bytes()).unwrap()
    };
    let same = |more: &[(&str, &str)]| key(more, r#"{"a":1}"#) == key(more, r#"{ "a": 1 }"#);
    assert!(same(&[("content-type", "application/json")]));
    assert!(same(&[("content-type", "Application/JSON ; charset=utf-8")]));
    assert!(same(&[("content-type", "application/vnd.api+json")]));
    assert!(!same(&[]));
    assert!(!same(&[("content-type", "text/plain")]));
    assert!(!same(&[("content-type", "application/jsonl")]));
    assert!(!same(&[("content-type", "application/json"), ("content-type", "text/plain")]));
    assert!(!same(&[("content-type", "application/json"), ("content-encoding", "gzip")]));
    let coded = key(&[("content-encoding", "gzip")], "x");
    assert_ne!(coded, key(&[], "x"));
}

#[test]
fn verbatim_takes_every_body_by_its_bytes() {
    let prompts = prompts(chat().verbatim());
    assert_ne!(json(&prompts, r#"{"a":1}"#), json(&prompts, r#"{"a": 1}"#));
}

#[test]
fn headers_that_choose_a_version_are_part_of_the_key() {
    let prompts = prompts(chat().header(HeaderName::from_static("x-own")));
    let key = |more: &[(&str, &str)]| {
        key_of(&prompts, &[&[("x-api-key", "1")], more].concat(), b"{}").unwrap()
    };
    for header in ["anthropic-version", "openai-organization", "accept", "x-own"] {
        assert_ne!(key(&[(header, "1")]), key(&[]), "{header}");
        assert_ne!(key(&[(header, "1")]), key(&[(header, "2")]), "{header}");
    }
    assert_eq!(key(&[("user-agent", "x")]), key(&[]));
}

#[test]
fn a_prompt_never_shares_a_key_with_a_get() {
    let prompts = Prompts::new(Scope::everyone()).route(chat());
    let posted = key_of(&prompts, &[], b"").unwrap();
    let mut get = head(CHAT, &[]);
    get.method = http::Method::GET;
    let got = KeySpec::server().identify(&get, None).unwrap();
    assert_eq!(got.uri(), posted.uri());
    assert_ne!(got.key(), posted.key());
}

#[test]
fn routes_are_for_posts_on_their_paths() {
    let route = |path: &str| PromptRoute::prefix(path).unwrap();
    let prompts = Prompts::new(Scope::everyone())
        .route(chat().ttl(Duration::from_secs(5)).unwrap())
        .route(route("/v1").forever())
        .route(PromptRoute::template("/openai/{deployment}/chat").unwrap());
    let found = |uri: &str| prompts.find(&head(uri, &[])).map(PromptRoute::lifetime);
    assert_eq!(found(CHAT), Some(Duration::from_secs(5)));
    assert_eq!(found("http://api.example/v1/%63hat/completions?x"), Some(Duration::from_secs(5)));
    assert_eq!(found("/v1/embeddings"), Some(Duration::MAX));
    assert_eq!(found("/openai/gpt/chat"), Some(Duration::from_secs(3600)), "the default");
    assert_eq!(found("/v1/../admin"), None);
    assert_eq!(found("/other"), None);
    let mut get = head(CHAT, &[]);
    get.method = http::Method::GET;
    assert!(prompts.find(&get).is_none());
}

#[test]
fn a_setting_that_cannot_be_meant_is_refused_by_name() {
    let named = |result: Result<PromptRoute, buttress_cache::SettingError>| {
        result.expect_err("a wrong setting").setting()
    };
    assert_eq!(named(PromptRoute::exact("chat")), "prompts.route");
    assert_eq!(named(chat().ttl(Duration::ZERO)), "prompts.ttl");
    assert_eq!(named(chat().max_request(0)), "prompts.max_request");
    assert_eq!(named(chat().leave_out(["stream"])), "prompts.leave_out");
    assert_eq!(named(chat().leave_out([""])), "prompts.leave_out");
    assert_eq!(chat().request_limit(), 1 << 20);
    assert!(chat().forever().is_forever() && !chat().is_forever());
}
