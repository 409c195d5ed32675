//! What the layer asks about a request before it asks the limiter.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

use crate::{
    cost::Cost,
    head::Head,
    key::Key,
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

/// Why no quota is asked about a request.
pub(crate) enum Keyless {
    Exempt,
    Refused(StatusCode),
}

impl Rules {
    pub(crate) fn new() -> Self {
        Self {
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

    /// Whether a request is not limited at all.
    pub(crate) fn exempts(&self, head: &Head<'_>) -> bool {
        self.exempt.as_ref().is_some_and(|exempt| exempt(head))
    }

    /// The key that counts for a request with this one, or without.
    #[inline]
    pub(crate) const fn key_or(&self, key: Option<Key>) -> Result<Key, Keyless> {
        match (key, self.missing) {
            (Some(key), _) => Ok(key),
            (None, MissingKey::Share) => Ok(Key::MISSING),
            (None, MissingKey::Exempt) => Err(Keyless::Exempt),
            (None, MissingKey::Status(status)) => Err(Keyless::Refused(status)),
        }
    }

    /// Asks what a request costs and the like.
    pub(crate) fn refine(&self, ask: &mut Ask, head: &Head<'_>) {
        if let Some(cost) = &self.cost {
            ask.cost = cost(head);
        }
        if let Some(most) = &self.most {
            ask.cost = ask.cost.at_most(most);
        }
        if let Some(tier) = &self.tier {
            ask.tier = tier(head);
        }
        if let Some((percent, critical)) = &self.spare
            && !critical(head)
        {
            ask.spare = *percent;
        }
    }

    /// Whether nothing is asked about a request but its key, and nothing is left to be done when its
    /// answer is there, but to say what the quota has left.
    pub(crate) const fn are_plain(&self) -> bool {
        let refined = self.cost.is_some()
            || self.most.is_some()
            || self.tier.is_some()
            || self.spare.is_some();
        self.exempt.is_none() && !refined && !self.acts()
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
        self.fields || self.acts()
    }

    /// Whether more is left than to write headers.
    pub(crate) const fn acts(&self) -> bool {
        self.learn.is_some() || self.charges_again()
    }

    /// Whether what a request was charged may change later, for which its ticket is needed.
    pub(crate) const fn charges_again(&self) -> bool {
        self.settle.is_some() || self.billed
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
