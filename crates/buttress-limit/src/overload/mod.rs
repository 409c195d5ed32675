//! What the layers for overload have in common: the head of a request, the answer to a refused
//! call, a map with a bound for what is counted per key, and the watched response body.

mod answer;
mod body;
mod clock;
mod enforce;
mod keyed;

pub(crate) use self::{
    answer::Refusal,
    clock::{Clock, micros, wall},
    enforce::Enforce,
    keyed::{Keyed, Resting},
};
pub use crate::Head;

pub use self::{
    answer::{Answer, Bare, Deliver, Fail, Problem, Refuse},
    body::{Watch, WatchedBody},
};
