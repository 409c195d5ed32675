//! A stand-in for an LLM API: it streams an answer, word by word.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

const ANSWER: &str = "It stands because something leans against it: \
                      a buttress carries the load sideways and down.";

/// Answers `POST /v1/chat/completions` as `OpenAI` does for `"stream": true`.
pub fn router() -> Router {
    Router::new().route("/v1/chat/completions", post(answer))
}

async fn answer(request: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&request) else {
        return (StatusCode::BAD_REQUEST, "no JSON").into_response();
    };
    let model = request["model"].clone();
    let words = ANSWER.split_inclusive(' ').map(move |word| {
        let delta = json!({ "model": model, "choices": [{ "delta": { "content": word } }] });
        format!("data: {delta}\n\n")
    });
    let events = words.chain([String::from("data: [DONE]\n\n")]);
    let paced = stream::iter(events).then(|event| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, Infallible>(event)
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(paced)).into_response()
}
