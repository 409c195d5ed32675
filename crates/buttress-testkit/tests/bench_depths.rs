//! Where on the stack the rounds of a bench run.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{cell::RefCell, collections::BTreeSet, hint::black_box, io};

use buttress_testkit::Bench;

/// Where the rounds of a bench with these arguments ran.
fn places(arguments: &[&str], rounds: usize) -> Vec<usize> {
    let seen = RefCell::new(Vec::new());
    let case = || seen.borrow_mut().push(std::ptr::from_ref(&black_box(0_u128)).addr());
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    let bench = Bench::new("places").case("place", case).rounds(80).calls(1);
    bench.run_with(arguments, &mut io::sink()).expect("a sink takes all");
    // The last ones are those of the rounds; before them the allocations were counted.
    let seen = seen.into_inner();
    seen[seen.len() - rounds..].to_vec()
}

#[test]
fn the_rounds_of_a_bench_run_in_every_place_in_a_line() {
    for (arguments, rounds) in [(&["--bench"][..], 80), (&["--bench", "--quick"], 8)] {
        let places = places(arguments, rounds);
        let in_a_line: BTreeSet<_> = places.iter().map(|at| at % 64).collect();
        assert_eq!(in_a_line.len(), 4, "{places:?}");
        let all: BTreeSet<_> = places.iter().collect();
        assert_eq!(all.len(), rounds / 2, "one forwards and one backwards: {places:?}");
    }
}
