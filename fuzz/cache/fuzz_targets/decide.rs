//! Any exchange is stored or not, and any request for what is stored is decided, without a panic and
//! without breaking what no header may break.

#![no_main]

use std::{str, sync::Arc, time::Duration};

use buttress_cache::{
    Entry, Flags, Profile, Time,
    rfc::{Ask, Decision, Exchange, Freshened, decide, freshen, head_update, judge},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;

/// Fields from lines such as `name: value`; a line that is none is left out.
fn fields(block: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in block.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fuzz_target!(|data: &[u8]| {
    // Status, times, then the fields of a request, of its response, of a 304 and of another request.
    let Some((head, rest)) = data.split_at_checked(8) else { return };
    let mut blocks = rest.split(|&byte| byte == 0);
    let mut block = || fields(blocks.next().unwrap_or_default());
    let (request, response, update, other) = (block(), block(), block(), block());
    let status = 100 + u16::from(head[0]) * 2 + u16::from(head[1] & 1);
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let sent = Time::from_secs(u64::from(u32::from_le_bytes([head[2], head[3], head[4], 100])));
    let received = sent.after(Duration::from_secs(u64::from(head[5])));
    let now = received.after(Duration::from_secs(u64::from(head[6]) << (head[7] & 31)));
    let profile = if head[7] & 32 == 0 { Profile::rfc() } else { Profile::private() };

    let exchange = Exchange::new(&Method::GET, &request, status, &response, received).sent_at(sent);
    let Ok(stored) = judge(&profile, &exchange) else { return };
    let control = response.get_all("cache-control");
    let forbids = |word: &str| {
        control.iter().any(|line| str::from_utf8(line.as_bytes()).is_ok_and(|line| line.eq_ignore_ascii_case(word)))
    };
    let targeted = response.contains_key("cdn-cache-control");
    assert!(targeted || !forbids("no-store") || forbids("must-understand"));
    assert!(stored.vary.matches(&request));
    assert!(!stored.headers.contains_key("connection") && stored.headers.contains_key("date"));
    assert!(stored.policy.age(now) >= stored.policy.age(received));

    let mut entry = Entry::new(Arc::from("http://a/"), status, stored.headers, stored.policy);
    entry.vary = Arc::new(stored.vary);
    let ask = Ask::of(&Method::GET, &other);
    let decision = decide(&profile, &entry.policy, &ask, now);
    let flags = entry.policy.flags();
    if flags.has(Flags::NO_CACHE) || ask.end_to_end {
        assert!(matches!(decision, Decision::Revalidate(_)));
    }
    if flags.has(Flags::MUST_REVALIDATE) && !entry.policy.is_fresh(now) {
        let Decision::Revalidate(staleness) = decision else { panic!("{decision:?}") };
        assert!(!staleness.on_error && !staleness.on_disconnect);
    }
    let update = Exchange::new(&Method::GET, &other, StatusCode::NOT_MODIFIED, &update, now);
    if let Freshened::Entry { entry: new, .. } = freshen(&profile, &entry, &update) {
        assert_eq!(new.headers.get("content-length"), entry.headers.get("content-length"));
        assert!(new.id != entry.id);
    }
    let head = Exchange::new(&Method::HEAD, &other, StatusCode::OK, &response, now);
    let _ = head_update(&profile, &entry, &head);
});
