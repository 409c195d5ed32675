//! A store in memory beside a map that does the same with no room to mind.

use std::{collections::HashMap, time::Duration};

use buttress_cache::{Generation, Purge, Removal, Tag};
use proptest::prelude::*;
use tokio::time::{Instant, advance};

use crate::support::{AtOnce, entry, key, memory};

const KEYS: u8 = 24;
const TAGS: [&str; 3] = ["x", "y", "z"];

#[derive(Clone, Debug)]
enum Step {
    /// Remembers where the store stands, to write with later.
    LookUp,
    Put {
        key: u8,
        size: usize,
        secs: u64,
        tags: Vec<usize>,
        late: bool,
    },
    Get(u8),
    Wait(u64),
    Purge {
        what: What,
        soft: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum What {
    Key(u8),
    Tag(usize),
    All,
}

#[derive(Debug)]
struct Known {
    id: u64,
    purged: bool,
    until: Instant,
    tags: Vec<usize>,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        4 => (0..KEYS).prop_map(What::Key),
        4 => (0..TAGS.len()).prop_map(What::Tag),
        1 => Just(What::All),
    ];
    let tags = prop::collection::vec(0..TAGS.len(), 0..3);
    prop_oneof![
        2 => Just(Step::LookUp),
        8 => (0..KEYS, 0..12_000_usize, 1..100_u64, tags, any::<bool>())
            .prop_map(|(key, size, secs, tags, late)| Step::Put { key, size, secs, tags, late }),
        8 => (0..KEYS).prop_map(Step::Get),
        2 => (0..40_u64).prop_map(Step::Wait),
        2 => (what, any::<bool>()).prop_map(|(what, soft)| Step::Purge { what, soft }),
    ]
}

/// What ought to be there, were there room for everything; and when what was purged last.
#[derive(Default)]
struct Model {
    known: HashMap<u8, Known>,
    purges: Vec<(u64, What)>,
    clock: u64,
}

impl Model {
    fn purge(&mut self, what: What, soft: bool) {
        self.clock += 1;
        self.purges.push((self.clock, what));
        self.known.retain(|key, known| {
            let meant = meant(what, *key, &known.tags);
            known.purged |= meant;
            !meant || soft
        });
    }

    /// Whether something purged the key or a tag after the lookup at `seen`.
    fn is_late(&self, key: u8, tags: &[usize], seen: u64) -> bool {
        self.purges.iter().any(|(at, what)| *at > seen && meant(*what, key, tags))
    }
}

fn meant(what: What, key: u8, tags: &[usize]) -> bool {
    match what {
        What::Key(own) => own == key,
        What::Tag(tag) => tags.contains(&tag),
        What::All => true,
    }
}

async fn agree(steps: Vec<Step>) {
    let capacity = 64 << 10;
    let store = memory(capacity);
    let mut model = Model::default();
    let mut looked_up = (Generation::default(), 0);
    for step in steps {
        match step {
            Step::LookUp => looked_up = (store.look(&key([0])).generation, model.clock),
            Step::Wait(secs) => advance(Duration::from_secs(secs)).await,
            Step::Put { key: name, size, secs, tags, late } => {
                let now = (store.look(&key([name])).generation, model.clock);
                let (seen, at) = if late { looked_up } else { now };
                let mut new = entry(vec![0; size]);
                new.tags = tags.iter().map(|tag| Tag::new(TAGS[*tag])).collect();
                let (id, time) = (new.id.as_u64(), Duration::from_secs(secs));
                let kept = store.keep_seen(&key([name]), new, time, seen);
                let allowed = !model.is_late(name, &tags, at);
                assert!(!kept || allowed, "a purge is never overtaken");
                if kept {
                    let until = Instant::now() + time;
                    model.known.insert(name, Known { id, purged: false, until, tags });
                } else if size > 8_192 {
                    assert!(store.found(&key([name])).is_none(), "what is there is older");
                }
            }
            Step::Get(name) => {
                let Some(found) = store.found(&key([name])) else {
                    continue;
                };
                let known = model.known.get(&name).expect("only what was put is found");
                assert!(known.until > Instant::now(), "nothing is found after its time");
                assert_eq!(found.is_purged(), known.purged);
                assert!(known.purged || found.id.as_u64() == known.id, "only the last version");
            }
            Step::Purge { what, soft } => {
                model.purge(what, soft);
                let what = match what {
                    What::Key(name) => Purge::Key(key([name])),
                    What::Tag(tag) => Purge::Tag(Tag::new(TAGS[tag])),
                    What::All => Purge::All,
                };
                store.purge(what, if soft { Removal::Soft } else { Removal::Hard });
            }
        }
        let statistics = store.statistics();
        assert!(statistics.bytes <= capacity, "{statistics:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_store_returns_what_a_map_without_bounds_would_or_nothing(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(agree(steps));
    }
}
