//! Purges and fills on several threads.

use std::sync::{
    Barrier,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use buttress_cache::{Generation, MemoryStore, Purge, Removal, Tag};

use crate::support::{AtOnce, HOUR, entry, key, memory, variant};

const ROUNDS: u32 = 2_000;

/// Two threads look up, fetch and store; what they fetch is the number of the round at that moment.
/// A third begins rounds and purges: after a purge nothing of an earlier round is ever seen.
fn race(
    store_round: impl Fn(&MemoryStore, u32, Generation) + Sync,
    purge: &Purge,
    seen: impl Fn(&MemoryStore) -> Option<String>,
) {
    let store = memory(1 << 20);
    let (round, done, start) = (AtomicU32::new(0), AtomicBool::new(false), Barrier::new(3));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                while !done.load(Ordering::Relaxed) {
                    let seen = store.look(&key("page")).generation;
                    store_round(&store, round.load(Ordering::SeqCst), seen);
                }
            });
        }
        // The threads end even if an assertion fails.
        let _done = Done(&done);
        start.wait();
        for next in 1..=ROUNDS {
            round.store(next, Ordering::SeqCst);
            store.purge(purge.clone(), Removal::Hard);
            for _ in 0..3 {
                if let Some(text) = seen(&store) {
                    let stored: u32 = text.parse().unwrap();
                    assert!(stored >= next, "round {stored} was seen in round {next}");
                }
            }
        }
    });
    assert!(store.statistics().hits > 0, "something was stored at all");
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_thread_sees_what_was_fetched_before_a_purge_of_its_key() {
    race(
        |store, round, seen| {
            store.keep_seen(&key("page"), entry(round.to_string()), HOUR, seen);
        },
        &Purge::Key(key("page")),
        |store| store.text(&key("page")),
    );
}

#[test]
fn no_thread_sees_what_was_fetched_before_a_purge_of_its_tag() {
    let tag = Tag::new("tag");
    race(
        |store, round, seen| {
            let mut entry = entry(round.to_string());
            entry.tags = [tag.clone()].into();
            store.keep_seen(&key("page"), entry, HOUR, seen);
        },
        &Purge::Tag(tag.clone()),
        |store| store.text(&key("page")),
    );
}

#[test]
fn no_thread_sees_what_was_fetched_before_a_purge_of_everything() {
    race(
        |store, round, seen| {
            store.keep_seen(&key("page"), entry(round.to_string()), HOUR, seen);
        },
        &Purge::All,
        |store| store.text(&key("page")),
    );
}

#[test]
fn no_thread_sees_a_variant_that_was_fetched_before_a_purge_of_its_resource() {
    race(
        |store, round, seen| {
            let variant = variant(&key("page"), "de", round.to_string());
            store.add_seen(&key("page"), variant, 4, seen);
        },
        &Purge::Key(key("page")),
        |store| {
            let listed = store.list(&key("page"));
            listed.first().and_then(|variant| store.text(&variant.key))
        },
    );
}
