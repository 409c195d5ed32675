//! Tokens, as OpenAI-compatible APIs count them.

mod estimate;
mod layer;
mod scan;
mod usage;

pub use self::{
    estimate::{Estimate, Estimated},
    layer::{Ahead, EstimateFuture, EstimateLayer, EstimateTokens},
    usage::UsageSettle,
};
