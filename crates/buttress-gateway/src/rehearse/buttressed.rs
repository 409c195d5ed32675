//! The client made of the Buttress layers.

use std::io;

use buttress::{BoxError, Client};
use buttress_core::{Attempts, AttemptsFailed, cause};
use buttress_retry::{ReplayLimits, RetryLayer};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;

use super::{
    error::Error,
    path::Path,
    route::{CallOutcome, Ending, Route},
};

/// A [`Client`] as it comes: pooled connections, and the retry policy for LLM APIs.
#[derive(Clone, Debug)]
pub struct Buttressed {
    client: Client,
    uri: Uri,
}

impl Buttressed {
    /// Calls the API at `host` and `port`; each new connection goes along `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if there is no such URL, or the client refuses its settings.
    pub fn new(path: Path, host: &str, port: u16) -> Result<Self, Error> {
        let client = Client::builder()
            .resolver(path)
            .retry(RetryLayer::llm().map_policy(|policy| policy.replay(ReplayLimits::new())))
            .build()
            .map_err(|error| Error::Client(error.into()))?;
        let uri = format!("http://{host}:{port}/v1/chat/completions")
            .parse()
            .map_err(|error: http::uri::InvalidUri| Error::Client(error.into()))?;
        Ok(Self { client, uri })
    }

    fn request(&self, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        request
    }
}

impl Route for Buttressed {
    async fn chat(&self, body: Bytes) -> CallOutcome {
        let answer = self.client.send(self.request(body)).await;
        let attempts = attempts(&answer);
        let ending = match answer {
            Ok(response) if response.status() == StatusCode::OK => {
                match response.into_body().collect().await {
                    Ok(_) => Ending::Answered,
                    Err(_) => Ending::Broken,
                }
            }
            Err(error) if is_broken(&error) => Ending::Broken,
            Ok(_) | Err(_) => Ending::Refused,
        };
        CallOutcome::new(ending, attempts)
    }
}

/// Whether a socket or the protocol failed; the layers' own limits are refusals.
fn is_broken(error: &BoxError) -> bool {
    cause::<io::Error>(&**error).is_some() || cause::<hyper::Error>(&**error).is_some()
}

/// How many attempts it took. A call that took one carries no count.
fn attempts<B>(answer: &Result<Response<B>, BoxError>) -> u32 {
    let counted = match answer {
        Ok(response) => response.extensions().get::<Attempts>(),
        Err(error) => cause::<AttemptsFailed>(&**error).map(AttemptsFailed::attempts),
    };
    counted.map_or(1, Attempts::made)
}
