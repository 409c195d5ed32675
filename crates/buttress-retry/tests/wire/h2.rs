//! The server side of HTTP/2 connections, stream by stream and, where that is too polite, frame by
//! frame.

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream,
    server::{self, Connection, SendResponse},
};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

pub(crate) type Stream = (Request<RecvStream>, SendResponse<Bytes>);

/// Serves the streams of a connection, each in a task of its own, numbered from 1.
pub(crate) async fn serve<F, Fut>(stream: TcpStream, each: F)
where
    F: Fn(usize, Request<RecvStream>, SendResponse<Bytes>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut connection: Connection<_, Bytes> = server::handshake(stream).await.unwrap();
    let mut streams = tokio::task::JoinSet::new();
    let mut number = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        number += 1;
        streams.spawn(each(number, request, respond));
    }
}

/// Reads a body to its end; `None` if the stream failed before.
pub(crate) async fn body(request: Request<RecvStream>) -> Option<Bytes> {
    let mut stream = request.into_body();
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data.ok()?;
        stream.flow_control().release_capacity(data.len()).ok()?;
        body.extend_from_slice(&data);
    }
    Some(body.freeze())
}

/// Answers 200 with data (none if empty) and trailers.
pub(crate) fn answer(
    respond: &mut SendResponse<Bytes>,
    head: Response<()>,
    data: &'static str,
    trailers: Option<HeaderMap>,
) {
    let mut stream = respond.send_response(head, false).unwrap();
    if !data.is_empty() {
        stream.send_data(Bytes::from_static(data.as_bytes()), trailers.is_none()).unwrap();
    }
    match trailers {
        Some(trailers) => stream.send_trailers(trailers).unwrap(),
        None if data.is_empty() => stream.send_data(Bytes::new(), true).unwrap(),
        None => {}
    }
}

/// Reads up to the first request of a connection, and tells the client to go away, having processed
/// streams up to `last`.
pub(crate) async fn go_away(mut stream: TcpStream, last: u32, code: u32) {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    stream.write_all(&frame(SETTINGS, &[])).await.unwrap();
    while read_frame(&mut stream).await != Some(HEADERS) {}

    let mut payload = last.to_be_bytes().to_vec();
    payload.extend_from_slice(&code.to_be_bytes());
    stream.write_all(&frame(GOAWAY, &payload)).await.unwrap();
    // A clean end: everything that comes is read, so that no reset overtakes the frame.
    stream.shutdown().await.unwrap();
    while read_frame(&mut stream).await.is_some() {}
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// Reads a frame and says its type; `None` at the end of the connection.
async fn read_frame(stream: &mut TcpStream) -> Option<u8> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    Some(head[3])
}
