//! What stands in for TLS when the feature `tls` is off: `http` targets only.

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{dial::Dial, settings::Speak};

/// Whether `https` is there at all.
pub(super) const AVAILABLE: bool = false;

pub(super) type Stream = TokioIo<TcpStream>;

pub(super) type Connector = Dial;

/// Nothing to set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls(());

impl Tls {
    pub(super) fn connector(self, dial: Dial, _: Speak) -> Connector {
        dial
    }
}
