//! One DNS query for one lookup: what a client without a cache does; and the names of one that has a
//! cache.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use buttress_dns::{Dns, DnsLayer, Server, SettingError, Upstreams};
use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{RData, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};
use tower::Layer as _;

use super::names::absolute;

/// How often a query is sent; as the C library's resolver does unless told otherwise.
const TRIES: usize = 2;

/// Asks one name server, afresh each time; nothing is remembered and no query is shared.
#[derive(Clone, Debug)]
pub struct Lookup {
    server: SocketAddr,
    patience: Duration,
}

impl Lookup {
    /// Asks the server at this address, over UDP.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        Self { server, patience: Duration::from_secs(5) }
    }

    /// The names of a client that remembers them, over the same name server.
    ///
    /// # Errors
    ///
    /// If the name server's address makes no sense.
    pub fn remembered(&self) -> Result<Dns<Upstreams>, SettingError> {
        let servers = Upstreams::new([Server::plain(self.server)])?;
        Ok(DnsLayer::new().hosts(None).resolv_conf(None).layer(servers))
    }

    /// How long a query waits for its answer before it is sent once more, and how long after that.
    /// Default: 5 s, as in the C library.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The IPv4 addresses of `host`, at least one.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the name does not exist or has no address,
    /// [`io::ErrorKind::TimedOut`] if no answer came, or what the socket says.
    pub async fn addresses(&self, host: &str) -> io::Result<Vec<Ipv4Addr>> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(absolute(host)?, RecordType::A));
        let bytes = query.to_vec().map_err(io::Error::other)?;

        // A socket of its own, connected, so that only the server's datagrams arrive on it.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.server).await?;
        for _ in 0..TRIES {
            socket.send(&bytes).await?;
            if let Ok(answer) = timeout(self.patience, receive(&socket, &query)).await {
                return addresses_in(&answer?);
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Waits for the answer to `query`; anything else that comes is not meant for us.
async fn receive(socket: &UdpSocket, query: &Message) -> io::Result<Message> {
    let mut buffer = [0; 512];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Ok(answer) = Message::from_vec(buffer.get(..length).unwrap_or_default()) else {
            continue;
        };
        let expected = answer.metadata.id == query.metadata.id
            && answer.metadata.message_type == MessageType::Response
            && answer.queries == query.queries;
        if expected {
            return Ok(answer);
        }
    }
}

fn addresses_in(answer: &Message) -> io::Result<Vec<Ipv4Addr>> {
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(io::ErrorKind::NotFound.into()),
        code => return Err(io::Error::other(format!("the name server answered {code}"))),
    }
    let addresses: Vec<Ipv4Addr> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .collect();
    if addresses.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(addresses)
}
