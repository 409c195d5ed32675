//! `cargo xtask test`: every test there is, with what it needs.

use std::fmt;

use anyhow::bail;

use crate::command::{cargo, run_reading};
use crate::workspace::Workspace;
use crate::{needs, source};

/// Runs the unit, integration and documentation tests, then those that need servers.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let reasons = source::ignore_reasons(workspace)?;
    let variables = needs::provide(workspace, &reasons)?;

    let mut tally = Tally::default();
    let mut test = cargo(workspace);
    test.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    let mut succeeded = run_reading(&mut test, |line| tally.read(line))?;
    if succeeded && !reasons.is_empty() {
        let mut ignored = cargo(workspace);
        // `--tests` leaves out the documentation tests, where `ignore` means "not Rust".
        ignored
            .args(["test", "--workspace", "--all-features", "--no-fail-fast"])
            .args(["--tests", "--", "--ignored"])
            .envs(variables);
        succeeded = run_reading(&mut ignored, |line| tally.read(line))?;
    }

    println!("\n{tally}");
    if !succeeded {
        bail!("the tests failed");
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// The sum over the closing lines of all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Adds up `test result: ok. 3 passed; 0 failed; ...`; takes no notice of other lines.
    fn read(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(result) = line.strip_prefix("test result: ") else {
            return Ok(());
        };
        self.passed += count(result, "passed")?;
        self.failed += count(result, "failed")?;
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// The number before `what` in `ok. 3 passed; 0 failed; 1 ignored`.
fn count(result: &str, what: &str) -> anyhow::Result<u64> {
    let number = result
        .split([' ', ';'])
        .collect::<Vec<_>>()
        .windows(2)
        .find(|pair| pair[1] == what)
        .and_then(|pair| pair[0].parse().ok());
    let Some(number) = number else {
        bail!("cannot read the test result `{result}`");
    };
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_binaries_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.read(line).unwrap();
        }
        assert_eq!(tally.to_string(), "5 passed, 5 failed");
    }

    #[test]
    fn a_closing_line_without_numbers_is_an_error() {
        assert!(Tally::default().read("test result: ok.").is_err());
    }
}
