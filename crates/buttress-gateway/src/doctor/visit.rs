//! Sends the requests: some on connections of their own, as many again on one that is kept.

use std::{net::SocketAddr, time::SystemTime};

use buttress_core::Hints;
use http::{HeaderMap, StatusCode, Version, header};

use super::{
    arguments::Plan,
    exchange::{Answered, Broken, Line},
    findings::{Handshake, Requests},
    times::Series,
    tls::Shake,
    trouble::{Trouble, one_line},
};

/// Failures in a row after which no more requests are sent.
const ENOUGH: u32 = 2;

/// Headers that are kept.
const MOST_HEADERS: usize = 24;

/// What is learned while the requests are sent.
#[derive(Default)]
struct Visit {
    requests: Requests,
    handshakes: Series,
    tls_version: Option<String>,
    tls_trouble: Option<Trouble>,
    first_byte: Series,
    total: Series,
    kept: Series,
    failures: u32,
}

/// Sends them to these addresses in turn; there is at least one. What failed below HTTP is told too.
pub(super) async fn visit(plan: &Plan, addresses: &[SocketAddr]) -> (Requests, Option<Handshake>) {
    let mut visit = Visit::default();
    let shake = match plan.target.secure.then(|| Shake::new(&plan.target, plan.ca.as_deref())) {
        Some(Err(trouble)) => {
            let handshake = Handshake { trouble: Some(trouble), ..Handshake::default() };
            return (Requests::default(), Some(handshake));
        }
        Some(Ok(shake)) => Some(shake),
        None => None,
    };
    let mut line = None;
    let in_turn = addresses.iter().cycle();
    for &address in in_turn.take(usize::try_from(plan.requests).unwrap_or(1)) {
        if visit.should_stop(plan) {
            break;
        }
        line = visit.on_a_new_line(plan, address, shake.as_ref()).await;
    }
    if let Some(line) = line {
        visit.on_a_kept_line(plan, line).await;
    }
    visit.end(plan.target.secure)
}

impl Visit {
    fn should_stop(&self, plan: &Plan) -> bool {
        plan.is_over() || self.requests.held_back || self.failures >= ENOUGH
    }

    /// The line, if it can be used again.
    async fn on_a_new_line(
        &mut self,
        plan: &Plan,
        address: SocketAddr,
        shake: Option<&Shake>,
    ) -> Option<Line> {
        let mut line = match Line::open(plan, address, shake).await {
            Ok(line) => line,
            Err(broken) => {
                self.broken(broken);
                return None;
            }
        };
        if let Some(handshake) = &line.handshake {
            self.handshakes.took(handshake.took);
            self.tls_version.clone_from(&handshake.version);
        }
        match line.ask(plan).await {
            Ok(answered) => {
                self.failures = 0;
                self.first_byte.took(answered.first_byte);
                self.total.took(line.opened.elapsed());
                let whole = answered.whole;
                self.note(answered);
                whole.then_some(line)
            }
            Err(trouble) => {
                self.first_byte.failed();
                self.total.failed();
                self.failed(trouble);
                None
            }
        }
    }

    async fn on_a_kept_line(&mut self, plan: &Plan, mut line: Line) {
        for _ in 0..plan.requests {
            if self.should_stop(plan) || !line.is_kept(plan).await {
                return;
            }
            match line.ask(plan).await {
                Ok(answered) => {
                    self.kept.took(answered.total);
                    let whole = answered.whole;
                    self.note(answered);
                    if !whole {
                        return;
                    }
                }
                // A server may close a connection that is kept whenever it likes.
                Err(_) => return,
            }
        }
    }

    fn broken(&mut self, broken: Broken) {
        self.total.failed();
        match broken {
            Broken::Handshake(trouble) => {
                self.handshakes.failed();
                self.failures += 1;
                self.tls_trouble = Some(trouble);
            }
            Broken::Connect(trouble) | Broken::Http(trouble) => self.failed(trouble),
        }
    }

    fn failed(&mut self, trouble: Trouble) {
        self.failures += 1;
        self.requests.trouble = Some(trouble);
    }

    /// Takes down the status, and what the headers say of coming back.
    fn note(&mut self, answered: Answered) {
        let Answered { status, version, headers, .. } = answered;
        let requests = &mut self.requests;
        requests.version = Some(if version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" });
        *requests.statuses.entry(status.as_u16()).or_default() += 1;
        let delay = Hints::read(status, &headers, now()).delay();
        if !status.is_success() && !status.is_redirection() {
            let ms = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            requests.retry_after_ms = requests.retry_after_ms.max(ms);
            // Whoever asks to be left alone is left alone, and too many requests were sent already.
            requests.held_back |= status == StatusCode::TOO_MANY_REQUESTS || delay.is_some();
        }
        for (name, value) in limits(&headers) {
            if requests.headers.len() < MOST_HEADERS || requests.headers.contains_key(&name) {
                requests.headers.insert(name, value);
            }
        }
        if status.is_redirection() {
            let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            requests.location = location.map(one_line);
        }
    }

    fn end(self, secure: bool) -> (Requests, Option<Handshake>) {
        let handshake = secure.then(|| Handshake {
            times: self.handshakes.times(),
            version: self.tls_version,
            trouble: self.tls_trouble,
        });
        let mut requests = self.requests;
        requests.first_byte = self.first_byte.times();
        requests.total = self.total.times();
        requests.kept = self.kept.times();
        (requests, handshake)
    }
}

/// The headers that speak of limits, and of when to come back.
fn limits(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let speaks = name.contains("ratelimit")
            || name.contains("rate-limit")
            || name.contains("retry-after")
            || matches!(name, "x-should-retry" | "grpc-retry-pushback-ms");
        speaks.then(|| (name.to_owned(), one_line(&String::from_utf8_lossy(value.as_bytes()))))
    })
}

#[expect(clippy::disallowed_methods, reason = "a `Retry-After` may be a date")]
fn now() -> SystemTime {
    SystemTime::now()
}
