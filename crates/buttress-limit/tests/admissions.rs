//! What those are told who are admitted: what the quota had left at that moment.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{convert::Infallible, time::Duration};

use buttress_limit::{
    Acquire, Allowance, Ask, Cost, Denied, Global, Key, Lesson, Limiter, Local, Policy, Quota,
    RateLimitLayer, Settle, Settlement, Snapshot, Ticket, Tier, Unit, Wait,
};
use common::{Text, ask, get, per, server};
use http::{Request, Response};
use proptest::prelude::*;
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

/// Answers after so many seconds as the path says.
fn slow() -> impl Service<
    Request<Text>,
    Response = Response<Text>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Text>, Infallible>> + Send,
> + Clone
+ Send
+ 'static {
    tower::service_fn(|request: Request<Text>| async move {
        sleep(SECOND * request.uri().path()[1..].parse().unwrap()).await;
        Ok(Response::new(Text::default()))
    })
}

/// Calls a layer's service so often within a moment, and says what each answer's field does.
async fn said<L: Limiter + Send + Sync + 'static>(
    layer: RateLimitLayer<L, Global>,
    paths: &[&str],
) -> Vec<String>
where
    L::Acquire: Send,
{
    let service = layer.layer(slow());
    let calls = paths.iter().map(|path| {
        let call = service.clone().oneshot(get(path));
        async move {
            let response = call.await.unwrap();
            assert_eq!(response.status(), 200);
            response.headers().get("ratelimit").map(|field| field.to_str().unwrap().to_owned())
        }
    });
    let all = futures_util::future::join_all(calls).await;
    all.into_iter().map(Option::unwrap_or_default).collect()
}

/// What is behind the name of the only window.
fn numbers(said: &[String]) -> Vec<&str> {
    said.iter().map(|field| field.split_once(';').unwrap().1).collect()
}

fn around<L: Limiter>(limiter: L) -> RateLimitLayer<L, Global> {
    RateLimitLayer::inbound(limiter).key(Global::new()).headers()
}

/// Leaves every request at what it was charged.
struct Keep;

impl Settle for Keep {
    fn answered(&self, _: &http::response::Parts, _: &Cost) -> Settlement {
        Settlement::Keep
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_what_was_left_at_the_admission_however_long_it_takes() {
    let limiter = || Local::new(Quota::per_minute(10).unwrap()).unwrap();
    let layers = [
        around(limiter()),
        around(limiter()).cost(|_| Cost::request()),
        around(limiter()).settle(Keep),
        around(limiter()).billed(),
        around(limiter()).legacy_headers(),
        around(limiter()).wait(SECOND),
        around(limiter()).wait(SECOND).billed(),
        around(Local::new(Quota::per_day(1).unwrap()).unwrap().tier(per(10, 60 * SECOND)).unwrap())
            .tier(|_| Tier::new(1)),
    ];
    for (number, layer) in layers.into_iter().enumerate() {
        let said = said(layer, &["/7", "/1", "/0", "/3"]).await;
        assert_eq!(numbers(&said), ["r=9;t=6", "r=8;t=12", "r=7;t=18", "r=6;t=24"], "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_windows_are_said_as_they_were_at_the_admission() {
    let policy = [Quota::per_minute(10).unwrap(), Quota::per_hour(60).unwrap()];
    let layer = around(Local::new(Policy::new(policy).unwrap()).unwrap());
    let all = said(layer, &["/7", "/0"]).await;
    assert_eq!(all[0], r#""per-minute";r=9;t=6, "per-hour";r=59;t=60"#);
    assert_eq!(all[1], r#""per-minute";r=8;t=12, "per-hour";r=58;t=120"#);
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_is_told_what_was_left_when_its_turn_came() {
    let limiter = Local::new(per(60, 60 * SECOND).burst(2).unwrap()).unwrap();
    let all = said(around(limiter).wait(60 * SECOND), &["/9"; 4]).await;
    assert_eq!(numbers(&all), ["r=1;t=1", "r=0;t=2", "r=0;t=2", "r=0;t=2"]);
}

#[tokio::test(start_paused = true)]
async fn a_denial_that_is_not_enforced_says_what_is_left_all_the_same() {
    for wait in [false, true] {
        let limiter = Local::new(Quota::per_minute(2).unwrap()).unwrap();
        let mut layer = around(limiter).enforce(0.0).unwrap();
        if wait {
            layer = layer.wait(SECOND);
        }
        let all = said(layer, &["/5"; 4]).await;
        assert_eq!(numbers(&all), ["r=1;t=30", "r=0;t=60", "r=0;t=60", "r=0;t=60"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_costs_nothing_is_told_what_is_left() {
    let limiter = Local::new(Quota::per_minute(2).unwrap()).unwrap();
    let free = around(limiter.clone()).cost(|_| Cost::FREE);
    assert_eq!(said(free.clone(), &["/0"]).await, [r#""per-minute";r=2"#]);
    assert_eq!(said(around(limiter), &["/0"]).await, [r#""per-minute";r=1;t=30"#]);
    assert_eq!(said(free, &["/0"]).await, [r#""per-minute";r=1;t=30"#]);
}

#[tokio::test]
async fn exempt_requests_are_told_nothing() {
    let limiter = Local::new(Quota::per_minute(2).unwrap()).unwrap();
    let service = around(limiter).exempt(|_| true).layer(server().0);
    assert!(service.oneshot(get("/")).await.unwrap().headers().is_empty());
}

/// A limiter of somebody else, which does no more than it has to.
#[derive(Clone)]
struct Elsewhere {
    local: Local,
    knows: bool,
    at_once: bool,
}

impl Limiter for Elsewhere {
    type Acquire = Acquire;

    fn try_acquire(&self, ask: &Ask) -> Option<Result<Ticket, Denied>> {
        self.at_once.then(|| self.local.try_acquire(ask))?
    }

    fn acquire(&self, ask: Ask, wait: Option<Wait>) -> Acquire {
        self.local.acquire(ask, wait)
    }

    fn settle(&self, ticket: Ticket, actual: &Cost) {
        self.local.settle(ticket, actual);
    }

    fn learn(&self, key: Key, tier: Tier, lesson: Lesson) {
        self.local.learn(key, tier, lesson);
    }

    fn peek(&self, ask: &Ask) -> Option<Snapshot> {
        self.knows.then(|| self.local.peek(ask))?
    }
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_can_only_peek_says_what_is_left_and_one_that_cannot_says_nothing() {
    for (knows, at_once) in [(true, true), (true, false), (false, true), (false, false)] {
        let local = Local::new(Quota::per_minute(10).unwrap()).unwrap();
        let limiter = Elsewhere { local, knows, at_once };
        let said = said(around(limiter), &["/7", "/0"]).await;
        let expected = ["\"per-minute\";r=9;t=6", "\"per-minute\";r=8;t=12"];
        assert_eq!(said, if knows { expected } else { ["", ""] });
    }
}

proptest! {
    #[test]
    fn what_an_admission_leaves_is_what_is_found_right_after_it(
        steps in proptest::collection::vec(
            (0..12_u32, 0..3_u16, 0..30_u64, 0..4_000_u64, any::<bool>()),
            1..80,
        ),
        windows in 1..3_usize,
    ) {
        let quota = |amount, seconds: u64| {
            Quota::of(Unit::Tokens, amount, Duration::from_secs(seconds)).unwrap()
        };
        let policy = |amount| {
            let quotas = [quota(amount, 10), quota(amount * 3, 60)];
            Policy::new(quotas.into_iter().take(windows)).unwrap()
        };
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            // Few keys have a place of their own, and some are lowered.
            let limiter = Local::new(policy(50)).unwrap().tier(policy(20)).unwrap();
            let limiter = limiter.max_keys(6).unwrap().overflow(2).unwrap();
            for (key, tier, cost, millis, lowers) in steps {
                let ask = ask(&key.to_string(), Cost::FREE.with(Unit::Tokens, cost));
                let ask = ask.tier(Tier::new(tier));
                if lowers {
                    let said = Allowance::new(Unit::Tokens, 10, 10 * SECOND, 5 * SECOND);
                    limiter.learn(ask.key, ask.tier, Lesson::Limit(said));
                }
                let before = limiter.peek(&ask).unwrap();
                match limiter.pass_and_peek(&ask).unwrap() {
                    Ok(left) => {
                        let left = left.unwrap();
                        let after = limiter.peek(&ask).unwrap();
                        assert_eq!(left.standings(), after.standings());
                        assert_eq!(left.policy().quotas().len(), windows);
                        assert!(left.standings()[0].remaining() <= before.standings()[0].remaining());
                    }
                    Err(_) => {
                        let after = limiter.peek(&ask).unwrap();
                        assert_eq!(before.standings(), after.standings());
                    }
                }
                advance(Duration::from_millis(millis)).await;
            }
        });
    }
}

#[test]
fn a_key_that_is_new_and_denied_leaves_nothing_behind() {
    let limiter = Local::new(Quota::per_minute(2).unwrap()).unwrap();
    let large = ask("a", Cost::request().with(Unit::Requests, 3));
    assert!(limiter.pass_and_peek(&large).unwrap().is_err());
    assert_eq!(limiter.keys(), 0);
}

#[test]
fn no_two_of_many_threads_are_told_that_the_same_was_left() {
    let limiter = Local::new(Quota::per_day(2_000).unwrap()).unwrap();
    let ask = ask("a", Cost::request());
    let admitted = |charged: bool| {
        let left = match charged {
            true => limiter.try_acquire_and_peek(&ask).unwrap().unwrap().1,
            false => limiter.pass_and_peek(&ask).unwrap().unwrap(),
        };
        left.unwrap().standings()[0].remaining()
    };
    // The clock of all of them is past that of the first one, of which there are 1,999 left.
    assert_eq!(admitted(true), 1_999);
    let thread = || (0..490).map(|turn| admitted(turn % 2 == 0)).collect::<Vec<_>>();
    let mut told: Vec<_> = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(thread));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    told.sort_unstable();
    assert!(told.into_iter().eq(39..1_999));
}
