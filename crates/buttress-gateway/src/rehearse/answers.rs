//! What the busy API says: completions, streamed completions and errors.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
    vec,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use serde_json::json;
use tokio::time::{Sleep, sleep_until};

use super::gate::Slot;

/// A body of the busy API: at once, or event by event.
pub type AnswerBody = Either<Full<Bytes>, EventStream>;

/// The words of every answer; with its frame it makes about 1 KB.
const WORDS: &str = "A buttress carries the side load that a wall was never built for. The wall \
still does its own work, and when the wind drops nobody can see that anything was ever the \
matter. A client in front of a busy service stands in the same wind: names that resolve slowly, \
connections made afresh for every call, refusals that come in gusts, and neighbours who all \
knock again at the very same moment. What helps is as old as the stone: spread the load, wait a \
little before you lean again, never lean harder than the ground allows, and keep what you have \
already been given. None of it makes the service faster. It only stops each side from pulling \
down the other, which is most of what reliability has ever meant.";

/// The answer to a call that did not ask for a stream.
pub(super) fn completion(id: u64) -> Response<AnswerBody> {
    let body = json!({
        "id": format!("chatcmpl-{id:016}"),
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "busy-chat",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": WORDS },
            "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 48, "completion_tokens": 162, "total_tokens": 210 },
    });
    whole(StatusCode::OK, &body)
}

/// The answer to a call that asked for a stream: the same words, spread evenly over `service`,
/// while `slot` is held.
pub(super) fn stream(id: u64, service: Duration, slot: Slot) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Right(EventStream::new(id, service, slot)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The refusal when every slot and every place in the queue is taken.
pub(super) fn too_busy() -> Response<AnswerBody> {
    let mut response = error(
        StatusCode::SERVICE_UNAVAILABLE,
        "service_unavailable_error",
        "The server is busy: too many calls are being served and waiting. Try again after a brief \
         wait.",
    );
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A refusal with the error object that clients of chat APIs expect.
pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Response<AnswerBody> {
    let body =
        json!({ "error": { "message": message, "type": kind, "param": null, "code": kind } });
    whole(status, &body)
}

fn whole(status: StatusCode, body: &serde_json::Value) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::from(body.to_string())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A streamed answer: server-sent events at an even pace. Holds its slot until the last event is
/// sent or the body is dropped, which happens when the client goes away.
#[derive(Debug)]
pub struct EventStream {
    events: vec::IntoIter<Bytes>,
    pace: Duration,
    due: Pin<Box<Sleep>>,
    slot: Option<Slot>,
}

impl EventStream {
    fn new(id: u64, service: Duration, slot: Slot) -> Self {
        let mut events = vec![event(id, &json!({ "role": "assistant", "content": "" }), None)];
        events.extend(
            WORDS.split_inclusive(' ').map(|word| event(id, &json!({ "content": word }), None)),
        );
        events.push(event(id, &json!({}), Some("stop")));
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        let pace = service / u32::try_from(events.len()).unwrap_or(u32::MAX);
        let due = Box::pin(sleep_until(slot.since() + pace));
        Self { events: events.into_iter(), pace, due, slot: Some(slot) }
    }
}

fn event(id: u64, delta: &serde_json::Value, finish: Option<&str>) -> Bytes {
    let chunk = json!({
        "id": format!("chatcmpl-{id:016}"),
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "busy-chat",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
    });
    Bytes::from(format!("data: {chunk}\n\n"))
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.events.as_slice().is_empty() {
            return Poll::Ready(None);
        }
        ready!(this.due.as_mut().poll(cx));
        // Counted from the time it was due, not from now, so that late timers do not add up.
        let next = this.due.deadline() + this.pace;
        this.due.as_mut().reset(next);
        let event = this.events.next();
        if this.events.as_slice().is_empty() {
            this.slot = None;
        }
        Poll::Ready(event.map(|event| Ok(Frame::data(event))))
    }

    fn is_end_stream(&self) -> bool {
        self.events.as_slice().is_empty()
    }
}
