//! How many files this process may have open.

use super::{arguments::Plan, findings::Files};

/// Asks the system, and changes nothing.
pub(super) fn look(plan: &Plan) -> Files {
    let (allowed, at_most) = limits().unzip();
    Files { allowed, at_most, needed: plan.needed, pool: plan.pool }
}

#[cfg(unix)]
fn limits() -> Option<(u64, u64)> {
    rlimit::getrlimit(rlimit::Resource::NOFILE).ok()
}

#[cfg(not(unix))]
fn limits() -> Option<(u64, u64)> {
    None
}
