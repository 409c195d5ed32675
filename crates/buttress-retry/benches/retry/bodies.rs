//! Streaming request bodies: recorded while they are sent, and played again.

use std::io::{self, Write};

use buttress_retry::{HttpPolicy, ReplayBody, ReplayLimits, RetryLayer};
use buttress_testkit::Bench;
use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, retry::RetryLayer as TowerLayer};

use crate::{
    BARE, OURS,
    inner::{Drains, Stream, call, drain},
    peers::{HttpPeer, Peer},
    say_overhead,
};

const COLLECTED: &str = "tower, TpsBudget, body collected first";

pub(crate) fn run() -> io::Result<()> {
    streamed("PUT, a stream of 16 chunks of 1 KiB", 1024)?;
    streamed("PUT, a stream of 16 chunks of 4 KiB", 4096)?;
    too_long()?;
    replayed("60,000 chunks of one byte", 60_000, 1)?;
    replayed("16 chunks of 1 KiB", 16, 1024)
}

fn put(chunk: Bytes, chunks: u32) -> Request<Stream> {
    let mut request = Request::new(Stream { chunk, left: chunks });
    *request.method_mut() = Method::PUT;
    request
}

/// What can be done without a body that replays: read it all, then send it.
fn collected(request: Request<Stream>) -> Request<Full<Bytes>> {
    request.map(|Stream { chunk, left }| {
        let mut all = BytesMut::new();
        for _ in 0..left {
            all.extend_from_slice(&chunk);
        }
        Full::new(all.freeze())
    })
}

fn streamed(title: &str, size: usize) -> io::Result<()> {
    let chunk = Bytes::from(vec![b'x'; size]);
    let request = || put(chunk.clone(), 16);
    let layer = RetryLayer::new(HttpPolicy::http().replay(ReplayLimits::new()));
    let mut ours = layer.layer(Drains);
    let mut tower = TowerLayer::new(HttpPeer::new(Peer::budgeted())).layer(Drains);
    let summary = Bench::new(title)
        .case_with(BARE, &request, |request| call(&mut Drains, request))
        .case_with(OURS, &request, |request| call(&mut ours, request))
        .case_with(COLLECTED, &request, |request| call(&mut tower, collected(request)))
        .baseline(COLLECTED)
        .calls(100)
        .rounds(300)
        .run()?;
    say_overhead(&summary)
}

/// A stream that says that it is longer than what is kept goes straight through.
fn too_long() -> io::Result<()> {
    let chunk = Bytes::from(vec![b'x'; 1024]);
    let request = || put(chunk.clone(), 16).map(|stream| Sized { stream, bytes: 1 << 20 });
    let layer = RetryLayer::new(HttpPolicy::http().replay(ReplayLimits::new()));
    let mut ours = layer.layer(Drains);
    let summary = Bench::new("PUT, a stream beyond the cap, so never again")
        .case_with(BARE, &request, |request| call(&mut Drains, request))
        .case_with(OURS, &request, |request| call(&mut ours, request))
        .baseline(BARE)
        .calls(200)
        .rounds(500)
        .run()?;
    say_overhead(&summary)
}

/// A stream that says how long it is.
struct Sized {
    stream: Stream,
    bytes: u64,
}

impl Body for Sized {
    type Data = Bytes;
    type Error = buttress_core::BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.stream).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.bytes)
    }
}

/// The parts of an upload that is sent twice.
fn replayed(title: &str, chunks: u32, size: usize) -> io::Result<()> {
    let chunk = Bytes::from(vec![b'x'; size]);
    let stream = || Stream { chunk: chunk.clone(), left: chunks };
    let recorded = || {
        let (first, replay) = ReplayBody::record(stream(), &ReplayLimits::new());
        drain(first);
        replay
    };
    let again = |replay: Option<buttress_retry::Replay<Stream>>| {
        let body = replay.and_then(|replay| replay.into_body().ok());
        assert!(body.is_some(), "the stream is short enough");
        body.map(drain)
    };
    Bench::new(title)
        .case_with("drained as it is", &stream, drain)
        .case_with("recorded and drained", &stream, |stream| {
            let (first, replay) = ReplayBody::record(stream, &ReplayLimits::new());
            drain(first);
            replay
        })
        .case_with("drained again, recorded before", &recorded, again)
        .baseline("drained as it is")
        .calls(5)
        .rounds(100)
        .run()?;
    writeln!(io::stdout())
}
