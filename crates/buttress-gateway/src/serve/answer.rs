//! The answers that are the gateway's own: what it refuses and what went wrong.
//!
//! An upstream's answer, whatever its status, is never replaced by one of these. They say what
//! happened and no more: no address, no error text, nothing of the request.

use std::time::Duration;

use buttress::balance::{BalanceError, BalanceErrorKind};
use buttress_core::{BoxError, Outcome, Phase, TimedOut, cause};
use buttress_limit::Throttled;
use buttress_retry::QueueFull;
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::Full;
use serde::Serialize;

use super::{exchange::Overloaded, upload::RequestBodyFailed};

/// The methods that are passed on; others that the upstream may know are too.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// One of the gateway's own answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Whole seconds; told where the status is 503.
    retry_after: u64,
}

impl Answer {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: 1 }
    }

    /// Says when to come back: rounded up, so that nobody who obeys comes too early.
    fn after(self, time: Duration) -> Self {
        let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
        Self { retry_after: seconds.max(1), ..self }
    }

    /// 200: the request may be forwarded no further and ends here (RFC 9110 section 7.6.2).
    pub(crate) fn last_hop() -> Self {
        Self::new(StatusCode::OK, "", "")
    }

    /// 400: the request is not one that HTTP allows.
    pub(crate) fn invalid(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 421: the target is of another scheme than what is served here.
    pub(crate) fn misdirected() -> Self {
        let message = "only http targets are served here";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", message)
    }

    /// 501: the gateway does not do this.
    pub(crate) fn not_implemented(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message)
    }

    /// 502: the upstream's answer cannot be passed on.
    pub(crate) fn bad_gateway(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "upstream_invalid", message)
    }

    /// 429, or whatever a limit answers with.
    pub(crate) fn limited(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self::new(status, code, message)
    }

    /// 503: as many requests are under way as the gateway was told to carry.
    pub(crate) fn overloaded() -> Self {
        let message = "the gateway carries as many requests as it may; try again shortly";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "gateway_overloaded", message)
    }

    /// 503: the upstream mostly says that it is busy, and is spared.
    fn throttled() -> Self {
        let message = "the upstream mostly says that it is busy; the request was not sent";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_busy", message)
    }

    /// 508: the request has been here before.
    pub(crate) fn circle() -> Self {
        let message = "the request goes in circles: it has passed this gateway too often";
        Self::new(StatusCode::LOOP_DETECTED, "loop_detected", message)
    }

    /// What a failed call to the upstream means to the client.
    pub(crate) fn of_error(error: &BoxError) -> Self {
        if cause::<RequestBodyFailed>(&**error).is_some() {
            return Self::invalid("the request body broke off or was malformed");
        }
        let refused =
            cause::<Overloaded>(&**error).is_some() || cause::<QueueFull>(&**error).is_some();
        if refused {
            return Self::overloaded();
        }
        if let Some(full) = cause::<buttress_limit::Overloaded>(&**error) {
            return Self::overloaded().after(full.retry_after());
        }
        if let Some(throttled) = cause::<Throttled>(&**error) {
            return Self::throttled().after(throttled.retry_after());
        }
        if let Some(error) = cause::<BalanceError>(&**error) {
            return Self::unbalanced(error);
        }
        if let Some(timed_out) = cause::<TimedOut>(&**error) {
            return Self::timeout(timed_out);
        }
        match Outcome::of_error(&**error) {
            Outcome::Timeout => Self::late("the upstream did not answer in time".to_owned()),
            Outcome::NotSent => Self::new(
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                "no connection to the upstream; nothing was sent",
            ),
            _ => Self::new(
                StatusCode::BAD_GATEWAY,
                "upstream_failed",
                "the connection to the upstream failed before its answer came",
            ),
        }
    }

    /// No upstream took the request.
    fn unbalanced(error: &BalanceError) -> Self {
        let (code, message) = match error.kind() {
            BalanceErrorKind::Full => {
                ("upstreams_full", "every upstream has as many requests as it takes")
            }
            BalanceErrorKind::BadTarget => {
                ("invalid_request", "the request target cannot be passed on")
            }
            _ => ("no_upstream", "no upstream can be used at present"),
        };
        Self::new(error.status(), code, message)
    }

    fn timeout(timed_out: &TimedOut) -> Self {
        let after = humantime::format_duration(round(timed_out.after()));
        Self::late(match timed_out.phase() {
            Phase::Connect => format!("no connection to the upstream within {after}"),
            Phase::FirstByte => format!("the upstream did not begin its answer within {after}"),
            phase => format!("the upstream did not answer in time ({phase} timeout, {after})"),
        })
    }

    fn late(message: String) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message)
    }

    /// The answer as a response, in the shape that clients of the `OpenAI` API read.
    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        if self.status.is_success() {
            let mut response = Response::new(Full::default());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
            return response;
        }
        let (status, retry_after) = (self.status, self.retry_after);
        let mut response = Response::new(Full::new(self.into_json()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
        }
        response
    }

    /// The body of the answer.
    pub(crate) fn into_json(self) -> Bytes {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "gateway_error",
        };
        let error =
            ErrorBody { message: &self.message, r#type: kind, param: None, code: self.code };
        serde_json::to_vec(&Envelope { error }).unwrap_or_default().into()
    }
}

/// Whole milliseconds are as much as a person wants to read.
fn round(duration: Duration) -> Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis)
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<()>,
    code: &'static str,
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn answer(error: impl Into<BoxError>) -> (u16, &'static str) {
        let answer = Answer::of_error(&error.into());
        (answer.status.as_u16(), answer.code)
    }

    #[test]
    fn failures_of_the_connection_are_502_and_lateness_is_504() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(answer(refused), (502, "upstream_unreachable"));
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(answer(reset), (502, "upstream_failed"));
        for phase in [Phase::Connect, Phase::FirstByte, Phase::Attempt, Phase::Total] {
            let late = TimedOut::new(phase, Duration::from_secs(5));
            assert_eq!(answer(late), (504, "upstream_timeout"), "{phase}");
        }
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(answer(late), (504, "upstream_timeout"));
    }

    #[test]
    fn the_gateways_own_limit_is_503_and_says_when_to_come_back() {
        assert_eq!(answer(Overloaded), (503, "gateway_overloaded"));
        let response = Answer::overloaded().into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }

    #[test]
    fn a_call_that_no_upstream_took_has_the_status_of_its_reason() {
        use buttress::balance::{BalanceLayer, EndpointSet};
        use tower::{Layer as _, ServiceExt as _};

        let nowhere = BalanceLayer::new(EndpointSet::empty()).queue(0, Duration::ZERO);
        let inner = tower::service_fn(|_: http::Request<Full<Bytes>>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let call = nowhere.layer(inner).oneshot(http::Request::new(Full::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert_eq!(answer(runtime.block_on(call).unwrap_err()), (503, "no_upstream"));
    }

    #[test]
    fn an_error_text_is_not_passed_on() {
        let inside = io::Error::other("10.0.0.7:9000 refused Bearer sk-secret");
        let message = Answer::of_error(&inside.into()).message;
        assert!(!message.contains("10.0.0.7") && !message.contains("secret"), "{message}");
    }

    #[test]
    fn a_timeout_says_which_and_how_long() {
        let late: BoxError =
            TimedOut::new(Phase::FirstByte, Duration::from_micros(1_500_900)).into();
        let message = Answer::of_error(&late).message;
        assert_eq!(message, "the upstream did not begin its answer within 1s 500ms");
    }
}
