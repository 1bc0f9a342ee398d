//! A new database in the place of the old one: because sled does not shrink, because a disk that was full is not any
//! more, or because the old one is damaged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::Timestamp;
use tracing::{info, warn};

use super::disk::{Change, Disk, Trouble};
use super::{Store, begin};
use crate::catalog::{Catalog, Gone, Place, Plan};
use crate::index::Index;

impl Store {
    /// Copies what is held to a new database where the old one is too large, or could not be written.
    pub(crate) fn renew_if_needed(&self) {
        let size = self.disk_bytes();
        let failing = self.failing.load(Ordering::Acquire);
        if (size <= self.limits.disk && !failing) || *self.damaged.borrow() {
            return;
        }
        match self.renew() {
            Ok(()) => {
                let left = self.disk_bytes();
                info!(size, left, "what the cache holds was copied to a new database");
                if left > self.limits.disk {
                    self.evict_quarter(left);
                }
            }
            // The old one goes on; this is tried again.
            Err(trouble) if failing => warn!(%trouble, "the cache's database still cannot be written"),
            Err(trouble) => warn!(
                %trouble, size, limit = self.limits.disk,
                "what the cache holds could not be copied to a new database, so the old one stays too large"
            ),
        }
    }

    fn renew(&self) -> Result<(), Trouble> {
        let mut writer = self.writer.lock();
        let name = self.home.unused();
        let copied =
            Disk::open(&self.home.path(&name)).and_then(|new| self.copy_into(&new).map(|lost| (new, lost)));
        let (new, lost) = match copied {
            Ok(copied) => copied,
            Err(trouble) => {
                self.home.delete(&name);
                return Err(trouble);
            }
        };
        if let Err(err) = self.home.point_at(&name) {
            drop(new);
            self.home.delete(&name);
            return Err(Trouble::Away(err.to_string()));
        }
        let old = self.disk.write().replace(new);
        drop(old);
        self.home.leave_only(&name);
        self.failing.store(false, Ordering::Release);
        if !lost.is_empty() {
            self.commit(&mut writer, Plan { gone: lost, ..Plan::default() }, None, self.position());
        }
        Ok(())
    }

    /// Returns what is held in memory only, because it could not be written.
    fn copy_into(&self, new: &Disk) -> Result<Vec<(Arc<Place>, Gone)>, Trouble> {
        let catalog = self.catalog.read();
        let disk = self.disk.read();
        let mut lost = Vec::new();
        match &*disk {
            Some(old) => {
                let missing = old.copy_into(new, catalog.places().map(|place| &**place))?;
                let missing = |place: &&Arc<Place>| missing.contains(&***place);
                lost.extend(catalog.places().filter(missing).map(|place| (place.clone(), Gone::Damaged)));
            }
            None => lost.extend(catalog.places().map(|place| (place.clone(), Gone::Damaged))),
        }
        let change = Change {
            noted: catalog.noted().collect(),
            state: catalog.state(self.position()),
            ..Change::default()
        };
        new.change(&change)?;
        if let Some(model) = self.index.read().model() {
            new.set_model(model)?;
        }
        new.flush()?;
        Ok(lost)
    }

    /// What is left takes too much room: the oldest quarter goes.
    fn evict_quarter(&self, left: u64) {
        let mut writer = self.writer.lock();
        let gone: Vec<_> = {
            let catalog = self.catalog.read();
            catalog
                .places()
                .take(catalog.len().div_ceil(4))
                .map(|place| (place.clone(), Gone::Evicted))
                .collect()
        };
        warn!(
            left,
            limit = self.limits.disk,
            evicted = gone.len(),
            "what the cache holds takes more room on disk than it may: raise `cache.max_disk`, or lower `cache.max_size`"
        );
        self.commit(&mut writer, Plan { gone, ..Plan::default() }, None, self.position());
    }

    /// Forgets everything and follows the stream from its beginning. Returns whether that could be done.
    pub(crate) fn begin_anew(&self, reason: &str, now: Timestamp) -> bool {
        let _writer = self.writer.lock();
        // Whatever was read for the old one is not stored any more, and nothing of it is given any more.
        self.generation.send_modify(|generation| *generation += 1);
        *self.index.write() = Index::default();
        *self.catalog.write() = Catalog::default();
        self.position.store(0, Ordering::Release);
        drop(self.disk.write().take());
        let aside = match *self.damaged.borrow() {
            true => self.home.set_aside(now).map(|_| ()),
            false => Ok(()),
        };
        let begun = aside.map_err(anyhow::Error::from).and_then(|()| begin(&self.home));
        match begun {
            Ok(disk) => {
                *self.disk.write() = Some(disk);
                self.damaged.send_replace(false);
                self.failing.store(false, Ordering::Release);
                self.rebuilt.fetch_add(1, Ordering::Relaxed);
                warn!(reason, "the cache was emptied, and is filled again from the broker");
                true
            }
            Err(err) => {
                self.damaged.send_replace(true);
                warn!(
                    err = format!("{err:#}"),
                    reason, "the cache could not be begun anew; it is tried again"
                );
                false
            }
        }
    }
}
