//! What is known of names, and how it is learned.

mod entry;
mod flight;
mod half;
mod rules;
mod sides;
mod table;

pub(crate) use self::{
    entry::{Decision, Entry, Errand},
    flight::{Flight, Want},
    rules::Rules,
    table::Table,
};
