//! The benchmark harness, asked as cargo asks it.

#![expect(clippy::expect_used, reason = "a table that cannot be written fails the test")]

use buttress_testkit::Bench;
use buttress_testkit::bench::{Summary, poll_once};
use std::cell::{Cell, RefCell};
use std::hint::black_box;

fn run(bench: Bench<'_>, arguments: &str) -> (Summary, String) {
    let mut out = Vec::new();
    let arguments = arguments.split_whitespace().map(str::to_owned);
    let summary = bench.run_with(arguments, &mut out).expect("a vector can be written to");
    (summary, String::from_utf8(out).expect("a table is text"))
}

fn names(summary: &Summary) -> Vec<&str> {
    summary.cases().iter().map(|case| case.name()).collect()
}

#[test]
fn allocations_and_their_bytes_are_counted_per_call() {
    let bench = Bench::new("t")
        .case("none", || 1_u64)
        .case("one", || Box::new(1_u64))
        .case("two", || (Box::new(1_u32), vec![0_u8; 100]))
        .case_with("input", || vec![0_u8; 100], |input| input.len())
        .rounds(2)
        .calls(3);
    let (summary, _) = run(bench, "--bench");
    let counts: Vec<_> =
        summary.cases().iter().map(|case| (case.allocations(), case.bytes())).collect();
    assert_eq!(counts, [(0.0, 0.0), (1.0, 8.0), (2.0, 104.0), (0.0, 0.0)]);
}

#[test]
fn a_case_that_does_a_hundred_times_the_work_takes_longer() {
    let work = |times: u64| move || (0..times).fold(1, |sum: u64, n| black_box(sum ^ n));
    let bench = Bench::new("t").case("little", work(100)).case("much", work(10_000));
    let (summary, _) = run(bench.baseline("little").rounds(5).calls(20), "--bench");
    let much = summary.case("much").unwrap();
    assert!(much.ratio().unwrap() > 5.0, "{much:?}");
    assert!(much.min() <= much.median());
    assert_eq!(summary.case("little").unwrap().ratio(), Some(1.0));
    assert!(summary.is_timed());
}

#[test]
fn without_cargo_bench_each_case_runs_a_handful_of_times() {
    for arguments in ["", "--test", "--bench --test", "--nocapture --test-threads 1"] {
        let calls = Cell::new(0);
        let bench = Bench::new("t").case("counted", || calls.set(calls.get() + 1));
        let (summary, table) = run(bench.rounds(1000).calls(1000), arguments);
        assert_eq!(calls.get(), 3, "warm-up, count, one round; arguments {arguments:?}");
        assert!(!summary.is_timed());
        assert!(table.contains("the times mean nothing"));
    }
}

#[test]
fn quick_runs_a_tenth_of_the_rounds() {
    let calls = Cell::new(0);
    let bench = || Bench::new("t").case("c", || calls.set(calls.get() + 1)).rounds(100).calls(10);
    run(bench(), "--bench");
    let full = calls.replace(0);
    run(bench(), "--bench --quick");
    assert_eq!(full - calls.get(), 900);
}

#[test]
fn a_filter_keeps_the_matching_cases_and_the_baseline() {
    let bench = || Bench::new("t").case("bare", || 1).case("retry", || 2).case("hedge", || 3);
    let bench = || bench().baseline("bare").rounds(1).calls(1);
    assert_eq!(names(&run(bench(), "--bench ret").0), ["bare", "retry"]);
    assert_eq!(names(&run(bench(), "--bench").0), ["bare", "retry", "hedge"]);
    assert!(names(&run(bench(), "--bench no-such").0).is_empty());
}

#[test]
fn the_cases_take_turns_and_the_order_alternates() {
    let order = RefCell::new(String::new());
    let bench = Bench::new("t")
        .case("a", || order.borrow_mut().push('a'))
        .case("b", || order.borrow_mut().push('b'))
        .rounds(4)
        .calls(2);
    run(bench, "--bench");
    assert!(order.borrow().ends_with("aabbbbaaaabbbbaa"));
}

#[test]
fn the_list_names_the_cases_and_runs_none() {
    let bench = Bench::new("t").case("a", || panic!("run")).case("b", || panic!("run"));
    assert_eq!(run(bench, "--list").1, "a: benchmark\nb: benchmark\n");
}

#[test]
fn a_baseline_or_a_name_that_makes_no_sense_is_an_error() {
    let refused = |bench: Bench<'_>| {
        let error = bench.run_with(std::iter::empty(), &mut std::io::sink()).unwrap_err();
        error.to_string()
    };
    let bench = || Bench::new("t").case("a", || ());
    assert!(refused(bench().baseline("b")).contains("\"b\" is not the name of a case"));
    assert!(refused(bench().case("a", || ())).contains("two cases are named \"a\""));
}

#[test]
#[should_panic(expected = "is pending")]
fn polling_once_demands_a_ready_future() {
    poll_once(std::future::pending::<()>());
}
