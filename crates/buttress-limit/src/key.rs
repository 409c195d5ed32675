//! Whose quota a request counts against.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whose quota it is: 128 bits, which are an address or a hash. A credential is never kept itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64, u64);

impl Key {
    /// The one key of a limiter that tells no two callers apart.
    pub const GLOBAL: Self = Self(0x6275_7474_7265_7373, 0x0067_6c6f_6261_6c00);

    /// Stands in for the key of requests that have none.
    pub const MISSING: Self = Self(0x6275_7474_7265_7373, 0x006d_6973_7369_6e67);

    /// The key of a text: 128 bits of its BLAKE3 hash, the same in every process.
    #[must_use]
    pub fn hash(text: &[u8]) -> Self {
        Self::of_hash(&blake3::hash(text))
    }

    /// The key of an address. IPv4 is one key each, also where it comes as IPv6; of IPv6, all the
    /// addresses that begin with the same `prefix` bits are one key.
    #[inline]
    #[must_use]
    pub fn ip(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(address) => Self::ipv4(address),
            IpAddr::V6(address) => Self::ipv6(address, prefix),
        }
    }

    /// What [`ip`](Self::ip) makes of an address that is where a server keeps it.
    #[inline]
    pub(crate) const fn peer(address: &SocketAddr, prefix: u8) -> Self {
        match address {
            SocketAddr::V4(address) => Self::ipv4(*address.ip()),
            SocketAddr::V6(address) => Self::ipv6(*address.ip(), prefix),
        }
    }

    #[inline]
    const fn ipv4(address: Ipv4Addr) -> Self {
        Self(0, MAPPED | address.to_bits() as u64)
    }

    #[inline]
    const fn ipv6(address: Ipv6Addr, prefix: u8) -> Self {
        match address.to_ipv4_mapped() {
            Some(address) => Self::ipv4(address),
            None => Self::of_bits(mask(address, prefix)),
        }
    }

    /// The key of both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut both = [0; 32];
        for (bytes, part) in both.chunks_exact_mut(8).zip([self.0, self.1, other.0, other.1]) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        Self::hash(&both)
    }

    /// The 128 bits.
    #[must_use]
    pub fn bits(self) -> u128 {
        (u128::from(self.0) << 64) | u128::from(self.1)
    }

    /// The key of these 128 bits.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    pub const fn of_bits(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }

    /// Whether they are the same, without a branch between one half and the other.
    #[inline]
    pub(crate) const fn is(self, other: Self) -> bool {
        (self.0 ^ other.0) | (self.1 ^ other.1) == 0
    }

    fn of_hash(hash: &blake3::Hash) -> Self {
        let mut bits = [0; 16];
        bits.copy_from_slice(&hash.as_bytes()[..16]);
        Self::of_bits(u128::from_be_bytes(bits))
    }

    /// Where a table has it, by a product that nobody outside can foresee.
    #[inline]
    pub(crate) fn spread(self, seeds: [u64; 2]) -> u64 {
        let product = u128::from(self.0 ^ seeds[0]) * u128::from(self.1 ^ seeds[1]);
        let folded = Self::of_bits(product);
        folded.0 ^ folded.1
    }
}

/// The bits of IPv6 that say that the rest is an IPv4 address.
const MAPPED: u64 = 0xffff_0000_0000;

const fn mask(address: Ipv6Addr, prefix: u8) -> u128 {
    match u128::MAX.checked_shl(128_u32.saturating_sub(prefix as u32)) {
        Some(mask) => address.to_bits() & mask,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Key {
        Key::ip(text.parse().unwrap(), 64)
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(ip("::ffff:1.2.3.4"), ip("1.2.3.4"));
        assert_ne!(ip("1.2.3.4"), ip("1.2.3.5"));
    }

    #[test]
    fn addresses_of_one_prefix_are_one_key() {
        assert_eq!(ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff::9"));
        assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(Key::ip(address, 0), Key::ip("ff::".parse().unwrap(), 0));
        assert_ne!(Key::ip(address, 128), Key::ip("2001:db8::2".parse().unwrap(), 128));
        assert_eq!(Key::ip(address, 200), Key::ip(address, 128));
    }

    #[test]
    fn the_order_of_a_pair_counts() {
        let (a, b) = (Key::hash(b"a"), Key::hash(b"b"));
        assert_ne!(a.and(b), b.and(a));
        assert_eq!(a.and(b), a.and(b));
        assert_eq!(Key::of_bits(a.bits()), a);
    }
}
