//! One side of an HTTP/1.1 connection, byte by byte.

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection as the server sees it.
pub(crate) struct Conn {
    stream: TcpStream,
    buffer: BytesMut,
}

/// The head of a request, names in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value = values.next().map(|(_, value)| &**value);
        assert!(values.next().is_none(), "{name} came twice: {self:?}");
        value
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { line, headers: lines.map(field).collect() }
    }
}

impl Conn {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Reads a head; `None` at the end of the connection.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        let end = self.until(b"\r\n\r\n").await?;
        Some(Head::parse(std::str::from_utf8(&end).unwrap()))
    }

    /// Reads the next chunk of a chunked body, empty for the last one; `None` if it is cut short.
    pub(crate) async fn chunk(&mut self) -> Option<Bytes> {
        let line = self.until(b"\r\n").await?;
        let size = std::str::from_utf8(&line).unwrap().trim_end();
        let size = usize::from_str_radix(size, 16).unwrap();
        let mut chunk = self.exactly(size + 2).await?;
        chunk.truncate(size);
        Some(chunk)
    }

    /// Reads a body however it is framed; `None` if it is cut short.
    pub(crate) async fn body(&mut self, head: &Head) -> Option<Bytes> {
        if head.header("transfer-encoding") == Some("chunked") {
            let mut body = BytesMut::new();
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    return Some(body.freeze());
                }
                body.extend_from_slice(&chunk);
            }
        }
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        self.exactly(length).await
    }

    /// Reads a whole request; `None` if the connection ended before or within it.
    pub(crate) async fn request(&mut self) -> Option<(Head, Bytes)> {
        let head = self.head().await?;
        let body = self.body(&head).await?;
        Some((head, body))
    }

    /// Writes; `false` if the peer is gone.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Ends the connection with a RST, so that the peer's next read fails.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Waits until the peer has ended the connection, one way or the other.
    pub(crate) async fn closed(&mut self) {
        while self.read().await.is_some() {}
    }

    async fn until(&mut self, end: &[u8]) -> Option<Bytes> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.buffer.split_to(at + end.len()).freeze());
            }
            self.read().await?;
        }
    }

    async fn exactly(&mut self, bytes: usize) -> Option<Bytes> {
        while self.buffer.len() < bytes {
            self.read().await?;
        }
        Some(self.buffer.split_to(bytes).freeze())
    }

    async fn read(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
        (read > 0).then_some(())
    }
}

/// A whole answer with a body of known length.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
}
