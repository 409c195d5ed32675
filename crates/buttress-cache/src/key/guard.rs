//! Headers that change answers behind the back of the key.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    Unkeyed, authority,
    material::{Label, Material},
};

/// What proxies and frameworks take for the host, the scheme, the path or the method, whoever sent
/// it.
const FORWARDING: [&str; 19] = [
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-forwarded-ssl",
    "x-forwarded-protocol",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
    "x-url-scheme",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// Those of them that are a host.
const HOSTS: [&str; 3] = ["x-forwarded-host", "x-original-host", "x-host"];

/// What to do with headers that may change the answer and are no part of the key, such as
/// `X-Forwarded-Host`.
///
/// An origin that builds links from `X-Forwarded-Host` answers whoever sends that header with links
/// of his choice. Were the answer kept under the URI alone, everybody would get them. Each of the
/// three ways shuts that door:
///
/// | | the origin sees the header | the answer is kept |
/// |---|---|---|
/// | [`bypass`](Self::bypass), the default of a server | yes | no |
/// | [`strip`](Self::strip) | no | yes, for everybody |
/// | [`keyed`](Self::keyed) | yes | yes, for requests with the same values |
///
/// With `keyed`, what changes a resource changes it for all of them.
///
/// Behind a proxy of your own that sets such headers on every request nothing would ever be kept, so
/// choose one of the other two: `keyed` is right without knowing what the origin does.
///
/// The headers are `Forwarded`, `X-Forwarded-` with `Host`, `Proto`, `Scheme`, `Port`, `Server`,
/// `Prefix`, `Path`, `Uri`, `Ssl`, `Protocol`; `X-Original-` with `Url`, `Uri`, `Host`;
/// `X-Rewrite-Url`, `X-Host`, `X-Url-Scheme`, `Front-End-Https`, and the three that override the
/// method. [`header`](Self::header) adds more. `X-Forwarded-For` is not among them: each client has
/// its own, and pages seldom show it.
#[derive(Clone, Debug)]
pub struct ForwardingGuard {
    names: Vec<HeaderName>,
    /// One bit for each first letter, since most requests have no such header at all.
    letters: u32,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Bypass,
    Strip,
    Keyed,
}

impl ForwardingGuard {
    /// A request with such a header goes to the origin as it is, and its answer is not kept.
    #[must_use]
    pub fn bypass() -> Self {
        Self::new(Action::Bypass)
    }

    /// Such headers are taken off a request whose answer may be kept.
    #[must_use]
    pub fn strip() -> Self {
        Self::new(Action::Strip)
    }

    /// Such headers become part of the key.
    #[must_use]
    pub fn keyed() -> Self {
        Self::new(Action::Keyed)
    }

    fn new(action: Action) -> Self {
        let names = FORWARDING.iter().copied().map(HeaderName::from_static);
        let more = [header::FORWARDED, HeaderName::from_static("front-end-https")];
        let guard = Self { names: Vec::new(), letters: 0, action };
        names.chain(more).fold(guard, Self::header)
    }

    /// Guards one header more.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.letters |= letter(&name);
        self.names.push(name);
        self
    }

    /// Leaves one header alone, because nobody but a trusted proxy can set it.
    #[must_use]
    pub fn trust(mut self, name: &HeaderName) -> Self {
        self.names.retain(|own| own != name);
        self
    }

    /// Takes the guarded headers off a request, if that is the way that was chosen; called before
    /// the request goes to the origin and its answer may be kept.
    pub(crate) fn clean(&self, headers: &mut HeaderMap) {
        if self.action == Action::Strip && self.guards_any(headers) {
            for name in &self.names {
                headers.remove(name);
            }
        }
    }

    /// Whether such headers are part of the key.
    pub(super) fn keys(&self) -> bool {
        self.action == Action::Keyed
    }

    /// What such headers add to the key, if there are any and they do. Hosts are written as `scheme` has
    /// them: spellings of one host are one.
    pub(super) fn partition(
        &self,
        headers: &HeaderMap,
        scheme: &str,
    ) -> Result<Option<Material>, Unkeyed> {
        if self.action == Action::Strip || !self.guards_any(headers) {
            return Ok(None);
        }
        if self.action == Action::Bypass {
            return Err(Unkeyed::ForwardingHeader);
        }
        let mut material = Material::new();
        for name in self.names.iter().filter(|name| headers.contains_key(*name)) {
            material.part(Label::HeaderName, name.as_str().as_bytes());
            let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
            if !HOSTS.contains(&name.as_str()) {
                material.lines(Label::HeaderValue, lines);
                continue;
            }
            for line in lines {
                let host = authority::spelt_alike(line, scheme);
                material.part(Label::HeaderValue, host.as_deref().unwrap_or(line));
            }
        }
        Ok(Some(material))
    }

    pub(super) fn guards_any(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| self.letters & letter(name) != 0 && self.names.contains(name))
    }
}

fn letter(name: &HeaderName) -> u32 {
    1 << (name.as_str().as_bytes().first().copied().unwrap_or_default() & 31)
}
