//! Layers that keep the contract, which the suite must accept.

use buttress_testkit::contract::{BoxError, Inner};
use buttress_testkit::{Check, Contract, Planted, Script};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use std::time::Duration;
use tower::buffer::BufferLayer;
use tower::layer::layer_fn;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::retry::{Policy, RetryLayer};
use tower::timeout::TimeoutLayer;
use tower::util::{BoxCloneService, MapRequestLayer, MapResponseLayer, ServiceExt};
use tower::{Service, ServiceBuilder};
use tower_layer::Identity;

const LONG: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_nothing_passes() {
    Contract::plain(Identity::new()).run().await;
    Contract::http(Identity::new()).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_boxes_the_error_passes() {
    Contract::plain(TimeoutLayer::new(LONG)).run().await;
    Contract::http(TimeoutLayer::new(LONG)).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_with_permits_of_its_own_passes() {
    Contract::plain(ConcurrencyLimitLayer::new(4)).run().await;
    Contract::http(ConcurrencyLimitLayer::new(4)).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_with_a_permit_shared_by_all_its_clones_passes() {
    Contract::plain(GlobalConcurrencyLimitLayer::new(2)).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_changes_the_request_type_passes() {
    let parse = |text: &str| text.parse::<u16>();
    Contract::plain(MapRequestLayer::new(parse)).request(|| "7").run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_changes_the_request_body_passes() {
    let boxed = |request: Request<Full<&'static [u8]>>| request.map(|body| body.boxed());
    Contract::http(MapRequestLayer::new(boxed))
        .request(|| Request::new(Full::new(&b"question"[..])))
        .run()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_wraps_the_response_body_passes() {
    let boxed = |response: Response<Script>| response.map(|body| body.boxed());
    Contract::http(MapResponseLayer::new(boxed)).run().await;
}

#[tokio::test(start_paused = true)]
async fn answers_of_any_type_are_judged_by_a_closure() {
    Contract::plain(MapResponseLayer::new(|words: String| words.len()))
        .answer(|| String::from("four"), |length: usize| assert_eq!(length, 4))
        .run()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_moves_the_inner_service_to_a_task_of_its_own_passes() {
    // The worker keeps a readied permit only while a request waits, and wraps the error as a source.
    Contract::plain(BufferLayer::new(4)).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_stack_passes() {
    let stack = ServiceBuilder::new()
        .layer(BufferLayer::new(8))
        .layer(TimeoutLayer::new(LONG))
        .layer(ConcurrencyLimitLayer::new(2))
        .into_inner();
    Contract::http(stack).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_readies_and_calls_inside_its_future_passes() {
    // Readiness is asked for in the response future, so an unready inner service shows there.
    let lazy = layer_fn(|inner: Inner<u64>| {
        let each = move |request: u64| inner.clone().oneshot(request);
        tower::service_fn(each)
    });
    Contract::plain(lazy).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_waits_before_it_calls_passes() {
    let late = layer_fn(|inner: Inner<u64>| {
        let each = move |request: u64| {
            let mut inner = inner.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(30)).await;
                std::future::poll_fn(|cx| Service::<u64>::poll_ready(&mut inner, cx)).await?;
                inner.call(request).await
            }
        };
        tower::service_fn(each)
    });
    Contract::plain(late).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_boxed_service_passes() {
    let boxed = layer_fn(BoxCloneService::<Request<Empty<&'static [u8]>>, _, _>::new);
    Contract::http(boxed).request(|| Request::new(Empty::new())).run().await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_answers_an_error_passes_when_that_is_excepted() {
    let rescue = layer_fn(|inner: Inner<u64>| {
        ServiceExt::<u64>::then(inner, |_| async { Ok::<u64, BoxError>(42) })
    });
    let report = Contract::plain(rescue).report().await;
    assert_eq!(report.failed(), [Check::ErrorUnchanged], "{report}");

    let reason = "it answers in place of failing";
    let report = Contract::plain(rescue).except(Check::ErrorUnchanged, reason).report().await;
    assert!(report.passed(), "{report}");
    assert!(report.to_string().contains(reason), "{report}");
}

#[tokio::test]
async fn the_suite_needs_no_paused_time_for_a_layer_that_passes() {
    Contract::plain(TimeoutLayer::new(LONG)).run().await;
}

/// Two more tries after an error, each a while later.
#[derive(Clone)]
struct TwiceMore(u32);

impl Policy<u64, u64, Planted> for TwiceMore {
    type Future = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, Planted>) -> Option<Self::Future> {
        self.0 = self.0.checked_sub(1)?;
        result.as_ref().err().map(|_| Box::pin(tokio::time::sleep(LONG / 1000)) as Self::Future)
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_retries_and_gives_up_passes() {
    Contract::plain(RetryLayer::new(TwiceMore(2))).run().await;
}
