//! A UDP socket that answers with whatever bytes a closure makes of the question.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::UdpSocket, task::JoinSet};

/// One datagram to send back.
pub enum Datagram {
    /// From the socket that was asked.
    Own(Vec<u8>),
    /// From another socket of the same machine.
    Foreign(Vec<u8>),
}

/// Stops when it is dropped.
pub struct Hostile {
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Hostile {
    /// `answer` sees each question as it came, and its number from 1.
    pub async fn start(
        answer: impl Fn(&[u8], usize) -> Vec<Datagram> + Send + Sync + 'static,
    ) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            for number in 1.. {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                for datagram in answer(&buffer[..length], number) {
                    let _ = match datagram {
                        Datagram::Own(bytes) => socket.send_to(&bytes, from).await,
                        Datagram::Foreign(bytes) => other.send_to(&bytes, from).await,
                    };
                }
            }
        });
        Self { address, _tasks: tasks }
    }
}
