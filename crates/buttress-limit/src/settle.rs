//! What a request came to, once its answer is known.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use buttress_core::BodyEnd;
use http::response::Parts;

use crate::cost::Cost;

/// Finds out what a request came to. The difference to what it was charged is refunded, or charged
/// on top, even into debt.
///
/// The `openai` feature has one that reads `usage` in the answers of an OpenAI-compatible API.
pub trait Settle {
    /// Looks at the head of an answer, and says what is to be done with its body.
    fn answered(&self, head: &Parts, charged: &Cost) -> Settlement;
}

/// What a [`Settle`] makes of the head of an answer.
#[non_exhaustive]
pub enum Settlement {
    /// The request stays at what it was charged.
    Keep,
    /// This is what it came to.
    Now(Cost),
    /// The body will say.
    Watch(Box<dyn Watch + Send + Sync>),
}

impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Now(_) => "Now",
            Self::Watch(_) => "Watch",
        })
    }
}

/// Reads the body of an answer along, as it passes.
pub trait Watch {
    /// The next bytes. They pass on unchanged, whatever is made of them.
    fn data(&mut self, bytes: &[u8]);

    /// What the request came to; `None` if that is not known, and it stays at what it was charged.
    fn end(&mut self, end: BodyEnd, charged: &Cost) -> Option<Cost>;
}

/// The bill of an admitted request, in its extensions and in those of its answer, for whoever finds
/// out what it came to. See [`RateLimitLayer::billed`](crate::RateLimitLayer::billed).
#[derive(Clone)]
pub struct Bill {
    charged: Cost,
    pay: Arc<Mutex<Option<Pay>>>,
}

type Pay = Box<dyn FnOnce(Cost) + Send>;

impl Bill {
    pub(crate) fn new(charged: Cost, pay: impl FnOnce(Cost) + Send + 'static) -> Self {
        Self { charged, pay: Arc::new(Mutex::new(Some(Box::new(pay)))) }
    }

    /// What the request was charged.
    #[must_use]
    pub const fn charged(&self) -> &Cost {
        &self.charged
    }

    /// Says what it came to. Whether that counted: only the first time does.
    pub fn settle(&self, actual: Cost) -> bool {
        let pay = self.pay.lock().unwrap_or_else(PoisonError::into_inner).take();
        pay.map(|pay| pay(actual)).is_some()
    }
}

impl fmt::Debug for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bill").field("charged", &self.charged).finish_non_exhaustive()
    }
}
