//! What the client sends, on its way through: nothing is copied or changed.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

/// What the client sends.
///
/// Its error has a type of its own, so that an upload that fails is not taken for an upstream that
/// does.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Frames that were looked at before they are sent.
    seen: VecDeque<Result<Frame<Bytes>, RequestBodyFailed>>,
    rest: Incoming,
}

impl RequestBody {
    pub(crate) const fn new(body: Incoming) -> Self {
        Self { seen: VecDeque::new(), rest: body }
    }

    /// The first `bytes` of the body, or all of a shorter one, which stay where they are. It waits for
    /// them, but not for long: whoever sends half and waits for an answer is known by that half. What
    /// fails meanwhile fails when it is sent.
    pub(crate) async fn peek(&mut self, bytes: usize) -> Vec<u8> {
        let mut gathered = Vec::new();
        let mut until = Instant::now() + FIRST_FRAME;
        while gathered.len() < bytes && !self.rest.is_end_stream() {
            let Ok(Some(frame)) = timeout_at(until, self.rest.frame()).await else { break };
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                gathered.extend_from_slice(&data[..data.len().min(bytes - gathered.len())]);
            }
            if self.seen.is_empty() {
                until = until.min(Instant::now() + OTHER_FRAMES);
            }
            let failed = frame.is_err();
            self.seen.push_back(frame.map_err(RequestBodyFailed));
            if failed {
                break;
            }
        }
        gathered
    }
}

/// How long a body that is looked at may take to begin.
const FIRST_FRAME: Duration = Duration::from_secs(1);
/// How long after its beginning the rest of what is looked at may take.
const OTHER_FRAMES: Duration = Duration::from_millis(100);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        if let Some(frame) = self.seen.pop_front() {
            return Poll::Ready(Some(frame));
        }
        Pin::new(&mut self.rest).poll_frame(cx).map_err(RequestBodyFailed)
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.seen.iter().flatten().filter_map(Frame::data_ref);
        let seen = frames.map(|data| u64::try_from(data.len()).unwrap_or(u64::MAX)).sum::<u64>();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(seen));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(seen)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// The client's upload broke off or was malformed.
#[derive(Debug)]
pub(crate) struct RequestBodyFailed(hyper::Error);

impl fmt::Display for RequestBodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body failed")
    }
}

impl Error for RequestBodyFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
