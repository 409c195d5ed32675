//! One server of a set, with all that is remembered of it and kept open to it.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, Shared};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{
    dial::Dial,
    health::Health,
    link::Link,
    order::Candidate,
    question::Question,
    race::says_none,
    reading::{Data, Found, Reading, read},
    server::{Server, Way},
    trust::Trust,
    udp,
};
use crate::{DnsError, DnsErrorKind, Queried, system::Tell};

/// Questions that one name may take, if the server leaves it to us to follow its aliases.
const MOST_QUESTIONS: usize = 8;

/// A connection that is silent for this long is taken for dead, if nothing is known of the server.
const SILENCE: Duration = Duration::from_millis(500);

/// And never sooner than this.
const SHORTEST_SILENCE: Duration = Duration::from_millis(100);

/// Questions over UDP that may be under way to one server, each with a socket of its own.
const MOST_SOCKETS: usize = 256;

/// The system's one lookup for both families.
pub(super) type Both = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, DnsError>>>;

#[derive(Debug)]
pub(super) struct Member {
    server: Server,
    link: Option<Link>,
    health: Mutex<Health>,
    /// It does not understand EDNS (RFC 6891, section 7).
    old: AtomicBool,
    sockets: Semaphore,
}

/// What one lookup brings to each server that it asks.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) question: Question,
    /// The name, as observers are told it.
    pub(super) name: crate::Name,
    pub(super) both: Option<Both>,
    pub(super) tell: Tell,
}

impl Member {
    pub(super) fn new(server: Server, trust: &Trust, patience: Duration) -> Self {
        let dial = match server.way() {
            Way::System => None,
            Way::Plain(address) => Some(Dial::Tcp(*address)),
            Way::Tls(secure) => Some(Dial::Tls(secure.clone(), trust.clone())),
            Way::Https(secure) => Some(Dial::Https(secure.clone(), trust.clone())),
        };
        let link = dial.map(|dial| Link::new(dial, patience));
        let (health, old) = (Mutex::default(), AtomicBool::new(false));
        Self { server, link, health, old, sockets: Semaphore::new(MOST_SOCKETS) }
    }

    pub(super) const fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn candidate(&self, now: Instant) -> Candidate {
        let health = self.health();
        Candidate {
            standing: health.standing(now),
            encrypted: self.server.is_encrypted(),
            asked: health.last_asked().map(|asked| now.saturating_duration_since(asked)),
        }
    }

    /// Opens the connection of a server that is only asked over one.
    pub(super) async fn warm(&self) -> Result<(), DnsError> {
        match &self.link {
            Some(link) if self.server.is_encrypted() => link.warm().await,
            _ => Ok(()),
        }
    }

    /// Asks for the records, and for those of the aliases' targets that the server leaves to us.
    pub(super) async fn ask(&self, asking: Asking, until: Instant) -> Result<Found, DnsError> {
        if *self.server.way() == Way::System {
            return self.ask_system(&asking, until).await;
        }
        let mut question = asking.question.clone();
        let mut passed: Vec<Name> = Vec::new();
        let (mut aliases, mut shortest) = (0, None);
        for _ in 0..MOST_QUESTIONS {
            match self.timed(&question, aliases, &asking, until).await? {
                Reading::Found(Found { data, ttl }) => {
                    let ttl = [ttl, shortest].into_iter().flatten().min();
                    return Ok(Found { data, ttl });
                }
                Reading::Nothing(error) => return Err(error),
                Reading::Alias { target, aliases: so_far, ttl } => {
                    passed.push(question.name().clone());
                    if passed.contains(&target) {
                        break;
                    }
                    aliases = so_far;
                    shortest = Some(shortest.map_or(ttl, |shortest: Duration| shortest.min(ttl)));
                    question = question.of(target);
                }
            }
        }
        let error = DnsError::new(DnsErrorKind::Malformed);
        Err(error.because("its aliases lead round and round, or on and on"))
    }

    /// One question and its answer, timed, remembered and told.
    async fn timed(
        &self,
        question: &Question,
        aliases: usize,
        asking: &Asking,
        until: Instant,
    ) -> Result<Reading, DnsError> {
        let running = Running::start(self, question.kind(), asking, until);
        let answer = self.exchange(question, until).await;
        let reading = answer
            .map(|message| (message.metadata.response_code, read(question, &message, aliases)));
        match &reading {
            Ok((code, Reading::Nothing(error))) => running.done(Some(*code), Some(error)),
            Ok((code, _)) => running.done(Some(*code), None),
            Err(error) => running.done(None, Some(error)),
        }
        reading.map(|(_, reading)| reading)
    }

    async fn exchange(&self, question: &Question, until: Instant) -> Result<Message, DnsError> {
        let edns = !self.old.load(Ordering::Relaxed);
        let message = self.exchange_with(question, edns, until).await?;
        let code = message.metadata.response_code;
        if !edns || !matches!(code, ResponseCode::FormErr | ResponseCode::NotImp) {
            return Ok(message);
        }
        let again = self.exchange_with(question, false, until).await?;
        if again.metadata.response_code != code {
            self.old.store(true, Ordering::Relaxed);
        }
        Ok(again)
    }

    async fn exchange_with(
        &self,
        question: &Question,
        edns: bool,
        until: Instant,
    ) -> Result<Message, DnsError> {
        let late = |_| DnsError::new(DnsErrorKind::Timeout);
        let p95 = self.health().p95();
        if let Way::Plain(address) = *self.server.way() {
            let again = p95.map_or(udp::UNKNOWN, |p95| p95 + p95 / 4 + udp::MARGIN);
            let asked = async {
                let _socket = self.sockets.acquire().await;
                udp::exchange(address, question, edns, again, until).await
            };
            if let Some(message) = timeout_at(until, asked).await.map_err(late)?? {
                return Ok(message);
            }
        }
        let Some(link) = &self.link else { return Err(DnsError::new(DnsErrorKind::Io)) };
        let silence = p95.map_or(SILENCE, |p95| 2 * p95).max(SHORTEST_SILENCE);
        timeout_at(until, link.exchange(question, edns, silence)).await.map_err(late)?
    }

    async fn ask_system(&self, asking: &Asking, until: Instant) -> Result<Found, DnsError> {
        let kind = asking.question.kind();
        let (Some(both), true) = (&asking.both, kind == RecordType::A || kind == RecordType::AAAA)
        else {
            let error = DnsError::new(DnsErrorKind::Refused);
            return Err(error.because("the system's resolver cannot look services up"));
        };
        let mut running = Running::start(self, kind, asking, until);
        // It tells its observer itself.
        running.silent = true;
        let found = both.clone().await.and_then(|addresses| {
            let ours = |address: &SocketAddr| address.is_ipv4() == (kind == RecordType::A);
            let data: Vec<_> = addresses
                .into_iter()
                .filter(ours)
                .map(|address| Data::Address(address.ip()))
                .collect();
            if data.is_empty() {
                return Err(DnsError::new(DnsErrorKind::NoData));
            }
            Ok(Found { data, ttl: None })
        });
        match &found {
            Ok(_) => running.done(Some(ResponseCode::NoError), None),
            Err(error) => running.done(None, Some(error)),
        }
        found
    }
}

/// A question under way. If it is dropped before its end, another server was faster, or time is up.
struct Running<'a> {
    member: &'a Member,
    asking: &'a Asking,
    kind: RecordType,
    start: Instant,
    until: Instant,
    silent: bool,
    done: bool,
}

impl<'a> Running<'a> {
    fn start(member: &'a Member, kind: RecordType, asking: &'a Asking, until: Instant) -> Self {
        let start = Instant::now();
        member.health().asked(start);
        Self { member, asking, kind, start, until, silent: false, done: false }
    }

    fn done(mut self, code: Option<ResponseCode>, error: Option<&DnsError>) {
        self.done = true;
        let now = Instant::now();
        let took = now - self.start;
        let mut health = self.member.health();
        match error {
            None => health.answered(took),
            Some(error) if says_none(error) => health.answered(took),
            Some(error) if code.is_some() || error.rcode().is_some() => health.useless(took),
            Some(_) => health.failed(now),
        }
        drop(health);
        self.tell(took, code.map(u16::from), error);
    }

    fn tell(&self, took: Duration, rcode: Option<u16>, error: Option<&DnsError>) {
        if self.silent {
            return;
        }
        let records = match self.kind {
            RecordType::A => "A",
            RecordType::AAAA => "AAAA",
            _ => "SRV",
        };
        let label = self.member.server.label();
        let mut event = Queried::new(label, self.asking.name.as_str(), records);
        (event.duration, event.rcode, event.error) = (took, rcode, error);
        (self.asking.tell)(&event);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let now = Instant::now();
        if now < self.until {
            self.member.health().outrun(now - self.start);
            return;
        }
        self.member.health().failed(now);
        let error = DnsError::new(DnsErrorKind::Timeout);
        self.tell(now - self.start, None, Some(&error));
    }
}
