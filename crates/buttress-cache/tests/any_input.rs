//! Whatever comes from the network is decided, without a panic and without breaking what no header
//! may break. The fuzz targets do the same with more patience.

use std::{sync::Arc, time::Duration};

use buttress_cache::{
    Entry, Flags, Profile, Time,
    rfc::{Ask, Decision, Exchange, decide, freshen, head_update, judge},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

const NAMES: [&str; 18] = [
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-length",
    "date",
    "etag",
    "expires",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "last-modified",
    "pragma",
    "range",
    "set-cookie",
    "vary",
    "x",
];

const WORDS: [&str; 36] = [
    "max-age",
    "s-maxage",
    "no-store",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "stale-while-revalidate",
    "stale-if-error",
    "max-stale",
    "min-fresh",
    "only-if-cached",
    "=",
    "=60",
    "=0",
    "=\"x, y\"",
    "=-1",
    "99999999999999999999999",
    ", ",
    ";",
    "\"",
    "\\",
    "*",
    "W/",
    "\"a\"",
    "bytes=",
    "0-",
    "-5",
    "-",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 2095 08:49:37 GMT",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "x",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(word, 0..6).prop_map(|words| words.concat())
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((prop::sample::select(&NAMES[..]), value()), 0..8).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_exchange_is_stored_or_not_and_any_request_decided(
        request in fields(),
        response in fields(),
        update in fields(),
        other in fields(),
        status in 100_u16..600,
        times: (u32, u16, u32),
        private: bool,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let sent = Time::from_secs(u64::from(times.0));
        let received = sent.after(Duration::from_secs(u64::from(times.1)));
        let now = received.after(Duration::from_secs(u64::from(times.2)));
        let profile = if private { Profile::private() } else { Profile::rfc() };
        let exchange =
            Exchange::new(&Method::GET, &request, status, &response, received).sent_at(sent);
        let Ok(stored) = judge(&profile, &exchange) else { return Ok(()) };
        prop_assert!(stored.vary.matches(&request));
        prop_assert!(!stored.headers.contains_key("connection"));
        prop_assert!(stored.headers.contains_key("date"));
        prop_assert!(!response.get_all("vary").iter().any(|line| line == "*"));
        let words = stored.policy.to_words();
        prop_assert_eq!(buttress_cache::Policy::from_words(words), stored.policy);

        let mut entry = Entry::new(Arc::from("http://a/"), status, stored.headers, stored.policy);
        entry.vary = Arc::new(stored.vary);
        let ask = Ask::of(&Method::GET, &other);
        let decision = decide(&profile, &entry.policy, &ask, now);
        let flags = entry.policy.flags();
        if flags.has(Flags::NO_CACHE) || ask.end_to_end {
            prop_assert!(matches!(decision, Decision::Revalidate(_)));
        }
        if flags.has(Flags::MUST_REVALIDATE) && !entry.policy.is_fresh(now) {
            let strict = matches!(decision, Decision::Revalidate(staleness)
                if !staleness.on_error && !staleness.on_disconnect);
            prop_assert!(strict, "{:?}", decision);
        }
        let confirmed = Exchange::new(&Method::GET, &other, StatusCode::NOT_MODIFIED, &update, now);
        let _ = freshen(&profile, &entry, &confirmed);
        let head = Exchange::new(&Method::HEAD, &other, StatusCode::OK, &update, now);
        let _ = head_update(&profile, &entry, &head);
    }
}
