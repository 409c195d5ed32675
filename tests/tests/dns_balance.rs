//! A balancer's set that follows the addresses of a name.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_balance::{Endpoint, EndpointSet};
use buttress_dns::{Answer, DnsLayer, Records, Side};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::sleep;
use tower::{Layer, service_fn};

#[tokio::test(start_paused = true)]
async fn a_set_follows_a_name_and_keeps_what_it_has_when_the_name_fails() {
    let answer: Arc<Mutex<Vec<u8>>> = Arc::new(Mutex::new(vec![1, 2]));
    let said = Arc::clone(&answer);
    let resolver = service_fn(move |_: Name| {
        let addresses: Vec<SocketAddr> = said
            .lock()
            .unwrap()
            .iter()
            .map(|&last| (Ipv4Addr::new(192, 0, 2, last), 0).into())
            .collect();
        let ttl = Some(Duration::from_secs(10));
        let (v4, v6) = (Records::new(addresses, ttl), Records::none(ttl));
        std::future::ready(Ok::<_, Infallible>(Answer::new(Side::here(Ok(v4)), Side::here(Ok(v6)))))
    });
    let dns = DnsLayer::new().hosts(None).resolv_conf(None).layer(resolver);

    let set = EndpointSet::new([Endpoint::new("http://192.0.2.9:8080").unwrap()]).unwrap();
    let places = dns.endpoints("api.example", 8080);
    let watching =
        set.watch(places.each(|place| Endpoint::new(format!("http://{}", place.address()))));
    let shown = || -> Vec<String> {
        let mut shown: Vec<String> = set.snapshot().into_iter().map(|status| status.name).collect();
        shown.sort();
        shown
    };
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shown(), ["http://192.0.2.1:8080", "http://192.0.2.2:8080"]);

    answer.lock().unwrap().push(3);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(shown().len(), 3);

    // No address at all is no reason to have none.
    answer.lock().unwrap().clear();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(shown().len(), 3);
    assert!(!watching.is_over());

    *answer.lock().unwrap() = vec![3];
    sleep(Duration::from_secs(120)).await;
    assert_eq!(shown(), ["http://192.0.2.3:8080"]);
}
