//! Tokens, as OpenAI-compatible APIs count them.

mod estimate;
mod scan;
mod usage;

pub use self::{
    estimate::{Estimate, Estimated},
    usage::UsageSettle,
};
