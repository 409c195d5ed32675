//! Any bytes are directives, and what they say does not depend on who else is in the line.

#![no_main]

use buttress_cache::rfc::{Delta, Directives};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let lines = || data.split(|&byte| byte == b'\n');
    let directives = Directives::parse(lines());
    assert_eq!(directives, Directives::parse(lines()));
    for delta in [directives.max_age, directives.s_maxage, directives.min_fresh] {
        assert!(delta.secs().is_none_or(|secs| secs <= Delta::MOST));
    }
    // More directives never allow more.
    let more = Directives::parse(lines().chain([&b"no-store, max-age=0"[..]]));
    assert!(more.no_store && more.max_age.lifetime() == Some(0));

    let name = HeaderName::from_static("cdn-cache-control");
    let mut headers = HeaderMap::new();
    for line in lines() {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name.clone(), value);
        }
    }
    let _ = Directives::targeted(&headers, &name);
});
