//! A set of servers, the settings under which they are asked, and one lookup among them.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::SettingError;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    health::Standing,
    member::{Asking, Member},
    order::order,
    race::{Rules, race, says_none},
    reading::Found,
    server::Server,
    trust::Trust,
};
use crate::{DnsError, Name, Observer, Queried, System, is_ahead, system::Tell};

/// Servers in one set.
const MOST_SERVERS: usize = 32;

/// While nobody answers, one more server is asked after each of these.
const STAGGER: Duration = Duration::from_millis(250);

/// For a lookup that nobody waits for, the next is asked when the first takes longer than usual.
const HEDGE: Duration = Duration::from_millis(100);
const SOONEST_HEDGE: Duration = Duration::from_millis(30);

/// For so long "there is no such record" may be contradicted.
const GRACE: Duration = Duration::from_millis(50);

/// One lookup in so many tries the server that was not asked for longest.
const EXPLORE: usize = 16;

/// What becomes of a name when the servers that keep it to themselves cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Privacy {
    /// Only encrypted servers are allowed. If none of them proves who it is and answers, the name
    /// is not resolved.
    Strict,
    /// Encrypted servers are asked first; plain ones and the system's resolver only if all of them
    /// have failed, or have used up half of the time. Whoever can break the encrypted way can therefore still read and change answers.
    #[default]
    Opportunistic,
    /// All are alike, and the fastest is asked first.
    Indifferent,
}

/// Asks name servers: several at once if need be, each as fast as it allows.
///
/// It is a resolver without a memory for answers; [`DnsLayer`](crate::DnsLayer) has that. It does
/// remember the servers: how long they take, and whether they answer at all. A clone is another
/// handle of the same set.
///
/// ```
/// use buttress_dns::{Privacy, Public, Server, Upstreams};
/// use std::time::Duration;
///
/// let upstreams = Upstreams::new([Public::Cloudflare.https(), Public::Quad9.https()])?
///     .privacy(Privacy::Strict)?
///     .timeout(Duration::from_secs(3))?
///     .route("corp.example", Upstreams::new([Server::plain(([10, 0, 0, 53], 53))])?)?;
/// # drop(upstreams);
/// # Ok::<(), buttress_dns::SettingError>(())
/// ```
///
/// # Which server, and whose word counts
///
/// A name that somebody waits for is asked of the two fastest servers at once; a lookup that was
/// made [`ahead`](crate::ahead) of need, of the fastest, and of the next if that takes longer than
/// usual. The first answer with records wins. "No such name" and "no such record" count if nobody
/// who was asked contradicts within 50 ms. An error makes the next server be asked at once, and is
/// the result only if nobody does better. A server that fails three times in a row is left alone for
/// a second, then two, and so on up to 30 s, then tried beside another.
///
/// Signatures (DNSSEC) are not checked here: ask a server that checks them, over a way that nobody
/// can change.
///
/// A setting makes a new set: what was learned of the servers until then is forgotten.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    settings: Settings,
    members: Vec<Member>,
    turn: AtomicUsize,
}

#[derive(Clone)]
struct Settings {
    servers: Vec<Server>,
    routes: Vec<(Name, Upstreams)>,
    privacy: Privacy,
    race: usize,
    timeout: Duration,
    trust: Trust,
    system: System,
    tell: Tell,
}

impl Upstreams {
    /// Asks these servers.
    ///
    /// # Errors
    ///
    /// If there are none, one is there twice, or there are more than 32.
    pub fn new(servers: impl IntoIterator<Item = Server>) -> Result<Self, SettingError> {
        let servers: Vec<_> = servers.into_iter().take(MOST_SERVERS + 1).collect();
        let refused = |reason: String| Err(SettingError::new("upstreams.servers", reason));
        if servers.is_empty() {
            return refused("empty, so nobody could be asked".into());
        }
        if servers.len() > MOST_SERVERS {
            return refused(format!("more than {MOST_SERVERS}"));
        }
        let mut labels = HashSet::new();
        if let Some(twice) = servers.iter().find(|server| !labels.insert(server.label())) {
            return refused(format!("a list with {twice} in it twice"));
        }
        Ok(Self::of(servers))
    }

    pub(super) fn of(servers: Vec<Server>) -> Self {
        let settings = Settings {
            servers,
            routes: Vec::new(),
            privacy: Privacy::default(),
            race: 2,
            timeout: Duration::from_secs(5),
            trust: Trust::default(),
            system: System::new(),
            tell: Arc::new(|_| {}),
        };
        settings.make()
    }

    /// What happens when encrypted servers cannot be reached. Default:
    /// [`Opportunistic`](Privacy::Opportunistic).
    ///
    /// # Errors
    ///
    /// If it is [`Strict`](Privacy::Strict) and a server of the set is not encrypted.
    pub fn privacy(self, privacy: Privacy) -> Result<Self, SettingError> {
        let plain = self.0.settings.servers.iter().find(|server| !server.is_encrypted());
        if let (Privacy::Strict, Some(server)) = (privacy, plain) {
            let reason = format!("strict, and {server} is not encrypted");
            return Err(SettingError::new("upstreams.privacy", reason));
        }
        Ok(self.change(|settings| settings.privacy = privacy))
    }

    /// How many servers are asked at once for a name that somebody waits for. Default: 2.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn race(self, servers: usize) -> Result<Self, SettingError> {
        if servers == 0 {
            return Err(SettingError::new("upstreams.race", "0, so nobody would be asked"));
        }
        Ok(self.change(|settings| settings.race = servers))
    }

    /// How long one lookup may take, all servers together. Default: 5 s.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn timeout(self, timeout: Duration) -> Result<Self, SettingError> {
        if timeout.is_zero() {
            let reason = "zero, so nothing could ever succeed";
            return Err(SettingError::new("upstreams.timeout", reason));
        }
        Ok(self.change(|settings| settings.timeout = timeout))
    }

    /// Believes servers whose certificates come from these authorities as well, given in PEM
    /// format. Default: those that the platform believes.
    ///
    /// # Errors
    ///
    /// If there is no certificate in it, or one that is none.
    pub fn trust(self, pem: &[u8]) -> Result<Self, SettingError> {
        let trust = self.0.settings.trust.clone().and(pem)?;
        Ok(self.change(|settings| settings.trust = trust))
    }

    /// Asks other servers for the names at or below `suffix`, and nobody else: names that only they
    /// know, and that are nobody else's business. The longest suffix that fits counts. The others'
    /// settings apply to them, their privacy too.
    ///
    /// # Errors
    ///
    /// If the suffix is no name.
    pub fn route(self, suffix: &str, servers: Self) -> Result<Self, SettingError> {
        let refused = |reason: &str| {
            Err(SettingError::new("upstreams.route", format!("{suffix:?}, {reason}")))
        };
        let Ok(name) = Name::new(suffix.strip_prefix('.').unwrap_or(suffix)) else {
            return refused("which is no name");
        };
        if name.address().is_some() {
            return refused("which is an address");
        }
        Ok(self.change(|settings| {
            settings.routes.retain(|(other, _)| other.as_str() != name.as_str());
            settings.routes.push((name, servers));
            settings.routes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.labels()));
        }))
    }

    /// How [`Server::system`] is asked. Default: [`System::new`].
    #[must_use]
    pub fn with_system(self, system: System) -> Self {
        self.change(|settings| settings.system = system)
    }

    /// Who is told of each question and its answer. Default: nobody. A question that was given up
    /// because another server answered first is not told.
    #[must_use]
    pub fn observer(self, observer: impl Observer) -> Self {
        let tell: Tell = Arc::new(move |event: &Queried<'_>| observer.queried(event));
        self.change(|settings| {
            settings.system = settings.system.clone().tell(Arc::clone(&tell));
            settings.tell = tell;
        })
    }

    /// The servers, in the order in which they were given.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.0.members.iter().map(Member::server)
    }

    /// How long each server takes to answer, lately and on average, as far as that is known.
    pub fn latencies(&self) -> impl Iterator<Item = (&Server, Option<Duration>)> {
        let now = Instant::now();
        self.0.members.iter().map(move |member| {
            let takes = match member.candidate(now).standing {
                Standing::Takes(time) => Some(time),
                Standing::Unknown | Standing::Recovering | Standing::Cooling(_) => None,
            };
            (member.server(), takes)
        })
    }

    /// Opens the connections to the encrypted servers, so that the first name need not wait for it.
    /// Whether that worked shows when they are asked.
    pub async fn warm(&self) {
        join_all(self.0.members.iter().map(Member::warm)).await;
    }

    /// The set that is asked for this name.
    pub(super) fn of_name(&self, name: &Name) -> &Self {
        let routes = &self.0.settings.routes;
        let route = routes.iter().find(|(suffix, _)| name.is_within(suffix));
        route.map_or(self, |(_, servers)| servers)
    }

    pub(super) fn tell(&self) -> Tell {
        Arc::clone(&self.0.settings.tell)
    }

    /// The system's resolver, if it is one of the servers.
    pub(super) fn own_system(&self) -> Option<&System> {
        let is_system = |server: &Server| *server == Server::system();
        self.0.settings.servers.iter().any(is_system).then_some(&self.0.settings.system)
    }

    /// Finds the records, whoever of the servers has them.
    pub(super) async fn find(self, asking: Asking) -> Result<Found, DnsError> {
        let Inner { settings, members, turn } = &*self.0;
        let until = Instant::now() + settings.timeout;
        let explore = turn.fetch_add(1, Ordering::Relaxed) % EXPLORE == EXPLORE - 1;
        let candidates: Vec<_> =
            members.iter().map(|member| member.candidate(Instant::now())).collect();
        let mut lots = order(&candidates, settings.privacy, explore).into_iter().peekable();
        let mut failure = None;
        while let Some(lot) = lots.next() {
            let now = Instant::now();
            let half = now + until.saturating_duration_since(now) / 2;
            let until = if lots.peek().is_some() { half } else { until };
            let rules = self.rules(&lot, until);
            let ask = |at: usize| ask(members.get(at), asking.clone(), until);
            match race(&lot, rules, ask).await {
                Err(error) if !says_none(&error) => failure = failure.or(Some(error)),
                settled => return settled,
            }
        }
        Err(failure.unwrap_or_else(|| DnsError::new(crate::DnsErrorKind::Io)))
    }

    fn rules(&self, lot: &[usize], until: Instant) -> Rules {
        let settings = &self.0.settings;
        if !is_ahead() {
            return Rules { width: settings.race, stagger: STAGGER, grace: GRACE, until };
        }
        let first = lot.first().and_then(|&at| self.0.members.get(at));
        let p95 = first.and_then(|member| member.health().p95());
        let stagger = p95.map_or(HEDGE, |p95| p95.max(SOONEST_HEDGE));
        Rules { width: 1, stagger, grace: GRACE, until }
    }

    fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.0.settings.clone();
        change(&mut settings);
        settings.make()
    }
}

async fn ask(member: Option<&Member>, asking: Asking, until: Instant) -> Result<Found, DnsError> {
    match member {
        Some(member) => member.ask(asking, until).await,
        None => Err(DnsError::new(crate::DnsErrorKind::Io)),
    }
}

impl Settings {
    fn make(self) -> Upstreams {
        let member = |server: &Server| Member::new(server.clone(), &self.trust, self.timeout);
        let members = self.servers.iter().map(member).collect();
        Upstreams(Arc::new(Inner { settings: self, members, turn: AtomicUsize::new(0) }))
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { servers, routes, privacy, race, timeout, .. } = &self.0.settings;
        f.debug_struct("Upstreams")
            .field("servers", servers)
            .field("routes", routes)
            .field("privacy", privacy)
            .field("race", race)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}
