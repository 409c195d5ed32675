//! The tests that see the whole workspace are in `tests/`; there is nothing to use here.
