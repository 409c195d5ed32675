//! The official `openai` package for Python, through the gateway, against a chat server that is
//! busy at every third request.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    convert::Infallible,
    env,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use http_body_util::{BodyExt as _, Full, channel::Channel, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::Gateway;
use tokio::{net::TcpListener, task::block_in_place};

type Body = UnsyncBoxBody<Bytes, Infallible>;

const TEXT: &str = "Stand firm: ä€😀";
const BUSY: &str =
    r#"{"error":{"message":"Service is too busy.","type":"service_unavailable_error"}}"#;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

async fn chat(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    assert_eq!(request.headers()["authorization"], "Bearer sk-test");
    assert_eq!(request.uri().path(), "/v1/chat/completions");
    let Ok(bytes) = request.into_body().collect().await else {
        return Ok(answer(400, BUSY.to_owned()));
    };
    let asked: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap();
    if REQUESTS.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
        return Ok(answer(503, BUSY.to_owned()));
    }
    if asked["stream"] == true {
        return Ok(stream());
    }
    let message = json!({"role": "assistant", "content": TEXT, "reasoning_content": "because"});
    let body = json!({
        "id": "chat-1", "object": "chat.completion", "created": 1, "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
                  "prompt_cache_hit_tokens": 7},
    });
    Ok(answer(200, body.to_string()))
}

fn answer(status: u16, json: String) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::from(json).boxed_unsync())
        .unwrap()
}

/// One event for each character, each in a chunk of its own.
fn stream() -> Response<Body> {
    let (mut events, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for letter in TEXT.chars() {
            let chunk = json!({
                "id": "chat-1", "object": "chat.completion.chunk", "created": 1,
                "model": "stand-in",
                "choices": [{"index": 0, "delta": {"content": letter}, "finish_reason": null}],
            });
            if events.send_data(Bytes::from(format!("data: {chunk}\n\n"))).await.is_err() {
                return;
            }
        }
        let _ = events.send_data(Bytes::from_static(b"data: [DONE]\n\n")).await;
    });
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(body.boxed_unsync())
        .unwrap()
}

async fn stand_in() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serve =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(chat));
            tokio::spawn(serve);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3 with openai"]
async fn openai_client_survives_every_third_503() {
    let upstream = stand_in().await;
    let flags = ["--backoff-min", "10ms"];
    let gateway = Gateway::start(&format!("http://{upstream}"), &flags);
    let python = env::var("BUTTRESS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai_client.py");
    let output = block_in_place(|| {
        Command::new(python).arg(script).arg(format!("{}/v1", gateway.url())).output().unwrap()
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "90 calls succeeded");
    assert!(REQUESTS.load(Ordering::Relaxed) > 90, "no 503 was answered");
}
