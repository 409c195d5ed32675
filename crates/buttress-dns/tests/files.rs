//! The hosts file and `resolv.conf`, and what happens when they change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{fs, path::Path};

use buttress_dns::{Dns, Family};
use fake::{Fake, SECOND, Say, found, layer, look, ms, none};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use tower_layer::Layer;

fn public() -> Fake {
    Fake::new(|_, family| match family {
        Family::V4 => Say::Now(found(&["192.0.2.1"], 300)),
        Family::V6 => Say::Now(none(300)),
    })
}

fn with_hosts(fake: &Fake, path: &Path) -> Dns<Fake> {
    layer().hosts(path.to_path_buf()).layer(fake.clone())
}

/// Replaces a file as editors and network managers do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_of_the_hosts_file_has_its_addresses_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    fs::write(&path, "127.0.0.7 vm # v4 alone\n").unwrap();
    let fake = public();
    let dns = with_hosts(&fake, &path);
    assert_eq!(look(&dns, "vm").await.unwrap(), ["127.0.0.7"]);
    assert_eq!(look(&dns, "VM.").await.unwrap(), ["127.0.0.7"]);
    assert_eq!(fake.asked_in_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_edited_hosts_file_counts_within_five_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    fs::write(&path, "127.0.0.7 vm\n").unwrap();
    let fake = public();
    let dns = with_hosts(&fake, &path);
    assert_eq!(look(&dns, "vm").await.unwrap(), ["127.0.0.7"]);
    assert_eq!(look(&dns, "other").await.unwrap(), ["192.0.2.1"]);

    replace(&path, "127.0.0.8 other\n");
    sleep(5 * SECOND).await;
    assert_eq!(look(&dns, "other").await.unwrap(), ["127.0.0.8"]);
    assert_eq!(look(&dns, "vm").await.unwrap(), ["192.0.2.1"]);
    // Written in place.
    fs::write(&path, "127.0.0.9 other more\n").unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(look(&dns, "other").await.unwrap(), ["127.0.0.9"]);
    fs::remove_file(&path).unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(look(&dns, "other").await.unwrap(), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn another_resolv_conf_is_another_network() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    fs::write(&path, "nameserver 192.0.2.53\n").unwrap();
    let fake = public();
    let dns = layer().resolv_conf(path.clone()).layer(fake.clone());
    assert_eq!(look(&dns, "a.example").await.unwrap(), ["192.0.2.1"]);

    // A lookup that is under way when the file is replaced gets its answer.
    fake.say(|_, family| match family {
        Family::V4 => Say::After(4 * SECOND, found(&["192.0.2.2"], 300)),
        Family::V6 => Say::Now(none(300)),
    });
    let under_way = dns.resolve("b.example");
    replace(&path, "nameserver 198.51.100.53\nsearch vpn.example\n");
    let under_way = tokio::spawn(under_way);
    sleep(3 * SECOND).await;

    fake.say(|_, family| match family {
        Family::V4 => Say::After(ms(50), found(&["10.0.0.1"], 300)),
        Family::V6 => Say::Now(none(300)),
    });
    assert_eq!(look(&dns, "a.example").await.unwrap(), ["10.0.0.1"]);
    let under_way = under_way.await.unwrap().unwrap();
    assert_eq!(under_way.as_slice()[0].ip().to_string(), "192.0.2.2");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_there_says_nothing() {
    let fake = public();
    let dns = with_hosts(&fake, Path::new("/nonexistent/hosts"));
    assert_eq!(look(&dns, "vm").await.unwrap(), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_places_follows_the_hosts_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    fs::write(&path, "\n").unwrap();
    let dns = with_hosts(&public(), &path);
    let mut endpoints = dns.endpoints("vm", 80);
    let told = endpoints.next().await.unwrap().unwrap();
    assert_eq!(told[0].address().to_string(), "192.0.2.1:80");
    replace(&path, "127.0.0.8 vm\n");
    let told = timeout(6 * SECOND, endpoints.next()).await.unwrap().unwrap().unwrap();
    assert!(told.iter().any(|place| place.address().to_string() == "127.0.0.8:80"));
}
