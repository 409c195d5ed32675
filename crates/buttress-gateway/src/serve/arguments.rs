//! The command line of `buttress serve`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::FalseyValueParser, value_parser};

use super::{
    CacheArguments, Forwarded, Limits, Names, OverloadArguments, Upstream,
    affinity::AffinityArguments,
    values::{Address, InFlightLimit, Limit, Size, count, duration, percent, workers},
};

/// Pass requests on to upstreams, and keep them standing when one stalls.
///
/// A reverse proxy: any HTTP client works through it by changing the base URL. Bodies pass
/// unchanged, as they come. A request that fails is made again where that is safe, at another
/// upstream if there is one.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Arguments {
    /// Address to listen on; port 0 takes a free one. Whoever can reach it can use the gateway
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080",
        env = "BUTTRESS_LISTEN"
    )]
    pub listen: Address,

    /// Where requests go: `http://HOST:PORT` or `https://HOST`, with a path to put before theirs;
    /// more than one, here or divided by spaces, share them. After a URL may stand `,weight=5`,
    /// `,max-in-flight=60` and `,backup`
    #[arg(
        long = "upstream",
        value_name = "URL",
        required = true,
        value_delimiter = ' ',
        env = "BUTTRESS_UPSTREAM",
        hide_env_values = true
    )]
    pub upstreams: Vec<Upstream>,

    /// How the upstream of a request is chosen
    #[arg(long, value_enum, default_value_t, env = "BUTTRESS_BALANCE")]
    pub balance: Balance,

    /// What the policies that go by a key go by
    #[command(flatten)]
    pub affinity: AffinityArguments,

    /// Failures in a row after which an upstream is left out, more if all fail; 0 for never
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 3,
        env = "BUTTRESS_MAX_FAILS",
        value_parser = value_parser!(u32).range(..=1000)
    )]
    pub max_fails: u32,

    /// Time for which it is left out, longer if it goes on failing; then one request tries it
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "30s",
        env = "BUTTRESS_FAIL_TIMEOUT",
        value_parser = duration
    )]
    pub fail_timeout: Duration,

    /// Longest time for which an upstream that says Retry-After is spared while there are others
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "5s",
        env = "BUTTRESS_MAX_HOLD"
    )]
    pub max_hold: Limit,

    /// Requests at each upstream at once at most, `auto` to learn how many it takes, or `off`
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value = "off",
        env = "BUTTRESS_MAX_IN_FLIGHT"
    )]
    pub max_in_flight: InFlightLimit,

    /// Requests that may wait in line for a place at an upstream; 0 turns them away at once
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 1024,
        env = "BUTTRESS_QUEUE",
        value_parser = value_parser!(u32).range(..=1_000_000)
    )]
    pub queue: u32,

    /// Time that a request may wait in line
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "10s",
        env = "BUTTRESS_QUEUE_TIMEOUT",
        value_parser = duration
    )]
    pub queue_timeout: Duration,

    /// Start even if no upstream can be reached yet
    #[arg(long, env = "BUTTRESS_NO_CHECK", value_parser = FalseyValueParser::new())]
    pub no_check: bool,

    /// Which requests are made again, and when
    #[arg(long, value_enum, default_value_t, env = "BUTTRESS_POLICY")]
    pub policy: Policy,

    /// Also make requests again that may have been processed, a POST whose connection broke included
    #[arg(long, env = "BUTTRESS_NON_IDEMPOTENT", value_parser = FalseyValueParser::new())]
    pub non_idempotent: bool,

    /// Attempts for a request at most, the first included [default: 6 for llm, 3 for http]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        env = "BUTTRESS_ATTEMPTS",
        value_parser = value_parser!(u32).range(1..=100)
    )]
    pub attempts: Option<u32>,

    /// Longest wait before the second attempt; it doubles from there [default: 500ms, 50ms]
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "BUTTRESS_BACKOFF_MIN",
        value_parser = duration
    )]
    pub backoff_min: Option<Duration>,

    /// Longest wait before any attempt, unless the upstream asks for more [default: 8s, 10s]
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        env = "BUTTRESS_BACKOFF_MAX",
        value_parser = duration
    )]
    pub backoff_max: Option<Duration>,

    /// Retries at most, as a percentage of the requests that succeed; beyond it they wait in line
    #[arg(
        long,
        value_name = "PERCENT",
        allow_hyphen_values = true,
        default_value_t = 20.0,
        env = "BUTTRESS_RETRY_BUDGET",
        value_parser = percent
    )]
    pub retry_budget: f64,

    /// Bytes of an upload kept, so that it can be sent again; a longer one is sent once
    #[arg(
        long,
        value_name = "SIZE",
        allow_hyphen_values = true,
        default_value = "8MiB",
        env = "BUTTRESS_MAX_BODY_REPLAY"
    )]
    pub max_body_replay: Size,

    /// Bytes of all uploads together that are kept at a time; beyond it uploads are sent once. As many
    /// again may be read ahead for `--upstream-tpm`; beyond it requests are judged by their length
    #[arg(long, value_name = "SIZE", default_value = "256MiB", env = "BUTTRESS_REPLAY_MEMORY")]
    pub replay_memory: Size,

    /// Time for a request until its answer begins, all attempts and waits together, or `off`
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "10m",
        env = "BUTTRESS_DEADLINE"
    )]
    pub deadline: Limit,

    /// Time for one attempt until its answer begins, or `off`
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "off",
        env = "BUTTRESS_ATTEMPT_TIMEOUT"
    )]
    pub attempt_timeout: Limit,

    /// Time to connect to the upstream: name lookup, TCP and TLS together
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "5s",
        env = "BUTTRESS_CONNECT_TIMEOUT",
        value_parser = duration
    )]
    pub connect_timeout: Duration,

    /// Time for the upstream to begin its answer, or `off`
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "10m",
        env = "BUTTRESS_FIRST_BYTE_TIMEOUT"
    )]
    pub first_byte_timeout: Limit,

    /// Time for which the upstream may be silent within an answer, or `off`
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "5m",
        env = "BUTTRESS_IDLE_READ_TIMEOUT"
    )]
    pub idle_read_timeout: Limit,

    /// How the upstreams' names are looked up.
    #[command(flatten)]
    pub names: Names,

    /// PEM file of certificate authorities to trust besides the system's
    #[arg(long, value_name = "FILE", env = "BUTTRESS_UPSTREAM_CA")]
    pub upstream_ca: Option<PathBuf>,

    /// Version of HTTP to speak to the upstream
    #[arg(long, value_enum, default_value_t, env = "BUTTRESS_UPSTREAM_PROTOCOL")]
    pub upstream_protocol: Protocol,

    /// Send the client's Host on instead of the upstream's; the upstream is spoken to in HTTP/1.1
    #[arg(long, env = "BUTTRESS_PRESERVE_HOST", value_parser = FalseyValueParser::new())]
    pub preserve_host: bool,

    /// What is kept of answers.
    #[command(flatten)]
    pub cache: CacheArguments,

    /// What X-Forwarded-For, -Host and -Proto tell the upstream about the client
    #[arg(long, value_enum, default_value_t, env = "BUTTRESS_FORWARDED")]
    pub forwarded: Forwarded,

    /// Client connections at most; the next ones wait to be accepted
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 10_000,
        env = "BUTTRESS_MAX_CONNECTIONS",
        value_parser = count
    )]
    pub max_connections: usize,

    /// Requests under way at most; the next ones are answered with 503
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value_t = 10_000,
        env = "BUTTRESS_MAX_REQUESTS",
        value_parser = count
    )]
    pub max_requests: usize,

    /// What is done where there is too much to do.
    #[command(flatten)]
    pub overload: OverloadArguments,

    /// Time for a client to send the head of its next request, idle connections included
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "60s",
        env = "BUTTRESS_HEADER_TIMEOUT",
        value_parser = duration
    )]
    pub header_timeout: Duration,

    /// Threads that carry requests; 1 is a single thread [default: one for each processor]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        env = "BUTTRESS_WORKERS",
        value_parser = workers
    )]
    pub workers: Option<usize>,

    /// Time to finish what is under way after Ctrl-C or SIGTERM; a second signal exits at once
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        default_value = "30s",
        env = "BUTTRESS_DRAIN_TIMEOUT",
        value_parser = duration
    )]
    pub drain_timeout: Duration,

    /// Limits on clients and on what the upstreams are sent.
    #[command(flatten)]
    pub limits: Limits,
}

/// How the upstream of a request is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Balance {
    /// By how fast it answers, how much it has to do, and how often it fails
    #[default]
    Adaptive,
    /// The one with the fewest requests under way for its weight (`least_conn`)
    LeastRequest,
    /// By its slowest answers of late, and how much it has to do
    PeakEwma,
    /// In turn, by weight
    RoundRobin,
    /// By chance, by weight
    Random,
    /// The same upstream for the same --hash-key, by points on a circle
    RingHash,
    /// The same upstream for the same --hash-key, the most even way for few upstreams
    Rendezvous,
}

/// Which requests are made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Policy {
    /// `llm` for paths under /v1/, `http` for the others; with --cache their answers are taken as they
    /// are, and a request is made again only if it had none
    #[default]
    Auto,
    /// After a 429 or 503 nothing was processed, so a POST goes again too
    Llm,
    /// Idempotent requests, and any request of which nothing was sent
    Http,
    /// None
    Off,
}

/// Which version of HTTP is spoken to the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/2 where TLS agrees on it, HTTP/1.1 otherwise
    #[default]
    Auto,
    /// HTTP/1.1 only
    Http1,
    /// HTTP/2 from the first byte, also without TLS
    Http2,
}
