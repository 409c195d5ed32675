//! What a lookup of a known name costs, and who waits when the resolver is slow or gone.
//!
//! `cargo bench -p buttress-dns`; `-- --quick` for a tenth of the rounds. It fails if a bar is
//! missed: the fastest round is what is judged, since a shared machine only ever adds.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_dns::{Answer, Dns, DnsLayer, Family, Learned, Records, Side};
use buttress_testkit::{Bench, bench::poll_once};
use hyper_util::client::legacy::connect::dns::Name as Host;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};
use tower_layer::Layer;
use tower_service::Service;

fn main() -> io::Result<ExitCode> {
    let mut met = hits()?;
    met &= refreshes()?;
    met &= gone()?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A resolver with this TTL that answers after a while, or no more.
#[derive(Clone)]
struct Slow {
    ttl: Duration,
    delay: Duration,
    gone: Arc<AtomicBool>,
}

impl Service<Host> for Slow {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Host) -> Self::Future {
        let side = |family| {
            let slow = self.clone();
            Side::coming(async move { slow.learn(family).await })
        };
        ready(Ok(Answer::new(side(Family::V4), side(Family::V6))))
    }
}

impl Slow {
    fn new(ttl: Duration, delay: Duration) -> Self {
        Self { ttl, delay, gone: Arc::default() }
    }

    async fn learn(self, family: Family) -> Learned {
        if self.gone.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        sleep(self.delay).await;
        let address: SocketAddr = match family {
            Family::V4 => ([192, 0, 2, 1], 0).into(),
            Family::V6 => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 0).into(),
        };
        Ok(Records::new([address], Some(self.ttl)))
    }
}

/// A handle that knows the name, with a runtime of its own on which nothing else happens.
fn known(runtime: &Runtime, slow: Slow, names: usize) -> Dns<Slow> {
    let dns = DnsLayer::new().layer(slow);
    runtime.block_on(async {
        for name in (0..names).map(|number| format!("host{number}.example")) {
            // The second one is the first hit, and arms the refresh.
            for _ in 0..2 {
                drop(dns.resolve(&name).await);
            }
        }
    });
    dns
}

fn host(name: &str) -> Host {
    match name.parse() {
        Ok(host) => host,
        Err(_) => unreachable!("a host is any text"),
    }
}

/// The cost of a hit: at most 250 ns, and one allocation, which is the name that hyper makes.
fn hits() -> io::Result<bool> {
    const HIT: &str = "a hit as hyper-util makes it, 1 of 1 names";
    const MANY: &str = "a hit as hyper-util makes it, 1 of 1000 names";

    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _guard = runtime.enter();
    let slow = Slow::new(Duration::from_secs(300), Duration::ZERO);
    let mut one = known(&runtime, slow.clone(), 1);
    let mut many = known(&runtime, slow.clone(), 1_000);
    let by_text = many.clone();
    let absolute = many.clone();
    let other_case = many.clone();
    let hit = |dns: &mut Dns<Slow>| {
        let lookup = dns.call(host("host0.example"));
        poll_once(lookup).map_or(0, Iterator::count)
    };
    let summary = Bench::new("a known name")
        .case("the name alone", || host("host0.example"))
        .case(HIT, move || hit(&mut one))
        .case(MANY, move || hit(&mut many))
        .case("`resolve` with text", move || poll_once(by_text.resolve("host0.example")).is_ok())
        .case("with a dot at the end", move || {
            poll_once(absolute.resolve("host0.example.")).is_ok()
        })
        .case("in another case", move || poll_once(other_case.resolve("Host0.Example")).is_ok())
        .baseline("the name alone")
        .run()?;
    let mut met = true;
    for name in [HIT, MANY] {
        let Some(case) = summary.case(name) else { continue };
        let good = case.allocations() <= 1.0 && (case.min() <= 250.0 || !summary.is_timed());
        met &= say(
            good,
            &format!("{name}: {:.1} of 250 ns, {} of 1 allocs", case.min(), case.allocations()),
        )?;
    }
    Ok(met)
}

/// 50 callers over 5 seconds of real time, a TTL of 1 second, a resolver that takes 150 ms.
fn refreshes() -> io::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let dns = known(&runtime, Slow::new(Duration::from_secs(1), Duration::from_millis(150)), 1);
    let (worst, count) = runtime.block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            callers.spawn(caller(dns.clone(), Duration::from_secs(5)));
        }
        let (mut worst, mut count) = (Duration::ZERO, 0);
        while let Some(Ok((its_worst, its_count))) = callers.join_next().await {
            worst = worst.max(its_worst);
            count += its_count;
        }
        (worst, count)
    });
    let good = worst <= Duration::from_millis(50) && count > 0;
    say(
        good,
        &format!(
            "TTL 1 s, 150 ms, 50 callers: the slowest of {count} lookups took {worst:?} of 50 ms"
        ),
    )
}

async fn caller(dns: Dns<Slow>, time: Duration) -> (Duration, u64) {
    let (end, mut worst, mut count) = (Instant::now() + time, Duration::ZERO, 0);
    while Instant::now() < end {
        let start = Instant::now();
        drop(dns.resolve("host0.example").await);
        worst = worst.max(start.elapsed());
        count += 1;
        sleep(Duration::from_millis(10)).await;
    }
    (worst, count)
}

/// The resolver is gone when the answer ends.
fn gone() -> io::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let slow = Slow::new(Duration::from_secs(1), Duration::ZERO);
    let dns = known(&runtime, slow.clone(), 1);
    slow.gone.store(true, Ordering::Relaxed);
    let (took, found) = runtime.block_on(async {
        sleep(Duration::from_millis(1_500)).await;
        let start = Instant::now();
        let found = dns.resolve("host0.example").await.map_or(0, Iterator::count);
        (start.elapsed(), found)
    });
    let good = took < Duration::from_millis(1) && found == 2;
    say(good, &format!("the resolver is gone: {found} stale addresses in {took:?} of 1 ms"))
}

fn say(met: bool, what: &str) -> io::Result<bool> {
    let verdict = if met { "met   " } else { "MISSED" };
    writeln!(io::stdout().lock(), "  {verdict}  {what}")?;
    Ok(met)
}
