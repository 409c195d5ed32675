//! What `cargo metadata` and git know about this checkout.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// This checkout: its packages, its root and its target directory.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo; `--no-deps`, so that nothing is resolved or downloaded.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec().context("cargo metadata failed")?;
        Ok(Self { metadata })
    }

    /// The workspace of the benchmarks beside other projects.
    pub(crate) fn peers(&self) -> anyhow::Result<Option<Self>> {
        self.apart("bench")
    }

    /// The workspace of the fuzz targets.
    pub(crate) fn fuzz(&self) -> anyhow::Result<Option<Self>> {
        self.apart("fuzz")
    }

    /// The workspace in a folder of this one that has a lockfile of its own; `None` while it has no
    /// member.
    fn apart(&self, folder: &str) -> anyhow::Result<Option<Self>> {
        let folder = self.root().join(folder);
        let has_member = |entry: &DirEntry| entry.path().join("Cargo.toml").is_file();
        let Ok(mut entries) = folder.read_dir() else { return Ok(None) };
        if !entries.any(|entry| entry.is_ok_and(|entry| has_member(&entry))) {
            return Ok(None);
        }
        let manifest = folder.join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec();
        let metadata =
            metadata.with_context(|| format!("cargo metadata of {} failed", manifest.display()))?;
        Ok(Some(Self { metadata }))
    }

    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// A path in the target directory, wherever the user has put that.
    pub(crate) fn target(&self, path: &str) -> PathBuf {
        self.metadata.target_directory.join(path).into_std_path_buf()
    }

    /// Every member, by name.
    pub(crate) fn packages(&self) -> Vec<&Package> {
        let mut packages = self.metadata.workspace_packages();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        packages
    }

    /// The files that are in git or would be added by `git add .`, relative to the root.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        // A checkout that another user owns, as in a container, is read all the same.
        let output = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z"])
            .args(["--cached", "--others", "--exclude-standard"])
            .current_dir(self.root())
            .output()
            .context("git, which lists the files of the checkout, did not start")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("git ls-files failed: {}", said.trim());
        }
        let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        let mut files: Vec<PathBuf> = names
            .split_terminator('\0')
            .map(PathBuf::from)
            // Deleted, but not yet from the index.
            .filter(|file| self.root().join(file).is_file())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }
}
