//! The `#[ignore]` attributes of the source tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::workspace::Workspace;

/// What one `#[ignore]` attribute says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ignored<'a> {
    /// `#[ignore]`, or one whose reason is not on the same line.
    Bare,
    /// `#[ignore = "reason"]`.
    For(&'a str),
}

/// Reads the `#[ignore]` attribute on a line, if there is one.
pub(crate) fn ignored(line: &str) -> Option<Ignored<'_>> {
    let rest = line.trim_start().strip_prefix("#[ignore")?;
    let reason = rest
        .trim_start()
        .strip_prefix('=')
        .and_then(|value| value.trim_start().strip_prefix('"'))
        .and_then(|value| value.split('"').next());
    Some(reason.map_or(Ignored::Bare, Ignored::For))
}

/// The Rust files of the workspace, relative to its root, with their text.
pub(crate) fn rust_files(workspace: &Workspace) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for file in workspace.files()? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(workspace.root().join(&file))
                .with_context(|| format!("cannot read {}", file.display()))?;
            files.push((file, text));
        }
    }
    Ok(files)
}

/// Every reason for which a test is ignored, once.
pub(crate) fn ignore_reasons(workspace: &Workspace) -> anyhow::Result<BTreeSet<String>> {
    let mut reasons = BTreeSet::new();
    for (_, text) in rust_files(workspace)? {
        for line in text.lines() {
            if let Some(Ignored::For(reason)) = ignored(line) {
                reasons.insert(reason.to_owned());
            }
        }
    }
    Ok(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_test_gives_its_reason() {
        let line = r#"    #[ignore = "needs curl"]"#;
        assert_eq!(ignored(line), Some(Ignored::For("needs curl")));
    }

    #[test]
    fn an_ignored_test_without_a_reason_is_bare() {
        assert_eq!(ignored("#[ignore]"), Some(Ignored::Bare));
        assert_eq!(ignored("#[ignore ="), Some(Ignored::Bare));
    }

    #[test]
    fn comments_and_strings_are_not_attributes() {
        assert_eq!(ignored("// #[ignore]"), None);
        assert_eq!(ignored("/// `#[ignore]` is for servers"), None);
        assert_eq!(ignored(r##"let line = "#[ignore]";"##), None);
    }
}
