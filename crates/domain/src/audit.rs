//! Who changed what, when, and how it was before.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{RequestId, Timestamp, Workspace};

/// One change. It is stored together with what it changed, or neither is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Sorts by time.
    pub id: RequestId,
    /// When.
    pub time: Timestamp,
    /// An API key's id, or `local` where access control is off.
    pub actor: String,
    /// Resource and verb, as in `config.update`.
    pub action: String,
    /// What kind of thing, as in `config`.
    pub resource: String,
    /// Which one.
    pub resource_id: String,
    /// Whom it belongs to.
    pub workspace_id: Workspace,
    /// How it looked before, secrets masked; null: it was not there.
    pub before: Value,
    /// How it looks now, secrets masked.
    pub after: Value,
    /// The caller's address.
    #[serde(default)]
    pub ip: Option<String>,
    /// The HTTP request that did it.
    #[serde(default)]
    pub request_id: Option<RequestId>,
}

/// Which entries are wanted. What is not given is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one workspace.
    pub workspace: Option<Workspace>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this kind of thing.
    pub resource: Option<String>,
    /// This action: `config.update`, or the verb alone.
    pub action: Option<String>,
}

impl Filter {
    /// Whether an entry is wanted.
    pub fn wants(&self, entry: &Entry) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|w| w == found);
        let verb = entry.action.split_once('.').map_or("", |(_, verb)| verb);
        self.workspace.as_ref().is_none_or(|w| *w == entry.workspace_id)
            && self.from.is_none_or(|from| entry.time >= from)
            && self.until.is_none_or(|until| entry.time < until)
            && same(&self.actor, &entry.actor)
            && same(&self.resource, &entry.resource)
            && (same(&self.action, &entry.action) || same(&self.action, verb))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_given_condition_has_to_hold() {
        let entry: Entry = serde_json::from_value(json!({
            "id": "r1", "time": 100, "actor": "k1", "action": "config.update", "resource": "config",
            "resource_id": "pc-a", "workspace_id": "acme", "before": null, "after": {},
        }))
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        let none = Filter::default();
        for (filter, wanted) in [
            (none.clone(), true),
            (Filter { from: Some(Timestamp(100)), ..none.clone() }, true),
            (Filter { from: Some(Timestamp(101)), ..none.clone() }, false),
            (Filter { until: Some(Timestamp(100)), ..none.clone() }, false),
            (Filter { until: Some(Timestamp(101)), actor: text("k1"), ..none.clone() }, true),
            (Filter { actor: text("k2"), ..none.clone() }, false),
            (Filter { action: text("update"), ..none.clone() }, true),
            (Filter { action: text("config.update"), resource: text("config"), ..none.clone() }, true),
            (Filter { action: text("config.delete"), ..none.clone() }, false),
            (Filter { workspace: Some(Workspace::default()), ..none.clone() }, false),
        ] {
            assert_eq!(filter.wants(&entry), wanted, "{filter:?}");
        }
    }
}
