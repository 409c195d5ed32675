//! Connections to an address that is no longer one of the host's.

use std::{net::IpAddr, sync::Arc};

use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpInfo, capture_connection};

use super::resolve::Watch;

/// Looks at the connection that a request was sent on, and retires it if its address has left.
pub(super) struct Retire {
    watch: Arc<dyn Watch>,
    host: Box<str>,
    connection: CaptureConnection,
}

impl Retire {
    /// Watches over the connection of `request`, if there is somebody to ask.
    pub(super) fn new<B>(watch: Option<&Arc<dyn Watch>>, request: &mut Request<B>) -> Option<Self> {
        let watch = Arc::clone(watch?);
        let host = request.uri().host()?;
        // An address stays what it is.
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return None;
        }
        let host = host.into();
        Some(Self { watch, host, connection: capture_connection(request) })
    }

    /// The request has been sent. The connection takes no further one if its address has left;
    /// those that are under way on it finish.
    pub(super) fn judge(&self) {
        let metadata = self.connection.connection_metadata();
        let Some(connected) = metadata.as_ref() else { return };
        let mut extensions = Extensions::new();
        connected.get_extras(&mut extensions);
        let Some(peer) = extensions.get::<HttpInfo>().map(HttpInfo::remote_addr) else { return };
        if self.watch.has_left(&self.host, peer.ip()) {
            connected.poison();
        }
    }
}
