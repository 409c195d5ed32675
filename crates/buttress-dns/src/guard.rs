//! Which addresses may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use buttress_core::SettingError;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{DnsError, DnsErrorKind};

/// Keeps away from addresses that are not of the public internet: private, loopback, link-local
/// (where clouds keep their metadata), and whatever else IANA has set apart; also where such an
/// IPv4 address hides inside an IPv6 one (mapped, NAT64, 6to4).
///
/// For programs that dial what strangers name. [`DnsLayer::guard`](crate::DnsLayer::guard) takes
/// such addresses out of every answer, [`GuardLayer`](crate::GuardLayer) refuses them where a
/// connection is made.
///
/// ```
/// use buttress_dns::Guard;
///
/// let guard = Guard::new().allow("10.20.0.0/16")?;
/// assert!(guard.allows("1.1.1.1".parse().unwrap()));
/// assert!(guard.allows("10.20.0.1".parse().unwrap()));
/// assert!(!guard.allows("169.254.169.254".parse().unwrap()));
/// assert!(!guard.allows("64:ff9b::a9fe:a9fe".parse().unwrap()));
/// # Ok::<(), buttress_dns::SettingError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
}

/// IANA's special-purpose registry, less what is reachable from everywhere.
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// What is set apart inside of `2000::/3`; outside of it nothing is public.
const SPECIAL_V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

impl Guard {
    /// Denies everything that is not of the public internet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows a network or an address in spite of that: `10.20.0.0/16`, `192.168.1.7`.
    ///
    /// # Errors
    ///
    /// If it is neither.
    pub fn allow(mut self, network: &str) -> Result<Self, SettingError> {
        self.allowed.push(read("guard.allow", network)?);
        Ok(self)
    }

    /// Denies a network or an address besides. It wins over [`allow`](Self::allow).
    ///
    /// # Errors
    ///
    /// If it is neither.
    pub fn deny(mut self, network: &str) -> Result<Self, SettingError> {
        self.denied.push(read("guard.deny", network)?);
        Ok(self)
    }

    /// Whether the address may be dialled.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let faces = [Some(address), embedded(address).map(IpAddr::V4)];
        let within = |networks: &[IpNet]| {
            faces.into_iter().flatten().any(|face| networks.iter().any(|net| net.contains(&face)))
        };
        if within(&self.denied) {
            return false;
        }
        within(&self.allowed) || is_public(address)
    }

    /// The error for an address that may not be dialled.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), DnsError> {
        if self.allows(address) {
            return Ok(());
        }
        let denied = DnsError::new(DnsErrorKind::Denied).of_name(address.to_string());
        Err(denied.because("it is not of the public internet"))
    }
}

fn read(setting: &'static str, network: &str) -> Result<IpNet, SettingError> {
    let address = network.parse::<IpAddr>().map(IpNet::from);
    network.parse().or(address).map_err(|_| {
        SettingError::new(setting, format!("`{network}`, neither an address nor a network"))
    })
}

fn is_public(address: IpAddr) -> bool {
    match (address, embedded(address)) {
        // It leads to the address inside.
        (_, Some(inside)) => is_public(inside.into()),
        (IpAddr::V4(address), _) => {
            let special = |(net, length): (Ipv4Addr, u8)| {
                Ipv4Net::new(net, length).is_ok_and(|net| net.contains(&address))
            };
            !SPECIAL_V4.into_iter().any(special)
        }
        (IpAddr::V6(address), _) => {
            let special = |(net, length): (Ipv6Addr, u8)| {
                Ipv6Net::new(net, length).is_ok_and(|net| net.contains(&address))
            };
            address.segments()[0] & 0xe000 == 0x2000 && !SPECIAL_V6.into_iter().any(special)
        }
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), compatible (the same, of
/// old), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [a, b, c, d, e, f, high, low] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff | 0] if !matches!((high, low), (0, 0 | 1)) => Some(join(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(join(high, low)),
        // 64:ff9b:1::/48 is for translation within a network (RFC 8215); never public.
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(guard: &Guard, address: &str) -> bool {
        guard.allows(address.parse().unwrap())
    }

    #[test]
    fn what_is_not_public_is_denied() {
        let guard = Guard::new();
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::10.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "2002:a00:1::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!allows(&guard, address), "{address}");
        }
        for address in
            ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
        {
            assert!(allows(&guard, address), "{address}");
        }
    }

    #[test]
    fn a_network_can_be_allowed_and_denied() {
        let guard = Guard::new().allow("10.0.0.0/8").unwrap().allow("::1").unwrap();
        assert!(allows(&guard, "10.1.2.3"));
        assert!(allows(&guard, "::ffff:10.1.2.3"));
        assert!(allows(&guard, "::1"));
        assert!(!allows(&guard, "192.168.0.1"));
        let guard = guard.deny("10.9.0.0/16").unwrap().deny("8.8.8.8").unwrap();
        assert!(!allows(&guard, "10.9.0.1"));
        assert!(!allows(&guard, "64:ff9b::808:808"));
        let error = Guard::new().allow("10.0.0.0/33").unwrap_err();
        assert_eq!(error.setting(), "guard.allow");
    }

    proptest! {
        #[test]
        fn an_address_hides_nowhere(bits: u32) {
            let (guard, v4) = (Guard::new(), Ipv4Addr::from_bits(bits));
            let public = guard.allows(v4.into());
            let [high, low] = [bits >> 16, bits & 0xffff].map(|half| u16::try_from(half).unwrap());
            prop_assert_eq!(guard.allows(v4.to_ipv6_mapped().into()), public);
            let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
            prop_assert_eq!(guard.allows(nat64.into()), public);
            let to4 = Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1);
            prop_assert_eq!(guard.allows(to4.into()), public);
        }
    }
}
