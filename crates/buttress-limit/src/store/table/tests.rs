use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// With these the spread of a key is the product of its halves.
const SEEDS: [u64; 2] = [0, 0];

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(Key, u64),
    Remove(usize),
    Refund(usize, u64),
    Sweep(u64, usize),
    /// A line that says something, or one that does not.
    Line(usize, bool),
    /// It has none any more.
    End(usize),
}

/// What is to be known of a key.
#[derive(Clone, Debug)]
struct Known {
    tats: Vec<u64>,
    mark: Mark,
    /// Until when its line lets nothing pass.
    line: Option<u64>,
}

/// Keys of which many have the same spread or begin at the same place, also at the last one.
fn keys() -> impl Strategy<Value = Key> {
    let tag = prop_oneof![Just(0), Just(u32::MAX), 0..4_u32, any::<u32>()];
    (tag, 0..4_u8).prop_map(|(tag, kind)| {
        let tag = u128::from(tag);
        Key::of_bits(match kind {
            0 => tag,
            1 => 1 << 64 | tag,
            2 => tag << 64 | 1,
            _ => 1 << 96 | tag,
        })
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (keys(), 1..1_000_u64).prop_map(|(key, tat)| Step::Insert(key, tat)),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => (any::<usize>(), 0..100_u64).prop_map(|(which, time)| Step::Refund(which, time)),
        1 => (0..1_000_u64, 0..40_usize).prop_map(|(now, few)| Step::Sweep(now, few)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, holds)| Step::Line(which, holds)),
        1 => any::<usize>().prop_map(Step::End),
    ];
    proptest::collection::vec(step, 1..400)
}

fn find(table: &Table, key: Key) -> Option<usize> {
    table.find(key, key.spread(SEEDS))
}

fn insert(table: &mut Table, key: Key, tat: u64) -> Known {
    let number = table.insert(key, key.spread(SEEDS), Tier::FIRST);
    let Own { entry, tats, lines } = table.own(number);
    assert!(lines.of(entry).is_none(), "nothing is left of one before");
    assert!(tats.iter().all(|tat| *tat == 0), "nothing is left of one before");
    for (tat, new) in tats.iter_mut().zip(tat..) {
        *tat = new;
    }
    Known { tats: tats.to_vec(), mark: table.mark(number), line: None }
}

/// Does a step to the table and to what is to be known of it.
fn make(step: Step, table: &mut Table, known: &mut HashMap<Key, Known>, order: &mut Vec<Key>) {
    match step {
        Step::Insert(key, tat) if !known.contains_key(&key) => {
            assert_eq!(find(table, key), None);
            known.insert(key, insert(table, key, tat));
            order.push(key);
        }
        Step::Remove(which) if !order.is_empty() => {
            let key = order.swap_remove(which % order.len());
            known.remove(&key);
            table.remove(find(table, key).unwrap());
            assert_eq!(find(table, key), None);
        }
        Step::Refund(which, time) if !order.is_empty() => {
            let key = order[which % order.len()];
            let (number, known) = (find(table, key).unwrap(), known.get_mut(&key).unwrap());
            table.refund(number, 0, time, &known.mark, 0);
            known.tats[0] -= time.min(known.tats[0]);
        }
        Step::Sweep(now, few) => {
            table.sweep(now, few);
            let gone = |key: &Key| find(table, *key).is_none();
            for key in order.extract_if(.., |key| gone(key)) {
                let known = known.remove(&key).unwrap();
                assert!(known.tats.iter().all(|tat| *tat <= now), "one that has spent is kept");
                assert!(known.line.is_none_or(|until| until == 0), "one that waits is kept");
            }
        }
        Step::Line(which, holds) if !order.is_empty() => {
            let key = order[which % order.len()];
            let Own { entry, lines, .. } = table.own(find(table, key).unwrap());
            let line = lines.make(entry);
            // For longer than there is any sweep, and for a time that is its own.
            line.hold_mut().pause(0, if holds { 2_000 + which as u64 % 9_999 } else { 0 });
            known.get_mut(&key).unwrap().line = Some(line.hold().until());
        }
        Step::End(which) if !order.is_empty() => {
            let key = order[which % order.len()];
            let Own { entry, lines, .. } = table.own(find(table, key).unwrap());
            lines.end(entry);
            known.get_mut(&key).unwrap().line = None;
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn every_key_is_found_with_what_is_its_own_until_it_is_removed(
        steps in steps(),
        stride in 1..4_usize,
    ) {
        let mut table = Table::new(stride, SEEDS);
        let (mut known, mut order) = (HashMap::new(), Vec::new());
        for step in steps {
            make(step, &mut table, &mut known, &mut order);
            prop_assert_eq!(table.len(), known.len());
            let (mut seen, mut lined) = (0, 0);
            table.for_each(|own| {
                seen += 1;
                lined += usize::from(own.lines.of(own.entry).is_some());
            });
            prop_assert_eq!(seen, known.len());
            prop_assert_eq!(lined, table.lines.len(), "a line is left of one that is gone");
            prop_assert!(table.len() * FULL.1 <= table.slots() * FULL.0);
            for (key, known) in &known {
                let number = find(&table, *key).unwrap();
                // What was brought back still counts as charged.
                prop_assert_eq!(table.mark(number), known.mark);
                let Own { entry, tats, lines } = table.own(number);
                prop_assert_eq!((entry.key, &*tats), (*key, &*known.tats));
                prop_assert_eq!(lines.of(entry).map(|line| line.hold().until()), known.line);
            }
        }
    }

    #[test]
    fn a_sweep_comes_to_every_key_and_leaves_those_that_have_spent(
        keys in proptest::collection::hash_set(keys(), 1..200),
        few in 1..40_usize,
    ) {
        let mut table = Table::new(1, SEEDS);
        for (tat, key) in keys.iter().enumerate() {
            insert(&mut table, *key, tat as u64 % 2 * 1_000);
        }
        // Once around in slots, and once more for what a removal has moved to the front.
        for _ in 0..2 * table.slots() {
            table.sweep(500, few);
        }
        for (tat, key) in keys.iter().enumerate() {
            prop_assert_eq!(find(&table, *key).is_some(), tat % 2 == 1);
        }
    }
}

#[test]
fn nothing_is_found_in_a_table_that_is_empty() {
    let mut table = Table::new(1, SEEDS);
    let none = Key::of_bits(0);
    table.sweep(7, 32);
    assert_eq!((find(&table, none), table.len(), table.bytes()), (None, 0, 0));
    insert(&mut table, Key::of_bits(1), 9);
    assert_eq!(find(&table, none), None, "a slot that is empty is not the key of no bits");
    insert(&mut table, none, 8);
    assert!(find(&table, none).is_some());
}

#[test]
fn what_is_not_needed_is_given_back() {
    let mut table = Table::new(2, SEEDS);
    for number in 0..10_000_u32 {
        let spread = number.wrapping_mul(2_654_435_761);
        insert(&mut table, Key::of_bits((1 << 64) | u128::from(spread)), 1);
    }
    let full = table.bytes();
    for _ in 0..10_000 {
        table.sweep(5, 4);
    }
    assert_eq!(table.len(), 0);
    assert!(table.bytes() * 100 < full, "{} of {full} bytes", table.bytes());
}

#[test]
fn shared_entries_are_numbered_and_each_has_a_line_of_its_own() {
    for entries in [1, 2, 3, 4, 5, 64] {
        let mut table = Table::shared(2, SEEDS, entries);
        for number in 0..entries {
            let Own { entry, tats, lines } = table.own(number);
            assert!(entry.life > 0);
            assert_eq!(tats, [0, 0]);
            tats.fill(number as u64);
            assert!(lines.of(entry).is_none());
            lines.make(entry).hold_mut().pause(0, number as u64);
        }
        let mut all = Vec::new();
        table.for_each(|Own { entry, tats, lines }| {
            all.push((tats[1], lines.of(entry).unwrap().hold().until()));
        });
        let expected: Vec<_> = (0..entries as u64).map(|number| (number, number)).collect();
        assert_eq!(all, expected);
        assert_eq!(table.len(), entries);
    }
}
