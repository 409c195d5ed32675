//! Whom to believe that they are who they say, and what a broken handshake means.

use std::sync::{Arc, OnceLock};

use buttress_core::{SettingError, cause};
use hickory_net::NetError;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::{DnsError, DnsErrorKind};

/// The platform's certificates and those that were added; read when first needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    roots: Vec<CertificateDer<'static>>,
    config: Arc<OnceLock<Result<Arc<ClientConfig>, DnsError>>>,
}

impl Trust {
    /// Adds the certificates of a PEM file.
    pub(super) fn and(mut self, pem: &[u8]) -> Result<Self, SettingError> {
        let invalid = |reason: String| SettingError::new("upstreams.trust", reason);
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
        Ok(Self { roots: self.roots, config: Arc::default() })
    }

    /// What handshakes are made with. Reads files the first time, on a thread for that.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, DnsError> {
        if let Some(known) = self.config.get() {
            return known.clone();
        }
        let trust = self.clone();
        let read = move || trust.config.get_or_init(|| trust.make().map_err(untrusted)).clone();
        let gone = |error| DnsError::new(DnsErrorKind::Cancelled).from_source(error);
        tokio::task::spawn_blocking(read).await.map_err(gone)?
    }

    fn make(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let installed = CryptoProvider::get_default().cloned();
        let provider = installed.unwrap_or_else(|| Arc::new(ring::default_provider()));
        let verifier = Verifier::new_with_extra_roots(self.roots.clone(), Arc::clone(&provider))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn untrusted(error: rustls::Error) -> DnsError {
    DnsError::new(DnsErrorKind::Tls).from_source(error)
}

/// What the transports' errors mean to us. Nothing of theirs goes further than this.
pub(super) fn failure(error: NetError) -> DnsError {
    match error {
        NetError::Timeout => DnsError::new(DnsErrorKind::Timeout),
        NetError::Busy => DnsError::new(DnsErrorKind::Io).because("the connection is closed"),
        NetError::RustlsError(error) => untrusted(error),
        NetError::Io(error) => match cause::<rustls::Error>(&*error) {
            Some(error) => untrusted(error.clone()),
            None if error.kind() == std::io::ErrorKind::TimedOut => {
                DnsError::new(DnsErrorKind::Timeout)
            }
            None => DnsError::new(DnsErrorKind::Io).from_source(error),
        },
        NetError::Proto(error) => DnsError::new(DnsErrorKind::Malformed).because(error.to_string()),
        other => DnsError::new(DnsErrorKind::Io).because(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in ["", "no", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let refused = Trust::default().and(pem.as_bytes()).unwrap_err();
            assert_eq!(refused.setting(), "upstreams.trust");
        }
    }

    #[test]
    fn a_broken_handshake_is_told_from_a_broken_connection() {
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let inside = std::io::Error::new(std::io::ErrorKind::InvalidData, expired);
        assert_eq!(failure(NetError::Io(Arc::new(inside))).kind(), DnsErrorKind::Tls);
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(failure(NetError::Io(Arc::new(reset))).kind(), DnsErrorKind::Io);
        assert_eq!(failure(NetError::Timeout).kind(), DnsErrorKind::Timeout);
    }
}
