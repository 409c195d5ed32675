//! The slow name server of the rehearsal and the lookup that asks it, over real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use buttress_gateway::rehearse::{Lookup, NameServer};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use tokio::{net::UdpSocket, time::Instant};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

async fn server(delay: Duration) -> NameServer {
    NameServer::start([("llm.test".to_owned(), ADDRESS)], delay).await.unwrap()
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

async fn ask(server: SocketAddr, bytes: &[u8]) -> Message {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

#[tokio::test]
async fn a_known_name_has_its_address_after_the_delay() {
    let server = server(Duration::from_millis(40)).await;
    let start = Instant::now();
    let found = Lookup::new(server.address()).addresses("llm.test").await.unwrap();
    assert_eq!(found, [ADDRESS]);
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn names_are_the_same_in_capitals_and_with_a_dot_at_the_end() {
    let server = server(Duration::ZERO).await;
    let lookup = Lookup::new(server.address());
    assert_eq!(lookup.addresses("LLM.Test.").await.unwrap(), [ADDRESS]);
}

#[tokio::test]
async fn every_lookup_waits_its_own_time() {
    let server = server(Duration::from_millis(40)).await;
    let lookup = Lookup::new(server.address());
    for _ in 0..3 {
        let start = Instant::now();
        lookup.addresses("llm.test").await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(40));
    }
}

#[tokio::test]
async fn an_unknown_name_is_not_found() {
    let server = server(Duration::ZERO).await;
    let error = Lookup::new(server.address()).addresses("other.test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_before_anything_is_sent() {
    let server = server(Duration::ZERO).await;
    let error = Lookup::new(server.address()).addresses("a..b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_answer_repeats_the_question() {
    let server = server(Duration::ZERO).await;
    let question = query("llm.test.", RecordType::A);
    let answer = ask(server.address(), &question.to_vec().unwrap()).await;
    assert_eq!(answer.metadata.id, question.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert!(answer.metadata.recursion_desired && answer.metadata.recursion_available);
    assert_eq!(answer.queries, question.queries);
    assert_eq!(answer.answers.len(), 1);
}

#[tokio::test]
async fn other_types_of_a_known_name_are_empty() {
    let server = server(Duration::ZERO).await;
    let question = query("llm.test.", RecordType::AAAA);
    let answer = ask(server.address(), &question.to_vec().unwrap()).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.answers.is_empty());
}

#[tokio::test]
async fn what_is_no_plain_query_is_not_implemented() {
    let server = server(Duration::ZERO).await;
    let mut question = query("llm.test.", RecordType::A);
    question.metadata.op_code = OpCode::Status;
    let answer = ask(server.address(), &question.to_vec().unwrap()).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NotImp);
}

#[tokio::test]
async fn garbage_is_passed_over() {
    let server = server(Duration::ZERO).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for garbage in [&b""[..], b"x", &[0xff; 600]] {
        socket.send_to(garbage, server.address()).await.unwrap();
    }
    let found = Lookup::new(server.address()).addresses("llm.test").await.unwrap();
    assert_eq!(found, [ADDRESS]);
}

/// A name server under the test's control: the socket, and the address to ask.
async fn scripted() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn receive(socket: &UdpSocket) -> (Message, SocketAddr) {
    let mut buffer = [0; 512];
    let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
    (Message::from_vec(&buffer[..length]).unwrap(), peer)
}

fn answer_to(query: &Message, id: u16, address: Ipv4Addr) -> Vec<u8> {
    let mut answer = Message::response(id, OpCode::Query);
    answer.add_queries(query.queries.iter().cloned());
    let name = query.queries[0].name().clone();
    answer.add_answer(Record::from_rdata(name, 60, RData::A(A(address))));
    answer.to_vec().unwrap()
}

#[tokio::test]
async fn an_answer_to_another_query_is_passed_over() {
    let (socket, address) = scripted().await;
    let serve = async {
        let (query, peer) = receive(&socket).await;
        let id = query.metadata.id;
        let forged = answer_to(&query, id.wrapping_add(1), Ipv4Addr::new(10, 6, 6, 6));
        socket.send_to(&forged, peer).await.unwrap();
        socket.send_to(b"noise", peer).await.unwrap();
        socket.send_to(&answer_to(&query, id, ADDRESS), peer).await.unwrap();
    };
    let lookup = Lookup::new(address);
    let (found, ()) = tokio::join!(lookup.addresses("llm.test"), serve);
    assert_eq!(found.unwrap(), [ADDRESS]);
}

#[tokio::test]
async fn a_lost_query_is_sent_once_more() {
    let (socket, address) = scripted().await;
    let serve = async {
        let (lost, _) = receive(&socket).await;
        let (again, peer) = receive(&socket).await;
        assert_eq!(lost.metadata.id, again.metadata.id);
        let answer = answer_to(&again, again.metadata.id, ADDRESS);
        socket.send_to(&answer, peer).await.unwrap();
    };
    let lookup = Lookup::new(address).patience(Duration::from_millis(300));
    let (found, ()) = tokio::join!(lookup.addresses("llm.test"), serve);
    assert_eq!(found.unwrap(), [ADDRESS]);
}

#[tokio::test]
async fn a_server_that_never_answers_times_the_lookup_out() {
    let (_socket, address) = scripted().await;
    let lookup = Lookup::new(address).patience(Duration::from_millis(5));
    let error = lookup.addresses("llm.test").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn the_client_that_remembers_waits_for_the_first_lookup_only() {
    let delay = Duration::from_millis(150);
    let server = server(delay).await;
    let remembered = Lookup::new(server.address()).remembered().unwrap();
    let reach = async || {
        let start = Instant::now();
        let found = remembered.resolve("llm.test").await.unwrap();
        assert_eq!(found.as_slice(), [SocketAddr::from((ADDRESS, 0))]);
        start.elapsed()
    };
    assert!(reach().await >= delay);
    for _ in 0..20 {
        let took = reach().await;
        assert!(took < delay / 3, "{took:?}");
    }
}
