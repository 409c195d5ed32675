//! Reading the files anew when they change.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;

use super::{Hosts, ResolvConf};

/// How often the files are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// No more of a file than this is read.
const LONGEST: u64 = 16 << 20;

/// Where the files are; none if one is not wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    pub(crate) hosts: Option<PathBuf>,
    pub(crate) resolv_conf: Option<PathBuf>,
}

/// What the files say.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) hosts: Hosts,
    pub(crate) resolv_conf: ResolvConf,
    stamps: [Option<Stamp>; 2],
}

/// What tells one state of a file from another. A file that is replaced by `rename` is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// The files as they were read last. Reading them blocks nobody who looks a name up.
#[derive(Debug)]
pub(crate) struct Files {
    paths: Paths,
    now: ArcSwap<Snapshot>,
}

impl Files {
    /// Reads the files for the first time, here and now.
    pub(crate) fn new(paths: Paths) -> Self {
        let snapshot = read(&paths, &Snapshot::default());
        Self { paths, now: ArcSwap::from_pointee(snapshot.unwrap_or_default()) }
    }

    pub(crate) const fn is_watched(&self) -> bool {
        self.paths.hosts.is_some() || self.paths.resolv_conf.is_some()
    }

    pub(crate) fn now(&self) -> Arc<Snapshot> {
        self.now.load_full()
    }

    /// Looks whether the files have changed, and reads them if so. Returns what they said before.
    pub(crate) async fn refresh(&self) -> Option<Arc<Snapshot>> {
        let (paths, before) = (self.paths.clone(), self.now());
        let look = spawn_blocking(move || read(&paths, &before));
        let snapshot = look.await.ok().flatten()?;
        Some(self.now.swap(Arc::new(snapshot)))
    }
}

/// What the files say, if they are not as they were `before`.
fn read(paths: &Paths, before: &Snapshot) -> Option<Snapshot> {
    let stamps = [&paths.hosts, &paths.resolv_conf].map(|path| stamp(path.as_deref()?));
    if stamps == before.stamps {
        return None;
    }
    let text = |path: &Option<PathBuf>| path.as_deref().map(text).unwrap_or_default();
    let hosts = if stamps[0] == before.stamps[0] {
        before.hosts.clone()
    } else {
        Hosts::read(&text(&paths.hosts))
    };
    let resolv_conf = if stamps[1] == before.stamps[1] {
        before.resolv_conf.clone()
    } else {
        ResolvConf::read(&text(&paths.resolv_conf))
    };
    Some(Snapshot { hosts, resolv_conf, stamps })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp { modified: about.modified().ok(), length: about.len(), inode: inode(&about) })
}

#[cfg(unix)]
fn inode(about: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
const fn inode(_: &fs::Metadata) -> u64 {
    0
}

/// A file that cannot be read says nothing.
fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the file");
            String::new()
        }
    }
}
