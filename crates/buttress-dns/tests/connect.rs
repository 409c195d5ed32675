//! Connections over real sockets: who is dialled, who is not, and which are kept.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use buttress_core::cause;
use buttress_dns::{Dialer, Dns, DnsError, DnsErrorKind, Family, Guard, GuardLayer, RetireLayer};
use bytes::Bytes;
use fake::{Fake, SECOND, Say, dns, found, layer, look, ms, none};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::GaiResolver},
    },
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, time::timeout};
use tower_layer::Layer;
use tower_service::Service;

/// A server that answers with its own address, and counts its connections.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let answer = service_fn(move |_: Request<Incoming>| async move {
                        let ip = address.ip().to_string();
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(ip))))
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(TokioIo::new(socket), answer).await);
                });
            }
        });
        Self { address, connections }
    }

    /// Two servers at one port of two addresses.
    async fn two() -> (Self, Self) {
        loop {
            let one = Self::at(([127, 0, 0, 1], 0).into()).await;
            let other = SocketAddr::from(([127, 0, 0, 2], one.address.port()));
            // Somebody else may have the port there.
            if std::net::TcpListener::bind(other).is_ok() {
                return (one, Self::at(other).await);
            }
        }
    }
}

fn v4_of(fake: &Fake, addresses: &[&str], ttl: u64) {
    let learned = found(addresses, ttl);
    fake.say(move |_, family| match family {
        Family::V4 => Say::Now(learned.clone()),
        Family::V6 => Say::Now(none(300)),
    });
}

fn asked(name: &str, port: u16) -> Request<Full<Bytes>> {
    Request::get(format!("http://{name}:{port}/")).body(Full::default()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn it_is_a_resolver_of_hyper_utils_connector() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["127.0.0.1"], 60);
    let connector = HttpConnector::new_with_resolver(dns(&fake));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(asked("a.example", server.address.port())).await.unwrap();
    assert_eq!(text(response).await, "127.0.0.1");
}

#[tokio::test]
async fn a_connection_whose_address_left_the_answer_is_retired() {
    for http2 in [false, true] {
        let (old, new) = Server::two().await;
        let fake = Fake::new(|_, _| Say::Never);
        v4_of(&fake, &["127.0.0.1"], 1);
        let dns = dns(&fake);
        let connector = HttpConnector::new_with_resolver(dns.clone());
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
        let mut client = RetireLayer::new(dns.clone()).layer(client);
        let port = old.address.port();
        for _ in 0..3 {
            let response = client.call(asked("a.example", port)).await.unwrap();
            assert_eq!(text(response).await, "127.0.0.1");
        }
        assert_eq!(old.connections.load(Ordering::Relaxed), 1, "it is kept while it belongs");

        v4_of(&fake, &["127.0.0.2"], 1);
        dns.expire();
        while look(&dns, "a.example").await.unwrap() != ["127.0.0.2"] {
            tokio::task::yield_now().await;
        }
        // One request may still go over it, and its answer comes whole.
        let under_way = client.call(asked("a.example", port)).await.unwrap();
        let next = client.call(asked("a.example", port)).await.unwrap();
        assert_eq!(text(next).await, "127.0.0.2", "HTTP/2: {http2}");
        assert_eq!(text(under_way).await, "127.0.0.1");
        for _ in 0..3 {
            let response = client.call(asked("a.example", port)).await.unwrap();
            assert_eq!(text(response).await, "127.0.0.2");
        }
        assert_eq!(new.connections.load(Ordering::Relaxed), 1, "HTTP/2: {http2}");
    }
}

/// The kind of our error inside what a connector failed with.
fn denied(error: impl Into<buttress_core::BoxError>) -> DnsErrorKind {
    let error = error.into();
    cause::<DnsError>(&*error).unwrap_or_else(|| panic!("{error:?}")).kind()
}

const HIDDEN: &[&str] = &[
    "http://169.254.169.254/latest/meta-data",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://017700000001/",
    "http://[::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fe80::1%25lo]/",
    "http://localhost/",
];

#[tokio::test]
async fn a_guard_around_a_connector_refuses_hidden_addresses_in_every_spelling() {
    let fake = Fake::new(|_, _| Say::Never);
    let dns = layer().guard(Guard::new()).layer(fake.clone());
    let mut connector =
        GuardLayer::new(Guard::new()).layer(HttpConnector::new_with_resolver(dns.clone()));
    let mut dialer = Dialer::new(dns);
    for hidden in HIDDEN {
        // What the http crate takes for no URI can be dialled by nobody.
        let Ok(uri) = hidden.parse::<Uri>() else { continue };
        let error = connector.call(uri.clone()).await.unwrap_err();
        assert_eq!(denied(error), DnsErrorKind::Denied, "{hidden}");
        let error = dialer.call(uri).await.unwrap_err();
        assert_eq!(denied(error), DnsErrorKind::Denied, "{hidden}");
    }
    assert_eq!(fake.asked_in_all(), 0);
}

#[tokio::test]
async fn a_name_is_dialled_only_at_its_public_addresses() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["10.255.255.1", "127.0.0.1", "169.254.169.254"], 60);
    let guard = Guard::new().allow("127.0.0.1").unwrap();
    let dns = layer().guard(guard.clone()).layer(fake.clone());
    assert_eq!(look(&dns, "a.example").await.unwrap(), ["127.0.0.1"]);
    let uri: Uri = format!("http://a.example:{}/", server.address.port()).parse().unwrap();
    let connector = HttpConnector::new_with_resolver(dns.clone());
    GuardLayer::new(guard).layer(connector).call(uri.clone()).await.unwrap();
    Dialer::new(dns).call(uri).await.unwrap();

    v4_of(&fake, &["::ffff:127.0.0.1"], 60);
    let all_denied = layer().guard(Guard::new()).layer(fake);
    assert_eq!(look(&all_denied, "b.example").await, Err(DnsErrorKind::Denied));
}

#[tokio::test]
async fn a_name_that_is_bound_again_is_not_dialled_where_it_may_not_be() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["127.0.0.1"], 1);
    // Here 127.0.0.1 is public, and 127.0.0.2 is not.
    let guard = Guard::new().allow("127.0.0.1").unwrap();
    let dns = layer().guard(guard.clone()).layer(fake.clone());
    let mut dialer = Dialer::new(dns.clone());
    let uri: Uri = format!("http://a.example:{}/", server.address.port()).parse().unwrap();
    dialer.call(uri.clone()).await.unwrap();
    v4_of(&fake, &["127.0.0.2"], 1);
    dns.expire();
    let error = dialer.call(uri.clone()).await.unwrap_err();
    assert_eq!(denied(error), DnsErrorKind::Denied);
    v4_of(&fake, &["127.0.0.1"], 1);
    dns.expire();
    while look(&dns, "a.example").await.is_err() {
        tokio::time::sleep(ms(100)).await;
    }
    dialer.call(uri).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_another_resolver_led_astray_is_closed() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let plain = HttpConnector::new_with_resolver(GaiResolver::new());
    let uri: Uri = format!("http://localhost:{}/", server.address.port()).parse().unwrap();
    let error = GuardLayer::new(Guard::new()).layer(plain.clone()).call(uri.clone()).await;
    assert_eq!(denied(error.unwrap_err()), DnsErrorKind::Denied);
    let guard = Guard::new().allow("127.0.0.0/8").and_then(|guard| guard.allow("::1")).unwrap();
    GuardLayer::new(guard).layer(plain).call(uri).await.unwrap();
}

#[tokio::test]
async fn a_dead_address_is_tried_first_once_and_then_last() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let port = server.address.port();
    // Nobody listens there.
    let dead = IpAddr::from([127, 0, 0, 3]);
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["127.0.0.3", "127.0.0.1"], 60);
    let dns: Dns<Fake> = dns(&fake);
    let mut dialer = Dialer::new(dns.clone());
    let uri: Uri = format!("http://a.example:{port}/").parse().unwrap();
    assert_eq!(look(&dns, "a.example").await.unwrap()[0], dead.to_string());
    dialer.call(uri.clone()).await.unwrap();
    assert_eq!(look(&dns, "a.example").await.unwrap()[0], "127.0.0.1");

    // All dead: all are tried, and the error is that of the first.
    v4_of(&fake, &["127.0.0.3", "127.0.0.4"], 60);
    let uri: Uri = format!("http://b.example:{port}/").parse().unwrap();
    for _ in 0..2 {
        let error = dialer.call(uri.clone()).await.unwrap_err();
        let io = cause::<std::io::Error>(&*error).unwrap();
        assert_eq!(io.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn the_port_of_the_uri_is_kept_and_otherwise_that_of_the_answer() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let at = |host: &str, address: SocketAddr| {
        let layer = layer().override_host(host, [address]).unwrap();
        layer.layer(Fake::new(|_, _| Say::Never))
    };
    let chosen = at("a.example", server.address);
    let uri: Uri = "http://a.example/".parse().unwrap();
    Dialer::new(chosen.clone()).call(uri.clone()).await.unwrap();
    HttpConnector::new_with_resolver(chosen).call(uri).await.unwrap();
    let other = at("a.example", ([127, 0, 0, 1], 1).into());
    let uri: Uri = format!("http://a.example:{}/", server.address.port()).parse().unwrap();
    Dialer::new(other.clone()).call(uri.clone()).await.unwrap();
    HttpConnector::new_with_resolver(other).call(uri).await.unwrap();
}

#[tokio::test]
async fn it_is_a_connector_of_tonics_channels() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["127.0.0.1"], 60);
    let uri = format!("http://a.example:{}/", server.address.port());
    let endpoint = tonic::transport::Endpoint::from_shared(uri).unwrap();
    let connector = HttpConnector::new_with_resolver(dns(&fake));
    timeout(SECOND, endpoint.connect_with_connector(connector)).await.unwrap().unwrap();
    timeout(SECOND, endpoint.connect_with_connector(Dialer::new(dns(&fake))))
        .await
        .unwrap()
        .unwrap();
    // The server may be about to take the second one.
    while server.connections.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn it_is_a_resolver_of_reqwests_client() {
    let server = Server::at(([127, 0, 0, 1], 0).into()).await;
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["127.0.0.1"], 60);
    let client = reqwest::Client::builder().no_proxy().dns_resolver(dns(&fake)).build().unwrap();
    let uri = format!("http://a.example:{}/", server.address.port());
    let answer = client.get(uri).send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, "127.0.0.1");
    let failed = client.get("http://a..b/").send().await.unwrap_err();
    assert!(failed.is_builder() || failed.is_connect());
}

#[tokio::test]
async fn under_a_name_that_rotates_a_connection_is_kept_for_several_answers() {
    let (one, _other) = Server::two().await;
    let fake = Fake::new(|_, _| Say::Never);
    v4_of(&fake, &["127.0.0.1"], 1);
    let dns = dns(&fake);
    let connector = HttpConnector::new_with_resolver(dns.clone());
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let mut client = RetireLayer::new(dns.clone()).after(3).layer(client);
    let port = one.address.port();
    let response = client.call(asked("a.example", port)).await.unwrap();
    assert_eq!(text(response).await, "127.0.0.1");
    // Two answers with the other part, then the first one again, and so on.
    for part in ["127.0.0.2", "127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.2"] {
        v4_of(&fake, &[part], 1);
        let before = fake.asked("a.example", Family::V4);
        dns.expire();
        drop(dns.resolve("a.example").await);
        while fake.asked("a.example", Family::V4) == before
            || look(&dns, "a.example").await.unwrap() != [part]
        {
            tokio::task::yield_now().await;
        }
        let response = client.call(asked("a.example", port)).await.unwrap();
        assert_eq!(text(response).await, "127.0.0.1");
    }
    assert_eq!(one.connections.load(Ordering::Relaxed), 1);
}
