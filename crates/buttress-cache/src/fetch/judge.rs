//! Whether a response is stored.

use http::{HeaderMap, Response, StatusCode, header};

use super::{
    land::announced,
    sent::{Asked, Sent},
};
use crate::{
    Observer, clock,
    core::Core,
    look::Found,
    rfc::{
        Exchange, Refusal, Storable, completed, judge, judge_for, judge_prompt, strong_validator,
    },
};

impl<O: Observer> Core<O> {
    /// Whether a response is stored. `None` is one that is too large.
    pub(super) fn judge<B>(
        &self,
        sent: &Sent,
        asked: &Asked,
        response: &Response<B>,
    ) -> Result<Storable, Option<Refusal>> {
        let exchange = asked.exchange(response, clock::now());
        if announced(response.headers()).is_some_and(|length| length > self.settings.max_body) {
            return Err(None);
        }
        let part = response.status() == StatusCode::PARTIAL_CONTENT;
        if part && sent.fetch.stored.as_ref().is_some_and(|found| is_better(found, &exchange)) {
            return Err(Some(Refusal::Status));
        }
        // What a client that knows the rest was told is not all that there is to know.
        let headers = if part && asked.headers.contains_key(header::IF_RANGE) {
            Some(known(sent, response.headers()).ok_or(Some(Refusal::Status))?)
        } else {
            None
        };
        let response = headers.as_ref().unwrap_or(exchange.response);
        let exchange = Exchange { response, ..exchange };
        let profile = &self.settings.profile;
        match (sent.wanted.prompt, asked.ttl) {
            (Some(ttl), own) => judge_prompt(profile, &exchange, own.unwrap_or(ttl)),
            (None, Some(ttl)) => judge_for(profile, &exchange, ttl),
            (None, None) => judge(profile, &exchange),
        }
        .map_err(Some)
    }
}

/// Whether a stored whole is better than a part, which would take its place: unless it is known to be
/// old.
fn is_better(found: &Found, exchange: &Exchange<'_>) -> bool {
    let tags = [&found.entry.headers, exchange.response].map(strong_validator);
    let is_old = matches!(tags, [Some(stored), Some(new)] if stored != new);
    found.entry.status == StatusCode::OK && !is_old
}

/// The fields of a part with those that it leaves out (RFC 9110 section 15.3.7), if they are known from
/// what is stored of the same.
fn known(sent: &Sent, part: &HeaderMap) -> Option<HeaderMap> {
    let stored = [&sent.fetch.stored, &sent.look.found, &sent.look.part];
    stored.into_iter().flatten().find_map(|found| completed(&found.entry, part))
}
