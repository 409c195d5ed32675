//! Servers on loopback that behave as they are told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tokio_rustls::TlsAcceptor;

type Answer = dyn Fn(usize, &HeaderMap) -> Response<Full<Bytes>> + Send + Sync;

/// A server; it closes when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// How a server behaves.
pub(crate) struct Manner {
    pub(crate) answer: Arc<Answer>,
    pub(crate) before_answer: Duration,
    pub(crate) before_handshake: Duration,
    pub(crate) tls: Option<ServerConfig>,
}

impl Manner {
    /// Answers with what this makes of the request's number, from 1, and its headers.
    pub(crate) fn answers(
        answer: impl Fn(usize, &HeaderMap) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let none = Duration::ZERO;
        Self { answer: Arc::new(answer), before_answer: none, before_handshake: none, tls: None }
    }

    pub(crate) fn well() -> Self {
        Self::answers(|_, _| response(200, &[]))
    }

    pub(crate) async fn start(self) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(self), Arc::clone(&asked)));
        Server { address, asked, _tasks: tasks }
    }
}

async fn accept(listener: TcpListener, manner: Arc<Manner>, asked: Arc<AtomicUsize>) {
    let acceptor = manner.tls.clone().map(|config| TlsAcceptor::from(Arc::new(config)));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (manner, asked) = (Arc::clone(&manner), Arc::clone(&asked));
        let acceptor = acceptor.clone();
        let before_handshake = manner.before_handshake;
        connections.spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let response = (manner.answer)(number, request.headers());
                let delay = manner.before_answer;
                async move {
                    sleep(delay).await;
                    Ok::<_, std::convert::Infallible>(response)
                }
            });
            let http = auto::Builder::new(TokioExecutor::new());
            match acceptor {
                Some(acceptor) => {
                    sleep(before_handshake).await;
                    if let Ok(stream) = acceptor.accept(stream).await {
                        drop(http.serve_connection(TokioIo::new(stream), answer).await);
                    }
                }
                None => drop(http.serve_connection(TokioIo::new(stream), answer).await),
            }
        });
    }
}

pub(crate) fn response(status: u16, headers: &[(&'static str, &str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

/// An authority, and a certificate of its own for these names.
pub(crate) struct Papers {
    authority: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: tempfile::NamedTempFile,
}

impl Papers {
    pub(crate) fn new(who: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, who);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.pem()).unwrap();
        Self { authority, file }
    }

    pub(crate) fn server(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> ServerConfig {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.authority).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}
