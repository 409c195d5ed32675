//! TLS through rustls, for `https` targets.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::BoxError;
use http::{Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tower_service::Service;

use super::{dial::Dial, settings::Speak};
use crate::SettingError;

/// Whether `https` is there at all.
pub(super) const AVAILABLE: bool = true;

pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// What to trust, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    roots: Vec<CertificateDer<'static>>,
    own: Option<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn add_roots(&mut self, pem: &[u8]) -> Result<(), SettingError> {
        let invalid = |reason: String| SettingError::new("root_certificates", reason);
        let before = self.roots.len();
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| invalid(format!("no PEM: {error}")))?;
            store.add(certificate.clone()).map_err(|error| {
                invalid(format!("PEM with a certificate that is none: {error}"))
            })?;
            self.roots.push(certificate);
        }
        if self.roots.len() == before {
            return Err(invalid("text without a certificate in PEM format".into()));
        }
        Ok(())
    }

    pub(crate) fn replace(&mut self, own: ClientConfig) {
        self.own = Some(Arc::new(own));
    }

    pub(super) fn connector(self, dial: Dial, speak: Speak) -> Connector {
        match self.config() {
            Ok(mut config) => {
                Arc::make_mut(&mut config).alpn_protocols =
                    versions(speak).iter().map(|name| name.to_vec()).collect();
                Connector::Secure(HttpsConnector::from((dial, config)))
            }
            Err(error) => Connector::Plain(dial, Arc::new(error)),
        }
    }

    fn config(self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(own) = self.own {
            return Ok(own);
        }
        let installed = CryptoProvider::get_default().cloned();
        let provider = installed.unwrap_or_else(|| Arc::new(ring::default_provider()));
        let verifier = Verifier::new_with_extra_roots(self.roots, Arc::clone(&provider))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// The names of the versions of HTTP in the handshake (RFC 7301), best first.
const fn versions(speak: Speak) -> &'static [&'static [u8]] {
    match speak {
        Speak::Either => &[b"h2", b"http/1.1"],
        Speak::Http1 => &[b"http/1.1"],
        Speak::Http2 => &[b"h2"],
    }
}

/// Connects to `http` and `https` targets.
#[derive(Clone)]
pub(super) enum Connector {
    Secure(HttpsConnector<Dial>),
    /// The platform has no certificates to trust, as in a bare container. That must not stop a
    /// client that never calls an `https` target; one that does learns the reason.
    Plain(Dial, Arc<rustls::Error>),
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Secure(connector) => connector.poll_ready(cx),
            Self::Plain(dial, _) => dial.poll_ready(cx),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Secure(connector) => connector.call(uri),
            Self::Plain(_, reason) if uri.scheme() == Some(&Scheme::HTTPS) => {
                // The kind says that another attempt will not help.
                let error = io::Error::new(io::ErrorKind::InvalidData, Arc::clone(reason));
                Box::pin(async { Err(error.into()) })
            }
            Self::Plain(dial, _) => {
                let dialled = dial.call(uri);
                Box::pin(async { dialled.await.map(MaybeHttpsStream::Http) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Settings;

    #[tokio::test]
    async fn without_certificates_to_trust_https_says_so_and_http_still_dials() {
        let none = Arc::new(rustls::Error::General("nothing to trust".into()));
        let mut connector = Connector::Plain(Settings::default().dial(), none);

        let https = Uri::from_static("https://127.0.0.1:1/");
        let error = connector.call(https).await.unwrap_err();
        assert!(error.to_string().contains("nothing to trust"), "{error}");
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::InvalidData), "it is of no use to try again");

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = format!("http://{}/", listener.local_addr().unwrap());
        assert!(connector.call(http.parse().unwrap()).await.is_ok());
    }
}
