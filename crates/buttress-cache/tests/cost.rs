//! What a hit costs, whatever the size of its body.

mod support;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use buttress_testkit::Script;
use http_body_util::BodyExt;
use support::{Origin, URI, get, request, respond_with};
use tower::Service;

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hit_takes_at_most_twelve_allocations_and_copies_no_body() {
    for size in [1 << 10, 1 << 20] {
        let origin = Origin::new(move |_, _| {
            let fields = [
                ("cache-control", "max-age=60"),
                ("content-type", "application/json"),
                ("etag", "\"a\""),
                ("date", "Fri, 06 Nov 2099 08:49:37 GMT"),
                ("server", "origin"),
                ("x-request-id", "7f0c2f6c"),
            ];
            respond_with(200, &fields, Script::new().data(vec![b'x'; size]))
        });
        let mut client = origin.cached();
        for _ in 0..2 {
            assert_eq!(get(&client).await.body.len(), size);
        }
        let request = request("GET", URI, &[("accept", "*/*")]);
        let mut read = 0;
        let info = allocation_counter::measure(|| {
            let mut body = now(client.call(request)).unwrap().into_body();
            while let Some(frame) = now(body.frame()) {
                read += frame.unwrap().into_data().unwrap().len();
            }
        });
        assert_eq!(read, size);
        assert!(info.count_total <= 12, "{} allocations", info.count_total);
        assert!(info.bytes_total < 4096, "{} bytes", info.bytes_total);
    }
}
