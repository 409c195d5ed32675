//! The cache for prompts: reads the body of a POST to find its key.

mod body;
mod future;
mod gather;
mod service;

pub use self::{
    body::PromptBody,
    future::PromptFuture,
    service::{PromptCache, PromptLayer},
};
