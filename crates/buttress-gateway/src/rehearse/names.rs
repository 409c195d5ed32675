//! The slow name server: real DNS over UDP on loopback, late by a fixed time.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Answers that may be under way; a query beyond them is dropped, as a busy server would.
const MAX_PENDING: usize = 4096;

/// The largest query that is read; one without extensions has at most 512 bytes (RFC 1035, 4.2.1).
const MAX_QUERY: usize = 1232;

/// Lifetime of every record, in seconds.
const TTL: u32 = 60;

/// A name server that knows a few names, and answers every query late.
///
/// `A` queries for a known name get its address, other types an empty answer, unknown names
/// `NXDOMAIN`, anything but a plain query `NOTIMP`. What is not a DNS query gets no answer.
/// Dropping it stops it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl NameServer {
    /// Starts a server that knows `names` and takes `delay` for each answer.
    ///
    /// # Errors
    ///
    /// If a name is not a valid one, or no port can be had.
    pub async fn start<I>(names: I, delay: Duration) -> io::Result<Self>
    where
        I: IntoIterator<Item = (String, Ipv4Addr)>,
    {
        let names: Vec<(Name, Ipv4Addr)> = names
            .into_iter()
            .map(|(name, address)| Ok((absolute(&name)?, address)))
            .collect::<io::Result<_>>()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(answer_all(socket, names, delay));
        Ok(Self { address, _task: task })
    }

    /// Where it listens, over UDP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Reads `name` as a full name, with or without the dot at its end.
pub(super) fn absolute(name: &str) -> io::Result<Name> {
    let mut name = Name::from_ascii(name)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    name.set_fqdn(true);
    Ok(name)
}

struct Pending {
    due: Instant,
    peer: SocketAddr,
    bytes: Vec<u8>,
}

/// One task does it all: every answer is late by the same time, so they are due in the order in
/// which the queries came.
async fn answer_all(socket: UdpSocket, names: Vec<(Name, Ipv4Addr)>, delay: Duration) {
    let mut buffer = [0; MAX_QUERY];
    let mut pending: VecDeque<Pending> = VecDeque::new();
    loop {
        let due = pending.front().map(|answer| answer.due);
        tokio::select! {
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if let Some(answer) = pending.pop_front() {
                    // An answer that cannot be sent is an answer lost, as on any network.
                    let _ = socket.send_to(&answer.bytes, answer.peer).await;
                }
            }
            received = socket.recv_from(&mut buffer), if pending.len() < MAX_PENDING => {
                // An error is the echo of an answer to a port that has closed since.
                let Ok((length, peer)) = received else { continue };
                let query = buffer.get(..length).unwrap_or_default();
                if let Some(bytes) = answer(query, &names) {
                    pending.push_back(Pending { due: Instant::now() + delay, peer, bytes });
                }
            }
        }
    }
}

fn answer(query: &[u8], names: &[(Name, Ipv4Addr)]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.metadata.recursion_available = true;
    reply.add_queries(query.queries.iter().cloned());
    match query.queries.as_slice() {
        _ if query.metadata.op_code != OpCode::Query => {
            reply.metadata.response_code = ResponseCode::NotImp;
        }
        [question] => {
            let known: Vec<Ipv4Addr> = names
                .iter()
                .filter(|(name, _)| name == question.name())
                .map(|(_, address)| *address)
                .collect();
            if known.is_empty() {
                reply.metadata.response_code = ResponseCode::NXDomain;
            } else if question.query_type() == RecordType::A {
                reply.add_answers(known.into_iter().map(|address| {
                    Record::from_rdata(question.name().clone(), TTL, RData::A(A(address)))
                }));
            }
        }
        _ => reply.metadata.response_code = ResponseCode::FormErr,
    }
    reply.to_vec().ok()
}
