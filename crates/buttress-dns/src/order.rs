//! In which order addresses are tried (RFC 6724 section 6, RFC 8305 section 4). Pure, but for
//! [`source`].

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

/// In which order the addresses of a name come.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As the system would sort them (RFC 6724), then the families take turns (RFC 8305), so that
    /// neither a broken IPv6 nor a broken IPv4 is tried twice in a row. The default.
    #[default]
    Interleave,
    /// As the system would sort them (RFC 6724).
    Sorted,
    /// As the resolver gave them, IPv4 first.
    Given,
}

/// An address and its place among others: less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ranked {
    pub(crate) address: SocketAddr,
    rank: Rank,
}

type Rank = (bool, bool, bool, Reverse<u8>, u8);

/// The source that the system would choose for a destination; `None` if it has no route.
///
/// Connecting a UDP socket sends nothing.
pub(crate) fn source(destination: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match destination {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((destination, 53)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Sorts the addresses of one family. Equal ones stay as they are, which rotating name servers
/// mean; so the rule of the longest matching prefix (rule 9) is left out on purpose.
pub(crate) fn rank(
    addresses: &[SocketAddr],
    source: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = Vec::with_capacity(addresses.len());
    for &address in addresses {
        if ranked.iter().all(|known| known.address != address) {
            let source = source(address.ip());
            ranked.push(Ranked { address, rank: rank_of(address.ip(), source) });
        }
    }
    ranked.sort_by_key(|ranked| ranked.rank);
    ranked
}

/// Rules 1, 2, 5, 6 and 8: without a route, other scope, other label, precedence, scope.
fn rank_of(destination: IpAddr, source: Option<IpAddr>) -> Rank {
    let (precedence, label) = policy(destination);
    let scope = scope(destination);
    let fits = source.map(|source| (self::scope(source) != scope, policy(source).1 != label));
    let (other_scope, other_label) = fits.unwrap_or((true, true));
    (source.is_none(), other_scope, other_label, Reverse(precedence), scope)
}

/// The default policy table (RFC 6724 section 2.1): precedence and label.
fn policy(address: IpAddr) -> (u8, u8) {
    let IpAddr::V6(address) = address else { return (35, 4) };
    if address.to_ipv4_mapped().is_some() {
        return (35, 4);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => (50, 0),
        [0, 0, 0, 0, 0, 0, ..] => (1, 3),
        [0x2001, 0, ..] => (5, 5),
        [0x2002, ..] => (30, 2),
        [first, ..] if first & 0xfe00 == 0xfc00 => (3, 13),
        [first, ..] if first & 0xffc0 == 0xfec0 => (1, 11),
        [0x3ffe, ..] => (1, 12),
        _ => (40, 1),
    }
}

/// RFC 6724 section 3: link-local, site-local, global.
fn scope(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => 0x2,
        IpAddr::V4(_) => 0xe,
        IpAddr::V6(v6) => match v6.segments()[0] {
            _ if v6.is_loopback() => 0x2,
            multicast if multicast & 0xff00 == 0xff00 => {
                (multicast & 0xf).try_into().unwrap_or(0xe)
            }
            first if first & 0xffc0 == 0xfe80 => 0x2,
            first if first & 0xffc0 == 0xfec0 => 0x5,
            _ => 0xe,
        },
    }
}

/// How addresses are put together for a caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrange {
    pub(crate) order: Order,
    /// How many of each family; more would leave each too little of a connect timeout.
    pub(crate) most: usize,
    /// Whether each lookup begins with another address.
    pub(crate) rotate: bool,
}

impl Arrange {
    /// Ranks the addresses of one family by the sources that the machine has.
    pub(crate) fn rank(self, addresses: &[SocketAddr]) -> Vec<Ranked> {
        match self.order {
            // Without a source all are alike, and nothing is moved.
            Order::Given => rank(addresses, |_| None),
            Order::Interleave | Order::Sorted => rank(addresses, source),
        }
    }

    /// Puts two ranked families together, once for each address that may come first.
    pub(crate) fn variants(self, v4: &[Ranked], v6: &[Ranked]) -> Arc<[Arc<[SocketAddr]>]> {
        let [v4, v6] = [v4, v6].map(|family| &family[..family.len().min(self.most)]);
        let count = if self.rotate { v4.len().max(v6.len()).max(1) } else { 1 };
        (0..count).map(|turn| self.arrange(&turned(v4, turn), &turned(v6, turn)).into()).collect()
    }

    fn arrange(self, v4: &[Ranked], v6: &[Ranked]) -> Vec<SocketAddr> {
        let best = |family: &[Ranked]| family.iter().map(|ranked| ranked.rank).min();
        let v6_first = match (best(v4), best(v6)) {
            (Some(v4), Some(v6)) => self.order != Order::Given && v6 < v4,
            (v4, _) => v4.is_none(),
        };
        let (first, second) = if v6_first { (v6, v4) } else { (v4, v6) };
        match self.order {
            Order::Interleave => interleave(first, second),
            Order::Given => first.iter().chain(second).map(|ranked| ranked.address).collect(),
            Order::Sorted => {
                let mut all = [first, second].concat();
                all.sort_by_key(|ranked| ranked.rank);
                all.into_iter().map(|ranked| ranked.address).collect()
            }
        }
    }
}

/// The same addresses, beginning with another one of those that are as good as the first.
fn turned(family: &[Ranked], turn: usize) -> Vec<Ranked> {
    let mut turned = family.to_vec();
    let best = turned.iter().take_while(|ranked| ranked.rank == family[0].rank).count();
    if best > 0 {
        turned[..best].rotate_left(turn % best);
    }
    turned
}

fn interleave(first: &[Ranked], second: &[Ranked]) -> Vec<SocketAddr> {
    let mut order = Vec::with_capacity(first.len() + second.len());
    for place in 0..first.len().max(second.len()) {
        let pair = [first.get(place), second.get(place)];
        order.extend(pair.into_iter().flatten().map(|ranked| ranked.address));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(written: &[&str]) -> Vec<SocketAddr> {
        written.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect()
    }

    /// A machine with these sources.
    fn machine(sources: &'static [&'static str]) -> impl Fn(IpAddr) -> Option<IpAddr> {
        move |destination| {
            let sources = sources.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
            sources.into_iter().find(|source| source.is_ipv4() == destination.is_ipv4())
        }
    }

    fn order(found: &[&str], sources: &'static [&'static str], arrange: Arrange) -> Vec<String> {
        let found = addresses(found);
        let (v4, v6): (Vec<_>, Vec<_>) = found.iter().partition(|address| address.is_ipv4());
        let variants = arrange.variants(&rank(&v4, machine(sources)), &rank(&v6, machine(sources)));
        variants[0].iter().map(|address| address.ip().to_string()).collect()
    }

    const PLAIN: Arrange = Arrange { order: Order::Interleave, most: 4, rotate: false };
    const BOTH: &[&str] = &["198.51.100.9", "2001:db8:9::9"];

    #[test]
    fn families_take_turns_and_native_ipv6_begins() {
        let found = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"];
        let expected = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"];
        assert_eq!(order(&found, BOTH, PLAIN), expected);
    }

    #[test]
    fn without_a_route_a_family_comes_second() {
        let found = ["2001:db8::1", "192.0.2.1"];
        assert_eq!(order(&found, &["198.51.100.9"], PLAIN), ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn addresses_of_tunnels_and_of_the_site_come_after_ipv4() {
        let sources = &["198.51.100.9", "2001:db8:9::9"];
        for unwanted in ["2001::1", "fd00::1", "2002:c000:201::1"] {
            assert_eq!(order(&[unwanted, "192.0.2.1"], sources, PLAIN)[0], "192.0.2.1");
        }
        assert_eq!(order(&["::1", "127.0.0.1"], &["127.0.0.1", "::1"], PLAIN)[0], "::1");
    }

    #[test]
    fn no_more_than_so_many_of_each_family() {
        let found: Vec<String> = (1..9).map(|last| format!("192.0.2.{last}")).collect();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(order(&found, BOTH, PLAIN).len(), 4);
    }

    #[test]
    fn turning_gives_each_equal_address_its_turn() {
        let found = addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        let ranked = rank(&found, machine(BOTH));
        let variants = Arrange { rotate: true, ..PLAIN }.variants(&ranked, &[]);
        let firsts: Vec<_> = variants.iter().map(|variant| variant[0]).collect();
        assert_eq!(firsts, found);
        assert!(variants.iter().all(|variant| variant.len() == 3));
    }

    #[test]
    fn an_address_named_twice_counts_once() {
        assert_eq!(rank(&addresses(&["192.0.2.1", "192.0.2.1"]), machine(BOTH)).len(), 1);
    }

    #[test]
    fn the_order_of_the_resolver_can_be_kept() {
        let found = ["192.0.2.2", "fd00::1", "2001:db8::1", "192.0.2.1"];
        let given = Arrange { order: Order::Given, ..PLAIN };
        // Ranks are there, and not heeded between the families.
        assert_eq!(order(&found, BOTH, given)[..2], ["192.0.2.2", "192.0.2.1"]);
        let sorted = Arrange { order: Order::Sorted, ..PLAIN };
        assert_eq!(order(&found, BOTH, sorted)[..2], ["2001:db8::1", "192.0.2.2"]);
    }
}
