//! Sets that follow a stream, and endpoints that are asked whether they are up.

mod common;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_balance::{
    Ask, Balancer, Candidate, Endpoint, EndpointSet, Event, Health, HealthCheck, LearnedLimit,
    LeastRequest, Observation, State, Verdict,
};
use bytes::Bytes;
use common::{Net, endpoint, pass, set};
use futures_util::stream::{self, StreamExt};
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

type Answer = Result<Vec<Endpoint>, &'static str>;

fn feed() -> (mpsc::UnboundedSender<Answer>, UnboundedReceiverStream<Answer>) {
    let (send, receive) = mpsc::unbounded_channel();
    (send, UnboundedReceiverStream::new(receive))
}

fn names(set: &EndpointSet) -> Vec<String> {
    let mut names: Vec<_> = set.snapshot().into_iter().map(|endpoint| endpoint.name).collect();
    names.sort();
    names
}

/// Lets so many seconds pass, one by one: time that jumps would merge what happens in between.
async fn seconds(count: u32) {
    for _ in 0..count {
        pass(1.0).await;
        settle().await;
    }
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_an_error_or_empty_leaves_the_set_as_it_was() {
    let set = set(["a"]);
    let (send, answers) = feed();
    let watching = set.watch(answers);
    let mut events = set.subscribe();
    send.send(Ok(vec![endpoint("a"), endpoint("b"), endpoint("b")])).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://a", "http://b"], "without a call");
    let ids: Vec<_> = set.candidates().iter().map(|candidate| candidate.id()).collect();

    send.send(Err("SERVFAIL")).unwrap();
    send.send(Ok(Vec::new())).unwrap();
    send.send(Ok(vec![endpoint("b"), endpoint("a").weight(3).unwrap()])).unwrap();
    settle().await;
    let after: Vec<_> = set.candidates().iter().map(|candidate| candidate.id()).collect();
    assert_eq!(after, ids, "another order is no change, nor is another weight");
    let failed = std::iter::from_fn(|| events.try_next());
    assert_eq!(failed.filter(|event| matches!(event, Event::FeedFailed { .. })).count(), 2);
    assert!(!watching.is_over());
}

#[tokio::test(start_paused = true)]
async fn two_hundred_answers_are_two_hundred_endpoints() {
    let set = EndpointSet::empty();
    let all: Vec<_> = (0..200).map(|n| endpoint(&format!("10.0.0.{n}"))).collect();
    let shuffled: Vec<_> = all.iter().rev().cloned().collect();
    let (send, answers) = feed();
    let watching = set.watch(answers);
    let ids = || set.candidates().iter().map(Candidate::id).collect::<BTreeSet<_>>();
    send.send(Ok(all)).unwrap();
    settle().await;
    let first = ids();
    send.send(Ok(shuffled)).unwrap();
    settle().await;
    assert_eq!((set.len(), ids()), (200, first), "none was made twice");
    drop(watching);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_and_a_panic_in_it_leave_the_set_as_it_was() {
    let set = set(["a"]);
    let mut events = set.subscribe();
    // `unfold` panics if it is polled after its end.
    let ends = stream::unfold(0, |n| async move {
        (n == 0).then(|| (Ok::<_, Infallible>(vec![endpoint("a"), endpoint("b")]), 1))
    });
    let watching = set.watch(ends);
    settle().await;
    assert!(watching.is_over());
    assert_eq!(std::iter::from_fn(|| events.try_next()).last(), Some(Event::FeedEnded));

    let panics = stream::once(async { panic!("of the stream") });
    let panics = panics.map(|(): ()| Ok::<_, Infallible>(Vec::new()));
    let watching = set.watch(panics);
    settle().await;
    assert!(watching.is_over());
    assert_eq!(events.try_next(), Some(Event::FeedEnded));
    assert_eq!(names(&set), ["http://a", "http://b"]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_ends_the_watch() {
    let set = set(["a"]);
    let (send, answers) = feed();
    drop(set.watch(answers));
    settle().await;
    assert!(send.is_closed(), "the stream is gone");
    assert!(send.send(Ok(vec![endpoint("b")])).is_err());
    assert_eq!(names(&set), ["http://a"]);
}

#[cfg(feature = "discover")]
#[tokio::test(start_paused = true)]
async fn a_tower_discover_feeds_a_set() {
    use tower::discover::Change;
    let set = EndpointSet::empty();
    let (send, changes) = mpsc::unbounded_channel::<Result<Change<u8, Endpoint>, &str>>();
    let watching = set.discover(UnboundedReceiverStream::new(changes));
    send.send(Ok(Change::Insert(1, endpoint("a")))).unwrap();
    send.send(Ok(Change::Insert(2, endpoint("b")))).unwrap();
    send.send(Err("SERVFAIL")).unwrap();
    send.send(Ok(Change::Insert(2, endpoint("c")))).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://a", "http://c"]);
    send.send(Ok(Change::Remove(1))).unwrap();
    send.send(Ok(Change::Remove(9))).unwrap();
    send.send(Ok(Change::Remove(2))).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://c"], "the last one stays");
    drop(watching);
}

#[cfg(feature = "discover")]
#[tokio::test(start_paused = true)]
async fn the_last_endpoint_goes_once_there_is_another() {
    use tower::discover::Change;
    let set = EndpointSet::empty();
    let (send, changes) = mpsc::unbounded_channel::<Result<Change<u8, Endpoint>, &str>>();
    let watching = set.discover(UnboundedReceiverStream::new(changes));
    send.send(Ok(Change::Insert(1, endpoint("old")))).unwrap();
    send.send(Ok(Change::Remove(1))).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://old"]);
    send.send(Ok(Change::Insert(2, endpoint("new")))).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://new"]);

    // One that is named again before another comes is not removed.
    send.send(Ok(Change::Remove(2))).unwrap();
    send.send(Ok(Change::Insert(3, endpoint("new")))).unwrap();
    send.send(Ok(Change::Insert(4, endpoint("more")))).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://more", "http://new"]);
    drop(watching);
}

#[cfg(feature = "discover")]
#[tokio::test(start_paused = true)]
async fn an_endpoint_under_two_keys_stays_while_one_of_them_does() {
    use tower::discover::Change;
    let set = set(["z"]);
    let (send, changes) = mpsc::unbounded_channel::<Result<Change<u8, Endpoint>, &str>>();
    let watching = set.discover(UnboundedReceiverStream::new(changes));
    for key in [1, 2, 2] {
        send.send(Ok(Change::Insert(key, endpoint("a")))).unwrap();
    }
    send.send(Ok(Change::Remove(1))).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://a", "http://z"]);
    send.send(Ok(Change::Insert(2, endpoint("b")))).unwrap();
    settle().await;
    assert_eq!(names(&set), ["http://b", "http://z"]);
    drop(watching);
}

#[tokio::test(start_paused = true)]
async fn a_feed_leaves_what_was_done_by_hand() {
    let set = set(["a", "b"]);
    let (send, answers) = feed();
    let watching = set.watch(answers);
    let id = |name| set.id_of(name).unwrap();
    assert!(set.drain(id("http://a")));
    assert_eq!(set.set_weight(id("http://b"), 7), Ok(true));
    for _ in 0..2 {
        send.send(Ok(vec![endpoint("a"), endpoint("b")])).unwrap();
        settle().await;
        let now = set.snapshot();
        assert_eq!((now[0].state, now[1].weight), (State::Draining, 7));
    }
    send.send(Ok(vec![endpoint("a").weight(2).unwrap(), endpoint("b").weight(3).unwrap()]))
        .unwrap();
    settle().await;
    let now = set.snapshot();
    assert_eq!((now[0].state, now[1].weight), (State::Draining, 3), "another weight is news");

    set.replace_all([endpoint("a"), endpoint("b")]).unwrap();
    let now = set.snapshot();
    assert_eq!((now[0].state, now[1].weight), (State::InUse, 1), "by hand, too");
    drop(watching);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_is_made_again() {
    let set = set(["a", "b"]);
    let (asked, calls) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let count = asked.clone();
    let check = HealthCheck::new(move |_| {
        let calls = calls.fetch_add(1, Ordering::Relaxed);
        assert!(calls != 1, "before there is a future");
        let count = count.clone();
        async move {
            assert!(calls > 1, "in the future");
            count.fetch_add(1, Ordering::Relaxed);
            false
        }
    });
    let checking = check.interval(Duration::from_secs(1)).unwrap().start(&set);
    seconds(20).await;
    assert!(asked.load(Ordering::Relaxed) >= 36, "{asked:?}");
    assert!(set.snapshot().iter().all(|endpoint| endpoint.state == State::Down));
    drop(checking);
}

#[tokio::test(start_paused = true)]
async fn a_check_takes_no_longer_than_the_time_to_the_next_one() {
    let set = set(["a"]);
    let check = HealthCheck::new(|_| std::future::pending())
        .interval(Duration::from_secs(1))
        .unwrap()
        .timeout(Duration::from_secs(60))
        .unwrap();
    let checking = check.start(&set);
    seconds(6).await;
    assert_eq!(set.snapshot()[0].state, State::Down, "three checks");
    drop(checking);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_falls_after_bad_checks_and_rises_after_good_ones() {
    let (net, set) = (Net::new(), set(["a", "b"]));
    net.answers("a", 500);
    net.hangs("b");
    let mut balancer = Balancer::new(set.clone(), LeastRequest::new(), Health::new());
    let checking = HealthCheck::http::<_, Full<Bytes>, _>("/healthz", net.clone())
        .unwrap()
        .interval(Duration::from_secs(5))
        .unwrap()
        .rise(2)
        .unwrap()
        .fall(3)
        .unwrap()
        .start(&set);
    settle().await;
    let state = || set.snapshot().iter().map(|endpoint| endpoint.state).collect::<Vec<_>>();
    // One that answers is not held up by one that does not.
    for _ in 0..2 {
        assert_eq!(state(), [State::InUse; 2]);
        seconds(5).await;
    }
    assert_eq!(state(), [State::Down, State::InUse]);
    let lease = balancer.lease(&Ask::new(), set.now()).unwrap();
    assert_eq!(lease.endpoint().shown_as(), "http://b");
    drop(lease);
    // Its third check began at 10 s and may take 2 s.
    seconds(3).await;
    assert_eq!(state(), [State::Down; 2]);
    // With everyone down, calls go on.
    assert!(balancer.lease(&Ask::new(), set.now()).unwrap().is_panic());

    net.answers("a", 204);
    for _ in 0..2 {
        assert_eq!(state(), [State::Down; 2]);
        seconds(5).await;
    }
    assert_eq!(state(), [State::InUse, State::Down]);
    assert!(net.seen().iter().all(|request| request.uri().path() == "/healthz"));
    drop(checking);
    assert_eq!(state(), [State::InUse; 2], "nobody would find out any more");
    let before = net.all_calls();
    seconds(60).await;
    assert_eq!(net.all_calls(), before);
}

#[tokio::test]
async fn a_tcp_check_asks_for_a_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let up = endpoint(&listener.local_addr().unwrap().to_string());
    // Bound and dropped again: nobody listens there.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = endpoint(&gone.local_addr().unwrap().to_string());
    drop(gone);
    let set = EndpointSet::new([up, down.name("down")]).unwrap();
    let mut events = set.subscribe();
    let check = HealthCheck::tcp().fall(1).unwrap();
    let checking = check.start(&set);
    let id = set.id_of("down").unwrap();
    assert_eq!(events.next().await, Some(Event::Down { id }));
    assert_eq!(set.snapshot()[0].state, State::InUse);
    drop(checking);
}

#[test]
fn a_limit_is_learned_from_answers() {
    let set = set(["a"]);
    let limit =
        LearnedLimit::new().between(2, 10, 40).unwrap().slow(Duration::from_millis(500)).unwrap();
    let health = Health::new();
    let mut balancer = Balancer::with_limit(set.clone(), LeastRequest::new(), health, Some(limit));
    let most = || set.snapshot()[0].max_in_flight.unwrap();
    let mut now = set.now();
    let mut round = |observation: &Observation, calls: usize| {
        let mut leases: Vec<_> =
            std::iter::from_fn(|| balancer.lease(&Ask::new(), now).ok()).take(calls).collect();
        now = now.after(Duration::from_millis(100));
        for lease in &mut leases {
            balancer.observe(lease, observation, now);
        }
        leases.len()
    };
    let good = Observation::new(Verdict::Success).latency(Duration::from_millis(10));
    assert_eq!(round(&good, 100), 10);
    round(&good, 100);
    assert_eq!(most(), 11, "one more for a limit's worth of calls");
    for _ in 0..200 {
        round(&good, 100);
    }
    assert_eq!(most(), 40, "the ceiling");
    round(&Observation::new(Verdict::Soft), 100);
    assert_eq!(most(), 36, "once for all that were in flight together");
    round(&good.latency(Duration::from_secs(1)), 1);
    assert!((32..=33).contains(&most()), "{}", most());
    for _ in 0..200 {
        round(&Observation::new(Verdict::Soft), 1);
    }
    assert_eq!(most(), 2, "the floor");
    for _ in 0..200 {
        round(&good, 1);
    }
    assert!(most() <= 3, "a limit that is not used does not grow: {}", most());
}
