//! What the layer was told.

use std::time::Duration;

use http::{HeaderName, uri::Authority};

use crate::{KeySpec, rfc::Profile};

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
        }
    }
}
