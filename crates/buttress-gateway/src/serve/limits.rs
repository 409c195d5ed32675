//! How many requests a client may make, and how many an upstream is sent: flags and what they do.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use buttress::limit::{
    self, Answer as LimitAnswer, Ask, ClientIp, Cost, Credential, Denied, DeniedKind, Estimate,
    Global, Head, Key, Limiter, Local, PeerAddr, Policy, Quota, RateLimitLayer, RequestKey,
    Respond, SettingError, Standard, UsageSettle,
};
use bytes::Bytes;
use clap::{Args, ValueEnum, builder::FalseyValueParser, value_parser};
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;

use super::{Error, answer::Answer, values::duration};

/// Limits on clients and on what the upstreams are sent.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Requests that each client may make: `60/minute`, `10/s`, `1000/day`; more than one, here or
    /// divided by spaces, hold together. The next ones are answered with 429
    #[arg(
        long = "limit",
        value_name = "RATE",
        allow_hyphen_values = true,
        value_delimiter = ' ',
        env = "BUTTRESS_LIMIT"
    )]
    pub limits: Vec<Rate>,

    /// Requests that a client may make at once [default: all of the limit]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        env = "BUTTRESS_LIMIT_BURST",
        value_parser = value_parser!(u32).range(1..=1_000_000_000)
    )]
    pub limit_burst: Option<u32>,

    /// What a client is known by
    #[arg(long, value_enum, default_value_t, env = "BUTTRESS_LIMIT_KEY")]
    pub limit_key: LimitKey,

    /// Only log who would have been refused
    #[arg(long, env = "BUTTRESS_LIMIT_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub limit_dry_run: bool,

    /// Proxy in front of the gateway whose X-Forwarded-For says who the client is: a network such as
    /// 10.0.0.0/8 or an address; more than one, here or divided by spaces
    #[arg(
        long = "trusted-proxy",
        value_name = "CIDR",
        value_delimiter = ' ',
        env = "BUTTRESS_TRUSTED_PROXY"
    )]
    pub trusted_proxies: Vec<String>,

    /// Requests that the upstreams are sent in a minute at most; the next ones wait in line. Fewer
    /// for a while where a single upstream says by its headers that it allows less
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        env = "BUTTRESS_UPSTREAM_RPM",
        value_parser = value_parser!(u32).range(1..=1_000_000_000)
    )]
    pub upstream_rpm: Option<u32>,

    /// Tokens that they are sent and send in a minute at most: estimated by the length of a request and the
    /// `max_tokens` in it, for which JSON is read up to 1 MiB and 5 s before it is sent; put right by the
    /// `usage` in the answer
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        env = "BUTTRESS_UPSTREAM_TPM",
        value_parser = value_parser!(u32).range(1..=1_000_000_000)
    )]
    pub upstream_tpm: Option<u32>,

    /// Time that a request may wait for that; one that would have to wait longer is answered with 429
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "30s",
        env = "BUTTRESS_UPSTREAM_MAX_WAIT",
        value_parser = duration
    )]
    pub upstream_max_wait: Duration,

    /// Requests that may wait for that at once
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 1000,
        env = "BUTTRESS_UPSTREAM_MAX_QUEUE",
        value_parser = value_parser!(u32).range(..=1_000_000)
    )]
    pub upstream_max_queue: u32,
}

/// What a client is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum LimitKey {
    /// Its address; of IPv6, its /64
    #[default]
    Ip,
    /// Its `Authorization` or API key, which is not checked; without one its address
    Credential,
}

/// So many requests in so much time, such as `60/minute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate(Quota);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "not a rate such as 60/minute, 10/s or 1000/day";
        let (amount, unit) = text.trim().split_once('/').ok_or(SHAPE)?;
        // nginx writes 10r/s.
        let amount = amount.trim().trim_end_matches('r').parse().map_err(|_| SHAPE)?;
        let quota = match unit.trim().to_ascii_lowercase().as_str() {
            "s" | "sec" | "second" => Quota::per_second(amount),
            "m" | "min" | "minute" => Quota::per_minute(amount),
            "h" | "hour" => Quota::per_hour(amount),
            "d" | "day" => Quota::per_day(amount),
            _ => return Err(SHAPE.to_owned()),
        };
        quota.map(Self).map_err(|error| error.reason().to_owned())
    }
}

/// For `map_err`: names the flag that a setting came from.
fn flag(name: &'static str) -> impl Fn(SettingError) -> Error {
    move |error| Error::setting(name, error.reason())
}

/// The limit on each client, if there is one.
pub(crate) struct Inbound {
    limit: Option<Local>,
    client: ClientIp,
    key: LimitKey,
    dry_run: bool,
}

impl Inbound {
    /// # Errors
    ///
    /// If a setting cannot be used; the error names the flag.
    pub(crate) fn new(limits: &Limits) -> Result<Self, Error> {
        let client = ClientIp::behind(&limits.trusted_proxies).map_err(flag("--trusted-proxy"))?;
        let mut quotas: Vec<Quota> = limits.limits.iter().map(|rate| rate.0.clone()).collect();
        match (quotas.as_mut_slice(), limits.limit_burst) {
            (_, None) => {}
            ([quota], Some(burst)) => {
                let quota_with = quota.clone().burst(u64::from(burst));
                *quota = quota_with.map_err(flag("--limit-burst"))?;
            }
            (quotas, Some(_)) => {
                let reason = format!("it needs one --limit, and there are {}", quotas.len());
                return Err(Error::setting("--limit-burst", reason));
            }
        }
        let limit = match quotas.is_empty() {
            true => None,
            false => Some(Policy::new(quotas).and_then(Local::new).map_err(flag("--limit"))?),
        };
        Ok(Self { limit, client, key: limits.limit_key, dry_run: limits.limit_dry_run })
    }

    /// The answer to a client that has used its limit up.
    pub(crate) fn refuse<B>(
        &self,
        request: &mut Request<B>,
        peer: SocketAddr,
    ) -> Option<Response<Full<Bytes>>> {
        let limit = self.limit.as_ref()?;
        request.extensions_mut().insert(PeerAddr::new(peer));
        let head = Head::of(request);
        let address = || self.client.key(&head).unwrap_or(Key::MISSING);
        let key = match self.key {
            LimitKey::Ip => address(),
            LimitKey::Credential => Credential::new().key(&head).unwrap_or_else(address),
        };
        let denied = limit.try_acquire(&Ask::new(key, Cost::request()))?.err()?;
        if self.dry_run {
            let client = self.client.address(&head).map(tracing::field::display);
            tracing::info!(client, "would have been refused by --limit");
            return None;
        }
        let message = "the client has made as many requests as it may; see Retry-After";
        let refusal = Respond::<Full<Bytes>>::respond(&Standard::default(), &denied, &head);
        Some(dress(refusal, "rate_limited", message).map(|answer| match answer {
            LimitAnswer::Text(text) => Full::new(text),
            LimitAnswer::Body(body) => body,
            _ => Full::default(),
        }))
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The layer that holds back what the upstreams are sent. Without a limit everything passes.
pub(crate) type Outbound = RateLimitLayer<Local, Global, Refusal>;

/// Where there are several upstreams, what one of them says of its quota holds nobody back: the
/// balancer spares that one.
///
/// # Errors
///
/// If a setting cannot be used; the error names the flag.
pub(crate) fn outbound(limits: &Limits, upstreams: usize) -> Result<Outbound, Error> {
    let mut quotas = Vec::new();
    if let Some(requests) = limits.upstream_rpm {
        let quota = Quota::per_minute(u64::from(requests)).and_then(Quota::strict);
        quotas.push(quota.map_err(flag("--upstream-rpm"))?);
    }
    if let Some(tokens) = limits.upstream_tpm {
        let quota = Quota::tokens_per_minute(u64::from(tokens)).and_then(Quota::strict);
        quotas.push(quota.map_err(flag("--upstream-tpm"))?);
    }
    let setting = flag("--upstream-rpm");
    if quotas.is_empty() {
        let unused = Quota::per_second(1).and_then(Local::new).map_err(setting)?;
        return Ok(RateLimitLayer::outbound(unused).reject().exempt(|_| true).responder(Refusal));
    }
    let policy = Policy::new(quotas).map_err(&setting)?;
    let (most, estimate) = (policy.most(), Estimate::new());
    let layer = RateLimitLayer::outbound(Local::new(policy).map_err(&setting)?)
        .wait(limits.upstream_max_wait)
        .max_queue(usize::try_from(limits.upstream_max_queue).unwrap_or(usize::MAX))
        .cost(move |head| estimate.cost(head))
        .max_cost(most)
        .settle(UsageSettle::new());
    let layer = if upstreams > 1 { layer.ignore_upstream() } else { layer };
    Ok(layer.responder(Refusal))
}

/// What an upstream answers with, read along where its tokens are counted.
pub(crate) type Limited<B> = limit::ResponseBody<B>;

/// Answers requests that would have to wait too long for an upstream's limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal;

/// Tells the retry layer that a refusal of the gateway's own is final: it has waited already.
const SHOULD_RETRY: &str = "x-should-retry";

impl<B> Respond<B> for Refusal {
    fn respond(&self, denied: &Denied, head: &Head<'_>) -> Response<LimitAnswer<B>> {
        let message = match denied.kind() {
            DeniedKind::QueueFull => "too many requests wait for the upstream's limit",
            DeniedKind::CostTooLarge => "the request is larger than the upstream's limit",
            _ => "the wait for the upstream's limit would be too long; see Retry-After",
        };
        let refusal = Standard::default().respond(denied, head);
        let mut refusal = dress(refusal, "upstream_rate_limited", message);
        refusal.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        refusal
    }
}

/// Takes away what was meant for the retry layer. The client may well try again.
pub(crate) fn undress<B>(mut response: Response<B>) -> Response<B> {
    if response.extensions().get::<Denied>().is_some() {
        response.headers_mut().remove(SHOULD_RETRY);
    }
    response
}

/// The refusal with a body as the gateway's other answers have it. What gRPC reads stays.
fn dress<B>(
    refusal: Response<LimitAnswer<B>>,
    code: &'static str,
    message: &'static str,
) -> Response<LimitAnswer<B>> {
    let (mut head, body) = refusal.into_parts();
    if head.status == StatusCode::OK {
        return Response::from_parts(head, body);
    }
    let body = LimitAnswer::Text(Answer::limited(head.status, code, message).into_json());
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        for (text, quota) in [
            ("60/minute", Quota::per_minute(60)),
            ("10r/s", Quota::per_second(10)),
            (" 5 / Hour ", Quota::per_hour(5)),
            ("1000/day", Quota::per_day(1_000)),
        ] {
            assert_eq!(text.parse(), Ok(Rate(quota.unwrap())), "{text}");
        }
        for bad in ["", "60", "/s", "60/", "60/week", "-1/s", "0/s", "1.5/s", "9999999999/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
