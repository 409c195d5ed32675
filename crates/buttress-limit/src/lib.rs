//! Quotas that hold, in front of a server and in front of a provider.
