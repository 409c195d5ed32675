//! House rules that neither the compiler nor clippy knows.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::needs;
use crate::source::{Ignored, ignored};
use crate::workspace::Workspace;

/// The longest a Rust file may be.
const MOST_LINES: usize = 400;

/// Directories that exist on one machine only.
const MACHINE_DIRECTORIES: [&str; 3] = ["home", "root", "work"];

/// Macros that stand for code not yet written.
const UNWRITTEN: [&str; 2] = ["todo", "unimplemented"];

/// Reads every file of the checkout, and lists all the lines that break a rule.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let mut read = 0;
    for file in workspace.files()? {
        let bytes = fs::read(workspace.root().join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        // What is not text has no lines to judge.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        read += 1;
        findings.extend(judge(&file, &text));
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} breaches of the house rules", findings.len());
    }
    println!("{read} files are tidy");
    Ok(())
}

/// What is wrong with one file, as `file:line: what`.
fn judge(file: &Path, text: &str) -> Vec<String> {
    let rust = file.extension().is_some_and(|extension| extension == "rs");
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let rules = [
            machine_path(line),
            unnamed_todo(line),
            rust.then(|| unwritten(line)).flatten(),
            rust.then(|| ignored_test(line)).flatten(),
            (rust && index == MOST_LINES)
                .then(|| format!("more than {MOST_LINES} lines: split the file by noun")),
        ];
        for what in rules.into_iter().flatten() {
            findings.push(format!("{}:{}: {what}", file.display(), index + 1));
        }
    }
    if file.ends_with("Cargo.toml") && is_package(text) && !takes_lints(text) {
        findings.push(format!("{}: no `[lints] workspace = true`", file.display()));
    }
    findings
}

fn machine_path(line: &str) -> Option<String> {
    MACHINE_DIRECTORIES.iter().find_map(|directory| {
        let path = format!("/{directory}/");
        let at = line.find(&path)?;
        // Inside a URL or a longer path it is somebody's name, not the machine's.
        let inside = line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.}/".contains(c));
        (!inside).then(|| format!("a path of one machine: {path}"))
    })
}

fn unwritten(line: &str) -> Option<String> {
    UNWRITTEN
        .iter()
        .map(|name| format!("{name}!("))
        .find(|call| line.contains(call.as_str()))
        .map(|call| format!("code not yet written: {call})"))
}

/// A to-do names the event that ends it.
fn unnamed_todo(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(concat!("TO", "DO"))?;
    let named = rest.chars().any(char::is_alphanumeric);
    (!named).then(|| "a to-do that does not name the event that ends it".to_owned())
}

fn ignored_test(line: &str) -> Option<String> {
    match ignored(line)? {
        Ignored::Bare => Some("an ignored test without a reason on the same line".to_owned()),
        Ignored::For(reason) if needs::is_known(reason) => None,
        Ignored::For(reason) => Some(format!(
            "`cargo xtask test` does not know what \"{reason}\" takes: add a row to xtask/src/needs.rs"
        )),
    }
}

fn is_package(manifest: &str) -> bool {
    manifest.lines().any(|line| line.trim() == "[package]")
}

fn takes_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> usize {
        judge(Path::new(file), text).len()
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let path = format!("see {}home/ada/notes", '/');
        assert_eq!(findings("README.md", &path), 1);
    }

    #[test]
    fn a_url_or_a_longer_path_is_not_a_path_of_one_machine() {
        assert_eq!(findings("README.md", "https://example.com/home/page"), 0);
        assert_eq!(findings("README.md", "crates/work/src"), 0);
    }

    #[test]
    fn unwritten_code_is_found_in_rust_only() {
        let line = format!("    {}()", concat!("to", "do!"));
        assert_eq!(findings("lib.rs", &line), 1);
        assert_eq!(findings("notes.md", &line), 0);
    }

    #[test]
    fn a_to_do_must_name_its_event() {
        let word = concat!("TO", "DO");
        assert_eq!(findings("lib.rs", &format!("//! {word}")), 1);
        let named = format!("// {word}: goes when the standard library has it");
        assert_eq!(findings("lib.rs", &named), 0);
    }

    #[test]
    fn an_ignored_test_gives_a_reason_that_the_table_has() {
        assert_eq!(findings("a.rs", "#[ignore]"), 1);
        assert_eq!(findings("a.rs", "#[ignore = \"needs a full moon\"]"), 1);
        assert_eq!(findings("a.rs", "#[ignore = \"needs curl\"]"), 0);
    }

    #[test]
    fn a_rust_file_stops_at_its_most_lines() {
        let text = "//\n".repeat(MOST_LINES);
        assert_eq!(findings("a.rs", &text), 0);
        assert_eq!(findings("a.rs", &format!("{text}//\n")), 1);
        assert_eq!(findings("Cargo.lock", &format!("{text}//\n")), 0);
    }

    #[test]
    fn every_package_takes_the_lints_of_the_workspace() {
        let bare = "[package]\nname = \"a\"\n";
        assert_eq!(findings("a/Cargo.toml", bare), 1);
        let linted = format!("{bare}\n[lints]\nworkspace = true\n");
        assert_eq!(findings("a/Cargo.toml", &linted), 0);
        assert_eq!(findings("Cargo.toml", "[workspace]\n"), 0);
    }
}
