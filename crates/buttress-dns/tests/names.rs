//! Which names are one, which are none, and which need no resolver.

mod fake;

use buttress_dns::{DnsErrorKind, Family};
use fake::{Fake, Say, address_of, dns, found, layer, look, ms, none};
use tokio::time::Instant;
use tower_layer::Layer;

const A: &[&str] = &["192.0.2.1"];

fn anything() -> Fake {
    Fake::new(|_, family| match family {
        Family::V4 => Say::Now(found(A, 60)),
        Family::V6 => Say::Now(none(60)),
    })
}

#[tokio::test(start_paused = true)]
async fn spellings_of_one_name_share_an_entry() {
    let fake = anything();
    let dns = dns(&fake);
    for host in ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "bücher.example."]
    {
        assert_eq!(look(&dns, host).await.unwrap(), A, "{host}");
    }
    assert_eq!(look(&dns, "my_service").await.unwrap(), A);
    assert_eq!(fake.names(), ["my_service", "xn--bcher-kva.example"]);
    assert_eq!(fake.asked_in_all(), 4);
    assert_eq!(dns.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_name_is_asked_for_nowhere() {
    let fake = anything();
    let dns = dns(&fake);
    let (long, label) = ([(); 4].map(|()| "a".repeat(63)).join("."), "a".repeat(64));
    for host in ["", ".", "a..b", "a\0b", "a b", &label, &long, "1.2.3.4.5"] {
        assert_eq!(look(&dns, host).await, Err(DnsErrorKind::InvalidName), "{host:?}");
    }
    assert_eq!(fake.asked_in_all(), 0);
    assert!(dns.is_empty());
}

#[tokio::test(start_paused = true)]
async fn addresses_and_the_machine_itself_need_no_resolver() {
    let fake = anything();
    let dns = dns(&fake);
    for (host, expected) in [
        ("192.0.2.7", "192.0.2.7"),
        ("[::1]", "::1"),
        ("2001:db8::7", "2001:db8::7"),
        ("0x7f.1", "127.0.0.1"),
    ] {
        assert_eq!(look(&dns, host).await.unwrap(), [expected], "{host}");
    }
    let zone: Vec<_> = dns.resolve("[fe80::1%253]").await.unwrap().collect();
    assert_eq!(zone, ["[fe80::1%3]:0".parse().unwrap()]);
    for host in ["localhost", "LOCALHOST.", "app.localhost"] {
        assert_eq!(look(&dns, host).await.unwrap(), ["::1", "127.0.0.1"], "{host}");
    }
    for host in ["a.invalid", "a.onion"] {
        assert_eq!(look(&dns, host).await, Err(DnsErrorKind::NxDomain), "{host}");
    }
    assert_eq!(fake.asked_in_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_set_by_hand_has_these_addresses() {
    let fake = anything();
    let pinned = "192.0.2.9:8443".parse().unwrap();
    let dns = layer().override_host("API.example.", [pinned]).unwrap().layer(fake.clone());
    let found: Vec<_> = dns.resolve("api.example").await.unwrap().collect();
    assert_eq!(found, [pinned]);
    assert_eq!(fake.asked_in_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn suffixes_go_to_resolvers_of_their_own() {
    let (public, corp, lab) = (anything(), anything(), anything());
    let dns = layer()
        .route("corp.example", corp.clone())
        .and_then(|layer| layer.route(".lab.corp.example", lab.clone()))
        .unwrap()
        .layer(public.clone());
    for host in
        ["www.example", "db.corp.example", "CORP.example.", "x.lab.corp.example", "notcorp.example"]
    {
        look(&dns, host).await.unwrap();
    }
    assert_eq!(public.names(), ["notcorp.example", "www.example"]);
    assert_eq!(corp.names(), ["corp.example.", "db.corp.example"]);
    assert_eq!(lab.names(), ["x.lab.corp.example"]);
}

#[tokio::test(start_paused = true)]
async fn a_search_list_costs_the_callers_budget_once() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("resolv.conf");
    std::fs::write(&conf, "search ns.svc.local svc.local local.example\noptions ndots:5\n")
        .unwrap();
    let fake = Fake::new(|_, _| Say::Never);
    let search = layer().resolv_conf(conf).search().budget(ms(900)).unwrap();
    let dns = search.layer(fake.clone());
    let start = Instant::now();
    assert_eq!(look(&dns, "api.example").await, Err(DnsErrorKind::Timeout));
    assert_eq!(start.elapsed(), ms(900));
    assert_eq!(fake.names().len(), 4);

    // All at once: one round trip, where asking in turn would take four.
    fake.say(|name, family| match (name, family) {
        ("b.example.", Family::V4) => Say::After(ms(20), found(A, 60)),
        ("b.example.", Family::V6) => Say::After(ms(20), none(60)),
        _ => Say::After(ms(20), fake::failed(DnsErrorKind::NxDomain)),
    });
    let start = Instant::now();
    assert_eq!(look(&dns, "b.example").await.unwrap(), A);
    assert_eq!(start.elapsed(), ms(20));
    // With a dot at the end it is another name: nothing is appended.
    assert_eq!(look(&dns, "c.example.").await, Err(DnsErrorKind::NxDomain));
    assert!(fake.names().iter().any(|name| name == "c.example."));
    assert!(!fake.names().iter().any(|name| name.starts_with("c.example.ns")));
}

#[tokio::test(start_paused = true)]
async fn the_order_of_addresses_can_be_turned() {
    let all = &["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let fake = Fake::new(move |_, family| match family {
        Family::V4 => Say::Now(found(all, 60)),
        Family::V6 => Say::Now(none(60)),
    });
    let dns = layer().rotate().layer(fake.clone());
    let mut firsts = Vec::new();
    for _ in 0..6 {
        let found = look(&dns, "a.example").await.unwrap();
        assert_eq!(found.len(), 3);
        firsts.push(found[0].clone());
    }
    for address in all {
        assert_eq!(firsts.iter().filter(|first| first == address).count(), 2, "{firsts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_addresses_than_a_connector_can_try() {
    let all: Vec<String> = (1..=16).map(|last| format!("192.0.2.{last}")).collect();
    let fake = Fake::new(move |_, family| match family {
        Family::V4 => Say::Now(found(&all.iter().map(String::as_str).collect::<Vec<_>>(), 60)),
        Family::V6 => Say::Now(none(60)),
    });
    let dns = dns(&fake);
    assert_eq!(look(&dns, "a.example").await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_failed_comes_last_for_a_while() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::Now(found(&["192.0.2.1", "192.0.2.2"], 300)),
        Family::V6 => Say::Now(none(300)),
    });
    let dns = dns(&fake);
    assert_eq!(look(&dns, "a.example").await.unwrap()[0], "192.0.2.1");
    dns.failed(address_of("192.0.2.1").ip());
    assert_eq!(look(&dns, "a.example").await.unwrap()[0], "192.0.2.2");
    tokio::time::sleep(ms(30_100)).await;
    // One lookup tries it; the next one waits for what came of that.
    assert_eq!(look(&dns, "a.example").await.unwrap()[0], "192.0.2.1");
    assert_eq!(look(&dns, "a.example").await.unwrap()[0], "192.0.2.2");
    dns.worked(address_of("192.0.2.1").ip());
    assert_eq!(look(&dns, "a.example").await.unwrap()[0], "192.0.2.1");
}

#[test]
fn a_wrong_setting_is_named() {
    let name = |result: Result<_, buttress_dns::SettingError>| result.err().unwrap().setting();
    let zero = ms(0);
    assert_eq!(name(layer().ttl(zero..=ms(5_000))), "dns.ttl");
    assert_eq!(name(layer().ttl(ms(5_000)..=ms(2_000))), "dns.ttl");
    assert_eq!(name(layer().negative_ttl(zero..=ms(5_000))), "dns.negative_ttl");
    assert_eq!(name(layer().failure_backoff(zero..=ms(5_000))), "dns.failure_backoff");
    assert_eq!(name(layer().refresh_ahead(0.0)), "dns.refresh_ahead");
    assert_eq!(name(layer().refresh_ahead(f64::NAN)), "dns.refresh_ahead");
    assert_eq!(name(layer().budget(zero)), "dns.budget");
    assert_eq!(name(layer().lookup_timeout(zero)), "dns.lookup_timeout");
    assert_eq!(name(layer().capacity(0)), "dns.capacity");
    assert_eq!(name(layer().max_flights(0)), "dns.max_flights");
    assert_eq!(name(layer().max_addresses(0)), "dns.max_addresses");
    assert_eq!(name(layer().override_host("a..b", [])), "dns.override_host");
    assert_eq!(name(layer().override_host("a.example", [])), "dns.override_host");
    assert_eq!(name(layer().route("10.0.0.1", anything())), "dns.route");
}
