//! The index that every process holds: snapshot first, then every change in order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::spend::{self, Declares};
use super::{ApiKey, ConfigHead, ConfigVersion, Key, LimitPolicy, Status, VirtualKey, WorkspaceRecord};
use crate::{Slug, Timestamp, Workspace};

/// What a record changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The index holds this entity in a new form, or no more.
    Changed(Key),
    /// The record is older than what the index holds.
    Old,
    /// The record, or a cap in it, cannot be read. The last good form stays.
    Malformed(String),
}

/// Everything administrators stored, as of the last record applied.
#[derive(Debug, Default)]
pub struct Policy {
    pub(super) workspaces: HashMap<Workspace, Held<WorkspaceRecord>>,
    heads: HashMap<(Workspace, Slug), Held<ConfigHead>>,
    versions: HashMap<(Workspace, Slug), HashMap<u32, Held<ConfigVersion>>>,
    pub(super) virtual_keys: HashMap<(Workspace, Slug), Held<VirtualKey>>,
    /// Whose virtual keys of a name there are.
    owners: HashMap<Slug, BTreeSet<Workspace>>,
    pub(super) api_keys: HashMap<Slug, Held<ApiKey>>,
    defaults: HashMap<Workspace, Slug>,
    pub(super) limit_policies: HashMap<Workspace, HashMap<Slug, Held<LimitPolicy>>>,
    /// How many records put limits on a workspace's requests.
    pub(super) limited: HashMap<Workspace, usize>,
}

/// An entity, the sequence of its record, and what it declares of limits, read.
#[derive(Debug)]
pub(super) struct Held<T: Declares> {
    pub(super) sequence: u64,
    pub(super) entity: Arc<T>,
    pub(super) limits: T::Limits,
}

impl Policy {
    /// Takes a record in. Records may come twice and late: an older one changes nothing. An empty payload removes.
    pub fn apply(&mut self, key: &str, sequence: u64, payload: &[u8]) -> Change {
        let key: Key = match key.parse() {
            Ok(key) => key,
            Err(err) => return Change::Malformed(format!("{err}")),
        };
        let before = self.concerned(&key);
        let applied = match &key {
            Key::Workspace(workspace) => put(&mut self.workspaces, workspace.clone(), sequence, payload),
            Key::Config(workspace, slug) => {
                let place = (workspace.clone(), slug.clone());
                let applied = put(&mut self.heads, place.clone(), sequence, payload);
                if applied == Ok(true) {
                    self.note_default(&place);
                }
                applied
            }
            Key::Version(workspace, slug, number) => {
                let versions = self.versions.entry((workspace.clone(), slug.clone())).or_default();
                put(versions, *number, sequence, payload)
            }
            Key::VirtualKey(workspace, slug) => {
                let place = (workspace.clone(), slug.clone());
                let applied = put(&mut self.virtual_keys, place.clone(), sequence, payload);
                self.note_owner(&place);
                applied
            }
            Key::ApiKey(id) => put(&mut self.api_keys, id.clone(), sequence, payload),
            Key::Policy(workspace, id) => {
                put(self.limit_policies.entry(workspace.clone()).or_default(), id.clone(), sequence, payload)
            }
        };
        match applied {
            Ok(true) => {
                let after = self.concerned(&key);
                spend::recount(&mut self.limited, before, after);
                Change::Changed(key)
            }
            Ok(false) => Change::Old,
            Err(reason) => Change::Malformed(format!("{key}: {reason}")),
        }
    }

    fn note_default(&mut self, place: &(Workspace, Slug)) {
        let head = self.heads.get(place).map(|held| &held.entity);
        let is_default = head.is_some_and(|head| head.is_default && head.status == Status::Active);
        if is_default {
            self.defaults.insert(place.0.clone(), place.1.clone());
        } else if self.defaults.get(&place.0) == Some(&place.1) {
            self.defaults.remove(&place.0);
        }
    }

    fn note_owner(&mut self, place: &(Workspace, Slug)) {
        let owners = self.owners.entry(place.1.clone()).or_default();
        if self.virtual_keys.contains_key(place) {
            owners.insert(place.0.clone());
        } else {
            owners.remove(&place.0);
        }
    }

    /// A workspace. `default` is there without a record.
    pub fn workspace(&self, workspace: &Workspace) -> Option<Arc<WorkspaceRecord>> {
        self.workspaces.get(workspace).map(|held| Arc::clone(&held.entity))
    }

    /// A config with the version in force. None: there is none of that name, it was archived, or its version has not
    /// arrived yet.
    pub fn config(
        &self,
        workspace: &Workspace,
        slug: &Slug,
    ) -> Option<(Arc<ConfigHead>, Arc<ConfigVersion>)> {
        let head = self.config_head(workspace, slug).filter(|head| head.status == Status::Active)?;
        let version = self.config_version(workspace, slug, head.version)?;
        Some((head, version))
    }

    /// The head of a config, archived ones included.
    pub fn config_head(&self, workspace: &Workspace, slug: &Slug) -> Option<Arc<ConfigHead>> {
        self.heads.get(&(workspace.clone(), slug.clone())).map(|held| Arc::clone(&held.entity))
    }

    /// One version of a config.
    pub fn config_version(
        &self,
        workspace: &Workspace,
        slug: &Slug,
        number: u32,
    ) -> Option<Arc<ConfigVersion>> {
        let versions = self.versions.get(&(workspace.clone(), slug.clone()))?;
        versions.get(&number).map(|held| Arc::clone(&held.entity))
    }

    /// Every version of a config, newest first.
    pub fn config_versions(&self, workspace: &Workspace, slug: &Slug) -> Vec<Arc<ConfigVersion>> {
        let versions = self.versions.get(&(workspace.clone(), slug.clone()));
        let mut found: Vec<_> =
            versions.into_iter().flat_map(HashMap::values).map(|held| Arc::clone(&held.entity)).collect();
        found.sort_by_key(|version| std::cmp::Reverse(version.version));
        found
    }

    /// The config of requests that bring none: that of the workspace's record, else the one marked as default.
    pub fn default_config(&self, workspace: &Workspace) -> Option<Slug> {
        let record = self.workspaces.get(workspace);
        record
            .and_then(|held| held.entity.defaults.config_id.clone())
            .or_else(|| self.defaults.get(workspace).cloned())
    }

    /// A virtual key that a workspace may use: its own, or one that another workspace shares with it.
    /// Expired and archived ones are found too.
    pub fn virtual_key(&self, workspace: &Workspace, slug: &str) -> Option<Arc<VirtualKey>> {
        let slug = Slug::parse(slug).ok()?;
        if let Some(own) = self.virtual_keys.get(&(workspace.clone(), slug.clone())) {
            return Some(Arc::clone(&own.entity));
        }
        let mut owners = self.owners.get(&slug)?.iter();
        let shared = owners.find_map(|owner| {
            let held = self.virtual_keys.get(&(owner.clone(), slug.clone()))?;
            held.entity.workspaces.contains(workspace).then_some(held)
        });
        shared.map(|held| Arc::clone(&held.entity))
    }

    /// The virtual key at its own place.
    pub fn own_virtual_key(&self, workspace: &Workspace, slug: &Slug) -> Option<Arc<VirtualKey>> {
        self.virtual_keys.get(&(workspace.clone(), slug.clone())).map(|held| Arc::clone(&held.entity))
    }

    /// An API key.
    pub fn api_key(&self, id: &Slug) -> Option<Arc<ApiKey>> {
        self.api_keys.get(id).map(|held| Arc::clone(&held.entity))
    }

    /// The sequence of an entity's record; what a change has to expect. None: there is no record.
    pub fn sequence(&self, key: &Key) -> Option<u64> {
        match key {
            Key::Workspace(workspace) => self.workspaces.get(workspace).map(|h| h.sequence),
            Key::Config(workspace, slug) => {
                self.heads.get(&(workspace.clone(), slug.clone())).map(|h| h.sequence)
            }
            Key::Version(workspace, slug, number) => self
                .versions
                .get(&(workspace.clone(), slug.clone()))
                .and_then(|versions| versions.get(number))
                .map(|h| h.sequence),
            Key::VirtualKey(workspace, slug) => {
                self.virtual_keys.get(&(workspace.clone(), slug.clone())).map(|h| h.sequence)
            }
            Key::ApiKey(id) => self.api_keys.get(id).map(|h| h.sequence),
            Key::Policy(workspace, id) => {
                self.limit_policies.get(workspace).and_then(|own| own.get(id)).map(|h| h.sequence)
            }
        }
    }

    /// Every workspace with a record, by slug.
    pub fn workspaces(&self) -> Vec<Arc<WorkspaceRecord>> {
        sorted(self.workspaces.values(), |w| w.slug.clone())
    }

    /// The configs of a workspace, by slug.
    pub fn configs(&self, workspace: &Workspace) -> Vec<Arc<ConfigHead>> {
        let own = self.heads.iter().filter(|((owner, _), _)| owner == workspace).map(|(_, held)| held);
        sorted(own, |head| head.slug.clone())
    }

    /// The virtual keys of a workspace, by slug.
    pub fn virtual_keys(&self, workspace: &Workspace) -> Vec<Arc<VirtualKey>> {
        let own = self.virtual_keys.iter().filter(|((owner, _), _)| owner == workspace).map(|(_, held)| held);
        sorted(own, |key| key.slug.clone())
    }

    /// The virtual keys that a workspace may use: its own and those that others share with it, by slug. A key of its
    /// own hides a shared one of the same name.
    pub fn usable_virtual_keys(&self, workspace: &Workspace) -> Vec<Arc<VirtualKey>> {
        let mut names: Vec<&Slug> = self.owners.keys().collect();
        names.sort();
        names.into_iter().filter_map(|slug| self.virtual_key(workspace, slug.as_str())).collect()
    }

    /// The API keys of a workspace, or of all, by id.
    pub fn api_keys(&self, workspace: Option<&Workspace>) -> Vec<Arc<ApiKey>> {
        let own = self.api_keys.values().filter(|held| workspace.is_none_or(|w| *w == held.entity.workspace));
        sorted(own, |key| key.id.clone())
    }

    /// Whether anybody could administer the installation with a key.
    pub fn has_administrator(&self, now: Timestamp) -> bool {
        self.api_keys.values().any(|held| {
            let key = &held.entity;
            key.kind == super::ApiKeyKind::OrganisationService
                && key.status == Status::Active
                && key.expires_at.is_none_or(|at| at > now)
        })
    }
}

fn put<K, T>(map: &mut HashMap<K, Held<T>>, place: K, sequence: u64, payload: &[u8]) -> Result<bool, String>
where
    K: std::hash::Hash + Eq,
    T: DeserializeOwned + Declares,
{
    if map.get(&place).is_some_and(|held| held.sequence >= sequence) {
        return Ok(false);
    }
    if payload.is_empty() {
        return Ok(map.remove(&place).is_some());
    }
    let entity: T = serde_json::from_slice(payload).map_err(|err| err.to_string())?;
    let limits = entity.read_limits().map_err(|err| err.to_string())?;
    map.insert(place, Held { sequence, entity: Arc::new(entity), limits });
    Ok(true)
}

pub(super) fn sorted<'a, T: Declares + 'a, K: Ord>(
    held: impl Iterator<Item = &'a Held<T>>,
    by: impl Fn(&T) -> K,
) -> Vec<Arc<T>> {
    let mut found: Vec<Arc<T>> = held.map(|held| Arc::clone(&held.entity)).collect();
    found.sort_by_key(|entity| by(entity));
    found
}
