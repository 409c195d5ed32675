//! What a request came to, by the `usage` in its answer.

use buttress_core::BodyEnd;
use http::{
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    response::Parts,
};
use serde::Deserialize;

use super::scan::Scanner;
use crate::{
    cost::{Cost, Unit},
    settle::{Settle, Settlement, Watch},
};

/// Settles by the `usage` in the answers of an OpenAI-compatible API: in the JSON of one that comes
/// whole, and in the events of one that is streamed (which have it if the request said
/// `"stream_options": {"include_usage": true}`).
///
/// The bytes pass unchanged, and the settlement waits for the end of the body. An answer that breaks
/// off, that the client leaves unread, that is compressed or has no `usage` leaves the request at
/// what it was charged. One with a status of 400 or more has cost no tokens.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct UsageSettle;

impl UsageSettle {
    /// With no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Settle for UsageSettle {
    fn answered(&self, head: &Parts, charged: &Cost) -> Settlement {
        if head.status.is_client_error() || head.status.is_server_error() {
            return Settlement::Now(with_tokens(charged, 0, 0, 0));
        }
        let encoding = head.headers.get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Settlement::Keep;
        }
        let kind = head.headers.get(CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
        let is = |name: &str| {
            kind.get(..name.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(name.as_bytes()))
        };
        if is("text/event-stream") {
            Settlement::Watch(Box::new(Reading { lines: Some(Line::Start), ..Reading::default() }))
        } else if is("application/json") {
            Settlement::Watch(Box::new(Reading::default()))
        } else {
            Settlement::Keep
        }
    }
}

/// The fields of a `usage`, by the names that the several APIs have for them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Usage {
    #[serde(default, alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(default, alias = "output_tokens")]
    completion_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
}

/// Where an event stream is within a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    Rest,
}

#[derive(Debug, Default)]
struct Reading {
    scanner: Scanner,
    /// `None` if the body is one JSON value.
    lines: Option<Line>,
    usage: Option<Usage>,
}

impl Reading {
    fn scan(&mut self, bytes: &[u8]) {
        let Self { scanner, usage, .. } = self;
        scanner.read(bytes, |found| {
            let Ok(found) = serde_json::from_slice::<Usage>(found) else { return };
            let sum = usage.get_or_insert_default();
            // An API that says it twice counts upwards.
            sum.prompt_tokens = sum.prompt_tokens.max(found.prompt_tokens);
            sum.completion_tokens = sum.completion_tokens.max(found.completion_tokens);
            sum.total_tokens = sum.total_tokens.max(found.total_tokens);
        });
    }
}

impl Watch for Reading {
    fn data(&mut self, bytes: &[u8]) {
        if self.lines.is_none() {
            return self.scan(bytes);
        }
        // The JSON of an event is one line; what a line before it left open does not reach into it.
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            if self.lines == Some(Line::Start) {
                self.scanner.reset();
            }
            self.scan(piece);
            let ended = matches!(piece.last(), Some(b'\n' | b'\r'));
            self.lines = Some(if ended { Line::Start } else { Line::Rest });
        }
    }

    fn end(&mut self, end: BodyEnd, charged: &Cost) -> Option<Cost> {
        let usage = self.usage.filter(|_| end == BodyEnd::Complete)?;
        let input = usage.prompt_tokens.unwrap_or(0);
        let output = usage.completion_tokens.unwrap_or(0);
        let total = usage.total_tokens.unwrap_or(0).max(input.saturating_add(output));
        (total > 0).then(|| with_tokens(charged, total, input, output))
    }
}

fn with_tokens(charged: &Cost, total: u64, input: u64, output: u64) -> Cost {
    charged
        .with(Unit::Tokens, total)
        .with(Unit::InputTokens, input)
        .with(Unit::OutputTokens, output)
}
