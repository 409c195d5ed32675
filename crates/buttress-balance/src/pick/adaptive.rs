//! The endpoint that is expected to answer first.

use buttress_core::SettingError;

use super::{
    Candidate, HashKey, Pick, PickContext, cost,
    latencies::ByLatency,
    roster::{Reach, Roster},
};

/// Costs within this factor of the lowest are taken for equal to it: latencies are noisy, and the
/// same few endpoints would get everything while there is little to do.
const SLACK: f32 = 1.25;
/// An estimate that nothing confirms fades to 37 % in so many seconds.
const FADES_IN: f32 = 10.0;

/// Chooses the endpoint that is expected to answer first and well: the default.
///
/// The cost of a call is the average latency of the endpoint's good answers, times the calls that
/// would be in flight there with this one, divided by its success rate to the fourth power. The
/// lowest cost is chosen; what is within a quarter of it counts as equal, and chance decides, by
/// weight.
///
/// - An endpoint that fails fast gets less, not more: errors leave its latency alone, and at half of
///   its answers bad it costs sixteen times as much. A stray error costs next to nothing.
/// - One that is slow gets what is left over when the others are that much busier. Its estimate
///   fades (to 37 % in ten seconds), so that it is tried again now and then.
/// - One that was never asked is taken for as fast as the median of those that were.
///
/// Up to 16 endpoints are all looked at; of more, two are drawn by their weight and compared.
#[derive(Clone, Copy, Debug)]
pub struct Adaptive {
    reach: Reach,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

impl Adaptive {
    /// Looks at all of up to 16 endpoints, and at two of more.
    #[must_use]
    pub const fn new() -> Self {
        Self { reach: Reach::new(16) }
    }

    /// How many are drawn where not all are looked at. Default: 2.
    ///
    /// # Errors
    ///
    /// If it is below 2 or above 16.
    pub fn choices(self, choices: usize) -> Result<Self, SettingError> {
        Ok(Self { reach: self.reach.choices(choices)? })
    }

    /// Up to how many endpoints are all looked at; 0 draws always. Default: 16. Each costs some
    /// nanoseconds a call.
    ///
    /// # Errors
    ///
    /// If it is above 64.
    pub fn full_scan(self, endpoints: usize) -> Result<Self, SettingError> {
        Ok(Self { reach: self.reach.scan(endpoints)? })
    }
}

impl Pick for Adaptive {
    type Table = Roster;

    fn table(&self, candidates: &[Candidate]) -> Roster {
        Roster::of(candidates)
    }

    #[inline(always)]
    fn pick(&self, roster: &Roster, cx: &PickContext<'_>) -> Option<usize> {
        let now = cx.now();
        let rate = ByLatency {
            roster,
            latency: |candidate: &Candidate| {
                let (seconds, age) = candidate.node().latency().raw(now);
                cost::faded(seconds, age, FADES_IN)
            },
            penalty: |candidate: &Candidate| cost::dearer(candidate.success_rate(now)),
            slack: SLACK,
        };
        roster.cheapest(cx, self.reach, &rate)
    }
}

impl<Req> HashKey<Req> for Adaptive {}
