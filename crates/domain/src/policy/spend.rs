//! Which limits a request has to keep to.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::index::sorted;
use super::limits::InvalidCap;
use super::rule::{LimitPolicy, Rule, Spender};
use super::{
    ApiKey, ConfigHead, ConfigVersion, Key, Policy, PolicyKind, Status, VirtualKey, WorkspaceRecord,
};
use crate::limit::{Bucket, Level, Limit};
use crate::{Slug, Workspace};

/// An entity that may declare limits.
pub(super) trait Declares {
    /// What it declares, read.
    type Limits: std::fmt::Debug;

    /// Reads it.
    fn read_limits(&self) -> Result<Self::Limits, InvalidCap>;
}

impl Declares for ConfigHead {
    type Limits = ();
    fn read_limits(&self) -> Result<(), InvalidCap> {
        Ok(())
    }
}

impl Declares for ConfigVersion {
    type Limits = ();
    fn read_limits(&self) -> Result<(), InvalidCap> {
        Ok(())
    }
}

impl Declares for LimitPolicy {
    type Limits = Rule;
    fn read_limits(&self) -> Result<Rule, InvalidCap> {
        self.rule()
    }
}

impl Declares for WorkspaceRecord {
    type Limits = Vec<Arc<Limit>>;
    fn read_limits(&self) -> Result<Self::Limits, InvalidCap> {
        Ok(self.limits()?.into_iter().map(Arc::new).collect())
    }
}

impl Declares for VirtualKey {
    type Limits = Vec<Arc<Limit>>;
    fn read_limits(&self) -> Result<Self::Limits, InvalidCap> {
        Ok(self.limits()?.into_iter().map(Arc::new).collect())
    }
}

impl Declares for ApiKey {
    type Limits = Vec<Arc<Limit>>;
    fn read_limits(&self) -> Result<Self::Limits, InvalidCap> {
        Ok(self.limits()?.into_iter().map(Arc::new).collect())
    }
}

impl WorkspaceRecord {
    /// The limits that it declares.
    pub fn limits(&self) -> Result<Vec<Limit>, InvalidCap> {
        super::limits(Level::Workspace, self.slug.as_str(), &self.caps, self.created.at)
    }
}

impl VirtualKey {
    /// The limits that it declares.
    pub fn limits(&self) -> Result<Vec<Limit>, InvalidCap> {
        let owner = format!("{}.{}", self.workspace, self.slug);
        super::limits(Level::VirtualKey, &owner, &self.caps, self.created.at)
    }
}

impl ApiKey {
    /// The limits that it declares. Those whom it names are told of them.
    pub fn limits(&self) -> Result<Vec<Limit>, InvalidCap> {
        let mut limits = super::limits(Level::ApiKey, self.id.as_str(), &self.caps, self.created.at)?;
        for limit in &mut limits {
            limit.emails.clone_from(&self.alert_emails);
        }
        Ok(limits)
    }
}

/// A limit that somebody declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Where.
    pub key: Key,
    /// Name for people of the entity.
    pub name: String,
    /// The limit.
    pub limit: Arc<Limit>,
    /// It has one count per value of something.
    pub grouped: bool,
}

impl Declared {
    /// The workspace that the entity belongs to.
    pub fn workspace<'a>(&'a self, policy: &'a Policy) -> Option<&'a Workspace> {
        match &self.key {
            Key::Workspace(workspace)
            | Key::VirtualKey(workspace, _)
            | Key::Policy(workspace, _)
            | Key::Config(workspace, _)
            | Key::Version(workspace, ..) => Some(workspace),
            Key::ApiKey(id) => policy.api_keys.get(id).map(|held| &held.entity.workspace),
        }
    }
}

impl Policy {
    /// Whether requests of a workspace may have limits to keep to.
    pub fn has_limits(&self, workspace: &Workspace) -> bool {
        !self.limited.is_empty() && self.limited.contains_key(workspace)
    }

    /// The buckets that a request at one of its targets counts for, in the order in which they are looked at.
    pub fn buckets(&self, asked: &Spender<'_>) -> Vec<Bucket> {
        if !self.has_limits(asked.workspace) {
            return Vec::new();
        }
        let key =
            asked.key.and_then(|id| self.api_keys.get(id)).map(|held| &held.limits[..]).unwrap_or_default();
        let workspace = self.workspaces.get(asked.workspace).map(|held| &held.limits[..]).unwrap_or_default();
        let virtual_key = asked.virtual_key.and_then(|named| {
            let place = (named.workspace.clone(), named.slug.clone());
            self.virtual_keys.get(&place).map(|held| &held.limits[..])
        });
        let virtual_key = virtual_key.unwrap_or_default();
        let mut found: Vec<Bucket> = Vec::new();
        let mut add = |limits: &[Arc<Limit>], budgets: bool| {
            let fitting = limits.iter().filter(|limit| limit.is_budget() == budgets);
            found.extend(fitting.map(|limit| Bucket { limit: Arc::clone(limit), tuple: String::new() }));
        };
        add(key, true);
        add(workspace, true);
        add(workspace, false);
        add(key, false);
        add(virtual_key, true);
        found.extend(self.policy_buckets(asked, PolicyKind::Usage));
        let rates = virtual_key.iter().filter(|limit| !limit.is_budget());
        found.extend(rates.map(|limit| Bucket { limit: Arc::clone(limit), tuple: String::new() }));
        found.extend(self.policy_buckets(asked, PolicyKind::Rate));
        found
    }

    fn policy_buckets(&self, asked: &Spender<'_>, kind: PolicyKind) -> Vec<Bucket> {
        let Some(own) = self.limit_policies.get(asked.workspace) else { return Vec::new() };
        let in_force =
            own.values().filter(|held| held.entity.kind == kind && held.entity.status != Status::Archived);
        let mut named: Vec<_> = in_force.collect();
        named.sort_by_key(|held| &held.entity.id);
        named.into_iter().filter_map(|held| held.limits.bucket(asked)).collect()
    }

    /// A policy of usage or rates, archived ones included.
    pub fn limit_policy(&self, workspace: &Workspace, id: &Slug) -> Option<Arc<LimitPolicy>> {
        self.limit_policies.get(workspace)?.get(id).map(|held| Arc::clone(&held.entity))
    }

    /// The policies of a workspace, by id, archived ones included.
    pub fn limit_policies(&self, workspace: &Workspace) -> Vec<Arc<LimitPolicy>> {
        sorted(self.limit_policies.get(workspace).into_iter().flat_map(HashMap::values), |p| p.id.clone())
    }

    /// The limits that one entity declares.
    pub fn limits_of(&self, key: &Key) -> Vec<Arc<Limit>> {
        match key {
            Key::Workspace(workspace) => self.workspaces.get(workspace).map(|held| held.limits.clone()),
            Key::VirtualKey(workspace, slug) => {
                self.virtual_keys.get(&(workspace.clone(), slug.clone())).map(|held| held.limits.clone())
            }
            Key::ApiKey(id) => self.api_keys.get(id).map(|held| held.limits.clone()),
            Key::Policy(workspace, id) => {
                let held = self.limit_policies.get(workspace).and_then(|own| own.get(id));
                held.map(|held| vec![Arc::clone(&held.limits.limit)])
            }
            Key::Config(..) | Key::Version(..) => None,
        }
        .unwrap_or_default()
    }

    /// Whether a policy keeps one count per value of something.
    pub fn is_grouped(&self, key: &Key) -> bool {
        let Key::Policy(workspace, id) = key else { return false };
        let held = self.limit_policies.get(workspace).and_then(|own| own.get(id));
        held.is_some_and(|held| held.limits.is_grouped())
    }

    /// Every limit in force, of a workspace or of all: by level, then by the entity.
    pub fn declared_limits(&self, workspace: Option<&Workspace>) -> Vec<Declared> {
        let here = |owner: &Workspace, status: Status| {
            status != Status::Archived && workspace.is_none_or(|wanted| wanted == owner)
        };
        let mut found: Vec<(Key, &str)> = Vec::new();
        for (id, held) in self.api_keys.iter().filter(|(_, h)| here(&h.entity.workspace, h.entity.status)) {
            found.push((Key::ApiKey(id.clone()), &held.entity.name));
        }
        for (slug, held) in self.workspaces.iter().filter(|(slug, h)| here(slug, h.entity.status)) {
            found.push((Key::Workspace(slug.clone()), &held.entity.name));
        }
        for ((owner, slug), held) in
            self.virtual_keys.iter().filter(|((owner, _), h)| here(owner, h.entity.status))
        {
            found.push((Key::VirtualKey(owner.clone(), slug.clone()), &held.entity.name));
        }
        for (id, held) in self.limit_policies.values().flatten() {
            if here(&held.entity.workspace, held.entity.status) {
                found.push((Key::Policy(held.entity.workspace.clone(), id.clone()), &held.entity.name));
            }
        }
        let mut declared: Vec<Declared> = Vec::new();
        for (key, name) in found {
            let each = self.limits_of(&key).into_iter();
            let grouped = self.is_grouped(&key);
            let one = |limit| Declared { key: key.clone(), name: name.to_owned(), limit, grouped };
            declared.extend(each.map(one));
        }
        declared.sort_by_cached_key(|one| (one.limit.level, one.limit.name()));
        declared
    }

    /// The workspaces whose requests an entity puts limits on.
    pub(super) fn concerned(&self, key: &Key) -> Vec<Workspace> {
        if self.limits_of(key).is_empty() {
            return Vec::new();
        }
        match key {
            Key::Workspace(workspace) => vec![workspace.clone()],
            Key::ApiKey(id) => {
                self.api_keys.get(id).map(|held| vec![held.entity.workspace.clone()]).unwrap_or_default()
            }
            Key::VirtualKey(workspace, slug) => {
                let held = self.virtual_keys.get(&(workspace.clone(), slug.clone()));
                let mut all = held.map(|held| held.entity.workspaces.clone()).unwrap_or_default();
                all.push(workspace.clone());
                all
            }
            Key::Policy(workspace, id) => {
                let policy = self.limit_policy(workspace, id);
                let in_force = policy.is_some_and(|policy| policy.status != Status::Archived);
                if in_force { vec![workspace.clone()] } else { Vec::new() }
            }
            Key::Config(..) | Key::Version(..) => Vec::new(),
        }
    }
}

/// Counts again what a record that changed concerns.
pub(super) fn recount(
    limited: &mut HashMap<Workspace, usize>,
    before: Vec<Workspace>,
    after: Vec<Workspace>,
) {
    for workspace in after {
        *limited.entry(workspace).or_default() += 1;
    }
    for workspace in before {
        if let Some(count) = limited.get_mut(&workspace) {
            *count -= 1;
            if *count == 0 {
                limited.remove(&workspace);
            }
        }
    }
}
