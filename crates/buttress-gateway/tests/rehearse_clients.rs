//! Both clients of the rehearsal, over real sockets and at a small scale.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::{net::Ipv4Addr, time::Duration};

use buttress_gateway::rehearse::{
    CallOutcome, Ending, Naive, Parameters, Progress, Route, Side, Stage, send_traffic,
};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{sleep, timeout},
};

const CALL: Bytes = Bytes::from_static(br#"{"model":"busy-chat","messages":[]}"#);

/// Everything as in the real rehearsal, a hundred times smaller and twenty times faster.
fn small() -> Parameters {
    let mut parameters = Parameters::default();
    (parameters.server.slots, parameters.server.queue) = (2, 2);
    parameters.server.service_mean = Duration::from_millis(20);
    parameters.server.network_delay = Duration::from_millis(1);
    parameters.traffic.callers = 20;
    parameters.traffic.think_mean = Duration::from_millis(20);
    parameters.path.lookup_delay = Duration::from_millis(5);
    parameters.server.connect_delay = Duration::from_millis(1);
    parameters.schedule.warm_up = Duration::from_millis(300);
    parameters.schedule.measured = Duration::from_millis(1_500);
    parameters
}

async fn send<R: Route>(route: R, stage: &Stage, parameters: &Parameters) -> Side {
    send_traffic("test", route, parameters, stage.provider(), Progress::silent()).await.unwrap()
}

#[tokio::test]
async fn the_naive_client_hammers_a_full_server_and_the_layers_spare_it() {
    let parameters = small();
    let stage = Stage::set(&parameters, 1).await.unwrap();
    let before = send(stage.naive().unwrap(), &stage, &parameters).await;
    stage.strike().await;
    let stage = Stage::set(&parameters, 1).await.unwrap();
    let after = send(stage.buttressed().await.unwrap(), &stage, &parameters).await;
    stage.strike().await;

    assert_eq!((before.broken, after.broken), (0, 0));
    let (before, after) = (before.figures, after.figures);
    assert!(before.calls > 50 && after.calls > 20, "{before:?} {after:?}");
    assert!(before.retries_per_call > 1.0, "{before:?}");
    assert!(after.retries_per_call < before.retries_per_call / 2.0, "{before:?} {after:?}");
    assert!(after.server_requests < before.server_requests / 2, "{before:?} {after:?}");
    assert!(before.p99_s >= before.p50_s && before.mean_s > 0.0);
}

#[tokio::test]
async fn the_naive_client_gives_up_after_thirteen_attempts() {
    let mut parameters = small();
    (parameters.server.slots, parameters.server.queue) = (0, 0);
    let stage = Stage::set(&parameters, 1).await.unwrap();
    let outcome = stage.naive().unwrap().chat(CALL).await;
    assert_eq!(outcome, CallOutcome::new(Ending::Refused, 13));
    assert_eq!(stage.provider().requests(), 13);
}

#[tokio::test]
async fn a_free_server_answers_both_clients_at_the_first_attempt() {
    let stage = Stage::set(&small(), 1).await.unwrap();
    let answered = CallOutcome::new(Ending::Answered, 1);
    assert_eq!(stage.naive().unwrap().chat(CALL).await, answered);
    assert_eq!(stage.buttressed().await.unwrap().chat(CALL).await, answered);
    assert_eq!(stage.provider().requests(), 2);
}

#[tokio::test]
async fn where_prompts_repeat_one_that_was_answered_does_not_reach_the_server_again() {
    let mut parameters = small();
    parameters.traffic.repeat = 0.2;
    let stage = Stage::set(&parameters, 1).await.unwrap();
    let client = stage.buttressed().await.unwrap();
    let answered = CallOutcome::new(Ending::Answered, 1);
    let other = Bytes::from_static(br#"{"model":"busy-chat","messages":[{"content":"other"}]}"#);
    for body in [CALL, CALL, other.clone(), CALL, other] {
        assert_eq!(client.chat(body).await, answered);
    }
    assert_eq!(stage.provider().requests(), 2);
}

#[tokio::test]
async fn the_buttress_client_counts_its_attempts() {
    let mut parameters = small();
    (parameters.server.slots, parameters.server.queue) = (1, 0);
    parameters.server.service_mean = Duration::from_millis(1_200);
    parameters.server.service_variation = 0.0;
    let stage = Stage::set(&parameters, 1).await.unwrap();
    let client = stage.buttressed().await.unwrap();
    let gate = stage.provider().endpoints()[0].gate();
    let (first, second) = tokio::join!(client.chat(CALL), async {
        let served = async {
            while gate.serving() == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), served).await.unwrap();
        client.chat(CALL).await
    });
    assert_eq!(first, CallOutcome::new(Ending::Answered, 1));
    assert_eq!(second.ending, Ending::Answered);
    assert!(second.attempts > 1);
    assert_eq!(u64::from(first.attempts + second.attempts), stage.provider().requests());
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_breaks_calls_instead_of_refusing_them() {
    let stage = Stage::set(&small(), 1).await.unwrap();
    let (host, _) = stage.authorities().next().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let naive = Naive::new(stage.lookup(), host, port);
    assert_eq!(naive.chat(CALL).await, CallOutcome::new(Ending::Broken, 1));
}

#[tokio::test]
async fn every_attempt_of_the_naive_client_has_a_connection_of_its_own_closed_by_a_reset() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stage = Stage::set(&small(), 1).await.unwrap();
    let host = stage.authorities().next().unwrap().0;
    let naive = Naive::new(stage.lookup(), host, port);
    let refuse = async {
        let mut resets = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 2_048];
            assert!(stream.read(&mut buffer).await.unwrap() > 0);
            let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
            stream.write_all(refusal).await.unwrap();
            if stream.read(&mut buffer).await.is_err() {
                resets += 1;
            }
            if resets == 13 {
                return resets;
            }
        }
    };
    let (outcome, resets) = tokio::join!(naive.chat(CALL), refuse);
    assert_eq!(outcome.attempts, 13);
    assert_eq!(resets, 13);
}

#[tokio::test]
async fn over_several_endpoints_only_the_buttress_client_uses_all() {
    let mut parameters = small();
    (parameters.server.slots, parameters.server.queue) = (2, 5);
    let stage = Stage::set(&parameters, 3).await.unwrap();
    let naive = send(stage.naive().unwrap(), &stage, &parameters).await;
    stage.strike().await;
    let stage = Stage::set(&parameters, 3).await.unwrap();
    let after = send(stage.buttressed().await.unwrap(), &stage, &parameters).await;
    stage.strike().await;
    assert_eq!((naive.broken, after.broken), (0, 0));
    assert!(after.figures.failed_pct < 1.0, "{:?}", after.figures);
    assert!(after.figures.good_per_s > 1.5 * naive.figures.good_per_s, "{naive:?} {after:?}");
}
