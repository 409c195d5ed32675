//! The origin behind the gateway.

use std::{
    collections::HashMap,
    io::BufReader,
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use crate::support::{Head, Peer};

/// An origin that answers each path with its script, the last answer over and over.
pub(crate) struct Origin {
    pub(crate) url: String,
    scripts: Arc<Mutex<HashMap<String, Vec<String>>>>,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

/// A path, and the head and the body of a request for it.
pub(crate) type Seen = (String, Head, Vec<u8>);

impl Origin {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let origin = Self { url, scripts: Arc::default(), seen: Arc::default() };
        let (scripts, seen) = (Arc::clone(&origin.scripts), Arc::clone(&origin.seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut peer = Peer { stream: BufReader::new(stream.unwrap()) };
                let head = peer.head();
                let body = match head.field("content-length") {
                    Some(length) => peer.bytes(length.parse().unwrap()),
                    None => Vec::new(),
                };
                let path = head.start.split(' ').nth(1).unwrap().to_owned();
                let mut scripts = scripts.lock().unwrap();
                let script = scripts.get_mut(&path).expect("a path with a script");
                let answer = if script.len() > 1 { script.remove(0) } else { script[0].clone() };
                seen.lock().unwrap().push((path, head, body));
                drop(scripts);
                peer.send(answer);
            }
        });
        origin
    }

    pub(crate) fn answers(&self, path: &str, answers: Vec<String>) {
        self.scripts.lock().unwrap().insert(path.to_owned(), answers);
    }

    /// The heads of the requests for a path.
    pub(crate) fn seen(&self, path: &str) -> Vec<Vec<(String, String)>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.0 == path).map(|seen| seen.1.fields.clone()).collect()
    }

    pub(crate) fn calls(&self, path: &str) -> usize {
        self.seen(path).len()
    }
}
