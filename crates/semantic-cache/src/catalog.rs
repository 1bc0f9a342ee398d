//! What a node holds, in memory: all but the answers. Decides what an event changes; the store then does it.
//!
//! Decisions depend on the events and on nothing else, so nodes that follow one stream with the same bounds hold the
//! same entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::cache::{Entry, Invalidation, Selection};
use domain::{RequestId, Timestamp, Workspace};

use crate::guard::normal;
use crate::store::{Noted, State};

#[cfg(test)]
mod tests;

/// How long an invalidation is remembered: a request lives a day at most, and what was asked for before the
/// invalidation is not stored after it.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(25 * 3600);

/// Invalidations of a workspace that are remembered one by one. Of more, the older half becomes one that forbids
/// everything asked for before it, which costs hits and nothing else.
const MOST_NOTED: usize = 4096;

/// What an entry takes beside its answer and its texts, about.
const OVERHEAD: usize = 512;

/// Names an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) id: RequestId,
    pub(crate) workspace: Workspace,
}

impl Place {
    /// The place of an entry.
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { id: entry.id.clone(), workspace: entry.workspace.clone() }
    }

    /// Its key on disk. Names have no slash.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.workspace, self.id)
    }

    /// The place that a key names.
    pub(crate) fn read(key: &[u8]) -> Option<Self> {
        let (workspace, id) = std::str::from_utf8(key).ok()?.split_once('/')?;
        Some(Self { id: RequestId::parse(id).ok()?, workspace: Workspace::parse(workspace).ok()? })
    }
}

/// How much is held at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    /// Of entries and answers.
    pub(crate) bytes: u64,
}

/// Why an entry is not held any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// A newer answer to the same request took its place.
    Replaced,
    /// It is not good any more.
    Expired,
    /// There were too many.
    Evicted,
    /// It was taken out by hand.
    Invalidated,
    /// Its answer cannot be read.
    Damaged,
}

/// What an event changes.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Whether the entry is stored.
    pub(crate) put: bool,
    /// The entry may be held by nobody: it was taken out, or there is a newer one.
    pub(crate) refused: bool,
    /// Which are held no more.
    pub(crate) gone: Vec<(Arc<Place>, Gone)>,
    /// What is remembered.
    pub(crate) noted: Vec<Noted>,
    /// What is not remembered any more.
    pub(crate) forgotten: Vec<(Workspace, u64)>,
}

struct Held {
    entry: Arc<Entry>,
    bytes: u64,
    hits: AtomicU64,
}

/// What is held.
#[derive(Default)]
pub(crate) struct Catalog {
    held: HashMap<Arc<Place>, Held>,
    keys: HashMap<(Workspace, String), Arc<Place>>,
    /// By the hash of partition and normalised text.
    words: HashMap<u64, Vec<Arc<Place>>>,
    ages: BTreeSet<(Timestamp, Arc<Place>)>,
    ends: BTreeSet<(Timestamp, Arc<Place>)>,
    workspaces: BTreeMap<Workspace, u64>,
    noted: HashMap<Workspace, Vec<Noted>>,
    bytes: u64,
    mark: u64,
}

impl Catalog {
    /// What a new answer changes, which an event of this time tells of.
    pub(crate) fn plan_entry(&self, entry: &Entry, at: Timestamp, bounds: Bounds) -> Plan {
        let mut plan = Plan { gone: self.ended(at), forgotten: self.outdated(at), ..Plan::default() };
        let place = Place::of(entry);
        let rank = (entry.stored_at, &place);
        let before = self.keys.get(&(entry.workspace.clone(), entry.key.clone()));
        let newer = |other: &Arc<Place>| {
            **other != place
                && self.held.get(other).is_some_and(|held| (held.entry.stored_at, &**other) > rank)
        };
        if self.held.get(&place).is_some_and(|held| *held.entry == *entry) {
            // Told again.
            plan.gone.clear();
            return plan;
        }
        plan.refused = self.forbids(entry) || before.is_some_and(newer);
        if plan.refused || entry.expires_at <= at || weigh(entry) > bounds.bytes {
            return plan;
        }
        let known = self.held.get_key_value(&place).map(|(place, _)| place);
        for replaced in [before, known].into_iter().flatten() {
            if !plan.gone.iter().any(|(gone, _)| gone == replaced) {
                plan.gone.push((Arc::clone(replaced), Gone::Replaced));
            }
        }
        plan.put = true;
        self.plan_evictions(&mut plan, Some((entry, &place)), bounds);
        plan
    }

    /// What an invalidation changes.
    pub(crate) fn plan_invalidation(
        &self,
        sequence: u64,
        workspace: &Workspace,
        said: &Invalidation,
    ) -> Plan {
        let mut plan = Plan { forgotten: self.outdated(said.at), ..Plan::default() };
        let meant = |entry: &Entry| entry.workspace == *workspace && said.forbids(entry);
        let meant = self.held.iter().filter(|(_, held)| meant(&held.entry));
        plan.gone = meant.map(|(place, _)| (Arc::clone(place), Gone::Invalidated)).collect();
        plan.gone.sort_by(|a, b| a.0.cmp(&b.0));
        let note = |sequence, invalidation| Noted { sequence, workspace: workspace.clone(), invalidation };
        plan.noted.push(note(sequence, said.clone()));
        let known = self.noted.get(workspace).map(Vec::as_slice).unwrap_or_default();
        if known.len() >= MOST_NOTED {
            let (old, _) = known.split_at(MOST_NOTED / 2);
            plan.forgotten.extend(old.iter().map(|noted| (workspace.clone(), noted.sequence)));
            let at = old.iter().map(|noted| noted.invalidation.at).max().unwrap_or_default();
            let all = Invalidation { selection: Selection { all: true, ..Selection::default() }, at };
            // It takes the place of the last of them, which is forgotten no more.
            plan.forgotten
                .retain(|(_, forgotten)| Some(*forgotten) != old.last().map(|noted| noted.sequence));
            plan.noted.extend(old.last().map(|last| note(last.sequence, all)));
        }
        plan
    }

    /// What had expired by then.
    pub(crate) fn plan_sweep(&self, by: Timestamp) -> Plan {
        Plan { gone: self.ended(by), ..Plan::default() }
    }

    /// What has to go for the bounds to hold.
    pub(crate) fn plan_bounds(&self, bounds: Bounds) -> Plan {
        let mut plan = Plan::default();
        self.plan_evictions(&mut plan, None, bounds);
        plan
    }

    /// The oldest go first, the new one among them.
    fn plan_evictions(&self, plan: &mut Plan, new: Option<(&Entry, &Place)>, bounds: Bounds) {
        let going: BTreeSet<&Place> = plan.gone.iter().map(|(place, _)| &**place).collect();
        let freed: u64 = going.iter().filter_map(|place| self.held.get(*place)).map(|held| held.bytes).sum();
        let mut count = self.held.len() - going.len() + usize::from(new.is_some());
        let mut bytes = self.bytes - freed + new.map_or(0, |(entry, _)| weigh(entry));
        let mut evicted = Vec::new();
        let mut oldest = self.ages.iter().filter(|(_, place)| !going.contains(&**place)).peekable();
        while count > bounds.entries || bytes > bounds.bytes {
            let next = oldest.peek().map(|(at, place)| (*at, &**place));
            match (new.filter(|_| plan.put), next) {
                (Some((entry, place)), next) if next.is_none_or(|next| (entry.stored_at, place) < next) => {
                    plan.put = false;
                    count -= 1;
                    bytes -= weigh(entry);
                }
                (_, Some(_)) => {
                    let Some((_, place)) = oldest.next() else { break };
                    count -= 1;
                    bytes -= self.held.get(place).map_or(0, |held| held.bytes);
                    evicted.push((Arc::clone(place), Gone::Evicted));
                }
                (_, None) => break,
            }
        }
        plan.gone.extend(evicted);
    }

    fn ended(&self, by: Timestamp) -> Vec<(Arc<Place>, Gone)> {
        let ended = self.ends.iter().take_while(|(ends, _)| *ends <= by);
        ended.map(|(_, place)| (Arc::clone(place), Gone::Expired)).collect()
    }

    fn outdated(&self, at: Timestamp) -> Vec<(Workspace, u64)> {
        let old = |noted: &&Noted| noted.invalidation.at.plus(REMEMBERED) < at;
        let old = self.noted.values().flatten().filter(old);
        old.map(|noted| (noted.workspace.clone(), noted.sequence)).collect()
    }

    fn forbids(&self, entry: &Entry) -> bool {
        let noted = self.noted.get(&entry.workspace);
        noted.is_some_and(|noted| noted.iter().any(|noted| noted.invalidation.forbids(entry)))
    }

    /// Does what was planned.
    pub(crate) fn follow(&mut self, plan: &Plan, entry: Option<Entry>) {
        for (place, _) in &plan.gone {
            self.remove(place);
        }
        for (workspace, sequence) in &plan.forgotten {
            if let Some(noted) = self.noted.get_mut(workspace) {
                noted.retain(|noted| noted.sequence != *sequence);
            }
        }
        self.noted.retain(|_, noted| !noted.is_empty());
        for noted in &plan.noted {
            self.note(noted.clone());
        }
        if let Some(entry) = entry.filter(|_| plan.put) {
            self.insert(entry);
        }
    }

    /// Remembers an invalidation, in the order of their events.
    pub(crate) fn note(&mut self, noted: Noted) {
        let known = self.noted.entry(noted.workspace.clone()).or_default();
        match known.binary_search_by_key(&noted.sequence, |known| known.sequence) {
            Ok(at) => known[at] = noted,
            Err(at) => known.insert(at, noted),
        }
    }

    /// Holds an entry.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let place = Arc::new(Place::of(&entry));
        self.remove(&place);
        let bytes = weigh(&entry);
        self.bytes += bytes;
        self.mark ^= mark(&entry);
        self.keys.insert((entry.workspace.clone(), entry.key.clone()), Arc::clone(&place));
        self.ages.insert((entry.stored_at, Arc::clone(&place)));
        self.ends.insert((entry.expires_at, Arc::clone(&place)));
        *self.workspaces.entry(entry.workspace.clone()).or_default() += 1;
        if let Some(text) = &entry.text {
            self.words.entry(words(&entry.partition, &normal(text))).or_default().push(Arc::clone(&place));
        }
        self.held.insert(place, Held { entry: Arc::new(entry), bytes, hits: AtomicU64::new(0) });
    }

    fn remove(&mut self, place: &Place) {
        let Some((place, Held { entry, bytes, .. })) = self.held.remove_entry(place) else { return };
        self.bytes -= bytes;
        self.mark ^= mark(&entry);
        let key = (entry.workspace.clone(), entry.key.clone());
        if self.keys.get(&key) == Some(&place) {
            self.keys.remove(&key);
        }
        self.ages.remove(&(entry.stored_at, Arc::clone(&place)));
        self.ends.remove(&(entry.expires_at, Arc::clone(&place)));
        if let Some(count) = self.workspaces.get_mut(&entry.workspace) {
            *count -= 1;
        }
        self.workspaces.retain(|_, count| *count > 0);
        if let Some(text) = &entry.text {
            let hash = words(&entry.partition, &normal(text));
            if let Some(same) = self.words.get_mut(&hash) {
                same.retain(|other| *other != place);
                if same.is_empty() {
                    self.words.remove(&hash);
                }
            }
        }
    }

    /// The answer to the same request.
    pub(crate) fn same_request(&self, workspace: &Workspace, key: &str) -> Option<Arc<Entry>> {
        let place = self.keys.get(&(workspace.clone(), key.to_owned()))?;
        self.held.get(place).map(|held| Arc::clone(&held.entry))
    }

    /// Answers to the same words but for case, spaces and the last mark, newest first.
    pub(crate) fn same_words(&self, workspace: &Workspace, partition: &str, text: &str) -> Vec<Arc<Entry>> {
        let text = normal(text);
        let same = self.words.get(&words(partition, &text)).map(Vec::as_slice).unwrap_or_default();
        let entries = same.iter().filter_map(|place| self.held.get(place)).map(|held| &held.entry);
        let meant = |entry: &&Arc<Entry>| {
            entry.workspace == *workspace
                && entry.partition == partition
                && entry.text.as_ref().is_some_and(|stored| normal(stored) == text)
        };
        let mut entries: Vec<_> = entries.filter(meant).cloned().collect();
        entries.sort_by(|a, b| (b.stored_at, &b.id).cmp(&(a.stored_at, &a.id)));
        entries
    }

    /// An entry.
    pub(crate) fn get(&self, place: &Place) -> Option<Arc<Entry>> {
        self.held.get(place).map(|held| Arc::clone(&held.entry))
    }

    /// An entry was given to somebody.
    pub(crate) fn count_hit(&self, place: &Place) {
        if let Some(held) = self.held.get(place) {
            held.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often an entry was given.
    pub(crate) fn hits(&self, place: &Place) -> u64 {
        self.held.get(place).map_or(0, |held| held.hits.load(Ordering::Relaxed))
    }

    /// Entries of a workspace, newest first.
    pub(crate) fn newest_first(&self, workspace: &Workspace) -> Vec<Arc<Entry>> {
        let ages = self.ages.iter().rev().filter(|(_, place)| place.workspace == *workspace);
        ages.filter_map(|(_, place)| self.held.get(place)).map(|held| Arc::clone(&held.entry)).collect()
    }

    /// All places, oldest first.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Arc<Place>> {
        self.ages.iter().map(|(_, place)| place)
    }

    /// When something of a workspace was last taken out by hand.
    pub(crate) fn invalidated_at(&self, workspace: &Workspace) -> Option<Timestamp> {
        self.noted.get(workspace)?.iter().map(|noted| noted.invalidation.at).max()
    }

    /// All invalidations that are remembered.
    pub(crate) fn noted(&self) -> impl Iterator<Item = &Noted> {
        self.noted.values().flatten()
    }

    /// Entries that are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes of entries and answers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries by workspace.
    pub(crate) fn workspaces(&self) -> &BTreeMap<Workspace, u64> {
        &self.workspaces
    }

    /// What the database has to say of these entries.
    pub(crate) fn state(&self, position: u64) -> State {
        State::new(position, self.held.len() as u64, self.mark)
    }

    /// What it has to say when a plan has been followed.
    pub(crate) fn state_after(&self, plan: &Plan, entry: Option<&Entry>, position: u64) -> State {
        let gone = plan.gone.iter().filter_map(|(place, _)| self.held.get(place));
        let (count, out) = gone.fold((0, 0), |(n, out), held| (n + 1, out ^ mark(&held.entry)));
        let (one, own) = entry.filter(|_| plan.put).map_or((0, 0), |entry| (1, mark(entry)));
        State::new(position, (self.held.len() - count + one) as u64, self.mark ^ out ^ own)
    }
}

/// Bytes that an entry and its answer count for.
fn weigh(entry: &Entry) -> u64 {
    let texts = entry.text.as_ref().map_or(0, String::len)
        + entry.tags.iter().map(String::len).sum::<usize>()
        + entry.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    (OVERHEAD + texts + entry.size) as u64
}

/// A hash that the same entry has in every process of the same build; a database of another build may be begun anew.
fn mark(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.workspace.as_str(), entry.id.as_str(), &entry.key, entry.stored_at).hash(&mut hasher);
    hasher.finish()
}

fn words(partition: &str, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (partition, text).hash(&mut hasher);
    hasher.finish()
}
