//! What the layer asks about a request before it asks the limiter.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::{
    cost::Cost,
    head::Head,
    key::Key,
    keys::RequestKey,
    learn::Learn,
    limiter::{Ask, Tier, Wait},
    settle::Settle,
};

type Of<T> = Arc<dyn Fn(&Head<'_>) -> T + Send + Sync>;

/// What happens to requests without a key. It is never a server error: whose fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingKey {
    /// They share a quota.
    #[default]
    Share,
    /// They pass.
    Exempt,
    /// They are answered with this status, of the client errors one.
    Status(StatusCode),
}

#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) key: Arc<dyn RequestKey + Send + Sync>,
    pub(crate) missing: MissingKey,
    pub(crate) exempt: Option<Of<bool>>,
    pub(crate) cost: Option<Of<Cost>>,
    pub(crate) most: Option<Cost>,
    pub(crate) tier: Option<Of<Tier>>,
    pub(crate) spare: Option<(u8, Of<bool>)>,
    pub(crate) wait: Option<Wait>,
    pub(crate) class: Option<Of<u8>>,
    pub(crate) enforced: f64,
    pub(crate) fields: bool,
    pub(crate) legacy: bool,
    pub(crate) learn: Option<Learn>,
    pub(crate) settle: Option<Arc<dyn Settle + Send + Sync>>,
    pub(crate) billed: bool,
    pub(crate) marked: bool,
}

/// What the rules say of a request.
pub(crate) enum Question {
    Exempt,
    Keyless(StatusCode),
    Ask(Ask),
}

impl Rules {
    pub(crate) fn new(key: impl RequestKey + Send + Sync + 'static) -> Self {
        Self {
            key: Arc::new(key),
            missing: MissingKey::default(),
            exempt: None,
            cost: None,
            most: None,
            tier: None,
            spare: None,
            wait: None,
            class: None,
            enforced: 1.0,
            fields: false,
            legacy: false,
            learn: None,
            settle: None,
            billed: false,
            marked: false,
        }
    }

    #[inline]
    pub(crate) fn question(&self, head: &Head<'_>) -> Question {
        if self.exempt.as_ref().is_some_and(|exempt| exempt(head)) {
            return Question::Exempt;
        }
        let key = match (self.key.key(head), self.missing) {
            (Some(key), _) => key,
            (None, MissingKey::Share) => Key::MISSING,
            (None, MissingKey::Exempt) => return Question::Exempt,
            (None, MissingKey::Status(status)) => return Question::Keyless(status),
        };
        let mut cost = self.cost.as_ref().map_or(Cost::request(), |cost| cost(head));
        if let Some(most) = &self.most {
            cost = cost.at_most(most);
        }
        let tier = self.tier.as_ref().map_or(Tier::FIRST, |tier| tier(head));
        let spare = self.spare.as_ref().filter(|(_, critical)| !critical(head));
        let spare = spare.map_or(0, |(percent, _)| *percent);
        Question::Ask(Ask::new(key, cost).tier(tier).spare(spare))
    }

    /// How long this request may wait.
    pub(crate) fn wait(&self, head: &Head<'_>) -> Option<Wait> {
        let mut wait = self.wait?;
        if let Some(class) = &self.class {
            wait.class = class(head);
        }
        Some(wait)
    }

    /// Whether a denial of this request counts, or is only counted.
    pub(crate) fn enforces(&self) -> bool {
        self.enforced >= 1.0 || fastrand::f64() < self.enforced
    }

    /// Whether anything is left to be done when the answer is there.
    pub(crate) const fn follows_up(&self) -> bool {
        self.fields || self.learn.is_some() || self.settle.is_some() || self.billed
    }

    pub(crate) fn waiting(&mut self, max: Duration) {
        let wait = self.wait.unwrap_or(Wait::new(max));
        self.wait = Some(Wait { max, ..wait });
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("missing", &self.missing)
            .field("wait", &self.wait)
            .field("enforced", &self.enforced)
            .field("learn", &self.learn)
            .finish_non_exhaustive()
    }
}
