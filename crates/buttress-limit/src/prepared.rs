//! Answers that are made once and given often.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{Response, StatusCode, response::Parts};

/// An answer that is made once and given often: a text and what goes before it.
///
/// Clones share it, so that whoever is given one is given a copy of its headers and no more.
#[derive(Clone)]
pub struct PreparedAnswer(Arc<(Parts, Bytes)>);

impl PreparedAnswer {
    /// Keeps an answer to be given any number of times.
    #[must_use]
    pub fn new(response: Response<Bytes>) -> Self {
        Self(Arc::new(response.into_parts()))
    }

    /// What goes before the text.
    #[must_use]
    pub fn head(&self) -> &Parts {
        &self.0.0
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.0.1
    }

    /// A copy of it with another body, which is made of it.
    #[inline]
    pub(crate) fn give<B>(self, body: impl FnOnce(Self) -> B) -> Response<B> {
        Response::from_parts(self.head().clone(), body(self))
    }
}

impl fmt::Debug for PreparedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedAnswer")
            .field("head", self.head())
            .field("text", self.text())
            .finish()
    }
}

/// Which policy it is, among all of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PolicyId(u64);

impl PolicyId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// All that the standard answer to a request depends on that does not fit into one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) policy: PolicyId,
    pub(crate) status: StatusCode,
    /// The window, how much it has left, and in how many seconds the request fits into it.
    pub(crate) window: usize,
    pub(crate) remaining: u32,
    pub(crate) wait: u64,
    /// The seconds of `Retry-After`.
    pub(crate) after: u64,
}

/// How many answers a thread keeps: those of a minute, at one kind a second.
const KEPT: usize = 64;

#[derive(Default)]
struct Place {
    question: Option<Question>,
    answer: Option<PreparedAnswer>,
}

thread_local! {
    /// The answers of late, each where its question says. A thread has its own, so that threads that
    /// answer a flood together do not fight for them.
    static PLACES: RefCell<[Place; KEPT]> =
        const { RefCell::new([const { Place { question: None, answer: None } }; KEPT]) };
}

impl Question {
    fn place(&self) -> usize {
        let policy = self.policy.0.wrapping_mul(11);
        usize::try_from(policy.wrapping_add(self.after) % KEPT as u64).unwrap_or(0)
    }
}

/// The answer that was prepared for a question. It is made when the question is asked for the second
/// time without another in between; what is asked but once is not worth it, and gets `None`.
#[inline]
pub(crate) fn answer(
    question: &Question,
    make: impl FnOnce() -> Response<Bytes>,
) -> Option<PreparedAnswer> {
    let look = |places: &RefCell<[Place; KEPT]>| {
        let mut places = places.try_borrow_mut().ok()?;
        let place = &mut places[question.place()];
        if place.question.as_ref() != Some(question) {
            *place = Place { question: Some(*question), answer: None };
            return None;
        }
        Some(place.answer.get_or_insert_with(|| PreparedAnswer::new(make())).clone())
    };
    PLACES.try_with(look).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(policy: PolicyId, after: u64) -> Question {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Question { policy, status, window: 0, remaining: 0, wait: after, after }
    }

    #[test]
    fn what_is_asked_twice_is_prepared() {
        let asked = question(PolicyId::next(), 7);
        let make = || Response::new(Bytes::from_static(b"seven"));
        assert!(answer(&asked, make).is_none());
        let kept = answer(&asked, make).unwrap();
        let again = answer(&asked, || unreachable!("it was prepared")).unwrap();
        assert!(Arc::ptr_eq(&kept.0, &again.0));
        // One that differs in anything is another one, also where it takes the same place.
        let others = [
            Question { policy: PolicyId::next(), ..asked },
            Question { status: StatusCode::SERVICE_UNAVAILABLE, ..asked },
            Question { window: 1, ..asked },
            Question { remaining: 1, ..asked },
            Question { wait: 8, ..asked },
            Question { after: 8, ..asked },
            Question { after: 7 + KEPT as u64, ..asked },
        ];
        for other in others {
            assert!(answer(&other, || unreachable!("{other:?} was not asked")).is_none());
        }
    }

    #[test]
    fn a_thread_keeps_no_more_answers_than_it_has_places_for() {
        let text = Arc::new(*b"text");
        for policy in (0..50).map(|_| PolicyId::next()) {
            for after in 0..1_000 {
                let asked = question(policy, after);
                let make = || Response::new(Bytes::from_owner(Text(Arc::clone(&text))));
                assert!(answer(&asked, make).is_none());
                assert!(answer(&asked, make).is_some());
            }
        }
        assert_eq!(Arc::strong_count(&text), 1 + KEPT);
    }

    struct Text(Arc<[u8; 4]>);

    impl AsRef<[u8]> for Text {
        fn as_ref(&self) -> &[u8] {
            &*self.0
        }
    }
}
