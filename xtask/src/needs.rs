//! What the ignored tests need from the machine, and how it gets there.
//!
//! A test that needs a program says so: `#[ignore = "needs curl"]`. The reason is a row of
//! [`NEEDS`]; the row names the environment variable in which the test finds the program. A
//! variable that is set already is left as it is.

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::command::{program, run, succeeds};
use crate::workspace::Workspace;

#[derive(Debug)]
struct Need {
    /// The reason that the ignored test gives.
    reason: &'static str,
    /// The variable that tells the test where the program is.
    variable: &'static str,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A program, and the Debian package it comes in. Servers are started by the tests
    /// themselves, each on a port of its own.
    Program { name: &'static str, package: &'static str },
    /// A Python of the workspace's own, with this requirement from `PyPI`.
    Python { requirement: &'static str },
}

const NEEDS: &[Need] = &[
    Need {
        reason: "needs curl",
        variable: "BUTTRESS_CURL",
        source: Source::Program { name: "curl", package: "curl" },
    },
    Need {
        reason: "needs dnsmasq",
        variable: "BUTTRESS_DNSMASQ",
        source: Source::Program { name: "dnsmasq", package: "dnsmasq-base" },
    },
    Need {
        reason: "needs nginx",
        variable: "BUTTRESS_NGINX",
        source: Source::Program { name: "nginx", package: "nginx" },
    },
    Need {
        reason: "needs python3 with openai",
        variable: "BUTTRESS_PYTHON",
        source: Source::Python { requirement: "openai>=3,<4" },
    },
];

/// Whether [`provide`] knows how to satisfy this reason.
pub(crate) fn is_known(reason: &str) -> bool {
    row(reason).is_some()
}

/// Installs what is missing, and returns the variables that tell the tests where everything is.
pub(crate) fn provide(
    workspace: &Workspace,
    reasons: &BTreeSet<String>,
) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let mut needs = Vec::new();
    for reason in reasons {
        let need = row(reason).with_context(|| {
            format!("a test is ignored because it \"{reason}\", which xtask/src/needs.rs lacks")
        })?;
        if env::var_os(need.variable).is_none() {
            needs.push(need);
        }
    }
    let missing: Vec<&Need> =
        needs.iter().filter(|need| !need.source.is_present(workspace)).copied().collect();
    if !missing.is_empty() {
        apt_install(&missing)?;
    }
    needs.into_iter().map(|need| Ok((need.variable, need.source.make(workspace)?))).collect()
}

fn row(reason: &str) -> Option<&'static Need> {
    NEEDS.iter().find(|need| need.reason == reason)
}

impl Source {
    /// The Debian package that brings what [`Source::make`] starts from.
    fn package(&self) -> &'static str {
        match self {
            Self::Program { package, .. } => package,
            Self::Python { .. } => "python3-venv",
        }
    }

    fn is_present(&self, workspace: &Workspace) -> bool {
        match self {
            Self::Program { name, .. } => program(name).is_some(),
            Self::Python { .. } => works(&own_python(workspace)) || system_python().is_some(),
        }
    }

    /// Where the program is, once its Debian package is there.
    fn make(&self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        match self {
            Self::Program { name, package } => program(name)
                .with_context(|| format!("`{name}` is not there, though `{package}` is installed")),
            Self::Python { requirement } => make_python(workspace, requirement),
        }
    }
}

fn own_python(workspace: &Workspace) -> PathBuf {
    workspace.target("xtask/python/bin/python")
}

/// A Python that can make virtual environments. Debian's cannot until `python3-venv` is there.
fn system_python() -> Option<PathBuf> {
    program("python3")
        .into_iter()
        .chain(["/usr/bin/python3".into()])
        .find(|python| succeeds(Command::new(python).args(["-c", "import ensurepip, venv"])))
}

/// Whether this Python starts and has pip: an environment that was interrupted while it was made,
/// or whose Python is gone, does not.
fn works(python: &PathBuf) -> bool {
    succeeds(Command::new(python).args(["-m", "pip", "--version"]))
}

fn make_python(workspace: &Workspace, requirement: &str) -> anyhow::Result<PathBuf> {
    let python = own_python(workspace);
    if !works(&python) {
        let system = system_python().context("python3 cannot make a virtual environment")?;
        run(Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(workspace.target("xtask/python")))?;
    }
    // Asks the network for nothing when the requirement is met.
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", requirement]))?;
    Ok(python)
}

fn apt_install(missing: &[&Need]) -> anyhow::Result<()> {
    let packages: BTreeSet<&str> = missing.iter().map(|need| need.source.package()).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    let list = packages.join(" ");
    let variables: Vec<&str> = missing.iter().map(|need| need.variable).collect();
    let variables = variables.join(", ");
    if program("apt-get").is_none() {
        bail!(
            "the tests need {list} (as Debian calls it), and there is no apt-get here: \
             install it and run this again, or set {variables}"
        );
    }
    let sudo = if is_root() {
        None
    } else if let Some(sudo) = program("sudo") {
        Some(sudo)
    } else {
        bail!(
            "the tests need {list}, and only root can install it: \
             run `apt-get install {list}` as root and this again, or set {variables}"
        );
    };
    // A stale or partly unreachable list may still do.
    if let Err(error) = run(apt_get(sudo.as_ref()).arg("update")) {
        println!("warning: {error:#}");
    }
    run(apt_get(sudo.as_ref())
        .args(["install", "--yes", "--no-install-recommends"])
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(&packages))
    .with_context(|| format!("cannot install {list}"))
}

fn apt_get(sudo: Option<&PathBuf>) -> Command {
    // Through env, because sudo drops the variables it is started with.
    let mut command = sudo.map_or_else(
        || Command::new("env"),
        |sudo| {
            let mut command = Command::new(sudo);
            command.arg("env");
            command
        },
    );
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_has_a_reason_and_a_variable_of_its_own() {
        let mut reasons = BTreeSet::new();
        let mut variables = BTreeSet::new();
        for need in NEEDS {
            assert!(need.reason.starts_with("needs "), "{need:?}");
            assert!(need.variable.starts_with("BUTTRESS_"), "{need:?}");
            assert!(reasons.insert(need.reason), "{need:?}");
            // Two requirements may share the one Python.
            let shared = matches!(need.source, Source::Python { .. });
            assert!(variables.insert(need.variable) || shared, "{need:?}");
        }
    }

    #[test]
    fn an_unknown_reason_is_an_error_that_names_it() {
        let workspace = Workspace::read().unwrap();
        let reasons = BTreeSet::from(["needs a full moon".to_owned()]);
        let error = provide(&workspace, &reasons).unwrap_err();
        assert!(error.to_string().contains("needs a full moon"), "{error}");
    }
}
