//! One place that calls can go to.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use buttress_core::SettingError;
use http::{HeaderValue, Uri, uri::Scheme};

/// The largest weight.
pub const MAX_WEIGHT: u32 = 65_535;

/// One place that calls can go to: a URI, and what distinguishes it from its neighbours.
///
/// ```
/// use buttress_balance::Endpoint;
///
/// # fn main() -> Result<(), buttress_balance::SettingError> {
/// let endpoint = Endpoint::new("http://10.0.0.1:8080/v1")?.weight(5)?.zone("a");
/// assert_eq!(endpoint.uri().path(), "/v1");
/// assert!(Endpoint::new("10.0.0.1/v1").is_err());
/// # Ok(())
/// # }
/// ```
///
/// Two endpoints are the same one if they are at the same place, and their addresses and names are
/// equal; the other properties can change while it lives. `http://a`, `HTTP://A/` and `http://a:80`
/// are one place.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    key: EndpointKey,
    pub(crate) weight: u32,
    pub(crate) priority: u8,
    pub(crate) max_in_flight: Option<NonZeroU32>,
    zone: Option<Arc<str>>,
    uri: Uri,
    /// As the user wrote it.
    shown_as: Arc<str>,
    host: HeaderValue,
}

/// What makes an endpoint the one it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EndpointKey {
    /// Its URI in the one way that all ways to write it come to.
    place: Arc<str>,
    address: Option<SocketAddr>,
    /// `None` for the default one.
    name: Option<Arc<str>>,
}

impl EndpointKey {
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Endpoint {
    /// An endpoint at `uri`: `http` or `https`, a host, maybe a port and a base path, under which
    /// the requests' own paths are put.
    ///
    /// # Errors
    ///
    /// If it is no absolute URI, if it has another scheme, user information, port 0 or a query.
    pub fn new(uri: impl AsRef<str>) -> Result<Self, SettingError> {
        let text = uri.as_ref();
        let refused = |why: &str| SettingError::new("endpoint.uri", format!("`{text}`, {why}"));
        let uri: Uri = text.parse().map_err(|error| refused(&format!("no URI: {error}")))?;
        let Some(scheme) = uri.scheme() else {
            return Err(refused("without a scheme: `http://` or `https://` belongs before it"));
        };
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(refused("whose scheme is neither `http` nor `https`"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty())
        else {
            return Err(refused("without a host"));
        };
        if authority.as_str().contains('@') {
            return Err(refused("with user information, which would be sent in the clear"));
        }
        // What follows the host is `:` and a port, or nothing.
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(refused("whose port is not between 1 and 65535"));
        }
        if uri.query().is_some() {
            return Err(refused("with a query, which belongs to a request"));
        }
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|_| refused("whose host is no value of a header"))?;
        let key = EndpointKey { place: place(&uri).into(), address: None, name: None };
        Ok(Self {
            key,
            weight: 1,
            priority: 0,
            max_in_flight: None,
            zone: None,
            uri,
            shown_as: text.into(),
            host,
        })
    }

    /// How large its share is beside the others'. 0 takes it out of the choice without removing it.
    /// Default: 1.
    ///
    /// # Errors
    ///
    /// If it is above [`MAX_WEIGHT`].
    pub fn weight(mut self, weight: u32) -> Result<Self, SettingError> {
        if weight > MAX_WEIGHT {
            let reason = format!("{weight}, above the largest of {MAX_WEIGHT}");
            return Err(SettingError::new("endpoint.weight", reason));
        }
        self.weight = weight;
        Ok(self)
    }

    /// In which row it stands: an endpoint is used only while no endpoint of a lower number can be.
    /// Default: 0.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Stands by for the others: [`priority(1)`](Self::priority).
    pub fn backup(self) -> Self {
        self.priority(1)
    }

    /// How many calls may be in flight at once, streams that are still read included. With a
    /// learned limit this is its ceiling. Default: no limit.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn max_in_flight(mut self, calls: u32) -> Result<Self, SettingError> {
        let none =
            || SettingError::new("endpoint.max_in_flight", "0, but a call is one: at least 1");
        self.max_in_flight = Some(NonZeroU32::new(calls).ok_or_else(none)?);
        Ok(self)
    }

    /// The zone it stands in, a label for those who look.
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// The name it is shown by. Default: its URI, as it was written. It also tells endpoints apart that
    /// have the same URI.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        // Its default name is none that tells it apart.
        self.key.name = (name != self.shown_as).then(|| Arc::clone(&name));
        self.shown_as = name;
        self
    }

    /// The address to connect to if it is not to be looked up. Only a service made for this endpoint
    /// can heed it ([`per_endpoint`](crate::BalanceLayer::per_endpoint)).
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.key.address = Some(address);
        self
    }

    /// Its URI: scheme, authority, base path.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The name it is shown by.
    #[must_use]
    pub fn shown_as(&self) -> &str {
        &self.shown_as
    }

    /// The zone, if it was told.
    #[must_use]
    pub fn in_zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The address, if it was told.
    #[must_use]
    pub const fn connects_to(&self) -> Option<SocketAddr> {
        self.key.address
    }

    /// Its authority, as `Host` has it.
    pub(crate) const fn host(&self) -> &HeaderValue {
        &self.host
    }

    pub(crate) const fn key(&self) -> &EndpointKey {
        &self.key
    }
}

/// RFC 3986 section 6.2: scheme and host know no case, the scheme's own port may be left out, and an
/// empty path is `/`. A base path ends where the request's own begins, with or without a `/`.
fn place(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = bare.and_then(|bare| bare.parse::<Ipv6Addr>().ok());
    let host = address.map_or(host, |address| format!("[{address}]"));
    let default = if scheme == "https" { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    format!("{scheme}://{host}:{port}{}", uri.path().trim_end_matches('/'))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown_as())
    }
}

impl std::str::FromStr for Endpoint {
    type Err = SettingError;

    fn from_str(uri: &str) -> Result<Self, SettingError> {
        Self::new(uri)
    }
}

/// The number of an endpoint in its set. No other endpoint of this process has it, in whatever set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

impl EndpointId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, as [`Attempts`](buttress_core::Attempts) notes it.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
