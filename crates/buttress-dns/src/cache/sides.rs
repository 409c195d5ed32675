//! The two sides of an answer, as they come.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{Answer, Family, Learned, Side};

/// Those sides of an answer that are still to come.
#[derive(Debug)]
pub(super) struct Sides {
    v4: Option<Side>,
    v6: Option<Side>,
}

impl Sides {
    /// The sides of `answer` that `wanted` picks.
    pub(super) fn new(answer: Answer, wanted: impl Fn(Family, &Side) -> bool) -> Self {
        let (v4, v6) = answer.into_sides();
        Self {
            v4: Some(v4).filter(|side| wanted(Family::V4, side)),
            v6: Some(v6).filter(|side| wanted(Family::V6, side)),
        }
    }

    /// The families that have not come yet.
    pub(super) fn missing(&self) -> impl Iterator<Item = Family> + use<> {
        let v4 = self.v4.is_some().then_some(Family::V4);
        v4.into_iter().chain(self.v6.is_some().then_some(Family::V6))
    }

    /// Whether one is missing, and it is here.
    pub(super) fn has_more(&self) -> bool {
        self.v4.iter().chain(&self.v6).any(Side::is_here)
    }

    /// The next side that comes; none if all have come. Losing the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<(Family, Learned)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Family, Learned)>> {
        for (family, slot) in [(Family::V4, &mut self.v4), (Family::V6, &mut self.v6)] {
            let Some(side) = slot else { continue };
            if let Poll::Ready(learned) = Pin::new(side).poll(cx) {
                *slot = None;
                return Poll::Ready(Some((family, learned)));
            }
        }
        if self.v4.is_none() && self.v6.is_none() { Poll::Ready(None) } else { Poll::Pending }
    }
}
