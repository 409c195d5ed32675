//! HTTPS upstreams: trusted when their authority is, and spoken to in the version agreed on.

#![expect(clippy::unwrap_used, reason = "a test that fails here should say so")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use support::Gateway;

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// An HTTP/1.1 server with a certificate of its own authority: its address, and that authority's.
fn server() -> (SocketAddr, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut head = Vec::new();
            let mut byte = [0];
            // A client that does not trust the certificate ends the connection here.
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            if head.ends_with(b"\r\n\r\n") {
                stream.write_all(support::OK.as_bytes()).unwrap();
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (address, authority.pem())
}

#[test]
fn an_upstream_of_a_given_authority_is_trusted() {
    let (address, authority) = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let flags = ["--upstream-ca", file.path().to_str().unwrap()];
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", address.port());
        let gateway = Gateway::start(&url, &flags);
        let mut client = gateway.connect();
        client.send(GET);
        let head = client.head();
        assert_eq!(head.status(), 200, "{host}");
        assert_eq!(client.body(&head), b"ok");
    }
}

#[test]
fn an_upstream_of_nobody_known_is_a_502() {
    let (address, _) = server();
    let gateway = Gateway::start(&format!("https://{address}"), &[]);
    let mut client = gateway.connect();
    client.send(GET);
    let head = client.head();
    assert_eq!(head.status(), 502);
    let body = String::from_utf8(client.body(&head)).unwrap();
    assert!(!body.to_lowercase().contains("certificate") && !body.contains("127.0.0.1"), "{body}");
}
