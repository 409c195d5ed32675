//! Faults in the handling of HTTP answers.

use buttress_testkit::{Check, Contract, Script};
use http::Response;
use http_body_util::BodyExt;
use tower::util::MapResponseLayer;

async fn rejects<B>(fault: fn(Response<Script>) -> Response<B>, reason: &str)
where
    B: http_body::Body,
    B::Error: Into<buttress_testkit::contract::BoxError>,
{
    let report = Contract::http(MapResponseLayer::new(fault)).report().await;
    assert_eq!(report.failed(), [Check::ResponseUnchanged, Check::ManyCalls], "{report}");
    assert!(report.to_string().contains(reason), "{report}");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_trailers_is_rejected() {
    let fault = |response: Response<Script>| {
        response.map(|body| {
            body.map_frame(|frame| {
                frame.into_data().map_or_else(
                    |_| http_body::Frame::data(bytes::Bytes::new()),
                    http_body::Frame::data,
                )
            })
        })
    };
    rejects(fault, "the trailer was").await;
}

#[tokio::test(start_paused = true)]
async fn cutting_the_body_short_is_rejected() {
    let fault = |response: Response<Script>| response.map(|_| String::from("stands "));
    rejects(fault, "the body was").await;
}

#[tokio::test(start_paused = true)]
async fn failing_the_body_is_rejected() {
    let fault = |response: Response<Script>| response.map(|_| Script::new().fail("reset"));
    rejects(fault, "the body failed: reset").await;
}

#[tokio::test(start_paused = true)]
async fn keeping_one_value_of_a_header_is_rejected() {
    let fault = |mut response: Response<Script>| {
        let value = response.headers()["x-contract"].clone();
        response.headers_mut().insert("x-contract", value);
        response
    };
    rejects(fault, "the header was").await;
}

#[tokio::test(start_paused = true)]
async fn losing_the_extensions_is_rejected() {
    let fault = |mut response: Response<Script>| {
        response.extensions_mut().clear();
        response
    };
    rejects(fault, "the extension was").await;
}

#[tokio::test(start_paused = true)]
async fn changing_the_status_is_rejected() {
    let fault = |mut response: Response<Script>| {
        *response.status_mut() = http::StatusCode::ACCEPTED;
        response
    };
    rejects(fault, "the status was").await;
}
