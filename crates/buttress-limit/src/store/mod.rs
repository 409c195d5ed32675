//! Where the windows of all keys are kept: a bounded number of keys, in shards with a lock each.

mod judge;
mod line;
mod shard;
mod table;

pub(crate) use self::shard::{Entered, Room, Shard, Spot, Turn, Waiting};
