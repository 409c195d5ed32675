//! A TCP relay that counts the connections through it, and can hold everything back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Closes its listener and its connections when it is dropped.
pub struct Gate {
    pub address: SocketAddr,
    opened: Arc<AtomicUsize>,
    /// Connections up to this one, counted from 1, carry nothing any more.
    frozen: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let opened = Arc::new(AtomicUsize::new(0));
        let (frozen, state) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, Arc::clone(&opened), state));
        Self { address, opened, frozen, _tasks: tasks }
    }

    /// Connections so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// As a router that forgot a connection: no byte passes and nothing is closed. Connections
    /// made from now on work.
    pub fn freeze(&self) {
        self.frozen.send_replace(self.opened());
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    opened: Arc<AtomicUsize>,
    frozen: watch::Receiver<usize>,
) {
    let mut relays = JoinSet::new();
    loop {
        let (inside, _) = listener.accept().await.unwrap();
        let number = opened.fetch_add(1, Ordering::SeqCst) + 1;
        let outside = TcpStream::connect(target).await.unwrap();
        inside.set_nodelay(true).unwrap();
        outside.set_nodelay(true).unwrap();
        let ((from_client, to_client), (from_server, to_server)) = (split(inside), split(outside));
        relays.spawn(relay(from_client, to_server, number, frozen.clone()));
        relays.spawn(relay(from_server, to_client, number, frozen.clone()));
    }
}

async fn relay(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
    number: usize,
    frozen: watch::Receiver<usize>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        if *frozen.borrow() >= number {
            std::future::pending::<()>().await;
        }
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
