//! Nothing but a place for the benchmarks to stand.
