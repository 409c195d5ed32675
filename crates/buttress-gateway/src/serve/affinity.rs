//! Which requests meet the same upstream.

use std::str::FromStr;

use buttress::balance::HashKey as _;
use buttress::balance::key::{self, Affinity};
use clap::Args;
use http::Request;

use super::{Balance, Error, upload::RequestBody, values::Size};

/// The flags of the policies that go by a key.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct AffinityArguments {
    /// What `ring-hash` and `rendezvous` go by: `header:NAME`, `cookie:NAME`, `path`, or `body:SIZE`,
    /// the beginning of the body, so that prompts which begin alike meet the same upstream. It is
    /// waited for 100 ms from its first byte on, and a second in all; what is there by then is the key
    #[arg(long, value_name = "KEY", env = "BUTTRESS_HASH_KEY")]
    pub hash_key: Option<HashKey>,

    /// Requests at the upstream of a key at most, as a multiple of its share of all; `off` for no bound
    #[arg(
        long,
        value_name = "FACTOR",
        allow_hyphen_values = true,
        default_value = "1.25",
        env = "BUTTRESS_HASH_BOUND"
    )]
    pub hash_bound: Bound,
}

/// What a request is known by.
#[derive(Clone, Debug)]
pub struct HashKey(Source);

#[derive(Clone, Debug)]
enum Source {
    Header(key::Header),
    Cookie(key::Cookie),
    Path,
    Body(usize),
}

/// How much more than its share an upstream may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound(pub(crate) Option<f64>);

impl FromStr for HashKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "neither header:NAME, cookie:NAME, path nor body:SIZE";
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let source = match (kind, rest) {
            ("path", "") => Source::Path,
            ("header", name) => Source::Header(key::header(name).map_err(|e| e.to_string())?),
            ("cookie", name) => Source::Cookie(key::cookie(name).map_err(|e| e.to_string())?),
            ("body", size) => match size.parse::<Size>()?.bytes() {
                bytes @ 1..=MOST_PEEKED => Source::Body(bytes),
                _ => return Err("a body is looked at from 1 byte to 64KiB".to_owned()),
            },
            _ => return Err(SHAPE.to_owned()),
        };
        Ok(Self(source))
    }
}

/// The most of a body that is held back to be looked at.
const MOST_PEEKED: usize = 64 << 10;

impl FromStr for Bound {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        match text.trim().parse() {
            Ok(factor) if (1.0..=1_000.0).contains(&factor) => Ok(Self(Some(factor))),
            _ => Err("not a factor from 1 to 1000, or off"),
        }
    }
}

impl HashKey {
    /// The key for this way to balance; `None` if it goes by none.
    ///
    /// # Errors
    ///
    /// If it goes by one and there is none, or the other way about.
    pub(crate) fn of(arguments: &super::Arguments) -> Result<Option<Self>, Error> {
        let hashes = matches!(arguments.balance, Balance::RingHash | Balance::Rendezvous);
        match &arguments.affinity.hash_key {
            None if hashes => {
                let reason = "needs --hash-key: header:NAME, cookie:NAME, path or body:SIZE";
                Err(Error::setting("--balance", reason))
            }
            Some(_) if !hashes => {
                let reason = "is of use with --balance ring-hash or rendezvous";
                Err(Error::setting("--hash-key", reason))
            }
            key => Ok(key.clone()),
        }
    }

    /// Notes in the request which others it belongs to.
    pub(crate) async fn mark(&self, request: &mut Request<RequestBody>) {
        let key = match &self.0 {
            Source::Header(header) => header.hash_key(request).map(Affinity::new),
            Source::Cookie(cookie) => cookie.hash_key(request).map(Affinity::new),
            Source::Path => Some(Affinity::of(request.uri().path().as_bytes())),
            Source::Body(bytes) => {
                let prefix = request.body_mut().peek(*bytes).await;
                (!prefix.is_empty()).then(|| Affinity::of(&prefix))
            }
        };
        if let Some(key) = key {
            request.extensions_mut().insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_what_a_request_is_known_by() {
        for good in ["path", "header:x-session", "cookie:sid", "body:4KiB", "body:1"] {
            assert!(good.parse::<HashKey>().is_ok(), "{good}");
        }
        let bad =
            ["", "path:x", "header:", "header:a b", "cookie:", "body:0", "body:1MiB", "query"];
        for bad in bad {
            assert!(bad.parse::<HashKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bound_is_a_factor_or_off() {
        assert_eq!("1.5".parse(), Ok(Bound(Some(1.5))));
        assert_eq!("off".parse(), Ok(Bound(None)));
        for bad in ["0.9", "NaN", "inf", "", "many", "-1"] {
            assert!(bad.parse::<Bound>().is_err(), "{bad}");
        }
    }
}
