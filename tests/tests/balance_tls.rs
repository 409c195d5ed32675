//! Endpoints that are addresses of one host name, over TLS: what goes over the wire, and what is
//! checked, is the host name's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::ready,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use buttress_balance::{BalanceLayer, Endpoint, EndpointSet, ResponseBody, RoundRobin, State};
use buttress_core::{Attempts, AttemptsFailed, BoxError, Outcome, cause, is_unconnected};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header::HOST};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use support::{Server, in_flight, picks};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};

const NAME: &str = "api.example";
const H1: &[&str] = &["http/1.1"];
const H2: &[&str] = &["h2"];

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// What a server for `name` shows, offering these versions of HTTP.
    fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A client's trust in this authority alone.
    fn trusted(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// The server name of the handshake and the authority of the request, for each request.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

fn serve(acceptor: TlsAcceptor) -> (Server, Seen) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let server = Server::start(move |listener: TcpListener| async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
            tokio::spawn(async move {
                // A client that does not trust the server ends the handshake.
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let sni = tls.get_ref().1.server_name().unwrap_or_default().to_owned();
                let answer = service_fn(move |request: Request<Incoming>| {
                    noted.lock().unwrap().push((sni.clone(), authority(&request)));
                    ready(Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("secret"))))
                });
                let http = auto::Builder::new(TokioExecutor::new());
                drop(http.serve_connection(TokioIo::new(tls), answer).await);
            });
        }
    });
    (server, seen)
}

/// `:authority`, which HTTP/2 has in place of `Host`.
fn authority(request: &Request<Incoming>) -> String {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
    host.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap()
}

/// A client for one address, whatever the name in the URI.
fn pinned(
    address: SocketAddr,
    tls: ClientConfig,
) -> Client<impl Connect + Clone + Send + Sync + 'static, Full<Bytes>> {
    let resolver =
        tower::service_fn(move |_: Name| ready(Ok::<_, io::Error>([address].into_iter())));
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
    Client::builder(TokioExecutor::new()).build(https.enable_all_versions().wrap_connector(tcp))
}

/// One host name at these addresses.
fn addresses<const N: usize>(servers: [&Server; N]) -> EndpointSet {
    let at = |server: &Server| {
        let address = server.address;
        Endpoint::new(format!("https://{NAME}")).unwrap().address(address).name(address.to_string())
    };
    EndpointSet::new(servers.map(at)).unwrap()
}

type Secure = BoxCloneSyncService<
    Request<Full<Bytes>>,
    Response<ResponseBody<Incoming, RoundRobin>>,
    BoxError,
>;

fn client(set: &EndpointSet, tls: ClientConfig) -> Secure {
    let pin =
        move |endpoint: &Endpoint, (): &()| pinned(endpoint.connects_to().unwrap(), tls.clone());
    let layer = BalanceLayer::new(set.clone()).policy(RoundRobin::new()).per_endpoint(pin);
    BoxCloneSyncService::new(layer.layer(()))
}

fn post() -> Request<Full<Bytes>> {
    Request::post("/v1/chat").body(Full::from("hi")).unwrap()
}

#[tokio::test]
async fn every_address_of_a_host_name_is_called_by_that_name() {
    let authority = Authority::new();
    for (alpn, version) in [(H1, Version::HTTP_11), (H2, Version::HTTP_2)] {
        let (one, first) = serve(authority.acceptor(NAME, alpn));
        let (two, second) = serve(authority.acceptor(NAME, alpn));
        let set = addresses([&one, &two]);
        let client = client(&set, authority.trusted());
        for _ in 0..10 {
            let response = client.clone().oneshot(post()).await.unwrap();
            assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
            assert_eq!(support::bytes(response).await, "secret");
        }
        for seen in [first, second] {
            let names = (NAME.to_owned(), NAME.to_owned());
            assert_eq!(*seen.lock().unwrap(), vec![names; 5]);
        }
        assert_eq!(in_flight(&set), 0);
    }
}

#[tokio::test]
async fn a_request_for_another_name_does_not_change_what_is_asked_for() {
    let authority = Authority::new();
    let (server, seen) = serve(authority.acceptor(NAME, H1));
    let client = client(&addresses([&server]), authority.trusted());
    let request = Request::get("https://other.example/x").header(HOST, "other.example");
    client.oneshot(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(NAME.to_owned(), NAME.to_owned())]);
}

#[tokio::test]
async fn an_address_that_cannot_be_trusted_is_left_and_costs_no_call() {
    let authority = Authority::new();
    let wrong_name = serve(authority.acceptor("other.example", H2)).0;
    let wrong_authority = serve(Authority::new().acceptor(NAME, H2)).0;
    let no_tls = Server::axum(axum::Router::new());
    for wrong in [wrong_name, wrong_authority, no_tls] {
        let (right, seen) = serve(authority.acceptor(NAME, H2));
        let set = addresses([&wrong, &right]);
        let client = client(&set, authority.trusted());
        for _ in 0..20 {
            // Not idempotent, but then nothing of it was sent.
            let response = client.clone().oneshot(post()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!((picks(&set), seen.lock().unwrap().len()), (vec![3, 20], 20));
        assert_eq!(set.snapshot()[0].state, State::Ejected);
        assert_eq!(in_flight(&set), 0);
    }
}

#[tokio::test]
async fn the_error_says_for_a_retry_outside_that_another_attempt_would_not_help() {
    let authority = Authority::new();
    let (one, first) = serve(authority.acceptor("one.example", H2));
    let (two, second) = serve(authority.acceptor("two.example", H2));
    let client = client(&addresses([&one, &two]), authority.trusted());
    let error = client.oneshot(post()).await.err().unwrap();
    assert_eq!(Outcome::of_error(&*error), Outcome::Rejected, "{error:?}");
    assert_eq!(cause::<AttemptsFailed>(&*error).unwrap().attempts().made(), 2);
    assert!(first.lock().unwrap().is_empty() && second.lock().unwrap().is_empty());

    // To those who could go elsewhere it says something else, unless an attempt before was sent.
    assert!(is_unconnected(&*error));
    let later = AttemptsFailed::new(Attempts::first_of(2), error);
    assert!(!is_unconnected(&later));
}
