//! Documents in files: read, completed from the environment, and checked, all of them before anything is sent.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use domain::config::{HeaderOptions, clear_credential};
use domain::limit::Level;
use domain::policy::{Caps, InvalidCap, PolicyKind, Rule, Scope, limits};
use domain::{Config, Operation, Slug, Timestamp, Workspace};
use serde_json::{Map, Value, json};

use super::fields::Kind;
use crate::commands::history;
use crate::settings::expand;

/// What a file says about one entity.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) kind: Kind,
    /// None: the workspace of the API key that is shown.
    pub(crate) workspace: Option<String>,
    /// Slug, or the name of an API key.
    pub(crate) id: String,
    /// File, and place in it if it holds several.
    pub(crate) place: String,
    /// The fields, completed.
    pub(crate) spec: Map<String, Value>,
    /// Places in `spec` that came from the environment, so that they are never shown.
    pub(crate) hidden: Vec<String>,
    /// Where a new API key is written.
    pub(crate) key_file: Option<PathBuf>,
}

/// Something that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) file: String,
    /// Field, as in `config.targets[0].provider`; empty: the whole file.
    pub(crate) path: String,
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}: {}", self.file, self.message),
            path => write!(f, "{}: `{path}`: {}", self.file, self.message),
        }
    }
}

/// What was found in files.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) documents: Vec<Document>,
    pub(crate) problems: Vec<Problem>,
    /// Not wrong, but hardly meant.
    pub(crate) warnings: Vec<Problem>,
    /// Files and folders that were looked at.
    pub(crate) files: usize,
}

/// Reads files and folders.
pub(crate) struct Reader<'a> {
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Workspace of documents that name none.
    pub(crate) workspace: Option<&'a str>,
    /// Files may hold configs alone, too.
    pub(crate) bare_configs: bool,
}

impl Reader<'_> {
    /// Reads everything; what is wrong with one file does not keep others from being looked at.
    pub(crate) fn read(&self, paths: &[PathBuf]) -> Found {
        let mut found = Found::default();
        for path in paths {
            match files(path) {
                Ok(files) => files.iter().for_each(|file| self.file(file, &mut found)),
                Err(problem) => found.problems.push(problem),
            }
        }
        twice(&mut found);
        found.documents.sort_by_key(|document| document.kind);
        found
    }

    fn file(&self, file: &Path, found: &mut Found) {
        found.files += 1;
        let name = file.display().to_string();
        let value = match parse(file) {
            Ok(value) => value,
            Err(problem) => return found.problems.push(problem),
        };
        let list = match &value {
            Value::Array(items) => Some(items),
            Value::Object(map) if map.len() == 1 => map.get("documents").and_then(Value::as_array),
            _ => None,
        };
        match list {
            Some(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.entry(item, file, format!("{name}[{i}]"), found);
                }
            }
            None => self.entry(&value, file, name, found),
        }
    }

    fn entry(&self, value: &Value, file: &Path, place: String, found: &mut Found) {
        if self.bare_configs && value.get("kind").is_none() {
            return self.bare(value, &place, found);
        }
        let mut problems = Problems { file: &place, found: Vec::new() };
        let document = self.document(value, file, &place, &mut problems);
        match document {
            Some(document) if problems.found.is_empty() => found.documents.push(document),
            _ => found.problems.append(&mut problems.found),
        }
    }

    /// A config without anything around it.
    fn bare(&self, value: &Value, place: &str, found: &mut Found) {
        let mut problems = Problems { file: place, found: Vec::new() };
        let mut config = value.clone();
        self.complete(&mut config, "config", "", &mut problems, &mut Vec::new());
        problems.config(&config);
        found.problems.append(&mut problems.found);
        if let Some(path) = clear_in(value) {
            let message = "a credential in clear; write `${NAME}`, or name a virtual key";
            found.warnings.push(Problem { file: place.to_owned(), path, message: message.to_owned() });
        }
    }

    fn document(
        &self,
        value: &Value,
        file: &Path,
        place: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Document> {
        let Value::Object(map) = value else {
            problems.add("", "is no table; write `kind`, `slug` and the fields of that kind");
            return None;
        };
        let kind = problems.kind(map)?;
        problems.fields(kind, map);
        problems.credentials(kind, map);
        let mut spec = map.clone();
        let mut hidden = Vec::new();
        for (name, value) in &mut spec {
            self.complete(value, name, &format!("/{name}"), problems, &mut hidden);
        }
        let id = problems.identity(kind, &spec);
        let own = spec.get("workspace").and_then(Value::as_str).map(str::to_owned);
        let workspace = own.or_else(|| self.workspace.map(str::to_owned)).filter(|_| kind.has_workspace());
        if let Some(workspace) = &workspace
            && let Err(err) = Workspace::parse(workspace)
        {
            problems.add("workspace", &err.to_string());
        }
        problems.contents(kind, &spec);
        let folder = file.parent().unwrap_or(Path::new("."));
        let key_file = spec.get("key_file").and_then(Value::as_str).map(|name| folder.join(name));
        for name in ["kind", "slug", "workspace", "key_file"] {
            spec.remove(name);
        }
        let id = id?;
        if kind != Kind::ApiKey {
            spec.entry("name").or_insert_with(|| json!(id));
        }
        Some(Document { kind, workspace, id, place: place.to_owned(), spec, hidden, key_file })
    }

    /// Puts values of the environment in place of `${NAME}`, in all texts below.
    fn complete(
        &self,
        value: &mut Value,
        path: &str,
        pointer: &str,
        problems: &mut Problems<'_>,
        hidden: &mut Vec<String>,
    ) {
        match value {
            Value::String(text) => match expand::expand(text, self.env) {
                Ok(None) => {}
                Ok(Some(done)) => {
                    *text = done;
                    hidden.push(pointer.to_owned());
                }
                Err(err) => problems.add(path, &err.to_string()),
            },
            Value::Array(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let (path, pointer) = (format!("{path}[{i}]"), format!("{pointer}/{i}"));
                    self.complete(item, &path, &pointer, problems, hidden);
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    let token = key.replace('~', "~0").replace('/', "~1");
                    let (path, pointer) = (format!("{path}.{key}"), format!("{pointer}/{token}"));
                    self.complete(item, &path, &pointer, problems, hidden);
                }
            }
            _ => {}
        }
    }
}

/// The config in a file that holds nothing else, or one document of that kind.
pub(crate) fn config_in(file: &Path, env: &BTreeMap<String, String>) -> anyhow::Result<Value> {
    let value = parse(file).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let mut config = match value.get("kind") {
        None => value,
        Some(kind) if *kind == json!("config") => value["config"].clone(),
        Some(kind) => anyhow::bail!("{} holds a document of kind {kind}; name a config", file.display()),
    };
    let name = file.display().to_string();
    let mut problems = Problems { file: &name, found: Vec::new() };
    let reader = Reader { env, workspace: None, bare_configs: true };
    reader.complete(&mut config, "config", "", &mut problems, &mut Vec::new());
    match problems.found.first() {
        Some(problem) => anyhow::bail!("{problem}"),
        None => Ok(config),
    }
}

/// A document is found by its name, so that two of one name contradict each other.
fn twice(found: &mut Found) {
    let mut seen: BTreeMap<_, String> = BTreeMap::new();
    for document in &found.documents {
        let key = (document.kind, document.workspace.clone(), document.id.clone());
        if let Some(before) = seen.insert(key, document.place.clone()) {
            let message = format!("`{}` is described in {before}, too; keep one of them", document.id);
            let path = document.kind.identity().to_owned();
            found.problems.push(Problem { file: document.place.clone(), path, message });
        }
    }
}

struct Problems<'a> {
    file: &'a str,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, path: &str, message: &str) {
        let (file, path, message) = (self.file.to_owned(), path.to_owned(), message.to_owned());
        self.found.push(Problem { file, path, message });
    }

    fn kind(&mut self, map: &Map<String, Value>) -> Option<Kind> {
        let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let given = map.get("kind").and_then(Value::as_str);
        let kind = Kind::ALL.iter().find(|kind| given == Some(kind.as_str())).copied();
        if kind.is_none() {
            self.add("kind", &format!("{}; write one of {}", said(map.get("kind")), words.join(", ")));
        }
        kind
    }

    fn fields(&mut self, kind: Kind, map: &Map<String, Value>) {
        let mut known: Vec<&str> = vec!["kind", kind.identity()];
        known.extend(kind.fields().iter().map(|field| field.name));
        known.extend(kind.has_workspace().then_some("workspace"));
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            let near = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let near = near.filter(|near| strsim::jaro_winkler(near, name) > 0.8);
            let hint = near.map_or_else(
                || format!("the fields of `{}` are {}", kind.as_str(), known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.add(name, &format!("is no field of kind `{}`; {hint}", kind.as_str()));
        }
        for field in kind.fields() {
            match map.get(field.name) {
                None if field.required => self.add(field.name, "is missing"),
                None => {}
                Some(value) => {
                    if let Some(instead) = field.shape.refuses(value) {
                        self.add(field.name, &format!("{}; write {instead}", said(Some(value))));
                    }
                }
            }
        }
    }

    /// Files are shared and kept: a credential does not belong there.
    fn credentials(&mut self, kind: Kind, map: &Map<String, Value>) {
        let message =
            "a credential in clear; write `${NAME}` and set that environment variable when you apply";
        if kind == Kind::VirtualKey
            && map.get("key").and_then(Value::as_str).is_some_and(|key| !key.contains("${"))
        {
            self.add("key", message);
        }
        if kind == Kind::VirtualKey && map.contains_key("key") && map.contains_key("secret") {
            self.add("secret", "stands beside `key`; keep one of them");
        }
        if kind == Kind::Config
            && let Some(path) = map.get("config").and_then(clear_in)
        {
            self.add(&path, message);
        }
    }

    fn identity(&mut self, kind: Kind, spec: &Map<String, Value>) -> Option<String> {
        let field = kind.identity();
        let Some(id) = spec.get(field).and_then(Value::as_str).filter(|id| !id.trim().is_empty()) else {
            self.add(field, &format!("{}; write what it is to be known by", said(spec.get(field))));
            return None;
        };
        if kind == Kind::ApiKey {
            return Some(id.to_owned());
        }
        let id = if kind == Kind::Config { history::slug(id) } else { id.to_owned() };
        if let Err(err) = Slug::parse(&id) {
            self.add(field, &err.to_string());
        }
        Some(id)
    }

    /// What can only be judged when the values are complete.
    fn contents(&mut self, kind: Kind, spec: &Map<String, Value>) {
        let texts = |field: &str| -> Vec<(String, String)> {
            let items = spec.get(field).and_then(Value::as_array).into_iter().flatten().enumerate();
            items.filter_map(|(i, v)| Some((format!("{field}[{i}]"), v.as_str()?.to_owned()))).collect()
        };
        for (path, text) in texts("scopes") {
            if let Err(err) = Scope::parse(&text) {
                self.add(&path, &err.to_string());
            }
        }
        for (path, text) in texts("operations") {
            if let Err(err) = text.parse::<Operation>() {
                self.add(&path, &err.to_string());
            }
        }
        for (path, text) in texts("workspaces") {
            if let Err(err) = Workspace::parse(&text) {
                self.add(&path, &err.to_string());
            }
        }
        if let Some(text) = spec.get("expires_at").and_then(Value::as_str)
            && super::plan::moment(text).is_none()
        {
            self.add("expires_at", "is no date; write for example \"2027-01-31T00:00:00Z\"");
        }
        if kind == Kind::ApiKey
            && let Some(word) = spec.get("type").and_then(Value::as_str)
            && super::key_type(word).is_none()
        {
            let words = "workspace-service, workspace-user, organisation-service";
            self.add("type", &format!("`{word}` is no type of key; write one of {words}"));
        }
        if let Err(err) = caps(kind, spec) {
            self.add(&err.path, &err.message);
        }
        if let Some(config) = spec.get("config").filter(|config| kind == Kind::Config && config.is_object()) {
            self.config(config);
        }
    }

    fn config(&mut self, config: &Value) {
        if let Err(err) = Config::read(config, &HeaderOptions::default()) {
            self.add(&err.path, &err.message);
        }
    }
}

/// Reads what a document declares of limits. What has another shape was refused before.
fn caps(kind: Kind, spec: &Map<String, Value>) -> Result<(), InvalidCap> {
    let policy = match kind {
        Kind::UsagePolicy => PolicyKind::Usage,
        Kind::RatePolicy => PolicyKind::Rate,
        Kind::Workspace | Kind::VirtualKey | Kind::Config | Kind::ApiKey => {
            let declared = |field: &str| {
                let fits = |value: &&Value| value.is_object() || value.is_array();
                spec.get(field).filter(fits).cloned().unwrap_or_default()
            };
            let caps = Caps { usage_limits: declared("usage_limits"), rate_limits: declared("rate_limits") };
            // Whose they are does not matter for whether they can be read.
            return limits(Level::ApiKey, "", &caps, Timestamp(0)).map(drop);
        }
    };
    let known = kind
        .fields()
        .iter()
        .filter(|field| spec.get(field.name).is_some_and(|value| field.shape.refuses(value).is_none()));
    let mut cap: Map<String, Value> =
        known.filter_map(|field| Some((field.name.to_owned(), spec.get(field.name)?.clone()))).collect();
    if kind.fields().iter().any(|field| field.required && !cap.contains_key(field.name)) {
        return Ok(());
    }
    cap.remove("name");
    let mut listed = |field: &str| match cap.remove(field) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let (conditions, groups) = (listed("conditions"), listed("group_by"));
    Rule::read(policy, "", &conditions, &groups, &cap, Timestamp(0)).map(drop)
}

/// The place of a credential that is written out, not named as `${NAME}`.
fn clear_in(config: &Value) -> Option<String> {
    fn cover(value: &mut Value) {
        match value {
            Value::String(text) if text.contains("${") => text.clear(),
            Value::Array(items) => items.iter_mut().for_each(cover),
            Value::Object(map) => map.values_mut().for_each(cover),
            _ => {}
        }
    }
    let mut covered = config.clone();
    cover(&mut covered);
    clear_credential(&covered)
}

fn said(value: Option<&Value>) -> &'static str {
    match value {
        None => "is missing",
        Some(Value::Null) => "is null",
        Some(Value::Bool(_)) => "is true or false",
        Some(Value::Number(_)) => "is a number",
        Some(Value::String(_)) => "is another text",
        Some(Value::Array(_)) => "is a list",
        Some(Value::Object(_)) => "is a table",
    }
}

/// The files that a path stands for: itself, or all documents below a folder, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let problem = |place: &Path, message: String| Problem {
        file: place.display().to_string(),
        path: String::new(),
        message,
    };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut open) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = open.pop() {
        let listed = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for entry in listed.map_err(|err| problem(&folder, format!("cannot be listed: {err}")))? {
            let path = entry.path();
            let shown = !entry.file_name().to_string_lossy().starts_with('.');
            if path.is_dir() && shown {
                open.push(path);
            } else if shown && path.extension().is_some_and(|end| end == "json" || end == "toml") {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        return Err(problem(path, "no .json and no .toml file is in this folder".to_owned()));
    }
    found.sort();
    Ok(found)
}

fn parse(file: &Path) -> Result<Value, Problem> {
    let problem =
        |message: String| Problem { file: file.display().to_string(), path: String::new(), message };
    let text = std::fs::read_to_string(file).map_err(|err| problem(format!("cannot be read: {err}")))?;
    match file.extension().and_then(|end| end.to_str()) {
        Some("json") => serde_json::from_str(&text).map_err(|err| problem(format!("is not JSON: {err}"))),
        Some("toml") => match text.parse::<toml::Table>() {
            Ok(table) => Ok(from_toml(toml::Value::Table(table))),
            Err(err) => Err(problem(format!("is not TOML: {}", err.to_string().trim_end()))),
        },
        _ => Err(problem("is neither .json nor .toml; rename it".to_owned())),
    }
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(map) => map.into_iter().map(|(k, v)| (k, from_toml(v))).collect(),
    }
}

#[cfg(test)]
mod tests;
