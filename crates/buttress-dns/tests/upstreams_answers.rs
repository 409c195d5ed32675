//! What answers say: aliases, times, that there is none, and services.
#![allow(missing_docs, reason = "a test's name says what it is about")]
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::time::Duration;

use buttress_dns::{DnsErrorKind, ServiceName, Upstreams};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use support::{
    NameServer, Reply,
    lookups::{both, found, learn_v4, plain, v4},
};
use tokio::time::Instant;
use tower_service::Service as _;

async fn ttl(upstreams: &Upstreams, name: &str) -> Option<u64> {
    let learned = learn_v4(upstreams, name).await;
    learned.map_or_else(|error| error.ttl(), |records| records.ttl()).map(|ttl| ttl.as_secs())
}

#[tokio::test]
async fn times_to_live_are_as_the_server_says_and_never_negative() {
    let server = NameServer::start(|asked| {
        let ttl = asked.name.strip_suffix(".test").unwrap().parse().unwrap();
        Reply::addresses(asked, &["192.0.2.1"], ttl)
    });
    let upstreams = plain([server.plain]);
    assert_eq!(ttl(&upstreams, "0.test").await, Some(0));
    assert_eq!(ttl(&upstreams, "60.test").await, Some(60));
    assert_eq!(ttl(&upstreams, "2147483647.test").await, Some(2_147_483_647));
    assert_eq!(ttl(&upstreams, "2147483648.test").await, Some(0));
    assert_eq!(ttl(&upstreams, "4294967295.test").await, Some(0));
}

#[tokio::test]
async fn there_is_none_holds_for_as_long_as_the_soa_says_and_no_longer_is_made_up() {
    let server = NameServer::start(|asked| match asked.name.as_str() {
        "nodata.test" => Reply::nothing().with_soa("test", 300, 20),
        "bare.test" => Reply::nothing(),
        "gone.test" => Reply::code(ResponseCode::NXDomain).with_soa("test", 7, 20),
        "bare-gone.test" => Reply::code(ResponseCode::NXDomain),
        _ => Reply::code(ResponseCode::ServFail),
    });
    let upstreams = plain([server.plain]);
    assert_eq!(v4(&upstreams, "nodata.test").await, found(&[]));
    assert_eq!(ttl(&upstreams, "nodata.test").await, Some(20));
    assert_eq!(v4(&upstreams, "bare.test").await, found(&[]));
    assert_eq!(ttl(&upstreams, "bare.test").await, None);
    assert_eq!(v4(&upstreams, "gone.test").await, Err(DnsErrorKind::NxDomain));
    assert_eq!(ttl(&upstreams, "gone.test").await, Some(7));
    assert_eq!(ttl(&upstreams, "bare-gone.test").await, None);
    assert_eq!(v4(&upstreams, "broken.test").await, Err(DnsErrorKind::ServFail));
    // One question each time, and none of them asked again behind the caller's back.
    assert_eq!(server.count("broken.test", RecordType::A), 1);
    assert_eq!(server.count("nodata.test", RecordType::A), 2);
}

#[tokio::test]
async fn aliases_are_followed_within_an_answer_and_over_several() {
    let server = NameServer::start(|asked| match asked.name.as_str() {
        "a.test" => Reply::nothing().and_alias("a.test", "b.test", 5),
        "b.test" => Reply::addresses(asked, &["192.0.2.1", "2001:db8::1"], 60),
        "whole.test" => {
            let mut reply = Reply::nothing().and_alias("whole.test", "b.test", 60);
            let target = support::Asked { name: "b.test".into(), ..asked.clone() };
            reply.answers.extend(Reply::addresses(&target, &["192.0.2.2"], 9).answers);
            reply
        }
        _ => Reply::code(ResponseCode::NXDomain),
    });
    let upstreams = plain([server.plain]);
    let followed = both(&upstreams, "a.test").await;
    assert_eq!(followed, (found(&["192.0.2.1"]), found(&["2001:db8::1"])));
    assert_eq!(ttl(&upstreams, "a.test").await, Some(5));
    assert_eq!(v4(&upstreams, "whole.test").await, found(&["192.0.2.2"]));
    assert_eq!(ttl(&upstreams, "whole.test").await, Some(9));
}

#[tokio::test]
async fn aliases_that_lead_nowhere_end_soon_and_with_few_questions() {
    let server = NameServer::start(|asked| {
        let name = asked.name.as_str();
        match name.strip_prefix('n').and_then(|rest| rest.strip_suffix(".test")) {
            _ if name == "self.test" => Reply::nothing().and_alias(name, name, 60),
            _ if name == "there.test" => Reply::nothing().and_alias(name, "back.test", 60),
            _ if name == "back.test" => Reply::nothing().and_alias(name, "there.test", 60),
            _ if name == "dead-end.test" => {
                let reply = Reply::code(ResponseCode::NXDomain).with_soa("test", 60, 60);
                reply.and_alias(name, "gone.test", 60)
            }
            Some(number) => {
                let next: u32 = number.parse::<u32>().unwrap() + 1;
                if next > 20 {
                    return Reply::addresses(asked, &["192.0.2.1"], 60);
                }
                Reply::nothing().and_alias(name, &format!("n{next}.test"), 60)
            }
            None => Reply::code(ResponseCode::NXDomain),
        }
    });
    let upstreams = plain([server.plain]);
    let start = Instant::now();
    for name in ["self.test", "there.test", "n0.test"] {
        let before = server.asked().len();
        let error = learn_v4(&upstreams, name).await.unwrap_err();
        assert_eq!(error.kind(), DnsErrorKind::Malformed, "{name}");
        assert!(server.asked().len() - before <= 8, "{name}");
    }
    let error = learn_v4(&upstreams, "dead-end.test").await.unwrap_err();
    assert_eq!(error.kind(), DnsErrorKind::NxDomain);
    assert_eq!(error.ttl(), Some(Duration::from_secs(60)), "so it can be remembered");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn services_are_looked_up_with_their_ports_and_shares() {
    let server = NameServer::start(|asked| match asked.name.as_str() {
        "_grpc._tcp.api.test" => Reply::nothing()
            .and_service(&asked.name, (1, 30), 50_051, "One.Api.Test")
            .and_service(&asked.name, (2, 0), 50_052, "two.api.test"),
        "_none._tcp.api.test" => Reply::nothing().and_service(&asked.name, (0, 0), 0, "."),
        "_empty._tcp.api.test" => Reply::nothing().with_soa("test", 30, 30),
        _ => Reply::code(ResponseCode::NXDomain),
    });
    let mut upstreams = plain([server.plain]);
    let mut services = async |name: &str| upstreams.call(ServiceName::new(name).unwrap()).await;
    let found = services("_grpc._tcp.api.test").await.unwrap();
    let places: Vec<_> = found
        .records()
        .iter()
        .map(|place| (place.target.as_str(), place.port, place.priority, place.weight))
        .collect();
    assert_eq!(places, [("one.api.test", 50_051, 1, 30), ("two.api.test", 50_052, 2, 0)]);
    assert_eq!(found.ttl(), Some(Duration::from_secs(60)));
    assert!(services("_none._tcp.api.test").await.unwrap().records().is_empty());
    let empty = services("_empty._tcp.api.test").await.unwrap();
    assert_eq!((empty.records().len(), empty.ttl()), (0, Some(Duration::from_secs(30))));
    let error = services("_gone._tcp.api.test").await.unwrap_err();
    assert_eq!(error.kind(), DnsErrorKind::NxDomain);
    let mut system = Upstreams::system();
    let error = system.call(ServiceName::new("_grpc._tcp.api.test").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), DnsErrorKind::Refused);
}
