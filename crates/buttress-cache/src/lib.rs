//! A streaming HTTP cache by RFC 9111 that knows prompts.
