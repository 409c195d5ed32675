//! Names under the client: known already, served stale, and followed where they go.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    Body, Client, DnsLayer, Outcome, cause,
    dns::{Answer, DnsError, DnsErrorKind, Guard, Records, Side},
    transport::Name,
};
use http::{Request, Response};
use support::{Server, serve};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

/// What a resolver says of every name, and how often it was asked.
#[derive(Clone, Default)]
struct Zone {
    answer: Arc<Mutex<Option<SocketAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Zone {
    fn at(address: SocketAddr) -> Self {
        let zone = Self::default();
        zone.moves(address);
        zone
    }

    fn moves(&self, address: impl Into<Option<SocketAddr>>) {
        *self.answer.lock().unwrap() = address.into();
    }

    fn answer(&self) -> Answer {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let ttl = Some(Duration::from_secs(1));
        let none = || Side::here(Ok(Records::none(ttl)));
        match *self.answer.lock().unwrap() {
            Some(address) => Answer::new(Side::here(Ok(Records::new([address], ttl))), none()),
            None => {
                let gone = || Side::here(Err(DnsError::new(DnsErrorKind::NxDomain)));
                Answer::new(gone(), gone())
            }
        }
    }
}

macro_rules! dns {
    ($layer:expr, $zone:expr) => {{
        let zone = $zone.clone();
        $layer.hosts(None).resolv_conf(None).layer(service_fn(move |_: Name| {
            std::future::ready(Ok::<_, Infallible>(zone.answer()))
        }))
    }};
}

fn get() -> Request<&'static str> {
    Request::get("http://api.test/").body("").unwrap()
}

/// A server on this address of loopback that answers with the address.
async fn server(ip: &'static str) -> Server {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let handler = move |_| async move { Response::new(Body::from(ip)) };
    Server::accept_on(listener, move |stream| serve(stream, handler))
}

async fn ask(client: &Client) -> String {
    let response = client.send(get()).await.unwrap();
    response.into_body().text(100).await.unwrap()
}

#[tokio::test]
async fn the_second_connection_pays_for_no_lookup() {
    let server = server("127.0.0.1").await;
    let zone = Zone::at(server.address);
    let dns = dns!(DnsLayer::new(), zone);
    let client = Client::builder().dns(dns).pool_max_idle_per_host(0).build().unwrap();
    for _ in 0..5 {
        assert_eq!(ask(&client).await, "127.0.0.1");
    }
    assert_eq!(server.accepted(), 5);
    assert_eq!(zone.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_not_worth_a_second_attempt() {
    let zone = Zone::default();
    let client = Client::builder().dns(dns!(DnsLayer::new(), zone)).build().unwrap();
    let error = client.send(get()).await.unwrap_err();
    let ours = cause::<DnsError>(&*error).expect("it says why");
    assert_eq!(ours.kind(), DnsErrorKind::NxDomain);
    assert_eq!(Outcome::of_error(&*error), Outcome::Rejected);
}

#[tokio::test]
async fn a_busy_connection_follows_the_name_when_it_moves() {
    let (old, new) = (server("127.0.0.1").await, server("127.0.0.2").await);
    let zone = Zone::at(old.address);
    let dns = dns!(DnsLayer::new(), zone);
    let client = Client::builder().dns(dns.clone()).build().unwrap();
    assert_eq!(ask(&client).await, "127.0.0.1");
    zone.moves(new.address);
    let mut answers = 0;
    while ask(&client).await != "127.0.0.2" {
        answers += 1;
        assert!(answers < 10, "the connection to the old address is still in use");
        // The name's time is over; the request above has it looked up again.
        let asked = zone.asked.load(Ordering::Relaxed);
        dns.expire();
        drop(dns.resolve("api.test").await);
        while zone.asked.load(Ordering::Relaxed) == asked {
            tokio::task::yield_now().await;
        }
    }
    // One answer without the address, or two, may be a part of all there are.
    assert!(answers >= 3, "{answers}");
    assert_eq!(old.accepted(), 1);
}

#[tokio::test]
async fn an_address_that_the_guard_denies_is_not_dialled_however_it_is_written() {
    let server = server("127.0.0.1").await;
    let zone = Zone::at(server.address);
    let dns = dns!(DnsLayer::new().guard(Guard::new()), zone);
    let client = Client::builder().dns(dns).build().unwrap();
    let port = server.address.port();
    for host in ["api.test", "127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::ffff:127.0.0.1]"]
    {
        let uri = format!("http://{host}:{port}/");
        let error = client.send(Request::get(uri).body("").unwrap()).await.unwrap_err();
        let ours = cause::<DnsError>(&*error).unwrap_or_else(|| panic!("{host}: {error:?}"));
        assert_eq!(ours.kind(), DnsErrorKind::Denied, "{host}");
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn the_default_knows_the_machine_itself() {
    let server = server("127.0.0.1").await;
    let client = Client::builder().build().unwrap();
    let uri = format!("http://localhost:{}/", server.address.port());
    let response = client.send(Request::get(uri).body("").unwrap()).await.unwrap();
    assert_eq!(response.into_body().text(100).await.unwrap(), "127.0.0.1");
}
