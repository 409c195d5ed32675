//! One question over UDP, sent again and again until an answer comes.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::op::Message;
use tokio::{net::UdpSocket, time::Instant};

use super::question::{Heard, Question};
use crate::{DnsError, DnsErrorKind};

/// Sent again no sooner than this.
pub(super) const SOONEST: Duration = Duration::from_millis(50);

/// Sent again after this long, if nothing is known of the server.
pub(super) const UNKNOWN: Duration = Duration::from_millis(75);

/// Added to what the server's answers take as a rule.
pub(super) const MARGIN: Duration = Duration::from_millis(25);

/// Never sent again later than this after the time before.
const LATEST: Duration = Duration::from_secs(1);

/// A datagram over UDP has no more.
const LARGEST: usize = 4_096;

/// Asks, until an answer comes that is one. Drop the future when it takes too long.
///
/// `None` if the answer did not fit. A socket of its own, so that each question has a port that
/// cannot be guessed, and connected, so that the kernel drops what comes from elsewhere and tells
/// when nobody listens there.
pub(super) async fn exchange(
    server: SocketAddr,
    question: &Question,
    edns: bool,
    again: Duration,
    until: Instant,
) -> Result<Option<Message>, DnsError> {
    let id = fastrand::u16(..);
    let bytes = question
        .message(id, edns)
        .to_vec()
        .map_err(|error| DnsError::new(DnsErrorKind::InvalidName).because(error.to_string()))?;
    let socket = open(server).await.map_err(unreachable)?;
    let mut again = again.clamp(SOONEST, LATEST);
    let mut nonsense = false;
    loop {
        socket.send(&bytes).await.map_err(unreachable)?;
        let next = (Instant::now() + again).min(until);
        tokio::select! {
            biased;
            heard = listen(&socket, question, id, &mut nonsense) => return heard,
            () = tokio::time::sleep_until(next) => {}
        }
        if Instant::now() >= until {
            return Err(gave_up(nonsense));
        }
        again = (2 * again).min(LATEST);
    }
}

async fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Waits for the answer; whatever else comes is passed over, for somebody else may have sent it.
async fn listen(
    socket: &UdpSocket,
    question: &Question,
    id: u16,
    nonsense: &mut bool,
) -> Result<Option<Message>, DnsError> {
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(unreachable)?;
        match question.judge(id, buffer.get(..length).unwrap_or_default()) {
            Heard::Answer(message) => return Ok(Some(*message)),
            Heard::Truncated => return Ok(None),
            Heard::Nonsense => *nonsense = true,
            Heard::Foreign => {}
        }
    }
}

fn gave_up(nonsense: bool) -> DnsError {
    DnsError::new(if nonsense { DnsErrorKind::Malformed } else { DnsErrorKind::Timeout })
}

fn unreachable(error: io::Error) -> DnsError {
    DnsError::new(DnsErrorKind::Io).from_source(error)
}
