//! UDP: what is lost, what is forged, and what does not fit.
#![allow(missing_docs, reason = "a test's name says what it is about")]
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::time::Duration;

use buttress_dns::DnsErrorKind;
use hickory_net::xfer::Protocol;
use hickory_proto::{
    op::{Message, MessageType},
    rr::{RData, Record, RecordType, rdata::A},
};
use support::{
    Hostile, NameServer, Reply,
    hostile::Datagram,
    lookups::{found, plain, v4},
    reply::absolute,
};
use tokio::time::Instant;

/// The answer to a question that came, with this address.
fn answer(question: &[u8], last: u8) -> Message {
    let question = Message::from_vec(question).unwrap();
    let owner = question.queries[0].name().clone();
    let mut answer = question.into_response();
    answer.add_answer(Record::from_rdata(owner, 60, RData::A(A::new(192, 0, 2, last))));
    answer
}

fn good(question: &[u8]) -> Datagram {
    Datagram::Own(answer(question, 1).to_vec().unwrap())
}

/// What a liar makes of the right answer; it has another address in it.
fn changed(question: &[u8], change: impl FnOnce(&mut Message)) -> Datagram {
    let mut answer = answer(question, 66);
    change(&mut answer);
    Datagram::Own(answer.to_vec().unwrap())
}

#[tokio::test]
async fn one_lost_packet_costs_little() {
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let server = Hostile::start(|question, number| match number {
            1 => Vec::new(),
            _ => vec![good(question)],
        })
        .await;
        let start = Instant::now();
        assert_eq!(v4(&plain([server.address]), "api.test").await, found(&["192.0.2.1"]));
        least = least.min(start.elapsed());
    }
    // The least: a machine that does other things is no fault of ours.
    assert!(least <= Duration::from_millis(150), "{least:?}");
}

#[tokio::test]
async fn a_packet_lost_by_a_server_that_is_known_to_be_fast_costs_less() {
    let mut least = Duration::MAX;
    for _ in 0..4 {
        let server = Hostile::start(|question, number| match number {
            9 => Vec::new(),
            _ => vec![good(question)],
        })
        .await;
        let upstreams = plain([server.address]);
        for turn in 0..8 {
            v4(&upstreams, &format!("n{turn}.test")).await.unwrap();
        }
        let start = Instant::now();
        assert_eq!(v4(&upstreams, "api.test").await, found(&["192.0.2.1"]));
        least = least.min(start.elapsed());
    }
    let soonest = Duration::from_millis(45);
    assert!(least >= soonest && least < Duration::from_millis(110), "{least:?}");
}

#[tokio::test]
async fn forged_answers_are_passed_over_until_the_right_one_comes() {
    type Forge = fn(&[u8]) -> Datagram;
    let forgeries: [(&str, Forge); 8] = [
        ("another id", |question| changed(question, |given| given.metadata.id ^= 1)),
        ("another name", |question| {
            changed(question, |given| {
                given.queries[0].set_name(absolute("evil.test"));
            })
        }),
        ("another type", |question| {
            changed(question, |given| {
                given.queries[0].set_query_type(RecordType::AAAA);
            })
        }),
        ("no question", |question| changed(question, |given| given.queries.clear())),
        ("a question", |question| {
            changed(question, |given| given.metadata.message_type = MessageType::Query)
        }),
        ("another port", |question| Datagram::Foreign(answer(question, 66).to_vec().unwrap())),
        ("one byte", |question| Datagram::Own(question[..1].to_vec())),
        ("nothing", |_| Datagram::Own(Vec::new())),
    ];
    for (what, forge) in forgeries {
        let server = Hostile::start(move |question, _| vec![forge(question), good(question)]).await;
        let said = v4(&plain([server.address]), "api.test").await;
        assert_eq!(said, found(&["192.0.2.1"]), "{what}");
    }
}

/// The bytes of a right answer, of which the record begins behind the question.
fn damaged(question: &[u8], damage: fn(&mut Vec<u8>, usize)) -> Datagram {
    let question_end = 12 + "\u{3}api\u{4}test\0".len() + 4;
    let mut bytes = answer(question, 66).to_vec().unwrap();
    damage(&mut bytes, question_end);
    Datagram::Own(bytes)
}

#[tokio::test]
async fn nonsense_with_the_right_id_is_passed_over_as_well() {
    type Damage = fn(&mut Vec<u8>, usize);
    let damages: [(&str, Damage); 5] = [
        ("cut in the record", |bytes, record| bytes.truncate(record + 6)),
        ("a length beyond the end", |bytes, record| bytes[record + 10] = 0xff),
        ("a length too short for an address", |bytes, record| bytes[record + 11] = 3),
        ("a name that points at itself", |bytes, record| {
            bytes[record] = 0xc0;
            bytes[record + 1] = u8::try_from(record).unwrap();
        }),
        ("more records than there are", |bytes, _| bytes[6] = 0xff),
    ];
    for (what, damage) in damages {
        let server =
            Hostile::start(move |question, _| vec![damaged(question, damage), good(question)])
                .await;
        let said = v4(&plain([server.address]), "api.test").await;
        assert_eq!(said, found(&["192.0.2.1"]), "{what}");
    }
}

#[tokio::test]
async fn nonsense_alone_is_told_from_silence() {
    let server = Hostile::start(|question, _| {
        vec![damaged(question, |bytes, record| bytes.truncate(record + 6))]
    })
    .await;
    let upstreams = plain([server.address]).timeout(Duration::from_millis(200)).unwrap();
    assert_eq!(v4(&upstreams, "api.test").await, Err(DnsErrorKind::Malformed));
}

#[tokio::test]
async fn each_question_has_an_id_and_a_port_of_its_own() {
    let (sender, seen) = std::sync::mpsc::channel();
    let server = Hostile::start(move |question, _| {
        sender.send(u16::from_be_bytes([question[0], question[1]])).unwrap();
        vec![good(question)]
    })
    .await;
    let upstreams = plain([server.address]);
    for turn in 0..16 {
        v4(&upstreams, &format!("n{turn}.test")).await.unwrap();
    }
    let ids: std::collections::HashSet<_> = seen.try_iter().collect();
    assert!(ids.len() > 12, "{ids:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_fetched_over_tcp() {
    let server = NameServer::start(|asked| {
        let reply = Reply::addresses(asked, &["192.0.2.1", "192.0.2.2"], 60);
        match asked.protocol {
            Protocol::Udp => Reply::nothing().truncated(),
            _ => reply,
        }
    });
    let upstreams = plain([server.plain]);
    for turn in 0..3 {
        let said = v4(&upstreams, &format!("n{turn}.test")).await;
        assert_eq!(said, found(&["192.0.2.1", "192.0.2.2"]));
    }
    let over_tcp = server.asked().iter().filter(|asked| asked.protocol == Protocol::Tcp).count();
    assert_eq!(over_tcp, 3);
}

#[tokio::test]
async fn a_cut_answer_that_says_so_is_fetched_over_tcp_however_it_was_cut() {
    let server = NameServer::start(|asked| Reply::addresses(asked, &["192.0.2.1"], 60));
    // The same port over UDP belongs to the server above, so the liar only sends its answers.
    let cut = Hostile::start(|question, _| {
        let mut answer = answer(question, 66);
        answer.metadata.truncation = true;
        let mut bytes = answer.to_vec().unwrap();
        bytes.truncate(bytes.len() - 9);
        vec![Datagram::Own(bytes)]
    })
    .await;
    let upstreams = plain([cut.address, server.plain]);
    assert_eq!(v4(&upstreams, "api.test").await, found(&["192.0.2.1"]));
}

#[tokio::test]
async fn when_tcp_is_refused_another_server_is_asked() {
    let no_tcp = NameServer::over_udp(|_| Reply::nothing().truncated());
    let other = NameServer::start(|asked| {
        Reply::addresses(asked, &["192.0.2.9"], 60).after(Duration::from_millis(20))
    });
    let upstreams = plain([no_tcp.plain, other.plain]);
    assert_eq!(v4(&upstreams, "api.test").await, found(&["192.0.2.9"]));
    let alone = plain([no_tcp.plain]);
    assert_eq!(v4(&alone, "api.test").await, Err(DnsErrorKind::Io));
}

#[tokio::test]
async fn a_server_that_does_not_know_edns_is_asked_without_it_from_then_on() {
    let (sender, seen) = std::sync::mpsc::channel();
    let server = Hostile::start(move |question, _| {
        let message = Message::from_vec(question).unwrap();
        sender.send(message.edns.is_some()).unwrap();
        if message.edns.is_none() {
            return vec![good(question)];
        }
        // FORMERR, and nothing but the header.
        let mut bytes = question[..12].to_vec();
        (bytes[2], bytes[3]) = (0x81, 0x81);
        bytes[4..12].fill(0);
        vec![Datagram::Own(bytes)]
    })
    .await;
    let upstreams = plain([server.address]);
    for turn in 0..2 {
        assert_eq!(v4(&upstreams, &format!("n{turn}.test")).await, found(&["192.0.2.1"]));
    }
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [true, false, false]);
}
