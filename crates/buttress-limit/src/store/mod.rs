//! Where the windows of all keys are kept: a bounded number of keys, in shards with a lock each.

mod asked;
mod change;
mod judge;
mod line;
mod lowered;
mod shard;
mod table;
mod terms;

pub(crate) use self::{
    asked::{Entered, Room, Spot, Turn, Waiting},
    shard::{Shard, Straight},
    table::Mark,
};
