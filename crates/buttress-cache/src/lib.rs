//! A streaming HTTP cache by RFC 9111 that knows prompts.

mod entry;
mod key;
mod prompt;
pub mod rfc;
pub mod store;
mod time;

pub use buttress_core::SettingError;

pub use self::{
    entry::{Chunks, Entry, EntryId, Slot, Tag, Variant},
    key::{ForwardingGuard, Identity, Key, KeySpec, Scope, Unkeyed},
    prompt::{PromptRoute, Prompts, VOLATILE_FIELDS},
    rfc::{Flags, Policy, Vary},
    store::{
        Generation, Lease, Lookup, MemoryStatistics, MemoryStore, Purge, Removal, SharedStore,
        Store, StoreError, Tiered, TieredStatistics, Usage,
    },
    time::Time,
};
