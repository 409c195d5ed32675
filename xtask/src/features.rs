//! The feature combinations in which each crate must compile by itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use cargo_metadata::Package;

use crate::command::{cargo, run};
use crate::workspace::Workspace;

/// Lints every published crate by itself: without features, with the default ones, with each one
/// alone, with all.
///
/// One package at a time, because in a build of the whole workspace one crate's features hide
/// what another has forgotten to ask for.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    // An empty list of registries is how `publish = false` reads.
    let published = |package: &&Package| package.publish.as_deref() != Some(&[]);
    let packages: Vec<&Package> = workspace.packages().into_iter().filter(published).collect();
    if packages.is_empty() {
        bail!("no package is published, so none was checked");
    }
    for package in packages {
        for combination in combinations(&package.features) {
            let mut clippy = cargo(workspace);
            clippy.args(["clippy", "--quiet", "--package", &package.name]);
            clippy.args(combination);
            run(clippy.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(())
}

type Features = BTreeMap<String, Vec<String>>;

/// The arguments that choose each combination, leaving out those that come to the same features.
fn combinations(features: &Features) -> Vec<Vec<String>> {
    let none = ["--no-default-features".to_owned()];
    let mut seen = BTreeSet::from([enabled(features, "")]);
    let mut combinations = vec![none.to_vec()];
    if seen.insert(enabled(features, "default")) {
        combinations.push(Vec::new());
    }
    for feature in features.keys().filter(|&feature| feature != "default") {
        if seen.insert(enabled(features, feature)) {
            let alone = ["--features".to_owned(), feature.clone()];
            combinations.push([&none[..], &alone].concat());
        }
    }
    if seen.insert(features.keys().flat_map(|name| enabled(features, name)).collect()) {
        combinations.push(vec!["--all-features".to_owned()]);
    }
    combinations
}

/// All that a feature switches on, itself included; `default` is no more than what it stands for.
fn enabled(features: &Features, feature: &str) -> BTreeSet<String> {
    let mut on = BTreeSet::new();
    let mut pending = vec![feature.to_owned()];
    while let Some(name) = pending.pop() {
        if let Some(implied) = features.get(&name)
            && on.insert(name)
        {
            pending.extend(implied.iter().cloned());
        }
    }
    on.remove("default");
    on
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(table: &[(&str, &[&str])]) -> Features {
        table
            .iter()
            .map(|(name, implied)| {
                let implied = implied.iter().map(|&name| name.to_owned()).collect();
                ((*name).to_owned(), implied)
            })
            .collect()
    }

    fn shown(features: &Features) -> Vec<String> {
        combinations(features).iter().map(|arguments| arguments.join(" ")).collect()
    }

    #[test]
    fn a_crate_without_features_is_checked_once() {
        assert_eq!(shown(&features(&[])), ["--no-default-features"]);
        let empty = features(&[("default", &[])]);
        assert_eq!(shown(&empty), ["--no-default-features"]);
    }

    #[test]
    fn none_default_each_alone_and_all_are_checked() {
        let table =
            features(&[("default", &["http"]), ("http", &["dep:http"]), ("grpc", &["dep:prost"])]);
        assert_eq!(
            shown(&table),
            [
                "--no-default-features",
                "",
                "--no-default-features --features grpc",
                "--all-features",
            ]
        );
    }

    #[test]
    fn a_feature_that_implies_all_others_is_not_checked_twice() {
        let table = features(&[
            ("default", &["client"]),
            ("client", &["retry", "dep:hyper"]),
            ("retry", &["dep:buttress-retry"]),
        ]);
        assert_eq!(
            shown(&table),
            ["--no-default-features", "", "--no-default-features --features retry"]
        );
    }

    #[test]
    fn features_that_imply_each_other_do_not_hang() {
        let table = features(&[("a", &["b"]), ("b", &["a"])]);
        assert_eq!(shown(&table), ["--no-default-features", "--no-default-features --features a"]);
    }
}
