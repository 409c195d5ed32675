//! `RetireLayer` keeps the contract of every layer here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{convert::Infallible, net::SocketAddr};

use buttress_dns::{Dns, DnsLayer, RetireLayer};
use buttress_testkit::Contract;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::connect::dns::Name;
use tower::{Layer, Service, service_fn};

fn put() -> Request<Full<Bytes>> {
    Request::put("http://contract.test/").body(Full::from("question")).unwrap()
}

/// A handle that needs no network.
fn dns() -> Dns<impl Clone + Send + Sync + 'static> {
    let resolver = service_fn(|_: Name| async {
        Ok::<_, Infallible>([SocketAddr::from(([127, 0, 0, 1], 0))].into_iter())
    });
    DnsLayer::new().hosts(None).resolv_conf(None).layer(resolver)
}

#[tokio::test(start_paused = true)]
async fn retiring_connections_keeps_the_contract() {
    Contract::http(RetireLayer::new(dns())).request(put).run().await;
    Contract::http(RetireLayer::new(dns()).after(3)).request(put).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_handle_is_ready_even_if_its_resolver_is_not() {
    #[derive(Clone)]
    struct Busy;

    impl Service<Name> for Busy {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Pending
        }

        fn call(&mut self, _: Name) -> Self::Future {
            unreachable!("it is never ready")
        }
    }

    let layer = DnsLayer::new().hosts(None).resolv_conf(None);
    let pinned = layer.override_host("pinned.test", ["127.0.0.1:0".parse().unwrap()]).unwrap();
    let mut dns = pinned.layer(Busy);
    std::future::poll_fn(|cx| dns.poll_ready(cx)).await.unwrap();
    assert_eq!(dns.call("pinned.test".parse().unwrap()).await.unwrap().len(), 1);
    let error = dns.call("other.test".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), buttress_dns::DnsErrorKind::Timeout);
}
