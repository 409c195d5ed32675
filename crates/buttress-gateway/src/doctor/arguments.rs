//! The command line of `buttress doctor`.

use std::{fs, path::PathBuf, time::Duration};

use buttress_dns::{Public, Server};
use clap::{Args, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::{error::Error, target::Target, tls};
use crate::serve::values::duration;

/// The most times anything is done.
const MOST: u32 = 100;

/// Files that a program has open besides its pool: its log, its listener, its runtime.
const OTHER_FILES: u64 = 64;

/// Find out where the time of a call goes, and whose fault it is.
///
/// Looks the name up by each resolver, opens connections to each address, shakes hands, and sends a
/// few requests; then says in one line what is wrong, if anything is, and what to do next. The name
/// is told to public resolvers unless it is a private one or --no-public is given. Nothing secret is
/// sent but what --header says. Exits with 0 if all is well, 1 if not, 2 if the arguments are wrong.
#[derive(Args, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Arguments {
    /// What to examine: `https://HOST[:PORT][/PATH]`, or http://
    pub url: String,

    /// Requests to send on connections of their own, and as many again on one that is kept
    #[arg(long, value_name = "N", default_value_t = 4, allow_negative_numbers = true)]
    pub requests: u32,

    /// Connections to open to each address
    #[arg(long, value_name = "N", default_value_t = 5, allow_negative_numbers = true)]
    pub connects: u32,

    /// Lookups by each resolver
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true)]
    pub lookups: u32,

    /// Another resolver to ask: `ADDRESS[:PORT]`, `tls://HOST@ADDRESS`, `https://HOST/PATH@ADDRESS`
    #[arg(long = "resolver", value_name = "SERVER")]
    pub resolvers: Vec<String>,

    /// Do not ask public resolvers
    #[arg(long)]
    pub no_public: bool,

    /// Do not ask the system's resolver; the first --resolver counts as this machine's own
    #[arg(long, requires = "resolvers")]
    pub no_system: bool,

    /// The method of the requests
    #[arg(long, value_enum, default_value_t, ignore_case = true)]
    pub method: Method,

    /// A header to send, `NAME: VALUE`; sent to nobody but the origin of the URL
    #[arg(long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,

    /// Follow redirections, up to five
    #[arg(long)]
    pub follow: bool,

    /// PEM file of certificate authorities to trust besides the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Connections in the pool of the program that will call: so many files must it be allowed
    #[arg(long, value_name = "N", default_value_t = 512, allow_negative_numbers = true)]
    pub pool: u64,

    /// Time for each lookup, connection, handshake and answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub timeout: Duration,

    /// Time for everything together
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub within: Duration,

    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// The method of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Method {
    /// The answer, up to a mebibyte of it
    #[default]
    Get,
    /// The head of the answer
    Head,
}

/// What is to be done, checked.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) requests: u32,
    pub(super) connects: u32,
    pub(super) lookups: u32,
    /// The first is this machine's own.
    pub(super) resolvers: Vec<Server>,
    pub(super) not_asked: Option<&'static str>,
    pub(super) method: http::Method,
    pub(super) headers: HeaderMap,
    pub(super) follow: bool,
    pub(super) ca: Option<Vec<u8>>,
    pub(super) pool: u64,
    pub(super) needed: u64,
    pub(super) timeout: Duration,
    pub(super) until: Instant,
}

impl Arguments {
    /// Examines `url` with what the flags are when they are not given.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            requests: 4,
            connects: 5,
            lookups: 3,
            resolvers: Vec::new(),
            no_public: false,
            no_system: false,
            method: Method::Get,
            headers: Vec::new(),
            follow: false,
            ca: None,
            pool: 512,
            timeout: Duration::from_secs(5),
            within: Duration::from_secs(30),
            json: false,
        }
    }

    /// Checks everything before anything is sent. Its time begins to run now.
    pub(super) fn plan(&self) -> Result<Plan, Error> {
        let target: Target = self.url.parse().map_err(|reason| Error::setting("URL", reason))?;
        for (flag, count) in [
            ("--requests", self.requests),
            ("--connects", self.connects),
            ("--lookups", self.lookups),
        ] {
            if count == 0 || count > MOST {
                let reason = format!("{count} is not between 1 and {MOST}");
                return Err(Error::setting(flag, reason));
            }
        }
        if self.pool == 0 || self.pool > 1_000_000 {
            let reason = format!("{} is not between 1 and 1000000", self.pool);
            return Err(Error::setting("--pool", reason));
        }
        let not_asked = if self.no_public {
            Some("--no-public")
        } else if target.is_private() {
            Some("the name is one of this network's own")
        } else {
            None
        };
        Ok(Plan {
            requests: self.requests,
            connects: self.connects,
            lookups: self.lookups,
            resolvers: self.servers(not_asked.is_none())?,
            not_asked: not_asked.filter(|_| target.address().is_none()),
            method: match self.method {
                Method::Get => http::Method::GET,
                Method::Head => http::Method::HEAD,
            },
            headers: self.headers()?,
            follow: self.follow,
            ca: self.authorities()?,
            pool: self.pool,
            needed: self.pool + OTHER_FILES,
            timeout: self.timeout,
            until: Instant::now() + self.within,
            target,
        })
    }

    fn servers(&self, public: bool) -> Result<Vec<Server>, Error> {
        let mut servers = Vec::new();
        if !self.no_system {
            servers.push(Server::system());
        }
        for written in &self.resolvers {
            let server = written.parse::<Server>();
            servers.push(server.map_err(|error| Error::setting("--resolver", error.reason()))?);
        }
        if public {
            servers.extend(Public::Cloudflare.plain());
            servers.push(Public::Cloudflare.https());
            servers.extend(Public::Google.plain().into_iter().take(1));
        }
        let mut seen = Vec::new();
        servers.retain(|server| {
            let new = !seen.contains(server);
            seen.push(server.clone());
            new
        });
        Ok(servers)
    }

    fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        for header in &self.headers {
            // What is wrong is not repeated: it may be a secret.
            let refused = |reason: &str| Error::setting("--header", reason);
            let (name, value) = header.split_once(':').ok_or_else(|| refused("it has no colon"))?;
            let name: HeaderName =
                name.trim().parse().map_err(|_| refused("its name is not that of a header"))?;
            if matches!(
                name.as_str(),
                "host" | "content-length" | "transfer-encoding" | "connection"
            ) {
                return Err(refused("that header is not for you to set"));
            }
            let mut value: HeaderValue =
                value.trim().parse().map_err(|_| refused("its value is not that of a header"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }

    fn authorities(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(path) = &self.ca else { return Ok(None) };
        let unreadable =
            |error| Error::setting("--ca", format!("{} cannot be read: {error}", path.display()));
        let pem = fs::read(path).map_err(unreadable)?;
        tls::read(&pem).map_err(|reason| Error::setting("--ca", reason))?;
        Ok(Some(pem))
    }
}

impl Plan {
    /// The time for one step, as far as there is any left.
    pub(super) fn patience(&self) -> Duration {
        self.timeout.min(self.until.saturating_duration_since(Instant::now()))
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Arguments)) -> (&'static str, String) {
        let mut arguments = Arguments::new("https://example.com");
        change(&mut arguments);
        match arguments.plan() {
            Err(Error::Setting { flag, reason }) => (flag, reason),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn a_wrong_setting_is_refused_by_its_flag() {
        assert_eq!(refused(|given| given.url = "example.com".into()).0, "URL");
        assert_eq!(refused(|given| given.requests = 0).0, "--requests");
        assert_eq!(refused(|given| given.connects = 101).0, "--connects");
        assert_eq!(refused(|given| given.lookups = 0).0, "--lookups");
        assert_eq!(refused(|given| given.pool = 0).0, "--pool");
        assert_eq!(refused(|given| given.resolvers = vec!["dns".into()]).0, "--resolver");
        assert_eq!(refused(|given| given.ca = Some("/no/such/file".into())).0, "--ca");
        assert_eq!(refused(|given| given.headers = vec!["Host: x".into()]).0, "--header");
        let (flag, reason) = refused(|given| given.headers = vec!["secret token".into()]);
        assert_eq!(flag, "--header");
        assert!(!reason.contains("secret"), "{reason}");
    }

    fn labels(url: &str, change: impl FnOnce(&mut Arguments)) -> Vec<String> {
        let mut arguments = Arguments::new(url);
        change(&mut arguments);
        let plan = arguments.plan().unwrap_or_else(|error| panic!("{error}"));
        plan.resolvers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn public_resolvers_are_asked_for_public_names_alone() {
        let public = [
            "system",
            "1.1.1.1:53",
            "1.0.0.1:53",
            "https://cloudflare-dns.com/dns-query",
            "8.8.8.8:53",
        ];
        assert_eq!(labels("https://example.com", |_| {}), public);
        assert_eq!(labels("https://db.internal", |_| {}), ["system"]);
        assert_eq!(labels("https://example.com", |given| given.no_public = true), ["system"]);
        let own = |given: &mut Arguments| {
            given.resolvers = vec!["127.0.0.1:5353".into(), "1.1.1.1".into()];
            (given.no_system, given.no_public) = (true, true);
        };
        assert_eq!(labels("https://example.com", own), ["127.0.0.1:5353", "1.1.1.1:53"]);
        let twice = |given: &mut Arguments| given.resolvers = vec!["1.1.1.1".into()];
        assert_eq!(labels("https://example.com", twice).len(), public.len());
    }
}
