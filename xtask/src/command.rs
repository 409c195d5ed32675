//! Child processes: shown before they run, never reading standard input.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::workspace::Workspace;

/// The cargo that started this program, from the root of the workspace.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root());
    // `cargo run` describes this package in its environment. Build scripts that watch those
    // variables would run again, and rebuild all that follows, whenever a gate alternates with
    // a plain cargo command.
    for (name, _) in env::vars_os() {
        if describes_this_package(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_this_package(variable: &OsString) -> bool {
    variable.to_str().is_some_and(|name| {
        name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || matches!(name, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "OUT_DIR")
    })
}

/// Runs a command to its end, and fails if it does.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = announce(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("`{shown}` did not start"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end, passing on each line of its standard output as it comes and giving
/// it to `line` too. The bool tells whether the command succeeded.
pub(crate) fn run_reading(
    command: &mut Command,
    mut line: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let shown = announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{shown}` did not start"))?;
    let output = child.stdout.take().context("the child has no output")?;
    let mut output = BufReader::new(output);
    // Bytes, because a test may print anything.
    let mut bytes = Vec::new();
    while output.read_until(b'\n', &mut bytes)? > 0 {
        std::io::stdout().write_all(&bytes)?;
        std::io::stdout().flush()?;
        line(String::from_utf8_lossy(&bytes).trim_end())?;
        bytes.clear();
    }
    Ok(child.wait()?.success())
}

/// Whether a command runs and succeeds; what it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where a program is, as a shell would look it up.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Debian keeps servers where only root's PATH looks.
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Prints the command as one could type it, and returns it.
fn announce(command: &Command) -> String {
    let mut words: Vec<String> = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.display(), quoted(&value.to_string_lossy())));
        }
    }
    let program = Path::new(command.get_program());
    let name = program.file_stem().unwrap_or(command.get_program());
    // cargo's full path says nothing; a venv's python does.
    let short = if name == "cargo" { name } else { program.as_os_str() };
    words.push(quoted(&short.to_string_lossy()));
    words.extend(command.get_args().map(|word| quoted(&word.to_string_lossy())));
    let shown = words.join(" ");
    println!("$ {shown}");
    shown
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
        assert_eq!(quoted("--all-features"), "--all-features");
        assert_eq!(quoted("-D warnings"), "'-D warnings'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn what_cargo_run_says_of_this_package_is_kept_from_children() {
        for name in ["CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR", "OUT_DIR"] {
            assert!(describes_this_package(&name.into()), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_INCREMENTAL", "CARGO_TARGET_DIR", "PATH"] {
            assert!(!describes_this_package(&name.into()), "{name}");
        }
    }

    #[test]
    fn a_program_is_found_on_the_path_or_not_at_all() {
        assert!(program("cargo").is_some());
        assert_eq!(program("no-such-program-anywhere"), None);
    }
}
