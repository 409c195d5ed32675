//! The whole way: a name server that a distribution ships, asked over UDP and TCP, under the cache.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
};

use buttress_dns::{DnsErrorKind, DnsLayer, Server, Upstreams};
use fake::{SECOND, look, ms};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};
use tower_layer::Layer;

/// dnsmasq on loopback; it ends with this.
struct Dnsmasq(Child);

impl Dnsmasq {
    fn start(hosts: &Path, address: SocketAddr) -> Self {
        let program = env::var_os("BUTTRESS_DNSMASQ").unwrap_or_else(|| "dnsmasq".into());
        let many = (1..=60).map(|last| format!("--host-record=many.test,198.51.100.{last}"));
        let child = Command::new(program)
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
            .args(["--bind-interfaces", "--user=", "--group=", "--pid-file="])
            .args(["--local=/test/", "--local-ttl=1", "--cache-size=0", "--edns-packet-max=512"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--listen-address={}", address.ip()))
            .arg(format!("--addn-hosts={}", hosts.display()))
            .args(["--srv-host=_chat._tcp.test,a.test,8443,3,7"])
            .args(["--cname=alias.test,a.test"])
            .args(many)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Makes it read its hosts anew.
    fn reload(&self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port of loopback that is free for both UDP and TCP.
fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

#[tokio::test]
#[ignore = "needs dnsmasq"]
async fn names_come_change_and_stay_when_the_server_goes() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    fs::write(&hosts, "192.0.2.1 a.test\n2001:db8::1 a.test\n").unwrap();
    let address = free();
    let server = Dnsmasq::start(&hosts, address);
    let servers = Upstreams::new([Server::plain(address)]).unwrap();
    let dns = DnsLayer::new().hosts(None).resolv_conf(None).layer(servers);
    // It takes a moment to listen; a name asked for too early has failed for a second.
    let mut found = look(&dns, "a.test").await;
    for _ in 0..10 {
        if found.is_ok() {
            break;
        }
        sleep(SECOND).await;
        found = look(&dns, "a.test").await;
    }
    let mut found = found.unwrap();
    found.sort();
    assert_eq!(found, ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(look(&dns, "ALIAS.test.").await.unwrap().len(), 2);
    assert_eq!(look(&dns, "nobody.test").await, Err(DnsErrorKind::NxDomain));
    // Sixty addresses do not fit into a datagram.
    assert_eq!(look(&dns, "many.test").await.unwrap().len(), 4);
    let places = timeout(5 * SECOND, dns.endpoints("many.test", 1).next()).await.unwrap();
    assert_eq!(places.unwrap().unwrap().len(), 60);

    let mut services = dns.service_endpoints("_chat._tcp.test").unwrap();
    let place = services.next().await.unwrap().unwrap()[0];
    assert_eq!((place.address().port(), place.priority(), place.weight()), (8443, 3, 7));

    // The name moves; its time is one second.
    fs::write(&hosts, "192.0.2.2 a.test\n").unwrap();
    server.reload();
    let end = Instant::now() + 10 * SECOND;
    while look(&dns, "a.test").await.unwrap() != ["192.0.2.2"] {
        assert!(Instant::now() < end, "the new address does not come");
        sleep(ms(100)).await;
    }

    drop(server);
    sleep(3 * SECOND).await;
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(look(&dns, "a.test").await.unwrap(), ["192.0.2.2"]);
        assert!(start.elapsed() < ms(50), "{:?}", start.elapsed());
        sleep(ms(100)).await;
    }
}
