//! The settings of the client that need rustls.

use super::Setup;
use crate::SettingError;

impl<L, B> Setup<L, B> {
    /// Trusts the certificates in `pem` beside those that the platform trusts. May be called more
    /// than once.
    ///
    /// # Errors
    ///
    /// If `pem` holds no certificate, or something that is none.
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Result<Self, SettingError> {
        self.settings.tls.add_roots(pem.as_ref())?;
        Ok(self)
    }

    /// Uses this TLS configuration in the place of the default one: for client certificates, roots
    /// of your own only, another cryptography provider.
    ///
    /// Certificates given by [`root_certificates`](Self::root_certificates) do not count then. The
    /// list of protocols (ALPN) is set by the client.
    pub fn rustls(mut self, config: rustls::ClientConfig) -> Self {
        self.settings.tls.replace(config);
        self
    }
}
