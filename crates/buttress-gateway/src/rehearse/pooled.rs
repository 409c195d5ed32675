//! The client of somebody who has a proxy: pooled connections to it, and nothing else.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{
    error::Error,
    nginx,
    route::{CallOutcome, Ending, Route},
};

/// Sends every call once, over pooled connections, to a proxy that sees to the rest.
///
/// Attempts are those that the proxy says it made.
#[derive(Clone, Debug)]
pub struct Pooled {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

impl Pooled {
    /// Calls the proxy at `address`.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if there is no such URL.
    pub fn new(address: SocketAddr) -> Result<Self, Error> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let uri = format!("http://{address}/v1/chat/completions")
            .parse()
            .map_err(|error: http::uri::InvalidUri| Error::Client(error.into()))?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), uri })
    }
}

impl Route for Pooled {
    async fn chat(&self, body: Bytes) -> CallOutcome {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let Ok(response) = self.client.request(request).await else {
            return CallOutcome::new(Ending::Broken, 1);
        };
        let status = response.status();
        let attempts = attempts(response.headers());
        let ending = match response.into_body().collect().await {
            Ok(_) if status == StatusCode::OK => Ending::Answered,
            Ok(_) => Ending::Refused,
            Err(_) => Ending::Broken,
        };
        CallOutcome::new(ending, attempts)
    }
}

/// How many endpoints the proxy asked. Where it had none left, it names the set instead of one.
fn attempts(headers: &HeaderMap) -> u32 {
    let asked = headers.get(nginx::ASKED).and_then(|asked| asked.to_str().ok());
    let asked = asked.map_or(1, |asked| {
        asked.split(',').filter(|endpoint| endpoint.trim() != nginx::SET).count()
    });
    u32::try_from(asked).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_the_endpoints_that_were_asked() {
        let asked = |value: &'static str| {
            attempts(&HeaderMap::from_iter([(nginx::ASKED, HeaderValue::from_static(value))]))
        };
        assert_eq!(asked("127.0.0.1:1"), 1);
        assert_eq!(asked("127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:1"), 3);
        assert_eq!(asked("127.0.0.1:1, api"), 1);
        assert_eq!(asked("api"), 0);
        assert_eq!(attempts(&HeaderMap::new()), 1);
    }
}
