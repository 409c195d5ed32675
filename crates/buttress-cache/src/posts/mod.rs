//! The cache for prompts: reads the body of a POST to find its key.

mod future;
mod service;

pub use self::{
    future::PromptFuture,
    service::{PromptCache, PromptLayer},
};
