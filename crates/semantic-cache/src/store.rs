//! What a node holds, on disk and in memory. All of it can be had again from the broker, so nothing is repaired: what is
//! damaged is set aside and begun anew.
//!
//! Changes are made one after the other, each on disk as one transaction together with the position of the event that
//! led to it, and then in memory. Everything here blocks.

mod disk;
mod home;
mod record;
mod renew;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use domain::cache::{Entry, Invalidation};
use domain::{Timestamp, Workspace};
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::watch;
use tracing::{info, warn};

pub(crate) use self::disk::{Noted, State};

use self::disk::{Change, Disk, Loaded, Trouble};
use self::home::Home;
use crate::catalog::{Bounds, Catalog, Gone, Place, Plan};
use crate::index::Index;

/// Where a store is and how much it may hold.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) directory: PathBuf,
    pub(crate) bounds: Bounds,
    /// Bytes on disk from which what is held is copied to a new database.
    pub(crate) disk: u64,
}

/// What became of an event.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The entry that is held now.
    pub(crate) stored: Option<Arc<Place>>,
    /// Those that are held no more.
    pub(crate) gone: Vec<(Arc<Place>, Gone)>,
    /// The entry may be held by nobody.
    pub(crate) refused: bool,
}

/// The store. One thread at a time changes it, any number read.
pub(crate) struct Store {
    limits: Limits,
    home: Home,
    disk: RwLock<Option<Disk>>,
    catalog: RwLock<Catalog>,
    index: RwLock<Index>,
    /// Held by whoever changes the store.
    writer: Mutex<()>,
    position: AtomicU64,
    generation: watch::Sender<u64>,
    rebuilt: AtomicU64,
    failing: AtomicBool,
    damaged: watch::Sender<bool>,
}

impl Store {
    /// Opens the store. Fails if another process has it, or the disk does not let us.
    pub(crate) fn open(limits: Limits, now: Timestamp) -> anyhow::Result<Self> {
        let home = Home::take(&limits.directory)?;
        let (disk, loaded, rebuilt) = open(&home, now)?;
        let store = Self {
            home,
            disk: RwLock::new(Some(disk)),
            catalog: RwLock::default(),
            index: RwLock::default(),
            writer: Mutex::default(),
            position: AtomicU64::new(loaded.state.position),
            generation: watch::Sender::new(0),
            rebuilt: AtomicU64::new(u64::from(rebuilt)),
            failing: AtomicBool::new(false),
            damaged: watch::Sender::new(false),
            limits,
        };
        store.fill(loaded);
        Ok(store)
    }

    fn fill(&self, loaded: Loaded) {
        {
            let mut catalog = self.catalog.write();
            loaded.noted.into_iter().for_each(|noted| catalog.note(noted));
            loaded.entries.into_iter().for_each(|entry| catalog.insert(entry));
        }
        // The bounds may be narrower than they were.
        let mut writer = self.writer.lock();
        let plan = self.catalog.read().plan_bounds(self.limits.bounds);
        if !plan.gone.is_empty() {
            self.commit(&mut writer, plan, None, self.position());
        }
        let model = self.disk.read().as_ref().and_then(|disk| disk.model().ok().flatten());
        if let Some(model) = model {
            self.read_vectors(&model);
        }
    }

    /// Position of the event stream up to which the store has followed.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Counts the times the store was begun anew; what was read for an earlier one is not stored in a later one.
    pub(crate) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// The same, with the time before this process saw it.
    pub(crate) fn rebuilt(&self) -> u64 {
        self.rebuilt.load(Ordering::Relaxed)
    }

    /// What is held.
    pub(crate) fn catalog(&self) -> &RwLock<Catalog> {
        &self.catalog
    }

    /// Vectors of what is held.
    pub(crate) fn index(&self) -> &RwLock<Index> {
        &self.index
    }

    /// Holds an answer that the event at `sequence` tells of, unless it may not be held.
    pub(crate) fn take(
        &self,
        (generation, sequence): (u64, u64),
        at: Timestamp,
        entry: Entry,
        answer: &Bytes,
    ) -> Done {
        let mut writer = self.writer.lock();
        if !self.follows(generation, sequence) {
            return Done::default();
        }
        let plan = self.catalog.read().plan_entry(&entry, at, self.limits.bounds);
        self.commit(&mut writer, plan, Some((entry, answer)), sequence)
    }

    /// Removes and remembers what was taken out by hand, as the event at `sequence` tells.
    pub(crate) fn invalidate(
        &self,
        (generation, sequence): (u64, u64),
        workspace: &Workspace,
        said: &Invalidation,
    ) -> Done {
        let mut writer = self.writer.lock();
        if !self.follows(generation, sequence) {
            return Done::default();
        }
        let plan = self.catalog.read().plan_invalidation(sequence, workspace, said);
        self.commit(&mut writer, plan, None, sequence)
    }

    /// Notes that there is nothing to do up to a position.
    pub(crate) fn pass(&self, (generation, sequence): (u64, u64)) {
        let mut writer = self.writer.lock();
        if self.follows(generation, sequence) {
            self.commit(&mut writer, Plan::default(), None, sequence);
        }
    }

    /// Removes what had expired by then.
    pub(crate) fn sweep(&self, by: Timestamp) -> Done {
        let mut writer = self.writer.lock();
        let plan = self.catalog.read().plan_sweep(by);
        if plan.gone.is_empty() {
            return Done::default();
        }
        self.commit(&mut writer, plan, None, self.position())
    }

    /// The answer of an entry. None: it is not held any more, or cannot be read.
    pub(crate) fn answer(&self, entry: &Entry) -> Option<Bytes> {
        let place = Place::of(entry);
        let found = match &*self.disk.read() {
            Some(disk) => disk.answer(entry),
            None => return None,
        };
        match found {
            Ok(Some(answer)) if answer.len() == entry.size => Some(answer),
            Ok(_) => {
                self.drop_damaged(entry, place);
                None
            }
            Err(trouble) => {
                self.report(&trouble);
                None
            }
        }
    }

    /// Removes an entry whose answer is gone or damaged, if it still is that entry.
    fn drop_damaged(&self, entry: &Entry, place: Place) {
        let mut writer = self.writer.lock();
        if self.catalog.read().get(&place).is_none_or(|held| *held != *entry) {
            return;
        }
        warn!(entry = %place.id, "an answer in the cache's database is damaged; it is dropped");
        let plan = Plan { gone: vec![(Arc::new(place), Gone::Damaged)], ..Plan::default() };
        self.commit(&mut writer, plan, None, self.position());
    }

    /// Keeps the vector of an entry that is held.
    pub(crate) fn put_vector(&self, entry: &Entry, model: &str, values: &[f32]) {
        let _writer = self.writer.lock();
        let place = Place::of(entry);
        if self.catalog.read().get(&place).is_none_or(|held| *held != *entry) {
            return;
        }
        let written = self.disk.read().as_ref().map(|disk| disk.put_vector(&place, model, values));
        if let Some(Err(trouble)) = written {
            self.report(&trouble);
        }
        self.index.write().insert(&Arc::new(place), &entry.partition, model, values);
    }

    /// From now on vectors of this model count. Returns whether others did before.
    pub(crate) fn adopt(&self, model: &str) -> bool {
        let _writer = self.writer.lock();
        if self.index.read().model() == Some(model) {
            return false;
        }
        let written = self.disk.read().as_ref().map(|disk| disk.set_model(model));
        if let Some(Err(trouble)) = written {
            self.report(&trouble);
        }
        self.read_vectors(model);
        true
    }

    fn read_vectors(&self, model: &str) {
        let mut index = Index::default();
        index.begin(model);
        let catalog = self.catalog.read();
        let read = self.disk.read().as_ref().map(|disk| {
            disk.each_vector(|place, of, values| {
                if let Some(entry) = catalog.get(&place) {
                    index.insert(&Arc::new(place), &entry.partition, of, &values);
                }
            })
        });
        *self.index.write() = index;
        if let Some(Err(trouble)) = read {
            self.report(&trouble);
        }
    }

    /// Entries whose texts have no vector of the present model, newest first.
    pub(crate) fn without_vector(&self) -> Vec<Arc<Place>> {
        let (catalog, index) = (self.catalog.read(), self.index.read());
        let texts = |place: &&Arc<Place>| catalog.get(place).is_some_and(|entry| entry.text.is_some());
        let mut places: Vec<_> =
            catalog.places().filter(texts).filter(|place| !index.holds(place)).cloned().collect();
        places.reverse();
        places
    }

    /// Bytes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk.read().as_ref().and_then(|disk| disk.size().ok()).unwrap_or(0)
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&self) {
        if let Some(Err(trouble)) = self.disk.read().as_ref().map(Disk::flush) {
            warn!(%trouble, "the cache's database was not written to the end; it goes on where it was");
        }
    }

    /// Waits until the database cannot be used any more.
    pub(crate) async fn in_trouble(&self) {
        let mut damaged = self.damaged.subscribe();
        while !*damaged.borrow_and_update() {
            // The sender lives as long as the store.
            let _ = damaged.changed().await;
        }
    }

    /// Waits until the store was begun anew after that generation.
    pub(crate) async fn begun_after(&self, generation: u64) {
        let mut now = self.generation.subscribe();
        while *now.borrow_and_update() == generation {
            let _ = now.changed().await;
        }
    }

    /// Whether the event at this position is the next one, for the store as it is.
    fn follows(&self, generation: u64, sequence: u64) -> bool {
        generation == self.generation() && sequence > self.position()
    }

    /// Does what was planned, on disk and then in memory.
    fn commit(
        &self,
        _writer: &mut MutexGuard<'_, ()>,
        mut plan: Plan,
        new: Option<(Entry, &Bytes)>,
        position: u64,
    ) -> Done {
        let entry = new.as_ref().filter(|_| plan.put).map(|(entry, answer)| (entry, answer.as_ref()));
        let change = Change {
            put: entry,
            gone: plan.gone.iter().map(|(place, _)| &**place).collect(),
            noted: plan.noted.iter().collect(),
            forgotten: plan.forgotten.iter().map(|(_, sequence)| *sequence).collect(),
            state: self.catalog.read().state_after(&plan, entry.map(|(entry, _)| entry), position),
        };
        let written = match &*self.disk.read() {
            Some(disk) => disk.change(&change),
            None => Err(Trouble::Away("there is no database".to_owned())),
        };
        if let Err(trouble) = &written {
            self.report(trouble);
            plan.put = false;
        }
        let stored = new.as_ref().filter(|_| plan.put).map(|(entry, _)| Arc::new(Place::of(entry)));
        {
            // Vectors first: none of them is of an entry that is not held.
            let mut index = self.index.write();
            plan.gone.iter().for_each(|(place, _)| index.remove(place));
        }
        self.catalog.write().follow(&plan, new.map(|(entry, _)| entry));
        self.position.store(position, Ordering::Release);
        Done { stored, gone: plan.gone, refused: plan.refused }
    }

    /// Says once that the database cannot be used as it should.
    fn report(&self, trouble: &Trouble) {
        let directory = self.limits.directory.display();
        if trouble.is_damage() {
            if !self.damaged.send_replace(true) {
                warn!(%trouble, %directory, "the cache's database cannot be used any more; it is begun anew");
            }
        } else if !self.failing.swap(true, Ordering::AcqRel) {
            warn!(
                %trouble, %directory,
                "the cache's database cannot be written: new answers are not held until it can; is the disk full?"
            );
        }
    }
}

/// Opens the current database, or begins a new one. Returns whether one was there that could not be used.
fn open(home: &Home, now: Timestamp) -> anyhow::Result<(Disk, Loaded, bool)> {
    let mut rebuilt = false;
    if let Some(name) = home.current() {
        let path = home.path(&name);
        match Disk::open(&path).and_then(|disk| load(&disk).map(|loaded| (disk, loaded))) {
            Ok((disk, loaded)) => {
                home.leave_only(&name);
                return Ok((disk, loaded, false));
            }
            Err(Trouble::Damaged(reason)) => {
                let aside = home.set_aside(now).context("put the cache's damaged database aside")?;
                warn!(
                    reason, aside = %aside.display(),
                    "the cache's database was damaged: it was put aside, and is filled again from the broker"
                );
                rebuilt = true;
            }
            Err(Trouble::Away(reason)) => {
                anyhow::bail!("open the cache's database in {}: {reason}", path.display())
            }
        }
    }
    let disk = begin(home)?;
    info!("the cache begins with an empty database");
    Ok((disk, Loaded::default(), rebuilt))
}

/// An empty database, which is the current one from now on.
fn begin(home: &Home) -> anyhow::Result<Disk> {
    let name = home.unused();
    let path = home.path(&name);
    let disk =
        Disk::open(&path).with_context(|| format!("make the cache's database in {}", path.display()))?;
    home.point_at(&name).context("name the cache's database")?;
    home.leave_only(&name);
    Ok(disk)
}

/// What a database holds, if that is what it says it holds.
fn load(disk: &Disk) -> Result<Loaded, Trouble> {
    let loaded = disk.load()?;
    let mut held = Catalog::default();
    loaded.entries.iter().for_each(|entry| held.insert(entry.clone()));
    match held.state(loaded.state.position) == loaded.state
        || loaded.state == State::default() && held.len() == 0
    {
        true => Ok(loaded),
        false => Err(Trouble::Damaged("it does not hold the entries that it says it holds".to_owned())),
    }
}
