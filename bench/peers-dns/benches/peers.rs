//! A lookup of a known name: buttress-dns and hickory-resolver in one run, over the same server.
//!
//! `cargo bench --manifest-path bench/Cargo.toml -p peers-dns`.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    thread,
};

use buttress_dns::{DnsLayer, IntoAnswer};
use buttress_testkit::{Bench, bench::poll_once};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use hyper_util::client::legacy::connect::dns::Name;
use tower_layer::Layer;
use tower_service::Service;

const HOST: &str = "host.example";

fn main() -> io::Result<()> {
    let server = serve()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let hickory = hickory(server);
    let found = runtime.block_on(hickory.lookup_ip(HOST)).map_err(io::Error::other)?;
    let mut ours = DnsLayer::new().layer(Fixed);
    for _ in 0..2 {
        let known = runtime.block_on(ours.resolve(HOST)).map_err(io::Error::other)?;
        assert_eq!(known.len(), found.iter().count(), "both know the same addresses");
    }
    Bench::new("a known name with one A and one AAAA record")
        .case("buttress-dns, as hyper-util asks it", move || {
            let name: Result<Name, _> = HOST.parse();
            name.map_or(0, |name| poll_once(ours.call(name)).map_or(0, Iterator::count))
        })
        .case("hickory-resolver, `lookup_ip`", move || {
            poll_once(hickory.lookup_ip(HOST)).map_or(0, |found| found.iter().count())
        })
        .baseline("buttress-dns, as hyper-util asks it")
        .run()?;
    Ok(())
}

fn hickory(server: SocketAddr) -> TokioResolver {
    let mut way = ConnectionConfig::udp();
    way.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![way]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.build().unwrap_or_else(|error| panic!("the resolver cannot be made: {error}"))
}

/// The addresses that the server below has.
#[derive(Clone)]
struct Fixed;

impl Service<Name> for Fixed {
    type Response = buttress_dns::Answer;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        let found: [SocketAddr; 2] =
            [([192, 0, 2, 1], 0).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 0).into()];
        std::future::ready(Ok(found.into_iter().into_answer()))
    }
}

/// A name server that has one address of each family for every name, for an hour.
fn serve() -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length]) {
                drop(socket.send_to(&answer, client));
            }
        }
    });
    Ok(address)
}

/// The question again, and one record (RFC 1035 section 4).
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    let kind = *query.get(end + 2)?;
    let mut answer = query.get(..end + 5)?.to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0x0e, 0x10]);
    match kind {
        1 => answer.extend([0, 4, 192, 0, 2, 1]),
        28 => answer.extend([0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        _ => return None,
    }
    Some(answer)
}
