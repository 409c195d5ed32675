//! `https` targets: trust, and the version that the handshake agrees on.
#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "a certificate that cannot be made is a failed test")]

mod support;

use std::sync::Arc;

use buttress::{Body, Client, Outcome, Setup};
use http::{Response, Version};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use support::{Server, resolver, serve};
use tokio_rustls::TlsAcceptor;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server for `name` that offers these versions of HTTP.
    async fn server(&self, name: &str, alpn: &[&str]) -> Server {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Server::accept(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                // A client that does not trust the server ends the handshake.
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, |_| async { Response::new(Body::from("secret")) }).await;
                }
            }
        })
        .await
    }
}

fn once(server: &Server) -> Setup {
    Client::builder().no_retry().resolver(resolver([server.address]))
}

const BOTH: &[&str] = &["h2", "http/1.1"];

#[tokio::test]
async fn the_handshake_agrees_on_http2_and_all_requests_share_a_connection() {
    let authority = Authority::new();
    let server = authority.server("api.example", BOTH).await;
    let client = once(&server).root_certificates(authority.pem()).unwrap().build().unwrap();
    for _ in 0..3 {
        let response = client.get("https://api.example/").await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.into_body().text(16).await.unwrap(), "secret");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn http1_is_spoken_where_either_side_knows_nothing_else() {
    let authority = Authority::new();
    for (alpn, only) in [(BOTH, true), (&["http/1.1"], false), (&[], false)] {
        let server = authority.server("api.example", alpn).await;
        let setup = once(&server).root_certificates(authority.pem()).unwrap();
        let setup = if only { setup.http1_only() } else { setup };
        let response = setup.build().unwrap().get("https://api.example/").await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_rejected_for_good() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let server = other.server("api.example", BOTH).await;
    // With retries on: they must not be made.
    let client = Client::builder()
        .resolver(resolver([server.address]))
        .root_certificates(trusted.pem())
        .unwrap()
        .build()
        .unwrap();
    let error = client.get("https://api.example/").await.unwrap_err();
    assert_eq!(Outcome::of_error(&*error), Outcome::Rejected, "{error:?}");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_rejected() {
    let authority = Authority::new();
    let server = authority.server("other.example", BOTH).await;
    let client = once(&server).root_certificates(authority.pem()).unwrap().build().unwrap();
    let error = client.get("https://api.example/").await.unwrap_err();
    assert_eq!(Outcome::of_error(&*error), Outcome::Rejected, "{error:?}");
}

#[tokio::test]
async fn a_configuration_of_ones_own_takes_the_place_of_the_default() {
    let authority = Authority::new();
    let server = authority.server("api.example", BOTH).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = once(&server).rustls(config).build().unwrap();
    let response = client.get("https://api.example/").await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
}

#[test]
fn what_is_no_certificate_is_refused_by_name() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    for pem in ["", "no pem at all", &key, broken] {
        let error = Client::builder().root_certificates(pem).unwrap_err();
        assert_eq!(error.setting(), "root_certificates", "{pem}");
    }
}
