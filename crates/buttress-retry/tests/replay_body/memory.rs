use allocation_counter::measure;
use buttress_retry::{NotReplayable, ReplayBody, ReplayLimits, ReplayMemory};
use buttress_testkit::Script;
use bytes::Bytes;
use http_body::Body;

use crate::support::{KIB, data, limits, poll, read, record, text, trailers};

#[test]
fn a_body_that_outgrows_its_cap_is_sent_but_not_again() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::chunks(vec![vec![7_u8; KIB]; 65], 0);
    let (mut first, replay) = ReplayBody::record(source, &limits);
    let replay = replay.unwrap();
    for _ in 0..64 {
        let _ = data(poll(&mut first));
    }
    assert_eq!(memory.used(), 64 * KIB);
    assert_eq!(replay.replayable(), Ok(()));
    let _ = data(poll(&mut first));
    assert_eq!(memory.used(), 0, "what cannot be sent again is not kept");
    assert_eq!(replay.replayable(), Err(NotReplayable::Overflowed));
    assert!(first.is_end_stream());
}

#[test]
fn a_body_that_outgrew_its_cap_cannot_be_taken_over() {
    let (limits, _) = limits(4);
    let (mut first, replay) = ReplayBody::record(Script::chunks(["123", "456", "7"], 0), &limits);
    let replay = replay.unwrap();
    let mut bytes = data(poll(&mut first)).to_vec();
    bytes.extend(data(poll(&mut first)));
    assert_eq!(replay.body().unwrap_err(), NotReplayable::Overflowed);
    bytes.extend(data(poll(&mut first)));
    assert_eq!(bytes, b"1234567", "the live attempt goes on undisturbed");
}

#[test]
fn a_later_attempt_may_outgrow_the_cap_too() {
    let (limits, memory) = limits(4);
    let (mut first, replay) = ReplayBody::record(Script::chunks(["123", "456", "7"], 0), &limits);
    let replay = replay.unwrap();
    let _ = data(poll(&mut first));
    assert_eq!(text(&mut replay.body().unwrap()), "1234567");
    assert_eq!(replay.replayable(), Err(NotReplayable::Overflowed));
    assert_eq!(memory.used(), 0);
}

#[test]
fn bodies_together_never_hold_more_than_the_memory_they_share() {
    let memory = ReplayMemory::new(20 * KIB);
    let limits = ReplayLimits::new().memory(memory.clone());
    let source = || Script::chunks(vec![vec![7_u8; 5 * KIB]; 3], 0);
    let (mut one, replay_one) = ReplayBody::record(source(), &limits);
    let (mut two, replay_two) = ReplayBody::record(source(), &limits);
    assert_eq!(read(&mut one).unwrap().0.len(), 15 * KIB);
    assert_eq!(read(&mut two).unwrap().0.len(), 15 * KIB, "sent all the same");
    let (replay_one, replay_two) = (replay_one.unwrap(), replay_two.unwrap());
    assert_eq!(replay_one.replayable(), Ok(()));
    assert_eq!(replay_two.replayable(), Err(NotReplayable::MemoryExhausted));
    assert_eq!(memory.used(), 15 * KIB);
    drop((one, replay_one));
    assert_eq!(memory.used(), 0);

    let (mut three, replay_three) = ReplayBody::record(source(), &limits);
    assert_eq!(read(&mut three).unwrap().0.len(), 15 * KIB);
    assert_eq!(replay_three.unwrap().replayable(), Ok(()), "what was freed can be had again");
}

#[test]
fn trailers_count_as_well() {
    let (limits, memory) = limits(4);
    let (mut first, replay) =
        ReplayBody::record(Script::new().data("x").trailers(trailers("long enough")), &limits);
    assert_eq!(read(&mut first).unwrap().1, Some(trailers("long enough")));
    assert_eq!(replay.unwrap().replayable(), Err(NotReplayable::Overflowed));
    assert_eq!(memory.used(), 0);
}

#[test]
fn tiny_chunks_are_kept_together() {
    const CHUNKS: usize = 60_000;
    let (limits, memory) = limits(64 * KIB);
    let (mut first, replay) =
        ReplayBody::record(Script::chunks(vec![&b"x"[..]; CHUNKS], 0), &limits);
    assert_eq!(read(&mut first).unwrap().2, CHUNKS);
    let mut second = replay.as_ref().unwrap().body().unwrap();
    let costs = measure(|| {
        let (bytes, _, frames) = read(&mut second).unwrap();
        assert_eq!(bytes.len(), CHUNKS);
        assert!(frames <= 24, "{frames} frames");
    });
    // The vector that collects the bytes grows some twenty times; the body itself allocates nothing.
    assert!(costs.count_total <= 24, "{} allocations", costs.count_total);
    assert!(memory.used() <= CHUNKS + 4 * KIB, "{} bytes held", memory.used());
}

#[test]
fn a_short_body_of_known_size_takes_no_more_than_it_needs() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::chunks(["12", "345"], 0).exact();
    let (mut first, _replay) = ReplayBody::record(source, &limits);
    assert_eq!(text(&mut first), "12345");
    assert_eq!(memory.used(), 5);
}

#[test]
fn a_body_that_yields_more_than_it_said_is_recorded_all_the_same() {
    let (mut first, replay) = record(Script::chunks(["12", "345"], 0).claim(1));
    assert_eq!(text(&mut first), "12345");
    assert_eq!(text(&mut replay.body().unwrap()), "12345");
}

#[test]
fn long_chunks_are_shared_and_not_copied() {
    let chunk = Bytes::from(vec![7_u8; 4 * KIB]);
    let short = Bytes::from(vec![8_u8; 4 * KIB - 1]);
    let (mut first, replay) =
        record(Script::new().data("x").data(chunk.clone()).data(short.clone()).data("y"));
    read(&mut first).unwrap();
    let mut second = replay.body().unwrap();
    assert_eq!(data(poll(&mut second)), "x");
    assert_eq!(data(poll(&mut second)).as_ptr(), chunk.as_ptr());
    assert_ne!(data(poll(&mut second)).as_ptr(), short.as_ptr());
}

#[test]
fn without_the_backup_nothing_is_kept() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::chunks(vec![vec![7_u8; 5 * KIB]; 4], 0);
    let (mut first, replay) = ReplayBody::record(source, &limits);
    let _ = data(poll(&mut first));
    assert_eq!(memory.used(), 5 * KIB);
    drop(replay);
    assert_eq!(memory.used(), 0);
    assert_eq!(read(&mut first).unwrap().0.len(), 15 * KIB);
    assert_eq!(memory.used(), 0);
}

#[test]
fn without_the_backup_a_replay_is_freed_as_it_is_read() {
    let (limits, memory) = limits(64 * KIB);
    let source = Script::chunks(vec![vec![7_u8; 5 * KIB]; 4], 0);
    let (mut first, replay) = ReplayBody::record(source, &limits);
    read(&mut first).unwrap();
    let mut last = replay.unwrap().into_body().unwrap();
    for left in [15, 10, 5, 0] {
        let _ = data(poll(&mut last));
        assert_eq!(memory.used(), left * KIB);
    }
    assert!(last.is_end_stream());
}

#[test]
fn recording_a_short_stream_allocates_twice() {
    let (limits, _) = limits(64 * KIB);
    let source = Script::new().data("a short body").exact();
    let bare = Script::new().data("a short body").exact();
    let baseline = measure(|| drop(read(&mut { bare }).unwrap())).count_total;
    let costs = measure(|| {
        let (mut first, replay) = ReplayBody::record(source, &limits);
        drop(read(&mut first).unwrap());
        drop(replay);
    });
    assert_eq!(costs.count_total - baseline, 2, "the shared state and one block");
}
