//! The rules of RFC 9111 and its relatives: what may be stored, for how long, and for whom.
//!
//! Nothing here does I/O or asks for the time. [`judge`] says whether a response is stored and turns
//! its head into a [`Policy`]; [`decide`](fn@decide) says what a stored response is worth to a request;
//! [`freshen`](fn@freshen) brings it up to date.

mod conditional;
mod date;
mod decide;
mod directives;
mod freshen;
mod invalidate;
mod join;
mod kept;
mod list;
mod parts;
mod policy;
mod profile;
mod range;
mod request;
mod status;
mod storing;
mod vary;

pub(crate) use self::{
    conditional::{
        MOST_TAGS, date_of, date_stands, fits, names_own, not_modified, offered, select, validate,
        validate_any,
    },
    invalidate::{is_safe, named_in, targets},
    join::{Joined, Rest, completed, fit, promote, tags_of},
    kept::withheld_until_confirmed,
    parts::{Held, gives_way, same_bytes, strong_validator},
    range::{Served, serve},
    status::{CacheStatus, Forwarded},
    storing::{judge_for, judge_prompt},
};
pub use self::{
    decide::{Decision, Staleness, decide},
    directives::{Delta, Directives, Extent},
    freshen::{Freshened, freshen, head_update},
    join::combine,
    policy::{Flags, Policy},
    profile::{Audience, Profile, SetCookie},
    request::Ask,
    storing::{Exchange, Refusal, Storable, judge},
    vary::Vary,
};
