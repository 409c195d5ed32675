//! Whose quota a request counts against, and who cannot choose that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{IpAddr, SocketAddr};

use buttress_limit::{
    ClientIp, Credential, Global, Head, HeaderKey, Key, Local, MissingKey, PathTemplate, PeerAddr,
    Quota, RateLimitLayer, RequestKey, RouteTemplate,
};
use common::{Text, get, server};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use tower::{Layer, ServiceExt};

fn from(peer: &str, lines: &[&[u8]]) -> Request<Text> {
    let mut request = get("/");
    request.extensions_mut().insert(PeerAddr::new(SocketAddr::new(peer.parse().unwrap(), 1)));
    for line in lines {
        let line = HeaderValue::from_bytes(line).unwrap();
        request.headers_mut().append("x-forwarded-for", line);
    }
    request
}

fn address(client: &ClientIp, request: &Request<Text>) -> Option<IpAddr> {
    client.address(&Head::of(request))
}

fn behind() -> ClientIp {
    ClientIp::behind(["10.0.0.0/8", "fd00::/8", "192.0.2.1"]).unwrap()
}

#[track_caller]
fn assert_client(peer: &str, lines: &[&str], client: &str) {
    let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    assert_eq!(address(&behind(), &from(peer, &lines)), Some(client.parse().unwrap()));
}

#[test]
fn what_a_stranger_says_of_himself_does_not_count() {
    assert_client("203.0.113.5", &["9.9.9.9, 8.8.8.8"], "203.0.113.5");
    let request = from("10.0.0.1", &[b"9.9.9.9"]);
    assert_eq!(address(&ClientIp::peer(), &request), Some([10, 0, 0, 1].into()));
}

#[test]
fn the_client_is_the_first_stranger_from_the_right() {
    assert_client("10.0.0.1", &["9.9.9.9, 203.0.113.5"], "203.0.113.5");
    assert_client("10.0.0.1", &["9.9.9.9, 203.0.113.5, 10.2.3.4, 192.0.2.1"], "203.0.113.5");
    assert_client("10.0.0.1", &["9.9.9.9", "203.0.113.5, 10.9.9.9"], "203.0.113.5");
    assert_client("10.0.0.1", &["9.9.9.9", "203.0.113.5", "10.9.9.9"], "203.0.113.5");
    assert_client("fd00::1", &["2001:db8::7"], "2001:db8::7");
    assert_client("::ffff:10.0.0.1", &["::ffff:203.0.113.5"], "203.0.113.5");
    assert_client("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2");
    assert_client("10.0.0.1", &[], "10.0.0.1");
}

#[test]
fn an_address_may_come_with_a_port_and_in_brackets() {
    assert_client("10.0.0.1", &["203.0.113.5:4711"], "203.0.113.5");
    assert_client("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
    assert_client("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
    assert_client("10.0.0.1", &["\"[2001:db8::7]:4711\""], "2001:db8::7");
}

#[test]
fn where_an_entry_is_no_address_the_proxy_that_wrote_it_is_the_client() {
    for line in ["9.9.9.9, unknown", "unknown", "_hidden", "", ",", "9.9.9.9,", "1.2.3", "[::1"] {
        assert_client("10.0.0.1", &[line], "10.0.0.1");
    }
    assert_client("10.0.0.1", &["9.9.9.9, unknown, 10.7.7.7"], "10.7.7.7");
    let client = behind();
    let long = vec![b','; 8 * 1024];
    assert_eq!(address(&client, &from("10.0.0.1", &[&long])), Some([10, 0, 0, 1].into()));
    let foreign: &[u8] = b"9.9.9.9, \xe4\xf6\xfc";
    assert_eq!(address(&client, &from("10.0.0.1", &[foreign])), Some([10, 0, 0, 1].into()));
    let hops = "10.1.1.1,".repeat(10_000) + "10.1.1.1";
    assert_client("10.0.0.1", &[&hops], "10.1.1.1");
}

#[test]
fn a_proxy_that_cannot_be_read_is_refused() {
    for wrong in ["", "10.0.0.0/33", "proxy.example", "10.0.0", "::/129"] {
        let error = ClientIp::behind([wrong]).unwrap_err().to_string();
        assert!(error.contains("trusted_proxy") && error.contains(wrong), "{error}");
    }
    assert!(ClientIp::peer().ipv6_prefix(129).is_err());
}

#[tokio::test]
async fn a_thousand_addresses_of_one_customer_share_a_quota() {
    let (inner, calls) = server();
    let layer = RateLimitLayer::inbound(Local::new(Quota::per_hour(5).unwrap()).unwrap());
    let service = layer.layer(inner);
    for host in 0..1_000 {
        let request = from(&format!("2001:db8:1:2::{host:x}"), &[]);
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_thousand_made_up_headers_share_a_quota() {
    let (inner, calls) = server();
    let layer = RateLimitLayer::inbound(Local::new(Quota::per_hour(5).unwrap()).unwrap());
    let service = layer.key(behind()).layer(inner);
    for host in 0..1_000 {
        let line = format!("1.1.{}.{}, 203.0.113.5", host / 256, host % 256);
        for peer in ["10.0.0.1", "203.0.113.5"] {
            service.clone().oneshot(from(peer, &[line.as_bytes()])).await.unwrap();
        }
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 5);
}

fn key(of: &impl RequestKey, request: &Request<Text>) -> Option<Key> {
    of.key(&Head::of(request))
}

fn with(name: &'static str, value: &'static str) -> Request<Text> {
    let mut request = get("/");
    request.headers_mut().insert(name, HeaderValue::from_static(value));
    request
}

#[test]
fn a_credential_is_a_key_whatever_header_it_comes_in() {
    let credential = Credential::new();
    let bearer = key(&credential, &with("authorization", "Bearer sk-1"));
    assert!(bearer.is_some());
    assert_eq!(bearer, key(&credential, &with("authorization", "bearer sk-1")));
    assert_ne!(bearer, key(&credential, &with("authorization", "Bearer sk-2")));
    assert!(key(&credential, &with("x-api-key", "sk-1")).is_some());
    assert_eq!(key(&credential, &with("x-api-key", "")), None);
    assert_eq!(key(&credential, &get("/")), None);
    let tenant = HeaderKey::new(HeaderName::from_static("x-tenant"));
    assert_ne!(key(&tenant, &with("x-tenant", "a")), key(&tenant, &with("x-tenant", "b")));
    assert_eq!(key(&tenant, &get("/")), None);
}

#[test]
fn a_route_is_a_key_and_a_path_is_not() {
    let mut request = get("/users/7");
    assert_eq!(key(&PathTemplate::new(), &request), None);
    request.extensions_mut().insert(RouteTemplate::new("/users/{id}"));
    let seven = key(&PathTemplate::new(), &request);
    assert!(seven.is_some());
    *request.uri_mut() = "/users/8".parse().unwrap();
    assert_eq!(key(&PathTemplate::new(), &request), seven);
    *request.method_mut() = http::Method::DELETE;
    assert_ne!(key(&PathTemplate::new(), &request), seven);
}

#[test]
fn a_tuple_is_a_key_for_each_combination() {
    let both = (Credential::new(), Global::new());
    assert!(key(&both, &with("x-api-key", "a")).is_some());
    assert_ne!(key(&both, &with("x-api-key", "a")), key(&both, &with("x-api-key", "b")));
    assert_eq!(key(&both, &get("/")), None);
    let own = |head: &Head<'_>| Some(Key::hash(head.uri.path().as_bytes()));
    let three = (Credential::new(), Global::new(), own);
    assert!(key(&three, &with("x-api-key", "a")).is_some());
}

#[tokio::test]
async fn a_request_without_a_key_is_nobodys_server_error() {
    let statuses = |missing| async move {
        let (inner, _) = server();
        let limiter = Local::new(Quota::per_hour(2).unwrap()).unwrap();
        let layer = RateLimitLayer::inbound(limiter).missing_key(missing).unwrap();
        let service = layer.layer(inner);
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(service.clone().oneshot(get("/")).await.unwrap().status().as_u16());
        }
        statuses
    };
    assert_eq!(statuses(MissingKey::Share).await, [200, 200, 429, 429]);
    assert_eq!(statuses(MissingKey::Exempt).await, [200; 4]);
    assert_eq!(statuses(MissingKey::Status(StatusCode::UNAUTHORIZED)).await, [401; 4]);
    let limiter = Local::new(Quota::per_hour(2).unwrap()).unwrap();
    let broken = MissingKey::Status(StatusCode::INTERNAL_SERVER_ERROR);
    assert!(RateLimitLayer::inbound(limiter).missing_key(broken).is_err());
}

#[tokio::test]
async fn what_is_exempt_is_not_limited() {
    let (inner, calls) = server();
    let limiter = Local::new(Quota::per_hour(1).unwrap()).unwrap();
    let layer = RateLimitLayer::inbound(limiter).exempt(|head| head.uri.path() == "/healthz");
    let service = layer.layer(inner);
    for _ in 0..10 {
        service.clone().oneshot(get("/healthz")).await.unwrap();
        service.clone().oneshot(get("/")).await.unwrap();
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 11);
}
