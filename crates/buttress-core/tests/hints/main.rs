//! What a server says about when to come back, read from real and hostile responses.

mod asked;
mod cost;
mod properties;
mod pushback;
mod quota;
mod retry_after;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use buttress_core::Hints;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Wed, 21 Oct 2015 07:28:00 GMT.
const NOW: u64 = 1_445_412_480;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn headers<V: AsRef<[u8]>>(lines: &[(&'static str, V)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_bytes(value.as_ref()) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

fn read<V: AsRef<[u8]>>(status: StatusCode, lines: &[(&'static str, V)]) -> Hints {
    Hints::read(status, &headers(lines), now())
}

fn busy<V: AsRef<[u8]>>(lines: &[(&'static str, V)]) -> Hints {
    read(StatusCode::SERVICE_UNAVAILABLE, lines)
}

fn limited<V: AsRef<[u8]>>(lines: &[(&'static str, V)]) -> Hints {
    read(StatusCode::TOO_MANY_REQUESTS, lines)
}

fn retry_after(value: &[u8]) -> Option<Duration> {
    busy(&[("retry-after", value)]).delay()
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}
