//! What a request costs, unit by unit.

/// What a window counts.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens of a language model, those of the question and of the answer together.
    Tokens,
    /// Tokens of the question.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// Bytes of content.
    Bytes,
    /// Whatever you count.
    Custom1,
    /// Whatever else you count.
    Custom2,
    /// And one thing more.
    Custom3,
}

pub(crate) const UNITS: usize = 8;

impl Unit {
    pub(crate) const ALL: [Self; UNITS] = [
        Self::Requests,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Bytes,
        Self::Custom1,
        Self::Custom2,
        Self::Custom3,
    ];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// The name of the unit; where the IETF draft has registered one, that name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input-tokens",
            Self::OutputTokens => "output-tokens",
            Self::Bytes => "content-bytes",
            Self::Custom1 => "custom-1",
            Self::Custom2 => "custom-2",
            Self::Custom3 => "custom-3",
        }
    }
}

/// What a request costs, unit by unit. Windows that count what it has none of let it pass.
///
/// An amount beyond `u32::MAX` is counted as `u32::MAX`, which is more than any window holds.
///
/// ```
/// use buttress_limit::{Cost, Unit};
///
/// let cost = Cost::request().with(Unit::Tokens, 600);
/// assert_eq!((cost.of(Unit::Requests), cost.of(Unit::Tokens)), (1, 600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cost([u32; UNITS]);

impl Cost {
    /// Nothing: a request at this cost passes whatever the windows hold.
    pub const FREE: Self = Self([0; UNITS]);

    /// One request.
    #[must_use]
    pub const fn request() -> Self {
        let mut amounts = [0; UNITS];
        amounts[Unit::Requests.index()] = 1;
        Self(amounts)
    }

    /// The same with `amount` of `unit`.
    #[must_use]
    pub fn with(mut self, unit: Unit, amount: u64) -> Self {
        self.0[unit.index()] = u32::try_from(amount).unwrap_or(u32::MAX);
        self
    }

    /// The same with so many tokens, in and out together.
    #[must_use]
    pub fn tokens(self, amount: u64) -> Self {
        self.with(Unit::Tokens, amount)
    }

    /// How much of `unit`.
    #[must_use]
    pub const fn of(&self, unit: Unit) -> u32 {
        self.0[unit.index()]
    }

    /// Of each unit the smaller amount.
    #[must_use]
    pub fn at_most(mut self, most: &Self) -> Self {
        for (amount, most) in self.0.iter_mut().zip(most.0) {
            *amount = most.min(*amount);
        }
        self
    }

    pub(crate) const fn full() -> Self {
        Self([u32::MAX; UNITS])
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::request()
    }
}

/// Costs added up, as those of a line of waiters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum([u64; UNITS]);

impl Sum {
    pub(crate) fn add(&mut self, cost: &Cost) {
        for (sum, amount) in self.0.iter_mut().zip(cost.0) {
            *sum = sum.saturating_add(u64::from(amount));
        }
    }

    pub(crate) fn subtract(&mut self, cost: &Cost) {
        for (sum, amount) in self.0.iter_mut().zip(cost.0) {
            *sum = sum.saturating_sub(u64::from(amount));
        }
    }

    pub(crate) const fn of(&self, unit: Unit) -> u64 {
        self.0[unit.index()]
    }
}
