//! What has to change so that the gateway holds what the documents say. Nothing is sent from here.

use domain::config::seal_credentials;
use serde_json::{Map, Value, json};
use similar::TextDiff;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::documents::Document;
use super::fields::{Kind, Shape};

/// What is shown in place of a secret.
const MASK: &str = "***";
/// What is shown in place of a secret that is not the stored one.
const OTHER: &str = "*** (another one)";

/// What is done with one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Archive,
}

impl Action {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Archive => "archive",
        }
    }

    /// The word for what was done.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Update => "updated",
            Self::Archive => "archived",
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) kind: Kind,
    pub(crate) workspace: Option<String>,
    /// What the API knows it by; for a new API key its name.
    pub(crate) id: String,
    /// What people know it by.
    pub(crate) name: String,
    /// The revision that was looked at.
    pub(crate) revision: Option<u64>,
    /// The fields that are sent.
    pub(crate) body: Map<String, Value>,
    /// What changes, for people; secrets are masked.
    pub(crate) diff: String,
    /// Where a new API key is written.
    pub(crate) key_file: Option<std::path::PathBuf>,
}

impl Change {
    /// As in `config team/pc-chat`.
    pub(crate) fn title(&self) -> String {
        match &self.workspace {
            Some(workspace) => format!("{} {workspace}/{}", self.kind.as_str(), self.name),
            None => format!("{} {}", self.kind.as_str(), self.name),
        }
    }
}

/// Compares a document with what is stored. None: nothing has to be done. Fields that a document does not name are left
/// as they are.
pub(super) fn compare(
    document: &Document,
    stored: Option<&Value>,
    owner: &str,
    resend_secrets: bool,
) -> Option<Change> {
    let mut wanted = document.spec.clone();
    // Workspaces are never pruned, so that it does not matter who keeps them.
    if document.kind != Kind::Workspace {
        wanted.insert("managed_by".to_owned(), json!(owner));
    }
    let mut change = Change {
        action: Action::Create,
        kind: document.kind,
        workspace: document.workspace.clone(),
        id: document.id.clone(),
        name: document.id.clone(),
        revision: None,
        body: wanted.clone(),
        diff: String::new(),
        key_file: document.key_file.clone(),
    };
    let Some(stored) = stored else {
        let mut shown = Map::new();
        for (name, value) in &wanted {
            shown.insert(name.clone(), show(name, value, document, None));
        }
        change.diff = unified(&change.title(), "not there", &document.place, None, Some(&shown));
        return Some(change);
    };
    change.action = Action::Update;
    change.revision = stored["revision"].as_u64();
    if document.kind == Kind::ApiKey {
        change.id = stored["id"].as_str().unwrap_or(&document.id).to_owned();
        // What a key is for is settled when it is made.
        wanted.remove("type");
    }
    change.body.clear();
    let (mut before, mut after) = (Map::new(), Map::new());
    if stored["status"] == "archived" {
        // Its name is taken for good, so that it comes back.
        for (map, status) in [(&mut before, "archived"), (&mut after, "active"), (&mut change.body, "active")]
        {
            map.insert("status".to_owned(), json!(status));
        }
    }
    for (name, value) in &wanted {
        let resent = resend_secrets && holds_secret(document.kind, name, value);
        if same(document, name, value, stored) && !resent {
            continue;
        }
        change.body.insert(name.clone(), value.clone());
        let shown = show(name, value, document, Some(stored));
        let old = show_stored(name, stored, document);
        let shown = if shown == old { json!(OTHER) } else { shown };
        if !blank(&old) {
            before.insert(name.clone(), old);
        }
        after.insert(name.clone(), shown);
    }
    if change.body.is_empty() {
        return None;
    }
    let revision = change.revision.map_or_else(|| "stored".to_owned(), |r| format!("stored, revision {r}"));
    change.diff = unified(&change.title(), &revision, &document.place, Some(&before), Some(&after));
    Some(change)
}

/// Takes away what was applied earlier and is in no file any more.
pub(super) fn archive(kind: Kind, workspace: Option<&str>, stored: &Value) -> Change {
    let text = |field: &str| stored[field].as_str().unwrap_or_default().to_owned();
    let id = if kind == Kind::ApiKey { text("id") } else { text("slug") };
    let mut change = Change {
        action: Action::Archive,
        kind,
        workspace: workspace.map(str::to_owned),
        id,
        name: text(kind.identity()),
        revision: stored["revision"].as_u64(),
        body: Map::new(),
        diff: String::new(),
        key_file: None,
    };
    let mut shown = Map::new();
    for name in kind.fields().iter().map(|field| field.name).chain(["managed_by"]) {
        let value = mask(stored[name].clone());
        if !blank(&value) {
            shown.insert(name.to_owned(), value);
        }
    }
    let revision = change.revision.map_or_else(|| "stored".to_owned(), |r| format!("stored, revision {r}"));
    change.diff = unified(&change.title(), &revision, "in no file", Some(&shown), None);
    change
}

fn holds_secret(kind: Kind, name: &str, value: &Value) -> bool {
    match kind {
        Kind::VirtualKey => name == "key",
        Kind::Config => name == "config" && mask(value.clone()) != *value,
        Kind::ApiKey | Kind::Workspace | Kind::UsagePolicy | Kind::RatePolicy => false,
    }
}

/// Whether a field is stored as it is wanted, as far as one can tell: of credentials only the mask is known.
fn same(document: &Document, name: &str, wanted: &Value, stored: &Value) -> bool {
    let old = &stored[name];
    let masked = stored["masked_key"].as_str().unwrap_or_default();
    if document.kind == Kind::VirtualKey && name == "secret" {
        return wanted.as_object().is_some_and(|secret| {
            secret
                .iter()
                .all(|(kind, place)| place.as_str().is_some_and(|place| masked == format!("{kind}:{place}")))
        });
    }
    let shape = document.kind.fields().iter().find(|field| field.name == name).map(|field| field.shape);
    if document.kind == Kind::VirtualKey && name == "key" {
        return wanted.as_str().is_some_and(|key| agrees(key, masked));
    }
    if shape == Some(Shape::Time) {
        return instant(wanted) == instant(old);
    }
    if let ("defaults", Value::Object(wanted), Value::Object(old)) = (name, wanted, old) {
        // What a document leaves out there has a value of its own.
        return wanted.iter().all(|(key, value)| old.get(key).unwrap_or(&Value::Null) == value);
    }
    (blank(wanted) && blank(old)) || mask(wanted.clone()) == mask(old.clone())
}

/// What is shown of a wanted value.
fn show(name: &str, value: &Value, document: &Document, stored: Option<&Value>) -> Value {
    if document.kind == Kind::VirtualKey && name == "key" {
        return json!(if stored.is_some() { OTHER } else { MASK });
    }
    hide(name, mask(value.clone()), document)
}

fn show_stored(name: &str, stored: &Value, document: &Document) -> Value {
    if document.kind == Kind::VirtualKey && ["key", "secret"].contains(&name) {
        return stored["masked_key"].clone();
    }
    hide(name, mask(stored[name].clone()), document)
}

/// Masks what came from the environment.
fn hide(name: &str, value: Value, document: &Document) -> Value {
    let mut holder = json!({ name: value });
    for pointer in &document.hidden {
        if let Some(place) = holder.pointer_mut(pointer).filter(|place| place.is_string()) {
            *place = json!(MASK);
        }
    }
    holder[name].take()
}

/// Masks credentials, sealed ones too, and sorts keys, so that only differences differ.
fn mask(mut value: Value) -> Value {
    seal_credentials(&mut value, &mut |_| MASK.to_owned());
    sorted(value)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("sealed:") => json!(MASK),
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.into_iter().collect()
        }
        other => other,
    }
}

/// Whether a credential may be the one behind a mask: what the mask shows has to agree.
fn agrees(key: &str, masked: &str) -> bool {
    // A credential that stays outside is named, not masked.
    if masked.is_empty() || masked.starts_with("env:") || masked.starts_with("file:") {
        return false;
    }
    let is_mask = |c: char| matches!(c, '*' | '…' | '•' | '.');
    let head = masked.split(is_mask).next().unwrap_or_default();
    let tail = masked.rsplit(is_mask).next().unwrap_or_default();
    key.starts_with(head) && key.ends_with(tail)
}

/// Nothing, in any of the ways to write it.
fn blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn instant(value: &Value) -> Option<i128> {
    match value {
        Value::Number(ms) => ms.as_i64().map(i128::from),
        Value::String(text) => moment(text),
        _ => None,
    }
}

/// A date as milliseconds since 1970.
pub(crate) fn moment(text: &str) -> Option<i128> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(|date| date.unix_timestamp_nanos() / 1_000_000)
}

fn unified(
    title: &str,
    old: &str,
    new: &str,
    before: Option<&Map<String, Value>>,
    after: Option<&Map<String, Value>>,
) -> String {
    let text = |map: Option<&Map<String, Value>>| match map {
        Some(map) => {
            let pretty = serde_json::to_string_pretty(&sorted(Value::Object(map.clone())));
            format!("{}\n", pretty.unwrap_or_default())
        }
        None => String::new(),
    };
    let (before, after) = (text(before), text(after));
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = diff.unified_diff();
    unified.context_radius(3).header(&format!("{title} ({old})"), &format!("{title} ({new})")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(kind: Kind, spec: Value, hidden: &[&str]) -> Document {
        let Value::Object(spec) = spec else { panic!("a table") };
        Document {
            kind,
            workspace: Some("team".to_owned()),
            id: "pc-chat".to_owned(),
            place: "a.toml".to_owned(),
            spec,
            hidden: hidden.iter().map(|p| (*p).to_owned()).collect(),
            key_file: None,
        }
    }

    #[test]
    fn what_is_stored_as_wanted_is_left_alone() {
        let wanted = json!({
            "name": "Chat", "is_default": false,
            "config": { "provider": "openai", "api_key": "sk-secret", "retry": { "attempts": 2 } },
        });
        let document = document(Kind::Config, wanted, &["/config/api_key"]);
        let stored = json!({
            "slug": "pc-chat", "name": "Chat", "revision": 7, "managed_by": "apply",
            "config": { "retry": { "attempts": 2 }, "api_key": "***", "provider": "openai" },
        });
        assert!(compare(&document, Some(&stored), "apply", false).is_none());
        let resent = compare(&document, Some(&stored), "apply", true).unwrap();
        assert_eq!(resent.body.keys().collect::<Vec<_>>(), ["config"]);
        assert!(!resent.diff.contains("sk-secret"), "{}", resent.diff);
        let other = compare(&document, Some(&stored), "platform", false).unwrap();
        assert_eq!(Value::Object(other.body), json!({ "managed_by": "platform" }));
    }

    #[test]
    fn a_difference_is_sent_alone_and_shown_as_a_diff() {
        let wanted = json!({ "name": "Chat", "config": { "provider": "groq", "weight": 1 } });
        let stored = json!({
            "name": "Chat", "revision": 7, "managed_by": "apply",
            "config": { "provider": "openai", "weight": 1 },
        });
        let change = compare(&document(Kind::Config, wanted, &[]), Some(&stored), "apply", false).unwrap();
        assert_eq!((change.action, change.revision), (Action::Update, Some(7)));
        assert_eq!(change.body.keys().collect::<Vec<_>>(), ["config"]);
        let lines: Vec<&str> = change.diff.lines().collect();
        assert_eq!(
            lines,
            [
                "--- config team/pc-chat (stored, revision 7)",
                "+++ config team/pc-chat (a.toml)",
                "@@ -1,6 +1,6 @@",
                " {",
                "   \"config\": {",
                "-    \"provider\": \"openai\",",
                "+    \"provider\": \"groq\",",
                "     \"weight\": 1",
                "   }",
                " }",
            ]
        );
    }

    #[test]
    fn secrets_are_in_no_diff() {
        let wanted = json!({ "name": "vk", "provider": "openai", "key": "sk-new-9999", "note": "from env" });
        let document = document(Kind::VirtualKey, wanted, &["/key", "/note"]);
        let created = compare(&document, None, "apply", false).unwrap();
        assert_eq!(created.body["key"], "sk-new-9999");
        assert!(!created.diff.contains("sk-new") && !created.diff.contains("from env"), "{}", created.diff);
        let stored = |masked: &str| {
            json!({ "name": "vk", "provider": "openai", "note": "from env", "masked_key": masked,
                "managed_by": "apply", "revision": 1 })
        };
        assert!(compare(&document, Some(&stored("sk-…9999")), "apply", false).is_none());
        let rotated = compare(&document, Some(&stored("sk-…1111")), "apply", false).unwrap();
        assert_eq!(rotated.body.keys().collect::<Vec<_>>(), ["key"]);
        assert!(rotated.diff.contains("another one") && !rotated.diff.contains("9999"), "{}", rotated.diff);
    }

    #[test]
    fn references_to_credentials_are_compared_by_name() {
        let document = document(Kind::VirtualKey, json!({ "secret": { "env": "OPENAI" } }), &[]);
        let stored = |masked: &str| json!({ "masked_key": masked, "managed_by": "apply" });
        assert!(compare(&document, Some(&stored("env:OPENAI")), "apply", false).is_none());
        for other in ["env:OTHER", "file:OPENAI", "***"] {
            assert!(compare(&document, Some(&stored(other)), "apply", false).is_some(), "{other}");
        }
    }

    #[test]
    fn defaults_may_say_less_than_is_stored() {
        let spec = json!({ "name": "w", "defaults": { "config_id": "pc-a" } });
        let document = document(Kind::Workspace, spec, &[]);
        let stored = |config: &str| json!({ "name": "w", "defaults": { "config_id": config, "allow_config_override": true } });
        assert!(compare(&document, Some(&stored("pc-a")), "apply", false).is_none());
        assert!(compare(&document, Some(&stored("pc-b")), "apply", false).is_some());
    }

    #[test]
    fn what_was_archived_comes_back() {
        let document = document(Kind::Config, json!({ "name": "Chat" }), &[]);
        let stored = json!({ "name": "Chat", "managed_by": "apply", "status": "archived", "revision": 3 });
        let change = compare(&document, Some(&stored), "apply", false).unwrap();
        assert_eq!(Value::Object(change.body), json!({ "status": "active" }));
        assert!(change.diff.contains("-  \"status\": \"archived\""), "{}", change.diff);
    }

    #[test]
    fn dates_are_the_same_in_both_spellings() {
        let ms = moment("2027-01-31T00:00:00Z").unwrap();
        let ms = i64::try_from(ms).unwrap();
        let document = document(Kind::Workspace, json!({ "name": "w" }), &[]);
        let key = Document { kind: Kind::VirtualKey, ..document };
        let stored = json!({ "expires_at": ms });
        assert!(same(&key, "expires_at", &json!("2027-01-31T01:00:00+01:00"), &stored));
        assert!(!same(&key, "expires_at", &json!("2027-01-30T00:00:00Z"), &stored));
    }

    #[test]
    fn masks_show_as_much_as_they_show() {
        for (masked, fits) in
            [("***", true), ("sk-...ret", true), ("sk-****xyz", false), ("", false), ("env:sk-secret", false)]
        {
            assert_eq!(agrees("sk-secret", masked), fits, "{masked}");
        }
    }
}
