//! What the layer was told.

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, uri::Authority};
use http_body_util::{Empty, Full};

use crate::{KeySpec, rfc::Profile};

/// How a body is had again, if it can be.
pub(crate) type Again<B> = fn(&B) -> Option<B>;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) profile: Profile,
    pub(crate) keys: KeySpec,
    pub(crate) max_body: u64,
    pub(crate) max_wait: Duration,
    pub(crate) max_variants: usize,
    pub(crate) hit_for_miss: Duration,
    pub(crate) revalidation: Duration,
    pub(crate) backoff: Duration,
    pub(crate) collapse: bool,
    pub(crate) status_name: Option<Box<str>>,
    pub(crate) tags: Option<HeaderName>,
    pub(crate) aliases: Vec<Authority>,
    /// An [`Again`] for each type of body.
    again: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self {
            profile: Profile::default(),
            keys: KeySpec::server(),
            max_body: 8 << 20,
            max_wait: Duration::from_secs(10),
            max_variants: 32,
            hit_for_miss: Duration::from_secs(10),
            revalidation: Duration::from_secs(24 * 60 * 60),
            backoff: Duration::from_secs(5),
            collapse: true,
            status_name: Some("buttress".into()),
            tags: None,
            aliases: Vec::new(),
            again: Vec::new(),
        }
        .with_again::<Empty<Bytes>>(|_| Some(Empty::new()))
        .with_again::<Full<Bytes>>(|body| Some(body.clone()))
    }

    pub(crate) fn with_again<B: 'static>(mut self, again: Again<B>) -> Self {
        self.again.push(Arc::new(again));
        self
    }

    /// How a body of this type is had again, if the program has said.
    pub(crate) fn again<B: 'static>(&self) -> Option<Again<B>> {
        self.again.iter().rev().find_map(|again| again.downcast_ref().copied())
    }
}
