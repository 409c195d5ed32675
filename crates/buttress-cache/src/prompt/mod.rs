//! Answers to prompts: `POST` requests that are keyed by their body.

mod json;
mod pattern;
mod prompts;
mod route;

pub use self::{
    prompts::Prompts,
    route::{PromptRoute, VOLATILE_FIELDS},
};
