//! What an observer is told.

mod fake;

use std::sync::{Arc, Mutex};

use buttress_dns::{DnsErrorKind, Family, Fetched, LookedUp, Observer, Source};
use fake::{Fake, SECOND, Say, failed, found, layer, look, ms, none};
use tokio::time::{advance, sleep};
use tower_layer::Layer;

/// Writes everything down.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|poison| poison.into_inner()))
    }

    fn note(&self, line: String) {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner()).push(line);
    }
}

impl Observer for Notes {
    fn looked_up(&self, event: &LookedUp<'_>) {
        let error = event.error.map_or_else(String::new, |error| format!(" {}", error.kind()));
        self.note(format!(
            "{} {} {}ms {}{error}",
            event.name,
            event.source.as_str(),
            event.duration.as_millis(),
            event.addresses.len(),
        ));
    }

    fn learned(&self, event: &Fetched<'_>) {
        let rcode = event.error.and_then(buttress_dns::DnsError::rcode);
        let rcode = rcode.map_or_else(String::new, |rcode| format!(" rcode {rcode}"));
        let ahead = if event.ahead { " ahead" } else { "" };
        self.note(format!(
            "{} {} {}ms {}{rcode}{ahead}",
            event.name,
            event.family,
            event.duration.as_millis(),
            event.addresses,
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn every_lookup_is_told_with_its_source_and_time() {
    let fake = Fake::new(|_, family| match family {
        Family::V4 => Say::After(ms(30), found(&["192.0.2.1", "192.0.2.2"], 10)),
        Family::V6 => Say::After(ms(40), none(3_600)),
    });
    let notes = Notes::default();
    let pinned = "192.0.2.9:0".parse().unwrap();
    let dns = layer()
        .override_host("pinned.example", [pinned])
        .unwrap()
        .observer(notes.clone())
        .layer(fake.clone());
    look(&dns, "a.example").await.unwrap();
    assert_eq!(
        notes.take(),
        ["a.example A 40ms 2", "a.example AAAA 40ms 0", "a.example miss 40ms 2"]
    );
    look(&dns, "A.example").await.unwrap();
    look(&dns, "pinned.example").await.unwrap();
    look(&dns, "127.0.0.1").await.unwrap();
    look(&dns, "a..b").await.unwrap_err();
    assert_eq!(
        notes.take(),
        [
            "A.example hit 0ms 2",
            "pinned.example override 0ms 1",
            "127.0.0.1 literal 0ms 1",
            "a..b hit 0ms 0 invalid_name",
        ]
    );
    sleep(9 * SECOND).await;
    assert_eq!(notes.take(), ["a.example A 30ms 2 ahead"]);

    fake.say(|_, _| Say::Now(failed(DnsErrorKind::ServFail)));
    advance(10 * SECOND).await;
    look(&dns, "a.example").await.unwrap();
    sleep(ms(1)).await;
    assert_eq!(notes.take(), ["a.example stale 0ms 2", "a.example A 0ms 0 rcode 2 ahead"]);
    assert_eq!(Source::Stale.as_str(), "stale");
}
