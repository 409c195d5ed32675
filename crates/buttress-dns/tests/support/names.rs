//! An authoritative name server that says what a closure tells it to.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_net::{runtime::Time, xfer::Protocol};
use hickory_proto::{
    op::{Header, HeaderCounts, Metadata},
    rr::{Record, RecordType},
};
use hickory_server::{
    Server,
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use rustls::ServerConfig;
use socket2::SockRef;

use super::Reply;

/// The name by which the server's certificates go.
pub const NAME: &str = "dns.test";

/// One question that arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In lower case, without the dot at the end.
    pub name: String,
    pub kind: RecordType,
    pub protocol: Protocol,
    /// How often the same name and kind was asked for, this time included.
    pub nth: usize,
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

#[derive(Clone)]
struct Handler {
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Asked>>>,
}

/// A running server; everything it listens on closes when it is dropped.
pub struct NameServer {
    /// UDP, and TCP on the same port.
    pub plain: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    server: Server<Handler>,
}

impl NameServer {
    /// Answers over UDP and TCP, as `script` says.
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let mut this = Self::over_udp(script);
        let listener = loop {
            if let Ok(listener) = TcpListener::bind(this.plain) {
                break listener;
            }
            // Somebody else has the TCP port of that number.
            this.plain = this.bind_udp();
        };
        this.listen(listener, |server, listener| {
            server.register_listener(listener, Duration::from_secs(30), 32);
        });
        this
    }

    /// Answers over UDP alone; a TCP connection is refused.
    pub fn over_udp(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let log = Arc::<Mutex<Vec<Asked>>>::default();
        let handler = Handler { script: Arc::new(script), log: Arc::clone(&log) };
        let mut this =
            Self { plain: ([127, 0, 0, 1], 0).into(), log, server: Server::new(handler) };
        this.plain = this.bind_udp();
        this
    }

    /// And over TLS, at the address that is returned.
    pub fn tls(&mut self, config: ServerConfig) -> SocketAddr {
        self.listen(TcpListener::bind("127.0.0.1:0").unwrap(), |server, listener| {
            let config = Arc::new(config);
            let patience = Duration::from_secs(30);
            server.register_tls_listener_with_tls_config(listener, patience, config).unwrap();
        })
    }

    /// And over HTTP/2, at the address that is returned and the path `/dns-query`.
    pub fn https(&mut self, config: ServerConfig) -> SocketAddr {
        self.listen(TcpListener::bind("127.0.0.1:0").unwrap(), |server, listener| {
            let (config, path) = (Arc::new(config), "/dns-query".to_owned());
            let patience = Duration::from_secs(30);
            server
                .register_https_listener_with_tls_config(listener, patience, config, None, path)
                .unwrap();
        })
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// How often this was asked for.
    pub fn count(&self, name: &str, kind: RecordType) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|asked| asked.name == name && asked.kind == kind).count()
    }

    fn bind_udp(&mut self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        self.server.register_socket(tokio::net::UdpSocket::from_std(socket).unwrap());
        address
    }

    fn listen(
        &mut self,
        listener: TcpListener,
        register: impl FnOnce(&mut Server<Handler>, tokio::net::TcpListener),
    ) -> SocketAddr {
        listener.set_nonblocking(true).unwrap();
        // What is accepted inherits it. Without it each answer waits 40 ms for an acknowledgement.
        SockRef::from(&listener).set_tcp_nodelay(true).unwrap();
        let address = listener.local_addr().unwrap();
        register(&mut self.server, tokio::net::TcpListener::from_std(listener).unwrap());
        address
    }
}

impl Handler {
    fn hear(&self, request: &Request) -> Option<Asked> {
        let info = request.request_info().ok()?;
        let name = info.query.name().to_string().to_ascii_lowercase();
        let name = name.trim_end_matches('.').to_owned();
        let (kind, protocol) = (info.query.query_type(), info.protocol);
        let mut log = self.log.lock().unwrap();
        let nth = 1 + log.iter().filter(|said| said.name == name && said.kind == kind).count();
        let asked = Asked { name, kind, protocol, nth };
        log.push(asked.clone());
        Some(asked)
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let nothing = Header { metadata, counts: HeaderCounts::default() };
        let Some(asked) = self.hear(request) else { return nothing.into() };
        let reply = (self.script)(&asked);
        if reply.delay > Duration::ZERO {
            tokio::time::sleep(reply.delay).await;
        }
        if reply.silent {
            return nothing.into();
        }
        metadata.response_code = reply.code;
        metadata.truncation = reply.truncated && asked.protocol == Protocol::Udp;
        metadata.authoritative = true;
        let none: [&Record; 0] = [];
        let message = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            &reply.answers,
            &reply.authorities,
            none,
            none,
        );
        response.send_response(message).await.unwrap_or_else(|_| nothing.into())
    }
}
