//! How the names of upstreams are looked up.

use std::{fs, path::PathBuf, str::FromStr, time::Duration};

use buttress_dns::{
    Dns, DnsLayer, Fetched, LookedUp, Name, Observer, Privacy, Server, SettingError, Source,
    Upstreams,
};
use clap::{Args, builder::FalseyValueParser};
use tower::Layer as _;

use super::{Error, values::Limit};

/// The flags about names.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Names {
    /// Who is asked for the upstreams' names: `system`, `ADDRESS`, `ADDRESS:PORT`, `tls://HOST`,
    /// `https://HOST/PATH`, with `@ADDRESS` where the host is not a well-known resolver; more than
    /// one are raced
    #[arg(
        long = "dns-server",
        value_name = "SERVER",
        value_delimiter = ' ',
        default_value = "system",
        env = "BUTTRESS_DNS_SERVER"
    )]
    pub servers: Vec<Server>,

    /// Never fall back from encrypted servers to others; every `--dns-server` must be encrypted
    #[arg(long = "dns-strict", env = "BUTTRESS_DNS_STRICT", value_parser = FalseyValueParser::new())]
    pub strict: bool,

    /// Names below a suffix that another server knows, as `corp.example=10.0.0.53`
    #[arg(
        long = "dns-route",
        value_name = "SUFFIX=SERVER",
        value_delimiter = ' ',
        env = "BUTTRESS_DNS_ROUTE"
    )]
    pub routes: Vec<NameRoute>,

    /// PEM file of certificate authorities to trust for encrypted servers besides the system's
    #[arg(long = "dns-ca", value_name = "FILE", env = "BUTTRESS_DNS_CA")]
    pub ca: Option<PathBuf>,

    /// Try the suffixes of /etc/resolv.conf as well; the server `system` does that by itself
    #[arg(long = "dns-search", env = "BUTTRESS_DNS_SEARCH", value_parser = FalseyValueParser::new())]
    pub search: bool,

    /// Time for which old addresses are used when no server answers, or `off`
    #[arg(
        long = "dns-max-stale",
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "1h",
        env = "BUTTRESS_DNS_MAX_STALE"
    )]
    pub max_stale: Limit,
}

/// A suffix and the server for the names below it.
#[derive(Clone, Debug)]
pub struct NameRoute {
    suffix: Name,
    server: Server,
}

impl FromStr for NameRoute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (suffix, server) = text.split_once('=').ok_or("write SUFFIX=SERVER")?;
        let suffix: Name = suffix.trim_start_matches('.').parse().map_err(say)?;
        if suffix.address().is_some() {
            return Err("an address has no names below it".to_owned());
        }
        Ok(Self { suffix, server: server.parse().map_err(say)? })
    }
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What the gateway looks names up with.
pub(crate) type Handle = Dns<Upstreams, NameLog>;

impl Names {
    /// The handle that all connections share. Asks nobody yet.
    ///
    /// # Errors
    ///
    /// If a flag cannot be used; the error names it.
    pub(crate) fn handle(&self) -> Result<Handle, Error> {
        let refused = |flag| move |error: SettingError| Error::setting(flag, error.to_string());
        let mut servers = Upstreams::new(self.servers.clone()).map_err(refused("--dns-server"))?;
        if self.strict {
            servers = servers.privacy(Privacy::Strict).map_err(refused("--dns-strict"))?;
        }
        for suffix in self.suffixes() {
            let its = self.routes.iter().filter(|route| route.suffix == *suffix);
            let its = Upstreams::new(its.map(|route| route.server.clone()));
            let routed = its.and_then(|its| servers.route(suffix.as_str(), its));
            servers = routed.map_err(refused("--dns-route"))?;
        }
        if let Some(file) = &self.ca {
            let unusable = |reason: String| {
                Error::setting("--dns-ca", format!("{}: {reason}", file.display()))
            };
            let pem = fs::read(file).map_err(|error| unusable(error.to_string()))?;
            servers = servers.trust(&pem).map_err(|error| unusable(error.to_string()))?;
        }
        let max_stale = self.max_stale.duration().unwrap_or(Duration::ZERO);
        let layer = DnsLayer::new().max_stale(max_stale).observer(NameLog);
        let layer = if self.search { layer.search() } else { layer };
        Ok(layer.layer(servers))
    }

    /// Each suffix once.
    fn suffixes(&self) -> Vec<&Name> {
        let mut suffixes: Vec<&Name> = Vec::new();
        for route in &self.routes {
            if !suffixes.contains(&&route.suffix) {
                suffixes.push(&route.suffix);
            }
        }
        suffixes
    }
}

/// Writes what becomes of names to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameLog;

impl Observer for NameLog {
    fn looked_up(&self, event: &LookedUp<'_>) {
        if event.source == Source::Miss {
            let ms = event.duration.as_secs_f64() * 1e3;
            tracing::debug!(name = event.name, ms, addresses = ?event.addresses, "looked up");
        }
    }

    fn learned(&self, event: &Fetched<'_>) {
        if let Some(error) = event.error.filter(|error| error.kind().may_pass()) {
            let family = event.family.as_str();
            tracing::warn!(name = event.name, family, %error, "a name could not be looked up");
        }
    }
}
