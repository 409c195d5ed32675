//! Requests that belong together meet the same upstream.

mod support;

use support::{Gateway, OK, PATIENCE, Peer, Upstream};
use tokio::time::Instant;

/// Waits for the upstream that is asked: which one it is, and the connection.
fn asked(upstreams: &[Upstream]) -> (usize, Peer) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "nobody was asked");
        for (at, upstream) in upstreams.iter().enumerate() {
            if let Some(server) = upstream.waiting() {
                return (at, server);
            }
        }
    }
}

fn answer(mut server: Peer, client: &mut Peer) {
    server.send(OK);
    let head = client.head();
    client.body(&head);
    assert_eq!(head.status(), 200);
}

fn over(upstreams: &[Upstream], flags: &[&str]) -> Gateway {
    let urls: Vec<String> = upstreams.iter().map(Upstream::url).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    Gateway::over(&urls, flags)
}

fn three() -> [Upstream; 3] {
    [Upstream::new(), Upstream::new(), Upstream::new()]
}

#[test]
fn a_header_keeps_its_upstream_and_different_ones_spread() {
    let upstreams = three();
    let flags = ["--balance", "rendezvous", "--hash-key", "header:x-session"];
    let gateway = over(&upstreams, &flags);
    let mut homes = Vec::new();
    for session in 0..12 {
        let ask = || {
            let mut client = gateway.connect();
            client.send(format!("GET / HTTP/1.1\r\nhost: x\r\nx-session: s{session}\r\n\r\n"));
            let (home, mut server) = asked(&upstreams);
            server.head();
            answer(server, &mut client);
            home
        };
        let home = ask();
        assert_eq!(ask(), home, "session {session} moved");
        homes.push(home);
    }
    homes.sort_unstable();
    homes.dedup();
    assert!(homes.len() > 1, "all sessions have one home");
}

#[test]
fn prompts_that_begin_alike_meet_however_they_arrive_and_arrive_whole() {
    let upstreams = three();
    let gateway = over(&upstreams, &["--balance", "ring-hash", "--hash-key", "body:16"]);
    let prompts = ["you are a helpful assistant: one", "you are a helpful assistant: another"];
    let mut homes = Vec::new();
    for prompt in prompts {
        let length = prompt.len();
        let head = format!("POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        let mut client = gateway.connect();
        client.send(format!("{head}{prompt}"));
        let (home, mut server) = asked(&upstreams);
        let head = server.head();
        assert_eq!(server.body(&head), prompt.as_bytes());
        answer(server, &mut client);
        homes.push(home);

        // In pieces, the first of which is shorter than what is looked at.
        let mut client = gateway.connect();
        client.send("POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        for piece in [&prompt[..7], &prompt[7..20], &prompt[20..]] {
            client.send_chunk(piece);
        }
        client.send("0\r\n\r\n");
        let (home, mut server) = asked(&upstreams);
        server.head();
        assert_eq!(server.chunks(), prompt.as_bytes());
        answer(server, &mut client);
        homes.push(home);
    }
    assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
}

/// A client that waits for an answer before it sends the rest, as one does that speaks both ways at
/// once.
#[test]
fn a_client_that_sends_half_of_what_is_looked_at_and_waits_is_served_by_that_half() {
    let upstreams = three();
    let gateway = over(&upstreams, &["--balance", "rendezvous", "--hash-key", "body:64"]);
    let mut homes = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.connect();
        client.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send_chunk("half");
        let begun = Instant::now();
        let (home, mut server) = asked(&upstreams);
        assert!(begun.elapsed() < PATIENCE / 2);
        server.head();
        assert_eq!(server.chunk(), b"half");
        server.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        // Only now the rest.
        client.send_chunk("more");
        assert_eq!(server.chunk(), b"more");
        client.send("0\r\n\r\n");
        server.send("done");
        assert_eq!(client.bytes(4), b"done");
        homes.push(home);
    }
    homes.dedup();
    assert_eq!(homes.len(), 1, "the half is a key: {homes:?}");
}

/// One that sends nothing has no key, and is served all the same.
#[test]
fn a_client_that_sends_no_body_at_first_is_served_without_a_key() {
    let upstreams = three();
    let gateway = over(&upstreams, &["--balance", "ring-hash", "--hash-key", "body:64"]);
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n");
    let (_, mut server) = asked(&upstreams);
    let head = server.head();
    client.send("late");
    assert_eq!(server.body(&head), b"late");
    answer(server, &mut client);
}
