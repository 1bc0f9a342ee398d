//! The directory of a store: locked by one process, with a database in it that can be changed for another one at once.
//!
//! `lock` is held while the store is open; `current` names the database, `store-<n>`; what was found corrupt lies in
//! `corrupt-<time>`, to be looked at. Anything else is what a crash left of a copy.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use domain::Timestamp;

const CURRENT: &str = "current";
const STORE: &str = "store-";
const CORRUPT: &str = "corrupt-";

/// The directory, ours as long as this lives.
pub(super) struct Home {
    directory: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the directory if need be, and locks it.
    pub(super) fn take(directory: &Path) -> anyhow::Result<Self> {
        let shown = directory.display();
        fs::create_dir_all(directory).with_context(|| format!("make the cache's directory {shown}"))?;
        let path = directory.join("lock");
        let lock = File::options().create(true).write(true).truncate(false).open(&path);
        let lock = lock.with_context(|| format!("open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another process keeps its cache in {shown}: give this one a directory of its own (`cache.dir`), \
                 or stop the other one"
            ),
            Err(TryLockError::Error(err)) => Err(err).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// Name of the database. None: there is none yet, or nobody can say which.
    pub(super) fn current(&self) -> Option<String> {
        let name = fs::read_to_string(self.directory.join(CURRENT)).ok()?;
        let name = name.trim();
        (number(name).is_some() && self.path(name).is_dir()).then(|| name.to_owned())
    }

    /// Where a database lies.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A name that no database has.
    pub(super) fn unused(&self) -> String {
        let last = self.names().iter().filter_map(|name| number(name)).max().unwrap_or(0);
        format!("{STORE}{}", last + 1)
    }

    /// Makes a database the current one, at once: after a crash it is this one or the one before.
    pub(super) fn point_at(&self, name: &str) -> io::Result<()> {
        let half = self.directory.join("current.new");
        fs::write(&half, name)?;
        File::open(&half)?.sync_all()?;
        fs::rename(&half, self.directory.join(CURRENT))?;
        File::open(&self.directory)?.sync_all()
    }

    /// Deletes all databases but one.
    pub(super) fn leave_only(&self, name: &str) {
        for other in self.names().iter().filter(|other| number(other).is_some() && *other != name) {
            self.delete(other);
        }
    }

    /// Deletes a database, as far as that can be done.
    pub(super) fn delete(&self, name: &str) {
        if let Err(err) = fs::remove_dir_all(self.path(name)) {
            tracing::debug!(%err, name, "could not delete an old database of the cache");
        }
    }

    /// Puts the databases aside, and forgets those that were put aside before. Returns where they are.
    pub(super) fn set_aside(&self, now: Timestamp) -> io::Result<PathBuf> {
        let names = self.names();
        for old in names.iter().filter(|name| name.starts_with(CORRUPT)) {
            self.delete(old);
        }
        let aside = self.path(&format!("{CORRUPT}{}", now.0));
        fs::create_dir_all(&aside)?;
        for name in names.iter().filter(|name| number(name).is_some()) {
            fs::rename(self.path(name), aside.join(name))?;
        }
        Ok(aside)
    }

    fn names(&self) -> Vec<String> {
        let Ok(found) = fs::read_dir(&self.directory) else { return Vec::new() };
        found.filter_map(|found| found.ok()?.file_name().into_string().ok()).collect()
    }
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(STORE)?.parse().ok()
}
