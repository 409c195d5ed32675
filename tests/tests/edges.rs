//! Which of our crates may depend on which.
//!
//! The rules are the first two invariants of `ARCHITECTURE.md`. A crate is judged by what it is,
//! and what it is follows from where it lies and what it is called, so that a new crate is
//! judged from its first day: one in `crates/` is a layer unless it has one of the names below.

use std::fmt;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What a package of the workspace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The vocabulary that layers share. Knows nobody.
    Core,
    /// Knows the core alone, never another layer.
    Layer,
    /// Implements the traits of these layers, and knows them for that.
    Adapter(&'static [&'static str]),
    /// Joins the observers of all layers to one thing outside, and knows them for that.
    Observers,
    /// Puts the layers together for users.
    Facade,
    /// The binary: the facade and the layers at work.
    Gateway,
    /// What the tests of the others are made of.
    Testkit,
    /// Tests and examples of several layers together.
    Stack,
    /// Works on the source tree, and knows no crate in it.
    Tool,
}

/// The role of a package, from its name and its folder relative to the root of the workspace.
fn role(name: &str, folder: &str) -> Role {
    match (folder.split('/').next().unwrap_or_default(), name) {
        ("crates", "buttress-core") => Role::Core,
        ("crates", "buttress-redis") => Role::Adapter(&["buttress-cache", "buttress-limit"]),
        ("crates", "buttress-metrics") => Role::Observers,
        ("crates", "buttress") => Role::Facade,
        ("crates", "buttress-gateway") => Role::Gateway,
        ("crates", "buttress-testkit") => Role::Testkit,
        ("crates", _) => Role::Layer,
        ("tests" | "examples", _) => Role::Stack,
        _ => Role::Tool,
    }
}

/// One of our packages depending on another, as a manifest declares it: optional or not, for all
/// targets or for one, under whatever name.
#[derive(Debug)]
struct Edge {
    from: Package,
    to: Package,
    kind: DependencyKind,
}

#[derive(Debug, Clone)]
struct Package {
    name: String,
    role: Role,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.from, &self.to);
        write!(
            f,
            "{} ({:?}) has a {} dependency on {} ({:?})",
            from.name, from.role, self.kind, to.name, to.role
        )
    }
}

impl Edge {
    fn is_allowed(&self) -> bool {
        let to = self.to.role;
        if to == Role::Testkit {
            return self.kind == DependencyKind::Development || self.from.role == Role::Stack;
        }
        let part = matches!(to, Role::Layer | Role::Adapter(_) | Role::Observers);
        match self.from.role {
            Role::Core | Role::Tool => false,
            Role::Layer | Role::Testkit => to == Role::Core,
            Role::Adapter(layers) => to == Role::Core || layers.contains(&self.to.name.as_str()),
            Role::Observers => matches!(to, Role::Core | Role::Layer),
            Role::Facade => to == Role::Core || part,
            Role::Gateway => to == Role::Core || part || to == Role::Facade,
            Role::Stack => !matches!(to, Role::Stack | Role::Tool),
        }
    }
}

/// Every edge between packages of this workspace.
fn edges(metadata: &Metadata) -> Vec<Edge> {
    let ours: Vec<Package> = metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let manifest = &package.manifest_path;
            let folder = manifest.strip_prefix(&metadata.workspace_root).unwrap_or(manifest);
            Package { name: package.name.to_string(), role: role(&package.name, folder.as_str()) }
        })
        .collect();
    let find = |name: &str| ours.iter().find(|package| package.name == name).cloned();
    let mut edges = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            if let (Some(from), Some(to)) = (find(&package.name), find(&dependency.name)) {
                let kind = dependency.kind;
                edges.push(Edge { from, to, kind });
            }
        }
    }
    edges
}

/// `--no-deps`: what is declared, whatever is enabled; nothing is resolved or downloaded.
fn metadata(folder: &Path) -> cargo_metadata::Result<Metadata> {
    MetadataCommand::new().current_dir(folder).no_deps().exec()
}

fn this_workspace() -> cargo_metadata::Result<Metadata> {
    metadata(Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[test]
fn no_crate_knows_one_that_it_must_not() {
    let edges = edges(&this_workspace().unwrap());
    // A reader that found nothing would find nothing wrong.
    let sees_core = |edge: &Edge| edge.from.role == Role::Layer && edge.to.role == Role::Core;
    assert!(edges.iter().any(sees_core), "no layer uses the core: {edges:#?}");
    let wrong: Vec<String> =
        edges.iter().filter(|edge| !edge.is_allowed()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "edges that no invariant allows: {wrong:#?}");
}

#[test]
fn the_core_asks_for_no_runtime_no_http_stack_and_no_serde() {
    let metadata = this_workspace().unwrap();
    let core = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name == "buttress-core")
        .expect("there is a core");
    let wrong: Vec<&str> = core
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        // What only a feature brings is the choice of whoever enables it.
        .filter(|dependency| !dependency.optional)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| ["tokio", "hyper", "hyper-util", "serde", "serde_json"].contains(name))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[cfg(test)]
mod planted {
    use std::fs;

    use super::*;

    /// The verdict on a planted edge; every package is where `crates/*` would have it, but for
    /// the few that are elsewhere.
    fn is_allowed(from: &str, to: &str, kind: DependencyKind) -> bool {
        let package = |name: &str| {
            let folder = match name {
                "stack-tests" => "tests/Cargo.toml".to_owned(),
                "examples" | "xtask" => format!("{name}/Cargo.toml"),
                name => format!("crates/{name}/Cargo.toml"),
            };
            Package { name: name.to_owned(), role: role(name, &folder) }
        };
        let (from, to) = (package(from), package(to));
        Edge { from, to, kind }.is_allowed()
    }

    fn assert_allowed(from: &str, to: &[&str]) {
        for to in to {
            assert!(is_allowed(from, to, DependencyKind::Normal), "{from} -> {to}");
        }
    }

    fn assert_forbidden(from: &str, to: &[&str]) {
        for to in to {
            for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development]
            {
                assert!(!is_allowed(from, to, kind), "{from} -> {to} ({kind})");
            }
        }
    }

    #[test]
    fn a_layer_knows_the_core_and_no_other_layer_not_even_in_its_tests() {
        assert_allowed("buttress-retry", &["buttress-core"]);
        assert_forbidden("buttress-retry", &["buttress-cache", "buttress-redis"]);
        assert_forbidden("buttress-retry", &["buttress", "buttress-gateway"]);
    }

    #[test]
    fn a_crate_that_nobody_has_heard_of_is_judged_as_a_layer() {
        assert_allowed("buttress-novelty", &["buttress-core"]);
        assert_forbidden("buttress-novelty", &["buttress-retry", "buttress"]);
        assert_forbidden("buttress-retry", &["buttress-novelty"]);
        assert_allowed("buttress", &["buttress-novelty"]);
    }

    #[test]
    fn the_core_knows_nobody() {
        assert_forbidden("buttress-core", &["buttress-retry", "buttress", "xtask"]);
    }

    #[test]
    fn redis_knows_the_crates_whose_traits_it_implements_and_no_more() {
        let implemented = ["buttress-core", "buttress-cache", "buttress-limit"];
        assert_allowed("buttress-redis", &implemented);
        assert_forbidden("buttress-redis", &["buttress-retry", "buttress"]);
    }

    #[test]
    fn the_observers_are_joined_from_the_outside() {
        assert_allowed("buttress-metrics", &["buttress-core", "buttress-retry"]);
        assert_forbidden("buttress-metrics", &["buttress", "buttress-redis"]);
        assert_forbidden("buttress-retry", &["buttress-metrics"]);
    }

    #[test]
    fn the_testkit_is_for_tests() {
        let (normal, dev) = (DependencyKind::Normal, DependencyKind::Development);
        for from in ["buttress-retry", "buttress", "buttress-gateway"] {
            assert!(is_allowed(from, "buttress-testkit", dev), "{from}");
            assert!(!is_allowed(from, "buttress-testkit", normal), "{from}");
        }
        assert_allowed("stack-tests", &["buttress-testkit"]);
        assert_forbidden("buttress-testkit", &["buttress-retry", "buttress"]);
    }

    #[test]
    fn only_facade_gateway_tests_and_examples_see_several_layers() {
        let layers = ["buttress-core", "buttress-retry", "buttress-cache"];
        for from in ["buttress", "buttress-gateway", "stack-tests", "examples"] {
            assert_allowed(from, &layers);
        }
        assert_forbidden("xtask", &layers);
    }

    #[test]
    fn the_gateway_stands_on_the_facade_and_not_the_other_way_round() {
        assert_allowed("buttress-gateway", &["buttress"]);
        assert_forbidden("buttress", &["buttress-gateway"]);
    }

    /// A layer that knows another one by every detour a manifest has.
    const DETOURS: &str = r#"
        [dependencies]
        buttress-core = { path = "../buttress-core" }
        innocent = { package = "buttress-cache", path = "../buttress-cache", optional = true }
        [build-dependencies]
        buttress-limit = { path = "../buttress-limit" }
        [target.'cfg(windows)'.dev-dependencies]
        buttress-dns = { path = "../buttress-dns" }
    "#;

    #[test]
    fn an_edge_is_found_though_renamed_optional_or_for_one_target() {
        let root = tempfile::tempdir().unwrap();
        let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n";
        fs::write(root.path().join("Cargo.toml"), workspace).unwrap();
        for (name, dependencies) in [
            ("buttress-core", ""),
            ("buttress-cache", ""),
            ("buttress-limit", ""),
            ("buttress-dns", ""),
            ("buttress-retry", DETOURS),
        ] {
            let folder = root.path().join("crates").join(name);
            fs::create_dir_all(folder.join("src")).unwrap();
            fs::write(folder.join("src/lib.rs"), "").unwrap();
            let package = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n");
            fs::write(folder.join("Cargo.toml"), package + dependencies).unwrap();
        }
        let edges = edges(&metadata(root.path()).unwrap());
        let mut wrong: Vec<&str> = edges
            .iter()
            .filter(|edge| !edge.is_allowed())
            .map(|edge| edge.to.name.as_str())
            .collect();
        wrong.sort_unstable();
        assert_eq!(edges.len(), 4, "{edges:#?}");
        assert_eq!(wrong, ["buttress-cache", "buttress-dns", "buttress-limit"]);
    }

    #[test]
    fn an_edge_says_who_knows_whom() {
        let package = |name: &str| Package { name: name.to_owned(), role: role(name, "crates") };
        let edge = Edge {
            from: package("buttress-retry"),
            to: package("buttress-core"),
            kind: DependencyKind::Development,
        };
        assert_eq!(
            edge.to_string(),
            "buttress-retry (Layer) has a dev dependency on buttress-core (Core)"
        );
    }
}
