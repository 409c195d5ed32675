//! Progress on standard error: a bar on a terminal, otherwise a line now and then.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far one run has come.
#[derive(Debug)]
pub struct Progress {
    label: &'static str,
    total: Duration,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Bar(ProgressBar),
    Lines { next: Duration },
    Silent,
}

impl Progress {
    /// Shows a run of this length on standard error.
    #[must_use]
    pub fn new(label: &'static str, total: Duration) -> Self {
        let shape = if stderr().is_terminal() {
            Shape::Bar(bar(label, total))
        } else {
            Shape::Lines { next: Duration::ZERO }
        };
        Self { label, total, shape }
    }

    /// Shows nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { label: "", total: Duration::ZERO, shape: Shape::Silent }
    }

    /// The run is this old; `ended` calls have ended so far.
    pub fn advance(&mut self, elapsed: Duration, ended: u64) {
        match &mut self.shape {
            Shape::Bar(bar) => {
                bar.set_position(millis(elapsed));
                bar.set_message(format!("{ended} calls"));
            }
            Shape::Lines { next } => {
                if elapsed < *next && elapsed < self.total {
                    return;
                }
                *next += LINE_EVERY;
                let (elapsed, total) = (elapsed.as_secs(), self.total.as_secs());
                // Standard error may be closed; the run does not depend on it.
                let _ =
                    writeln!(stderr(), "{}: {elapsed} s of {total} s, {ended} calls", self.label);
            }
            Shape::Silent => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shape::Bar(bar) = &self.shape {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &'static str, total: Duration) -> ProgressBar {
    let bar = ProgressBar::new(millis(total)).with_prefix(label);
    let template = "{prefix:>6} [{bar:40}] {percent:>3} %  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
