//! A hash of what is a digest already.

use std::hash::{BuildHasher, Hasher};

/// Folds the first words of a key with numbers that only this process knows: nobody can choose keys
/// that meet in one bucket.
#[derive(Clone, Debug)]
pub(super) struct KeyHash {
    seeds: [u64; 2],
}

impl KeyHash {
    pub(super) fn random() -> Self {
        // The generator of the standard library's maps is seeded by the system.
        let random = std::hash::RandomState::new();
        Self { seeds: [random.hash_one(0_u8), random.hash_one(1_u8)] }
    }
}

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { seeds: self.seeds, hash: 0 }
    }
}

#[derive(Debug)]
pub(super) struct KeyHasher {
    seeds: [u64; 2],
    hash: u64,
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let one = words.next().unwrap_or_default() ^ self.seeds[0] ^ self.hash;
        let other = words.next().unwrap_or_default() ^ self.seeds[1];
        let product = u128::from(one) * u128::from(other);
        let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
        self.hash = u64::try_from(low ^ high).unwrap_or_default();
    }

    /// The length of a key, which all have in common.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}
