//! The busy API of the rehearsal, over real sockets.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::time::Duration;

use buttress_gateway::rehearse::{Gate, Provider, ServerParameters};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const CALL: &str = r#"{"model":"busy-chat","messages":[{"role":"user","content":"hello"}]}"#;
const STREAMED: &str = r#"{"model":"busy-chat","stream":true,"messages":[]}"#;

fn server(slots: usize, queue: usize, service: Duration) -> ServerParameters {
    let mut server = ServerParameters::default();
    (server.slots, server.queue) = (slots, queue);
    (server.service_mean, server.service_variation) = (service, 0.0);
    (server.connect_delay, server.network_delay) = (Duration::ZERO, Duration::ZERO);
    server
}

fn start(server: &ServerParameters) -> Provider {
    Provider::start(server, 1, 1).unwrap()
}

/// A connection to the API; aborting its task closes it.
async fn connect(provider: &Provider) -> (http1::SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let stream = TcpStream::connect(provider.endpoints()[0].address()).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

fn request(method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "llm.test")
        .body(Full::from(body))
        .unwrap()
}

async fn call(provider: &Provider, body: &'static str) -> Response<Incoming> {
    let (mut sender, _) = connect(provider).await;
    sender.send_request(request(Method::POST, "/v1/chat/completions", body)).await.unwrap()
}

async fn json(response: Response<Incoming>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

/// Waits until slots and queue are taken as said.
async fn reached(gate: &Gate, serving: usize, waiting: usize) {
    let arrival = async {
        while (gate.serving(), gate.waiting()) != (serving, waiting) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let stands = || format!("{} served, {} waiting", gate.serving(), gate.waiting());
    timeout(Duration::from_secs(10), arrival).await.unwrap_or_else(|_| panic!("{}", stands()));
}

#[tokio::test]
async fn a_call_is_answered_with_about_a_kilobyte_of_completion() {
    let provider = start(&server(1, 0, Duration::from_millis(1)));
    let response = call(&provider, CALL).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!((900..1_200).contains(&bytes.len()), "{} bytes", bytes.len());
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(answer["object"], "chat.completion");
    assert!(answer["choices"][0]["message"]["content"].is_string());
    assert_eq!(provider.requests(), 1);
}

#[tokio::test]
async fn a_full_endpoint_refuses_and_says_when_to_come_back() {
    let provider = start(&server(1, 1, Duration::from_secs(3_600)));
    let gate = provider.endpoints()[0].gate();
    let (mut first, _first) = connect(&provider).await;
    let (mut second, _second) = connect(&provider).await;
    let to = "/v1/chat/completions";
    let _served = tokio::spawn(first.send_request(request(Method::POST, to, CALL)));
    reached(gate, 1, 0).await;
    let _waits = tokio::spawn(second.send_request(request(Method::POST, to, CALL)));
    reached(gate, 1, 1).await;

    let response = call(&provider, CALL).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let answer = json(response).await;
    assert_eq!(answer["error"]["type"], "service_unavailable_error");
    assert!(answer["error"]["message"].as_str().unwrap().contains("busy"));
    assert_eq!(provider.requests(), 3);
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_slot_and_its_place() {
    let provider = start(&server(1, 1, Duration::from_secs(3_600)));
    let gate = provider.endpoints()[0].gate();
    let to = "/v1/chat/completions";
    let (mut first, first_connection) = connect(&provider).await;
    let served = tokio::spawn(first.send_request(request(Method::POST, to, CALL)));
    reached(gate, 1, 0).await;
    let (mut second, second_connection) = connect(&provider).await;
    let waits = tokio::spawn(second.send_request(request(Method::POST, to, CALL)));
    reached(gate, 1, 1).await;

    second_connection.abort();
    waits.abort();
    reached(gate, 1, 0).await;
    first_connection.abort();
    served.abort();
    reached(gate, 0, 0).await;
}

#[tokio::test]
async fn a_streamed_answer_comes_event_by_event_and_holds_its_slot_to_the_end() {
    let provider = start(&server(1, 0, Duration::from_millis(200)));
    let gate = provider.endpoints()[0].gate();
    let response = call(&provider, STREAMED).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert!(response.headers().get(header::CONTENT_LENGTH).is_none());

    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"data: {"), "{first:?}");
    assert_eq!(gate.serving(), 1);
    let rest = body.collect().await.unwrap().to_bytes();
    reached(gate, 0, 0).await;

    let text = String::from_utf8([first, rest].concat()).unwrap();
    let mut events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events.pop(), Some("data: [DONE]"));
    let chunks: Vec<Value> = events
        .iter()
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert!(chunks.len() > 50, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    let whole = json(call(&provider, CALL).await).await;
    let streamed: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(whole["choices"][0]["message"]["content"], streamed.as_str());
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_frees_its_slot() {
    let provider = start(&server(1, 0, Duration::from_secs(20)));
    let gate = provider.endpoints()[0].gate();
    let (mut sender, connection) = connect(&provider).await;
    let request = request(Method::POST, "/v1/chat/completions", STREAMED);
    let response = sender.send_request(request).await.unwrap();
    reached(gate, 1, 0).await;
    drop(response);
    connection.abort();
    reached(gate, 0, 0).await;
}

#[tokio::test]
async fn the_network_delays_refusals_too() {
    let mut parameters = server(1, 0, Duration::from_secs(3_600));
    parameters.network_delay = Duration::from_millis(40);
    let provider = start(&parameters);
    let (mut first, _first) = connect(&provider).await;
    let to = "/v1/chat/completions";
    let _served = tokio::spawn(first.send_request(request(Method::POST, to, CALL)));
    reached(provider.endpoints()[0].gate(), 1, 0).await;
    let start = Instant::now();
    let response = call(&provider, CALL).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn what_is_not_a_chat_call_is_an_error_and_takes_no_slot() {
    let provider = start(&server(0, 0, Duration::from_millis(1)));
    let (mut sender, _connection) = connect(&provider).await;
    for (method, path, body, status) in [
        (Method::POST, "/v1/completions", CALL, StatusCode::NOT_FOUND),
        (Method::GET, "/v1/chat/completions", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/v1/chat/completions", "{", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/chat/completions", r#"{"stream":"yes"}"#, StatusCode::BAD_REQUEST),
    ] {
        let response = sender.send_request(request(method, path, body)).await.unwrap();
        assert_eq!(response.status(), status, "{path} {body}");
        assert_eq!(json(response).await["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn endpoints_are_independent() {
    let provider = Provider::start(&server(1, 0, Duration::from_secs(3_600)), 2, 1).unwrap();
    let [first, second] = provider.endpoints() else { panic!("two endpoints") };
    assert_ne!(first.address(), second.address());
    let (mut sender, _connection) = connect(&provider).await;
    let to = "/v1/chat/completions";
    let _served = tokio::spawn(sender.send_request(request(Method::POST, to, CALL)));
    reached(first.gate(), 1, 0).await;
    assert_eq!(second.gate().serving(), 0);
}

#[tokio::test]
async fn a_stopped_api_takes_no_connections() {
    let provider = start(&server(1, 0, Duration::from_millis(1)));
    let address = provider.endpoints()[0].address();
    provider.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}
