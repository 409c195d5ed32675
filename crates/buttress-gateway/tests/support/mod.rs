//! The gateway as a process, and the two sides of it as raw sockets that block.
#![allow(dead_code, unreachable_pub, reason = "each family of tests uses another part of this")]
#![allow(clippy::unwrap_used, reason = "a test that fails here should say so")]

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Nothing here waits for this to pass; it ends a test that would hang.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running `buttress serve`; killed when it is dropped.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    log: Option<JoinHandle<String>>,
}

impl Gateway {
    /// Starts in front of `upstream` and waits until it listens.
    pub fn start(upstream: &str, flags: &[&str]) -> Self {
        Self::over(&[upstream], flags)
    }

    /// Starts in front of several upstreams.
    pub fn over(upstreams: &[&str], flags: &[&str]) -> Self {
        let mut child = command()
            .args(["serve", "--listen", "127.0.0.1:0", "--no-check"])
            .args(upstreams.iter().flat_map(|upstream| ["--upstream", upstream]))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            panic!("no address in {line:?}: {}", log.join().unwrap());
        };
        Self { child, address: address.parse().unwrap(), log: Some(log) }
    }

    pub fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).unwrap())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the process; gives its log as well.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.log.take().unwrap().join().unwrap())
    }

    /// Ends the process and gives its log.
    pub fn log(mut self) -> String {
        self.child.kill().unwrap();
        self.wait().1
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, with nothing of this machine's environment that it would read.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buttress"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BUTTRESS_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

/// A listener that the test answers for by hand.
pub struct Upstream(TcpListener);

impl Upstream {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        Self(listener)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn accept(&self) -> Peer {
        Peer::new(self.0.accept().unwrap().0)
    }

    /// Answers the next request, if a connection is waiting.
    pub fn answers(&self, answer: &str) -> bool {
        let Some(mut server) = self.waiting() else { return false };
        server.head();
        server.send(answer);
        true
    }

    /// The connection that is waiting to be accepted, if there is one.
    pub fn waiting(&self) -> Option<Peer> {
        self.0.set_nonblocking(true).unwrap();
        let accepted = self.0.accept();
        self.0.set_nonblocking(false).unwrap();
        let (stream, _) = accepted.ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(Peer::new(stream))
    }

    /// Whether a connection is waiting to be accepted.
    pub fn has_caller(&self) -> bool {
        self.waiting().is_some()
    }
}

/// One end of an HTTP/1 connection, written and read by hand.
pub struct Peer {
    pub stream: BufReader<TcpStream>,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Waits for the other side: whether it sends something, or ends the connection.
    pub fn has_more(&mut self) -> bool {
        self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty())
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends one chunk of a chunked body.
    pub fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    /// Reads the head of a message.
    pub fn head(&mut self) -> Head {
        let start = self.line();
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return Head { start, fields };
            }
            let (name, value) = line.split_once(": ").or(line.split_once(':')).unwrap();
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "the connection ended within a line: {line:?}");
        line.trim_end_matches("\r\n").to_owned()
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads one chunk; empty for the last one, whose trailers are left.
    pub fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line(), 16).unwrap();
        let bytes = self.bytes(size);
        if size > 0 {
            assert_eq!(self.line(), "");
        }
        bytes
    }

    /// Reads all chunks to the end of the body.
    pub fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                assert_eq!(self.line(), "", "no trailers expected");
                return body;
            }
            body.extend(chunk);
        }
    }

    /// Reads the body that a head announces.
    pub fn body(&mut self, head: &Head) -> Vec<u8> {
        match head.field("content-length") {
            Some(length) => self.bytes(length.parse().unwrap()),
            None => self.chunks(),
        }
    }

    /// Reads until the connection ends: what came, and whether it ended by a reset.
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let reset = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
            Err(error) => panic!("the connection did not end: {error}"),
        };
        (bytes, reset)
    }

    /// Ends this side so that the other sees a reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Says that nothing more will be sent.
    pub fn shut_write(&self) {
        self.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// The start line and the fields of a message, as they were written.
#[derive(Debug)]
pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        named.map(|field| field.1.as_str()).collect()
    }

    /// The value of a field that comes once at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} more than once: {values:?}");
        values.first().copied()
    }
}

/// An answer after which the next request comes on another connection. Whether the gateway would
/// use this one again depends on which of its tasks runs first.
pub const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
