//! What every run is played on: a fresh API and a fresh name server.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path,
};

use super::{
    buttressed::Buttressed,
    error::Error,
    lookup::Lookup,
    naive::Naive,
    names::NameServer,
    nginx::{Nginx, Recipe},
    parameters::Parameters,
    provider::Provider,
};

/// A busy API, and the slow name server that knows its names.
#[derive(Debug)]
pub struct Stage {
    provider: Provider,
    names: NameServer,
    parameters: Parameters,
}

impl Stage {
    /// Starts both on loopback.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a port cannot be had.
    pub async fn set(parameters: &Parameters, endpoints: u64) -> Result<Self, Error> {
        let provider = Provider::start(&parameters.server, endpoints, parameters.seed)
            .map_err(Error::io("start the busy API on loopback"))?;
        let known = (0..endpoints).map(|number| (host(number), Ipv4Addr::LOCALHOST));
        let names = NameServer::start(known, parameters.path.lookup_delay)
            .await
            .map_err(Error::io("start the name server on loopback"))?;
        Ok(Self { provider, names, parameters: parameters.clone() })
    }

    /// The API.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Name and port of each endpoint.
    pub fn authorities(&self) -> impl Iterator<Item = (String, u16)> + '_ {
        (0..)
            .zip(self.provider.endpoints())
            .map(|(number, endpoint)| (host(number), endpoint.address().port()))
    }

    /// The slow name server, as a client asks it.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        Lookup::new(self.names.address())
    }

    /// The naive client; it knows the first endpoint only.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no endpoint.
    pub fn naive(&self) -> Result<Naive, Error> {
        let (host, port) = self.first()?;
        Ok(Naive::new(self.lookup(), host, port))
    }

    /// The Buttress client; it knows all endpoints, and where prompts repeat it keeps answers.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no endpoint, [`Error::Client`] if the client cannot be made.
    pub async fn buttressed(&self) -> Result<Buttressed, Error> {
        let endpoints: Vec<_> = self.authorities().collect();
        let client = Buttressed::new(&self.lookup(), &endpoints).await?;
        if self.parameters.traffic.repeat > 0.0 { client.caching() } else { Ok(client) }
    }

    /// An nginx in front of all endpoints. It knows their addresses, and no name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be started.
    pub async fn nginx(&self, program: &path::Path, recipe: &Recipe) -> Result<Nginx, Error> {
        let endpoints: Vec<SocketAddr> =
            self.provider.endpoints().iter().map(|endpoint| endpoint.address()).collect();
        Nginx::start(program, &endpoints, recipe).await
    }

    fn first(&self) -> Result<(String, u16), Error> {
        let first = self.authorities().next();
        first.ok_or_else(|| Error::io("find an endpoint")(io::ErrorKind::NotFound.into()))
    }

    /// Closes every socket of the API and of the name server.
    pub async fn strike(self) {
        self.provider.stop().await;
    }
}

/// `.test` never exists outside of tests (RFC 6761, 6.2).
fn host(number: u64) -> String {
    format!("llm-{}.test", number + 1)
}
