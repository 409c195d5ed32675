//! The benchmark is in `benches/`; there is nothing to use here.
