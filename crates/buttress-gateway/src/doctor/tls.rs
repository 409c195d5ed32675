//! TLS as any client of the server would do it.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    target::Target,
    trouble::{Kind, Trouble},
};

/// Reads the certificates of a PEM file.
pub(super) fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut store = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("it is no PEM: {error}"))?;
        let added = store.add(certificate.clone());
        added.map_err(|error| format!("a certificate in it is none: {error}"))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err("there is no certificate in PEM format in it".to_owned());
    }
    Ok(certificates)
}

/// Shakes hands with one server.
#[derive(Clone)]
pub(super) struct Shake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Shake {
    /// Trusts what the platform trusts, and these authorities. Each handshake is a full one.
    pub(super) fn new(target: &Target, ca: Option<&[u8]>) -> Result<Self, Trouble> {
        let refused = |error: rustls::Error| Trouble::new(Kind::Certificate, error.to_string());
        let roots = match ca.map(read) {
            Some(read) => read.map_err(|reason| Trouble::new(Kind::Certificate, reason))?,
            None => Vec::new(),
        };
        let installed = CryptoProvider::get_default().cloned();
        let provider = installed.unwrap_or_else(|| Arc::new(ring::default_provider()));
        let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.map_err(refused)?))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        let name = match target.address() {
            Some(address) => ServerName::from(address),
            None => ServerName::try_from(target.name.to_string())
                .map_err(|error| Trouble::new(Kind::Certificate, error.to_string()))?,
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn hands(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Trouble> {
        Ok(self.connector.connect(self.name.clone(), tcp).await?)
    }
}
