//! The file that names the name servers and the search list.

use std::net::{IpAddr, SocketAddr};

use crate::Name;

/// What a `resolv.conf` says.
///
/// ```
/// use buttress_dns::ResolvConf;
///
/// let conf = ResolvConf::read("nameserver 192.0.2.53\nsearch corp.example\noptions ndots:2");
/// assert_eq!(conf.servers(), ["192.0.2.53:53".parse().unwrap()]);
/// assert_eq!(conf.search()[0].as_str(), "corp.example");
/// assert_eq!(conf.ndots(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
    ndots: usize,
}

/// What glibc takes at the most.
const MOST_SERVERS: usize = 8;
const MOST_SUFFIXES: usize = 16;
const MOST_DOTS: usize = 15;

impl Default for ResolvConf {
    fn default() -> Self {
        Self { servers: Vec::new(), search: Vec::new(), ndots: 1 }
    }
}

impl ResolvConf {
    /// Reads the text of a `resolv.conf`. What makes no sense is passed over; the last of `search`
    /// and `domain` counts.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(server);
                    conf.servers.extend(server.filter(|_| conf.servers.len() < MOST_SERVERS));
                }
                Some("search" | "domain") => {
                    let suffixes = words.filter_map(|word| Name::new(word).ok());
                    let suffixes = suffixes.filter(|name| name.address().is_none());
                    conf.search = suffixes.take(MOST_SUFFIXES).collect();
                }
                Some("options") => {
                    let mut ndots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    if let Some(ndots) = ndots.next_back() {
                        conf.ndots = MOST_DOTS.min(ndots);
                    }
                }
                _ => {}
            }
        }
        conf
    }

    /// The name servers, at port 53.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The search list.
    #[must_use]
    pub fn search(&self) -> &[Name] {
        &self.search
    }

    /// A name with at least so many dots is first asked for as it is.
    #[must_use]
    pub const fn ndots(&self) -> usize {
        self.ndots
    }
}

fn server(word: &str) -> Option<SocketAddr> {
    match word.parse::<IpAddr>() {
        Ok(address) => Some((address, 53).into()),
        // A link-local server with its zone.
        Err(_) => Name::new(word).ok()?.address().map(|mut address| {
            address.set_port(53);
            address
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_search_list_counts_and_everything_is_bounded() {
        let conf = ResolvConf::read(
            "domain old.example\nsearch a.example b.example 10.0.0.1 ; c\n\
             nameserver fe80::1%2\nnameserver nonsense\noptions timeout:1 ndots:99\nsortlist x",
        );
        assert_eq!(conf.search().len(), 2);
        assert_eq!(conf.servers(), ["[fe80::1%2]:53".parse().unwrap()]);
        assert_eq!(conf.ndots(), 15);
        let many = ResolvConf::read(&"nameserver 192.0.2.1\n".repeat(100));
        assert_eq!(many.servers().len(), 8);
        assert_eq!(ResolvConf::read(""), ResolvConf::default());
    }
}
