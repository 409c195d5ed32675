use super::Budget;

/// Tokens set aside for one retry.
///
/// Dropping it puts the tokens back, so that a call which is cancelled while it waits for its retry
/// costs nothing. [`spend`](Self::spend) it when the attempt goes out.
#[derive(Debug)]
#[must_use = "dropping a reservation puts its tokens back at once"]
pub struct Reservation {
    budget: Budget,
    milli: u64,
}

impl Reservation {
    pub(super) fn new(budget: Budget, milli: u64) -> Self {
        Self { budget, milli }
    }

    /// Uses the tokens up: the retry is being sent.
    pub fn spend(mut self) {
        self.milli = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.milli > 0 {
            self.budget.refund(self.milli);
        }
    }
}
