//! A policy: the quotas that hold for a key, all of them at once.

use std::sync::Arc;

use buttress_core::SettingError;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use sfv::{ItemSerializer, KeyRef, ListSerializer, StringRef};

use crate::{
    clock::seconds, cost::Cost, limiter::DeniedKind, meter::Meter, prepared::PolicyId, problem,
    quota::Quota,
};

/// How many windows a policy may have.
pub(crate) const WINDOWS: usize = 8;

/// The quotas that hold for a key. A request passes if it fits into every one of them, and is
/// charged to none if it does not.
///
/// ```
/// use buttress_limit::{Policy, Quota};
///
/// # fn main() -> Result<(), buttress_limit::SettingError> {
/// let policy = Policy::new([
///     Quota::per_minute(500)?,
///     Quota::per_day(10_000)?,
///     Quota::tokens_per_minute(200_000)?.strict()?,
/// ])?;
/// assert_eq!(policy.quotas().len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Policy(Arc<Terms>);

#[derive(Debug)]
struct Terms {
    quotas: Box<[Quota]>,
    meters: Box<[Meter]>,
    /// `RateLimit-Policy`, written once.
    field: Option<HeaderValue>,
    /// The names as strings of a structured field, and the problem of each window alone.
    names: Box<[String]>,
    problems: Box<[Bytes]>,
    bursts: Cost,
    id: PolicyId,
}

impl Policy {
    /// These quotas, all of them at once.
    ///
    /// # Errors
    ///
    /// If there is none, more than eight, or two of one name.
    pub fn new(quotas: impl IntoIterator<Item = Quota>) -> Result<Self, SettingError> {
        let quotas: Box<[Quota]> = quotas.into_iter().take(WINDOWS + 1).collect();
        let wrong = |reason: String| Err(SettingError::new("policy", reason));
        if quotas.is_empty() || quotas.len() > WINDOWS {
            return wrong(format!("not 1 to {WINDOWS} quotas"));
        }
        for (i, quota) in quotas.iter().enumerate() {
            if quotas[..i].iter().any(|other| other.name() == quota.name()) {
                return wrong(format!("two quotas named {:?}; give one another", quota.name()));
            }
        }
        let meters = quotas.iter().map(Quota::meter).collect::<Result<Box<[_]>, _>>()?;
        let mut bursts = Cost::full();
        for meter in &meters {
            let burst = meter.burst().min(bursts.of(meter.unit()));
            bursts = bursts.with(meter.unit(), u64::from(burst));
        }
        let id = PolicyId::next();
        let (field, names) = (field(&quotas), quotas.iter().filter_map(name).collect());
        let (status, kind) = (StatusCode::TOO_MANY_REQUESTS, DeniedKind::Quota);
        let problems =
            quotas.iter().map(|quota| problem::of(status, kind, [quota.name()])).collect();
        Ok(Self(Arc::new(Terms { quotas, meters, field, names, problems, bursts, id })))
    }

    /// The quotas, in the order in which they were given.
    #[must_use]
    pub fn quotas(&self) -> &[Quota] {
        &self.0.quotas
    }

    /// The most of each unit that one request may cost; what is not counted is without bound.
    #[must_use]
    pub fn most(&self) -> Cost {
        self.0.bursts
    }

    /// The same with smaller amounts, one for each quota; `None` if that is no policy.
    pub(crate) fn lowered(&self, amounts: impl Fn(&Quota) -> u32) -> Option<Self> {
        let quotas: Option<Vec<_>> =
            self.quotas().iter().map(|quota| quota.lowered(amounts(quota))).collect();
        Self::new(quotas?).ok()
    }

    /// Which one it is. No two that differ are the same.
    pub(crate) fn id(&self) -> PolicyId {
        self.0.id
    }

    pub(crate) fn meters(&self) -> &[Meter] {
        &self.0.meters
    }

    /// The value of `RateLimit-Policy`.
    pub(crate) fn field(&self) -> Option<&HeaderValue> {
        self.0.field.as_ref()
    }

    /// The names of the quotas, as strings of a structured field.
    pub(crate) fn names(&self) -> &[String] {
        &self.0.names
    }

    /// The problem of a request for which this window's quota is spent.
    pub(crate) fn problem(&self, window: usize) -> Bytes {
        self.0.problems.get(window).cloned().unwrap_or_default()
    }

    /// The TATs under this policy of a key that has `old` ones under `before`. A window goes on as
    /// the one of its name, else as the one that counts the same and is spent the most.
    pub(crate) fn convert(&self, tats: &mut [u64; WINDOWS], before: &Self, now: u64) {
        let old = *tats;
        *tats = [0; WINDOWS];
        let known = || before.quotas().iter().zip(before.meters()).zip(old);
        for ((quota, meter), tat) in self.quotas().iter().zip(self.meters()).zip(tats) {
            let same = known().find(|((other, _), _)| other.name() == quota.name());
            let converted =
                |((_, other), tat): ((&Quota, &Meter), u64)| meter.convert(other, tat, now);
            *tat = same.map_or_else(
                || {
                    let alike = known().filter(|((other, _), _)| other.unit() == quota.unit());
                    alike.map(converted).max().unwrap_or(0)
                },
                converted,
            );
        }
    }
}

/// What a limiter takes for a policy: a [`Policy`], or a single [`Quota`].
pub trait IntoPolicy {
    /// The policy.
    ///
    /// # Errors
    ///
    /// As [`Policy::new`].
    fn into_policy(self) -> Result<Policy, SettingError>;
}

impl IntoPolicy for Policy {
    fn into_policy(self) -> Result<Policy, SettingError> {
        Ok(self)
    }
}

impl IntoPolicy for Quota {
    fn into_policy(self) -> Result<Policy, SettingError> {
        Policy::new([self])
    }
}

/// `"per-minute"`. A name that no field can have is refused where the quota is named.
fn name(quota: &Quota) -> Option<String> {
    Some(ItemSerializer::new().bare_item(StringRef::from_str(quota.name()).ok()?).finish())
}

/// `"per-minute";q=60;w=60`, as the draft has it. Requests are the unit that goes without saying.
fn field(quotas: &[Quota]) -> Option<HeaderValue> {
    let keys = (KeyRef::from_str("q").ok()?, KeyRef::from_str("w").ok()?);
    let unit = KeyRef::from_str("qu").ok()?;
    let mut list = ListSerializer::new();
    for quota in quotas {
        let length = i64::try_from(seconds(quota.per())).ok()?;
        let length = sfv::Integer::try_from(length).ok()?;
        let item = list
            .bare_item(StringRef::from_str(quota.name()).ok()?)
            .parameter(keys.0, sfv::Integer::from(quota.amount()))
            .parameter(keys.1, length);
        if quota.unit() != crate::Unit::Requests {
            let _ = item.parameter(unit, StringRef::from_str(quota.unit().as_str()).ok()?);
        }
    }
    HeaderValue::from_str(&list.finish()?).ok()
}
