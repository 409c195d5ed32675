//! All that an examination found: facts, and nothing that is thought of them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use super::{times::Times, trouble::Trouble};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Findings {
    /// What was examined in the end.
    pub url: String,
    /// The places that led there, if redirections were followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub followed: Vec<String>,
    /// What this machine allows.
    pub files: Files,
    /// What the name came to, by resolver; empty if the host is an address.
    pub lookups: Vec<Lookup>,
    /// Why public resolvers were not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_asked: Option<&'static str>,
    /// The resolver that took the shortest time, if there is a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fastest: Option<String>,
    /// Connections that were opened and closed again, by address.
    pub connects: Vec<Connect>,
    /// The TLS handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Handshake>,
    /// The requests.
    pub requests: Requests,
    /// Time was up before everything was done.
    pub cut_short: bool,
}

/// Open files, which sockets are too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Files {
    /// As many as this process may have; `None` if the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<u64>,
    /// As many as it could be allowed without more rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// As many as the pool of connections and the rest of a program need.
    pub needed: u64,
    /// Connections in that pool.
    pub pool: u64,
}

/// What one resolver said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Lookup {
    /// Which one.
    pub resolver: String,
    /// Whether it is the one that programs on this machine use, or were told to.
    pub own: bool,
    /// How long it took.
    pub times: Times,
    /// The addresses, as they came last.
    pub addresses: Vec<IpAddr>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it was reached at all.
    pub reached: bool,
    /// Whether somebody answered who could not prove to be it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

/// Connections to one address.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Connect {
    /// Which.
    pub address: SocketAddr,
    /// How long they took to open.
    pub times: Times,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// TLS handshakes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Handshake {
    /// How long they took, the TCP connection not included.
    pub times: Times,
    /// The version, as in `TLSv1_3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// Requests and their answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Requests {
    /// The version of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// How often each status came.
    pub statuses: BTreeMap<u16, u64>,
    /// From the request to the head of the answer, on connections of their own.
    pub first_byte: Times,
    /// From the start of the connection to the end of the answer; the name lookup not included.
    pub total: Times,
    /// From the request to the end of the answer, on a connection that was kept.
    pub kept: Times,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Headers that speak of limits and of coming back, as they came last.
    pub headers: BTreeMap<String, String>,
    /// How long the server asked to be left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Where the answer points, and nobody went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// No more were sent, because the server asked for that.
    pub held_back: bool,
}

impl Findings {
    /// What the machine's own resolver said, if it was asked.
    #[must_use]
    pub fn own_lookup(&self) -> Option<&Lookup> {
        self.lookups.iter().find(|lookup| lookup.own)
    }

    /// The addresses to go to: the own resolver's, or anybody's who has some.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        let known = |lookup: &&Lookup| !lookup.addresses.is_empty();
        let own = self.own_lookup().filter(known);
        let any = own.or_else(|| self.lookups.iter().find(known));
        any.map(|lookup| &*lookup.addresses).unwrap_or_default()
    }
}

impl Requests {
    /// How many answers came.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// How many of them have a status for which this holds.
    #[must_use]
    pub fn with_status(&self, holds: impl Fn(u16) -> bool) -> u64 {
        self.statuses.iter().filter(|(status, _)| holds(**status)).map(|(_, count)| count).sum()
    }
}
