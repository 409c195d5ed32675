/// What a bench is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All rounds.
    Full,
    /// Some of the rounds.
    Quick,
    /// One call of each case, to see that it works.
    Smoke,
    /// Nothing but the names.
    List,
}

/// The arguments after the program's name. Those meant for the standard test harness are passed over,
/// since `cargo test -- --nocapture` hands them to benches, too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) mode: Mode,
    filters: Vec<String>,
}

/// Options of the standard harness whose value is an argument of its own.
const WITH_VALUE: [&str; 6] =
    ["--test-threads", "--skip", "--color", "--format", "--logfile", "--shuffle-seed"];

impl Arguments {
    pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut arguments = arguments.into_iter();
        let (mut bench, mut test, mut quick, mut list) = (false, false, false, false);
        let mut filters = Vec::new();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => bench = true,
                "--test" => test = true,
                "--quick" => quick = true,
                "--list" => list = true,
                option if WITH_VALUE.contains(&option) => drop(arguments.next()),
                option if option.starts_with('-') => {}
                _ => filters.push(argument),
            }
        }
        let mode = match (list, bench && !test, quick) {
            (true, _, _) => Mode::List,
            (false, false, _) => Mode::Smoke,
            (false, true, true) => Mode::Quick,
            (false, true, false) => Mode::Full,
        };
        Self { mode, filters }
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Mode};

    fn parsed(line: &str) -> Arguments {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn only_cargo_bench_measures() {
        assert_eq!(parsed("--bench").mode, Mode::Full);
        assert_eq!(parsed("--bench --quick").mode, Mode::Quick);
        assert_eq!(parsed("").mode, Mode::Smoke);
        assert_eq!(parsed("--quick").mode, Mode::Smoke);
        assert_eq!(parsed("--bench --test").mode, Mode::Smoke);
        assert_eq!(parsed("--bench --list").mode, Mode::List);
    }

    #[test]
    fn a_filter_is_any_bare_word_that_is_no_value_of_an_option() {
        let arguments = parsed("--bench retry --test-threads 1 --nocapture body");
        assert!(arguments.matches("a retry"));
        assert!(arguments.matches("body of 1 KiB"));
        assert!(!arguments.matches("1"));
        assert!(parsed("--bench").matches("anything"));
    }
}
