//! Quotas that hold, in front of a server and in front of a provider.

mod acquire;
mod answer;
mod body;
mod clock;
mod cost;
mod fields;
mod follow;
mod future;
mod head;
mod key;
mod keys;
mod layer;
mod learn;
mod limiter;
mod local;
mod meter;
mod observer;
#[cfg(feature = "openai")]
mod openai;
mod policy;
mod problem;
mod quota;
mod rules;
mod service;
mod settle;
mod store;

pub use buttress_core::SettingError;

#[cfg(feature = "openai")]
pub use self::openai::{Estimate, Estimated, UsageSettle};
pub use self::{
    acquire::Acquire,
    answer::{Answer, Respond, RespondWith, Standard},
    body::ResponseBody,
    cost::{Cost, Unit},
    future::ResponseFuture,
    head::Head,
    key::Key,
    keys::{
        ClientIp, Credential, Global, HeaderKey, PathTemplate, PeerAddr, RequestKey, RouteTemplate,
    },
    layer::RateLimitLayer,
    learn::Learn,
    limiter::{Ask, Denied, DeniedKind, Lesson, Limiter, Snapshot, Standing, Ticket, Tier, Wait},
    local::Local,
    observer::Observer,
    policy::{IntoPolicy, Policy},
    quota::Quota,
    rules::MissingKey,
    service::RateLimit,
    settle::{Bill, Settle, Settlement, Watch},
};
