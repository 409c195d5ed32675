//! The choice of an upstream, as the flags say it.

use buttress::{
    SettingError,
    balance::{
        Adaptive, BalanceLayer, Candidate, EndpointSet, HashKey, Health, LearnedLimit,
        LeastRequest, Moment, NextUpstream, Observation, Once, PeakEwma, Pick, PickContext, Random,
        Rendezvous, Rewrite, RingHash, RoundRobin, SharedClient, key,
    },
};

use http::Request;

use super::{Arguments, Balance, Error, InFlightLimit};

/// The balancing layer of the gateway. Request bodies are streams, which only the retry layer
/// around it can send again, so it leaves going on to it.
pub(crate) type Layer = BalanceLayer<Choice, SharedClient, (), Once>;

/// The upstreams, for all the layers that use them.
pub(crate) fn set(arguments: &Arguments) -> Result<EndpointSet, Error> {
    let most = match arguments.max_in_flight {
        InFlightLimit::Most(most) => Some(most),
        InFlightLimit::Off | InFlightLimit::Auto => None,
    };
    let endpoints: Result<Vec<_>, SettingError> =
        arguments.upstreams.iter().map(|upstream| upstream.endpoint(most)).collect();
    endpoints
        .and_then(EndpointSet::new)
        .map_err(|error| Error::setting("--upstream", error.to_string()))
}

/// A call that all upstreams refused waits in line for its turn, which the retry layer takes it back to.
fn next() -> NextUpstream {
    NextUpstream::default().revisit()
}

/// The same layer for requests that the retry layer around it repeats whatever their method, calls to models
/// among them: they try an ejected upstream as soon as its time is up, where a `POST` would leave
/// that to others for another half of it. (With nothing but `POST`, there are no others.)
pub(crate) fn replayed(layer: Layer) -> Layer {
    layer.next_upstream(next().non_idempotent())
}

/// The layer over these upstreams.
///
/// A lone upstream is never left out and never spared: there is nowhere else to go.
pub(crate) fn layer(arguments: &Arguments, set: EndpointSet) -> Result<Layer, Error> {
    let mut health = Health::new()
        .max_fails(arguments.max_fails)
        .fail_timeout(arguments.fail_timeout)
        .map_err(|error| Error::setting("--fail-timeout", error.to_string()))?;
    health = match arguments.max_hold.duration() {
        Some(time) if set.len() > 1 => health.max_hold(time),
        _ => health.ignore_retry_after(),
    };
    let rewrite =
        if arguments.preserve_host { Rewrite::new().preserve_host() } else { Rewrite::new() };
    let waiting = usize::try_from(arguments.queue).unwrap_or(usize::MAX);
    let mut layer = BalanceLayer::new(set)
        .policy(choice(arguments)?)
        .health(health)
        .queue(waiting, arguments.queue_timeout)
        .next_upstream(next())
        .rewrite(rewrite)
        .without_failover();
    if arguments.max_in_flight == InFlightLimit::Auto {
        layer = layer.learned_limit(LearnedLimit::new());
    }
    Ok(if arguments.non_idempotent { replayed(layer) } else { layer })
}

/// The policy, with the bound of those that go by a key.
fn choice(arguments: &Arguments) -> Result<Choice, Error> {
    let refused = |error: SettingError| Error::setting("--hash-bound", error.to_string());
    let bound = arguments.affinity.hash_bound.0;
    Ok(match arguments.balance {
        Balance::Adaptive => Choice::Adaptive(Adaptive::new()),
        Balance::LeastRequest => Choice::LeastRequest(LeastRequest::new()),
        Balance::PeakEwma => Choice::PeakEwma(PeakEwma::new()),
        Balance::RoundRobin => Choice::RoundRobin(RoundRobin::new()),
        Balance::Random => Choice::Random(Random::new()),
        Balance::RingHash => {
            let policy = RingHash::new(key::extension());
            Choice::RingHash(match bound {
                Some(factor) => policy.bounded_load(factor).map_err(refused)?,
                None => policy,
            })
        }
        Balance::Rendezvous => {
            let policy = Rendezvous::new(key::extension());
            Choice::Rendezvous(match bound {
                Some(factor) => policy.bounded_load(factor).map_err(refused)?,
                None => policy,
            })
        }
    })
}

macro_rules! choices {
    ($($name:ident($policy:ty)),+) => {
        /// One of the policies, known only when the flags are read.
        #[derive(Clone, Debug)]
        pub(crate) enum Choice {
            $($name($policy)),+
        }

        /// What it has prepared.
        #[derive(Debug)]
        pub(crate) enum Table {
            $($name(<$policy as Pick>::Table)),+
        }

        impl Pick for Choice {
            type Table = Table;

            fn table(&self, candidates: &[Candidate]) -> Table {
                match self {
                    $(Self::$name(policy) => Table::$name(policy.table(candidates))),+
                }
            }

            fn pick(&self, table: &Table, cx: &PickContext<'_>) -> Option<usize> {
                match (self, table) {
                    $((Self::$name(policy), Table::$name(table)) => policy.pick(table, cx),)+
                    // A table is made by the policy that it is given to.
                    _ => None,
                }
            }

            fn observe(&self, endpoint: &Candidate, observation: &Observation, now: Moment) {
                match self {
                    $(Self::$name(policy) => policy.observe(endpoint, observation, now)),+
                }
            }
        }
    };
}

choices!(
    Adaptive(Adaptive),
    LeastRequest(LeastRequest),
    PeakEwma(PeakEwma),
    RoundRobin(RoundRobin),
    Random(Random),
    RingHash(RingHash<key::Extension>),
    Rendezvous(Rendezvous<key::Extension>)
);

impl<B> HashKey<Request<B>> for Choice {
    /// What was noted when the request came; nothing where no flag asks for it.
    fn hash_key(&self, request: &Request<B>) -> Option<u64> {
        key::extension().hash_key(request)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use buttress::balance::State;
    use bytes::Bytes;
    use clap::Parser;
    use http::{Response, StatusCode};
    use http_body_util::Full;
    use tower::{Layer as _, ServiceExt as _};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// After how long a `POST` is sent to an upstream that was ejected, where `POST` is all there is.
    async fn tried_after(flags: &[&str], change: impl FnOnce(Layer) -> Layer) -> Duration {
        let upstreams = ["x", "--upstream", "http://bad", "--upstream", "http://good"];
        let cli = Cli::parse_from(upstreams.iter().chain(flags));
        let set = set(&cli.arguments).unwrap();
        let inner = tower::service_fn(|request: Request<Full<Bytes>>| async move {
            let mut response = Response::new(Full::<Bytes>::default());
            if request.uri().host() == Some("bad") {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            Ok::<_, Infallible>(response)
        });
        let client = change(layer(&cli.arguments, set.clone()).unwrap()).layer(inner);
        let post = || {
            let request = Request::post("/v1/x").body(Full::default()).unwrap();
            client.clone().oneshot(request)
        };
        while set.snapshot()[0].state == State::InUse {
            drop(post().await);
        }
        let (ejected, before) = (tokio::time::Instant::now(), set.snapshot()[0].picks);
        while set.snapshot()[0].picks == before {
            assert!(ejected.elapsed() < Duration::from_secs(100));
            tokio::time::advance(Duration::from_millis(100)).await;
            drop(post().await);
        }
        ejected.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_repeated_bring_an_upstream_back_as_soon_as_its_time_is_up() {
        let flags = ["--balance", "round-robin", "--fail-timeout", "10s"];
        let soon = Duration::from_millis(8_900)..Duration::from_millis(11_200);
        let cautious = tried_after(&flags, |layer| layer).await;
        assert!(cautious > Duration::from_secs(13), "{cautious:?}");
        let replay = tried_after(&flags, replayed).await;
        assert!(soon.contains(&replay), "{replay:?}");
        let flags = [&flags[..], &["--non-idempotent"]].concat();
        let told = tried_after(&flags, |layer| layer).await;
        assert!(soon.contains(&told), "{told:?}");
    }
}
