use std::{mem, task::Poll};

use buttress_retry::{ReplayBody, ReplayLimits, ReplayMemory};
use buttress_testkit::{BodyHandle, Script};
use http_body::Body;
use proptest::{collection::vec, option, prelude::*};

use crate::support::{KIB, bounds, poll, read, trailers};

const CAP: usize = 24 * KIB;

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 1000..3000),
        1 => vec(any::<u8>(), 4096..6000),
    ]
}

fn script(chunks: &[(Vec<u8>, u32)], exact: bool, checksum: bool) -> (Script, BodyHandle) {
    let script = chunks.iter().fold(Script::new(), |script, (chunk, pending)| {
        script.pending(*pending).data(chunk.clone())
    });
    let script = if checksum { script.trailers(trailers("sum")) } else { script };
    let script = if exact { script.exact() } else { script };
    let handle = script.handle();
    (script, handle)
}

proptest! {
    #[test]
    fn the_last_attempt_gets_every_byte_once(
        chunks in vec((chunk(), 0_u32..3), 1..12),
        polls in vec(0_usize..20, 0..6),
        exact: bool,
        checksum: bool,
        global in option::of(0_usize..40 * KIB),
        keep_earlier: bool,
    ) {
        let whole: Vec<u8> = chunks.iter().flat_map(|(chunk, _)| chunk.clone()).collect();
        let memory = ReplayMemory::new(global.unwrap_or(usize::MAX));
        let limits = ReplayLimits::new().per_request(CAP).memory(memory.clone());
        let (source, handle) = script(&chunks, exact, checksum);
        let at_start = bounds(&source.size_hint());
        let (mut body, replay) = ReplayBody::record(source, &limits);
        prop_assert_eq!(replay.is_none(), exact && whole.len() > CAP);

        let mut earlier = Vec::new();
        for polls in polls {
            let Some(replay) = &replay else { break };
            for _ in 0..polls {
                prop_assert!(!matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
                prop_assert!(memory.used() <= memory.limit().min(CAP + 4 * KIB));
            }
            match replay.body() {
                Ok(next) => {
                    prop_assert_eq!(bounds(&next.size_hint()), at_start);
                    prop_assert!(!next.is_end_stream());
                    let before = mem::replace(&mut body, next);
                    earlier.extend(keep_earlier.then_some(before));
                }
                Err(refusal) => {
                    prop_assert_eq!(replay.replayable(), Err(refusal));
                    prop_assert_eq!(memory.used(), 0);
                    // Bytes that were had cannot be had again: read what is left.
                    let (rest, _, _) = read(&mut body).unwrap();
                    prop_assert!(whole.ends_with(&rest));
                    return Ok(());
                }
            }
        }
        let (bytes, map, _) = read(&mut body).unwrap();
        prop_assert_eq!(bytes, whole.clone());
        prop_assert_eq!(map, checksum.then(|| trailers("sum")));
        prop_assert_eq!(handle.bytes(), whole.len() as u64);
        prop_assert_eq!(handle.polls_after_end(), 0);
        prop_assert!(memory.used() <= memory.limit().min(CAP + 4 * KIB));
        drop((body, replay));
        prop_assert_eq!(memory.used(), 0, "{} readers are still held", earlier.len());
    }
}
