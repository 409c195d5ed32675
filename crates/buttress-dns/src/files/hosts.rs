//! The hosts file.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use crate::Name;

/// What a hosts file says: names and their addresses, of both families together.
///
/// A name that is in the file has the addresses that stand there and no others; nobody is asked for
/// more.
///
/// ```
/// use buttress_dns::Hosts;
///
/// let hosts = Hosts::read("192.0.2.1 db db.internal # the old one\n2001:db8::1 db");
/// assert_eq!(hosts.addresses("db").unwrap().len(), 2);
/// assert!(hosts.addresses("cache").is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashMap<Arc<str>, Arc<[SocketAddr]>>);

impl Hosts {
    /// Reads the text of a hosts file. Lines that make no sense are passed over, as everywhere.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut found: HashMap<Arc<str>, Vec<SocketAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(address) else { continue };
            for name in words.filter_map(|word| Name::new(word).ok()) {
                let known = found.entry(name.as_str().into()).or_default();
                if name.address().is_none() && !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        found.retain(|_, addresses| !addresses.is_empty());
        Self(found.into_iter().map(|(name, addresses)| (name, addresses.into())).collect())
    }

    /// The addresses of a name in the spelling of [`Name::as_str`], with port 0.
    #[must_use]
    pub fn addresses(&self, name: &str) -> Option<&Arc<[SocketAddr]>> {
        self.0.get(name)
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

fn address(word: &str) -> Option<SocketAddr> {
    Name::new(word).ok()?.address()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let text = "\u{feff}\n# all\n\n10.0.0.1\n nonsense x\n10.0.0.2\tA.Example. a..b # c\n\
                    10.0.0.2 a.example 10.0.0.9\nfe80::1%7 link\n";
        let hosts = Hosts::read(text);
        let of = |name| hosts.addresses(name).map(|found| found.to_vec());
        assert_eq!(of("a.example").unwrap(), ["10.0.0.2:0".parse().unwrap()]);
        assert_eq!(of("link").unwrap(), ["[fe80::1%7]:0".parse().unwrap()]);
        assert_eq!(hosts.names().count(), 2);
    }
}
