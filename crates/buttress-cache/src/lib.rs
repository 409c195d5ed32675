//! A streaming HTTP cache by RFC 9111 that knows prompts.

mod entry;
mod key;
pub mod rfc;
pub mod store;
mod time;

pub use self::{
    entry::{Chunks, Entry, EntryId, Slot, Tag, Variant},
    key::Key,
    rfc::{Flags, Policy, Vary},
    store::{Generation, Lease, Lookup, Purge, Removal, SharedStore, Store, StoreError, Usage},
    time::Time,
};
