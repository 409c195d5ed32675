//! `HeldBody`, `Hold`, `Commit` and `Drain`: what becomes of a response before it is given on.

mod committing;
mod draining;
mod holding;
mod keeping;
mod support;
