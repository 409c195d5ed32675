//! Names that never stall a call: cached, refreshed ahead, raced and served stale.
