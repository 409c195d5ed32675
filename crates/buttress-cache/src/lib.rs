//! A streaming HTTP cache by RFC 9111 that knows prompts.

mod body;
mod clock;
mod core;
mod directive;
mod entry;
mod fetch;
mod flight;
mod future;
mod handle;
mod keep;
mod key;
mod layer;
mod observer;
mod outcome;
mod posts;
mod prompt;
pub mod rfc;
mod serve;
mod service;
mod settings;
mod statistics;
pub mod store;
mod tasks;
mod time;

pub use buttress_core::{BoxError, SettingError};

pub use self::{
    body::{FillError, ResponseBody},
    directive::CacheDirective,
    entry::{Chunks, Entry, EntryId, Slot, Tag, Variant},
    fetch::{Answer, Fetches},
    future::ResponseFuture,
    handle::CacheHandle,
    key::{ForwardingGuard, Identity, Key, KeySpec, Scope, Unkeyed},
    layer::CacheLayer,
    observer::Observer,
    outcome::{CacheOutcome, CacheResult},
    posts::{PromptBody, PromptCache, PromptFuture, PromptLayer},
    prompt::{PromptRoute, Prompts, VOLATILE_FIELDS},
    rfc::{Audience, Flags, Policy, Profile, SetCookie, Vary},
    service::Cache,
    statistics::Statistics,
    store::{
        Generation, Lease, Lookup, MemoryStatistics, MemoryStore, Purge, Removal, SharedStore,
        Store, StoreError, Tiered, TieredStatistics, Usage,
    },
    time::Time,
};
