//! What is done where there is too much to do: a limit on the requests under way, with a line before
//! it, and a throttle for upstreams that mostly say that they are busy.

use std::{future::Future, str::FromStr, time::Duration};

use buttress_core::{BoxError, ByStatus, SettingError, cause};
use buttress_limit::{
    ConcurrencyLimitLayer, Overloaded, ThrottleLayer, Throttling,
    concurrency::{self, Aimd, Gradient, Limit as MostAtOnce, Wait},
    overload::Fail,
    throttle::{self, Rule, Throttle},
};
use clap::{Args, value_parser};
use http::{Request, Response};
use http_body::Body;
use tower::{Layer, ServiceExt as _, service_fn};

use super::{Error, Limit, values::duration};

/// What is done where there is too much to do.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct OverloadArguments {
    /// Requests passed on at once at most, to all upstreams together, `aimd` or `gradient` to find
    /// out how many are well served, or `off`. Unlike --max-requests, which bounds what the gateway
    /// itself carries, and --max-in-flight, which bounds each upstream
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value = "off",
        env = "BUTTRESS_MAX_CONCURRENT"
    )]
    pub max_concurrent: Concurrent,

    /// Time that a request may wait for its turn under --max-concurrent, or `off` to answer 503 at
    /// once; one that would wait longer is not kept. It holds no place at an upstream meanwhile,
    /// which is what --queue-timeout is about
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "off",
        env = "BUTTRESS_MAX_CONCURRENT_WAIT"
    )]
    pub max_concurrent_wait: Limit,

    /// Requests that may wait for their turn under --max-concurrent
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 1024,
        env = "BUTTRESS_MAX_CONCURRENT_QUEUE",
        value_parser = value_parser!(u32).range(..=1_000_000)
    )]
    pub max_concurrent_queue: u32,

    /// Spare upstreams that mostly answer 429, 503 or 529: send this many times as many requests as
    /// they accept, such as 1.5, and answer the others with 503; or `off`. Unlike --max-hold, which
    /// goes to another upstream, this is for when all of them are busy
    #[arg(
        long,
        value_name = "K",
        allow_hyphen_values = true,
        default_value = "off",
        env = "BUTTRESS_THROTTLE"
    )]
    pub throttle: Spare,

    /// The oldest answers that --throttle goes by
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "30s",
        env = "BUTTRESS_THROTTLE_WINDOW",
        value_parser = duration
    )]
    pub throttle_window: Duration,
}

/// How many requests may be passed on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concurrent {
    /// As many as come.
    Off,
    /// This many.
    Most(usize),
    /// Found by what upstreams say, and by timeouts.
    Aimd,
    /// Found by how long upstreams take.
    Gradient,
}

impl FromStr for Concurrent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "aimd" => Ok(Self::Aimd),
            "gradient" => Ok(Self::Gradient),
            number => match number.parse() {
                Ok(most) if most > 0 => Ok(Self::Most(most)),
                _ => Err("not a number from 1, aimd, gradient or off"),
            },
        }
    }
}

impl Concurrent {
    fn limit(self) -> Result<MostAtOnce, SettingError> {
        match self {
            Self::Off => Ok(MostAtOnce::none()),
            Self::Most(most) => MostAtOnce::fixed(most),
            Self::Aimd => Ok(Aimd::new().into()),
            Self::Gradient => Ok(Gradient::new().into()),
        }
    }
}

/// How many times as many requests are sent as are accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spare(Option<f64>);

impl FromStr for Spare {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        text.trim().parse().map(Some).map(Self).map_err(|_| "not a number such as 1.5, or off")
    }
}

/// A service that a throttle stands before.
pub(crate) type Throttled<S> = Throttle<S, (), Fail, ByStatus, ()>;

/// What it answers with.
pub(crate) type ThrottledBody<B> = throttle::ResponseBody<B, ByStatus, ()>;

/// The throttle that the flags ask for. All that it is put before is judged together.
pub(crate) fn throttle(arguments: &OverloadArguments) -> Result<ThrottleLayer, Error> {
    let rule = Rule::new()
        .window(arguments.throttle_window)
        .map_err(|error| Error::setting("--throttle-window", error.reason()))?;
    let Some(k) = arguments.throttle.0 else { return Ok(ThrottleLayer::new(Throttling::off())) };
    let rule = rule.k(k).map_err(|error| Error::setting("--throttle", error.reason()))?;
    Ok(ThrottleLayer::new(Throttling::new(rule)))
}

/// What a request that has its place is answered with.
pub(crate) type ConcurrentBody<B> = concurrency::ResponseBody<B, ByStatus, ()>;

/// The limit on requests that are passed on.
#[derive(Clone, Debug)]
pub(crate) struct Concurrency(ConcurrencyLimitLayer<(), Fail>);

impl Concurrency {
    pub(crate) fn new(arguments: &OverloadArguments) -> Result<Self, Error> {
        let limit = arguments
            .max_concurrent
            .limit()
            .map_err(|error| Error::setting("--max-concurrent", error.reason()))?;
        let layer = ConcurrencyLimitLayer::outbound(concurrency::Concurrency::new(limit));
        let queue = usize::try_from(arguments.max_concurrent_queue).unwrap_or(usize::MAX);
        Ok(Self(match arguments.max_concurrent_wait.duration() {
            Some(longest) => layer.wait(Wait::fifo().max(longest).max_queue(queue)),
            None => layer.reject(),
        }))
    }

    /// Runs `send` once there is a place, which is kept until the answer has ended.
    pub(crate) async fn run<B, RB, S, F>(
        &self,
        request: Request<B>,
        send: S,
    ) -> Result<Response<ConcurrentBody<RB>>, BoxError>
    where
        RB: Body,
        S: Fn(Request<B>) -> F + Clone,
        F: Future<Output = Result<Response<RB>, BoxError>>,
    {
        self.0.layer(service_fn(send)).oneshot(request).await
    }
}

/// Whether an error says that a request was refused here, which is meant to be cheap.
pub(crate) fn is_refusal(error: &BoxError) -> bool {
    cause::<Overloaded>(&**error).is_some() || cause::<throttle::Throttled>(&**error).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_requests_a_way_to_find_it_or_off() {
        assert_eq!("8".parse(), Ok(Concurrent::Most(8)));
        assert_eq!(" Gradient".parse(), Ok(Concurrent::Gradient));
        assert_eq!("aimd".parse(), Ok(Concurrent::Aimd));
        assert_eq!("OFF".parse(), Ok(Concurrent::Off));
        for wrong in ["0", "-1", "auto", "1.5", ""] {
            assert!(wrong.parse::<Concurrent>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_factor_is_a_number_or_off() {
        assert_eq!("1.5".parse(), Ok(Spare(Some(1.5))));
        assert_eq!("off".parse(), Ok(Spare(None)));
        assert!("much".parse::<Spare>().is_err());
    }
}
