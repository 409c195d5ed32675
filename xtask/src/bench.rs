//! `cargo xtask bench`: the benchmarks, ours alone and beside other projects, and where their results are.

use std::fs::{self, File};
use std::io::Write as _;

use anyhow::{Context as _, bail};
use cargo_metadata::{Package, TargetKind};

use crate::command::{cargo, run_reading};
use crate::workspace::Workspace;

/// Runs the benchmarks of the named packages, or of all that have some. What they print is kept
/// in the target directory, one file a package.
pub(crate) fn run(
    workspace: &Workspace,
    packages: &[String],
    arguments: &[String],
) -> anyhow::Result<()> {
    let directory = workspace.target("xtask/bench");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut kept = Vec::new();
    let peers = workspace.peers()?;
    let homes: Vec<&Workspace> = std::iter::once(workspace).chain(&peers).collect();
    for Benches { home, package, names } in chosen(&homes, packages)? {
        let path = directory.join(format!("{package}.txt"));
        let mut file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut bench = cargo(home);
        bench.args(["bench", "--all-features", "--package", package]);
        // By name: otherwise the unit tests would be run as benchmarks and get the arguments too.
        for name in names {
            bench.args(["--bench", name]);
        }
        bench.arg("--").args(arguments);
        let succeeded = run_reading(&mut bench, |line| Ok(writeln!(file, "{line}")?))?;
        if !succeeded {
            bail!("the benchmarks of {package} failed");
        }
        kept.push(path);
    }
    println!("\nresults:");
    for path in kept {
        println!("  {}", path.display());
    }
    let criterion = workspace.target("criterion");
    if criterion.is_dir() {
        println!("  {}", criterion.display());
    }
    Ok(())
}

/// The benchmarks of a package.
#[derive(Clone)]
struct Benches<'a> {
    home: &'a Workspace,
    package: &'a str,
    names: Vec<&'a str>,
}

/// Those of the packages that are asked for, or of all that have some.
fn chosen<'a>(homes: &[&'a Workspace], packages: &[String]) -> anyhow::Result<Vec<Benches<'a>>> {
    let of = |home: &'a Workspace| {
        let packages = home.packages().into_iter();
        packages.map(move |package| Benches {
            home,
            package: &package.name,
            names: benches(package),
        })
    };
    let with_benches: Vec<Benches<'_>> =
        homes.iter().copied().flat_map(of).filter(|found| !found.names.is_empty()).collect();
    if with_benches.is_empty() {
        bail!("no package has benchmarks");
    }
    if packages.is_empty() {
        return Ok(with_benches);
    }
    packages
        .iter()
        .map(|wanted| {
            let found = with_benches.iter().find(|found| found.package == wanted);
            found.cloned().with_context(|| {
                let names: Vec<&str> = with_benches.iter().map(|found| found.package).collect();
                format!("no benchmarks in `{wanted}`; these have some: {}", names.join(", "))
            })
        })
        .collect()
}

fn benches(package: &Package) -> Vec<&str> {
    package
        .targets
        .iter()
        .filter(|target| target.kind.contains(&TargetKind::Bench))
        .map(|target| target.name.as_str())
        .collect()
}
