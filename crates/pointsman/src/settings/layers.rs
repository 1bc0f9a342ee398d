//! Lays environment and flags over the file, and finds everything that does not fit.
//!
//! Each value is tried alone in otherwise default settings: so the type is the only schema there is, and one error
//! does not hide the next.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue, Deserializer, Error, ValueDeserializer};
use toml::{Spanned, Table, Value};

use crate::settings::problem::{Complaint, Place, SettingsError, SettingsErrors, suggestion};
use crate::settings::{Settings, Sources, expand, rules};

/// What the environment's overrides begin with.
pub(super) const PREFIX: &str = "POINTSMAN_";

/// The environment variable that names the file; it is no key.
const FILE_VARIABLE: &str = "POINTSMAN_SETTINGS";

/// One value and the way to it; each key with its place in the file.
#[derive(Clone)]
struct Leaf<'v> {
    path: Vec<Spanned<String>>,
    value: Spanned<DeValue<'v>>,
}

struct Override {
    path: Vec<String>,
    label: String,
}

struct Layers<'a> {
    name: &'a str,
    text: &'a str,
    /// The file alone: where things are.
    file: DeTable<'a>,
    /// What counts, of all layers.
    merged: Table,
    overrides: Vec<Override>,
    /// Texts with `${…}` as they were written, by place.
    written: HashMap<usize, String>,
    /// Places of texts that name a variable without value.
    unset: Vec<usize>,
    errors: Vec<SettingsError>,
    /// Keys whose values are wrong by themselves.
    bad: Vec<String>,
}

/// Reads a file's text and what lies over it.
pub(super) fn read(name: &str, text: &str, sources: Sources<'_>) -> Result<Settings, SettingsErrors> {
    let mut layers = Layers {
        name,
        text,
        file: DeTable::new(),
        merged: Table::new(),
        overrides: Vec::new(),
        written: HashMap::new(),
        unset: Vec::new(),
        errors: Vec::new(),
        bad: Vec::new(),
    };
    layers.read_file(sources.env);
    layers.read_environment(sources.env);
    layers.read_flags(sources.set);
    layers.finish()
}

impl Layers<'_> {
    fn read_file(&mut self, env: &BTreeMap<String, String>) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let broken = !errors.is_empty();
        for err in errors {
            let place = self.place(err.span().unwrap_or(0..0));
            self.fail(place, err.message().trim().replace('\n', "; "));
        }
        // What is left of a broken file would only raise complaints about what is missing.
        if broken {
            return;
        }
        let mut table = table.into_inner();
        for (_, value) in &mut table {
            self.expand(value, env);
        }
        let mut leaves = Vec::new();
        collect(&table, &mut Vec::new(), &mut leaves);
        self.file = table;
        for leaf in leaves {
            self.read_leaf(&leaf);
        }
    }

    fn expand(&mut self, value: &mut Spanned<DeValue<'_>>, env: &BTreeMap<String, String>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) => match expand::expand(text, env) {
                Ok(None) => {}
                Ok(Some(done)) => {
                    let written = std::mem::replace(text, Cow::Owned(done));
                    self.written.insert(span.start, written.into_owned());
                }
                Err(err) => {
                    self.unset.push(span.start);
                    let place = self.place(span);
                    self.fail(place, err.to_string());
                }
            },
            DeValue::Array(items) => items.iter_mut().for_each(|item| self.expand(item, env)),
            DeValue::Table(table) => table.iter_mut().for_each(|(_, value)| self.expand(value, env)),
            _ => {}
        }
    }

    fn read_leaf(&mut self, leaf: &Leaf<'_>) {
        let (err, span) = match (leaf.read(), leaf.value.span()) {
            (Ok(value), _) => return insert(&mut self.merged, &leaf.path, value),
            (Err(err), span) => (err, span),
        };
        if self.unset.iter().any(|at| span.contains(at)) {
            return self.bad.push(dotted(&leaf.names()));
        }
        let err = match (leaf.value.get_ref(), self.written.get(&span.start)) {
            (DeValue::String(text), Some(written)) => {
                // A number or list may come out of a variable, where everything is text.
                if let Some(value) = DeValue::parse(text).ok().and_then(|typed| leaf.with(typed).read().ok())
                {
                    return insert(&mut self.merged, &leaf.path, value);
                }
                // The complaint is about the text as written: a variable's value is not for logs.
                let written = DeValue::String(Cow::Borrowed(written));
                leaf.with(Spanned::new(span.clone(), written)).read().err().unwrap_or(err)
            }
            _ => err,
        };
        let place = self.place(err.span().unwrap_or(span));
        self.complain(place, leaf, &err);
    }

    fn read_environment(&mut self, env: &BTreeMap<String, String>) {
        for (name, text) in env {
            let Some(key) = name.strip_prefix(PREFIX).filter(|_| name != FILE_VARIABLE) else { continue };
            let mut path: Vec<String> = key.to_ascii_lowercase().split("__").map(str::to_owned).collect();
            if let [section, slug, ..] = path.as_mut_slice()
                && section == "providers"
            {
                *slug = self.slug(slug);
            }
            // Container platforms set names such as POINTSMAN_SERVICE_HOST for a service called like us.
            if path.len() == 1 && !TOP_LEVEL.contains(&path[0].as_str()) {
                continue;
            }
            self.lay_over(path, text, name.clone());
        }
    }

    /// Names of variables cannot hold the hyphen of a slug.
    fn slug(&self, name: &str) -> String {
        let configured = self.file.get("providers").and_then(|providers| providers.get_ref().as_table());
        let configured =
            configured.into_iter().flat_map(|table| table.keys()).map(|key| key.get_ref().to_string());
        let known = providers::catalogue::slugs().map(str::to_owned);
        configured.chain(known).find(|slug| slug.replace('-', "_") == name).unwrap_or_else(|| name.to_owned())
    }

    fn read_flags(&mut self, set: &[String]) {
        for flag in set {
            let Some((key, text)) = flag.split_once('=') else {
                // Not repeated: it may be a secret whose key was forgotten.
                self.fail(Place::Other("--set".to_owned()), "write `--set section.key=value`".to_owned());
                continue;
            };
            let path = split(key.trim()).into_iter().map(str::to_owned).collect();
            self.lay_over(path, text, format!("--set {}", key.trim()));
        }
    }

    fn lay_over(&mut self, path: Vec<String>, text: &str, label: String) {
        // Each key gets its own place, so that a complaint about a key tells which one is meant.
        let keys = path.iter().enumerate().map(|(i, key)| Spanned::new(i..i + 1, key.clone())).collect();
        let plain = Leaf { path: keys, value: Spanned::new(0..0, DeValue::String(Cow::Borrowed(text))) };
        let typed = DeValue::parse(text).ok().map(|value| plain.with(value));
        let read = match typed.as_ref().map(Leaf::read) {
            Some(Ok(value)) => Ok(value),
            Some(Err(err)) => plain.read().map_err(|_| err),
            None => plain.read(),
        };
        match read {
            Ok(value) => {
                insert(&mut self.merged, &plain.path, value);
                self.overrides.push(Override { path, label });
            }
            Err(err) => self.complain(Place::Other(label), &plain, &err),
        }
    }

    fn complain(&mut self, place: Place, leaf: &Leaf<'_>, err: &Error) {
        let names = leaf.names();
        let message = match Complaint::read(err.message()) {
            Complaint::Unknown { key, known } => {
                let depth = leaf
                    .path
                    .iter()
                    .position(|name| name.get_ref() == key && err.span() == Some(name.span()));
                let full = dotted(&names[..=depth.unwrap_or(names.len() - 1)]);
                format!("unknown key `{full}`; {}", suggestion(key, &known))
            }
            Complaint::Misfit(text) => format!("`{}`: {text}", dotted(&names)),
        };
        self.bad.push(dotted(&names));
        self.fail(place, message);
    }

    fn finish(mut self) -> Result<Settings, SettingsErrors> {
        match std::mem::take(&mut self.merged).try_into::<Settings>() {
            Ok(settings) => {
                for broken in rules::broken(&settings) {
                    // What was wrong by itself has been reported, and its default says nothing about the rest.
                    if !broken.keys.iter().any(|key| self.bad.contains(&dotted(&split(key)))) {
                        let place = self.find(&broken.keys);
                        self.fail(place, broken.message);
                    }
                }
                SettingsErrors::new(self.errors).map_or(Ok(settings), Err)
            }
            Err(err) => {
                let place = Place::Other(self.name.to_owned());
                self.fail(place, err.message().to_owned());
                Err(SettingsErrors::new(self.errors).expect("one was just added"))
            }
        }
    }

    /// Where the first of these keys was written that was written at all.
    fn find(&self, keys: &[String]) -> Place {
        let paths: Vec<Vec<&str>> = keys.iter().map(|key| split(key)).collect();
        for path in &paths {
            let touches = |o: &&Override| o.path.iter().zip(path).all(|(a, b)| a == b);
            if let Some(found) = self.overrides.iter().rev().find(touches) {
                return Place::Other(found.label.clone());
            }
            if let Some((span, true)) = locate(&self.file, path) {
                return self.place(span);
            }
        }
        match paths.first().and_then(|path| locate(&self.file, path)) {
            Some((span, _)) => self.place(span),
            None => Place::Other("settings".to_owned()),
        }
    }

    fn fail(&mut self, place: Place, message: String) {
        self.errors.push(SettingsError { place, message });
    }

    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Place::File { line, column, name: self.name.to_owned() }
    }
}

/// Keys that may be named without a section.
const TOP_LEVEL: &[&str] = &[
    "data_dir",
    "log",
    "http",
    "auth",
    "nats",
    "limits",
    "deadlines",
    "work",
    "health",
    "alerts",
    "providers",
    "models",
    "route",
    "sealing",
    "secrets",
    "mock",
];

impl<'v> Leaf<'v> {
    /// Tries the value alone, in settings that say nothing else.
    fn read(&self) -> Result<Value, Error> {
        let mut table = DeTable::new();
        nest(&mut table, &self.path, self.value.clone());
        Settings::deserialize(Deserializer::from(Spanned::new(0..0, table)))?;
        Value::deserialize(ValueDeserializer::from(self.value.clone()))
    }

    fn with<'w>(&self, value: Spanned<DeValue<'w>>) -> Leaf<'w> {
        Leaf { path: self.path.clone(), value }
    }

    fn names(&self) -> Vec<&str> {
        self.path.iter().map(|key| key.get_ref().as_str()).collect()
    }
}

fn nest<'v>(table: &mut DeTable<'v>, path: &[Spanned<String>], value: Spanned<DeValue<'v>>) {
    let Some((key, rest)) = path.split_first() else { return };
    let value = if rest.is_empty() {
        value
    } else {
        let mut inner = DeTable::new();
        nest(&mut inner, rest, value);
        Spanned::new(key.span(), DeValue::Table(inner))
    };
    table.insert(Spanned::new(key.span(), Cow::Owned(key.get_ref().clone())), value);
}

/// All values of a table; a route is one value.
fn collect<'v>(table: &DeTable<'v>, path: &mut Vec<Spanned<String>>, leaves: &mut Vec<Leaf<'v>>) {
    for (key, value) in table {
        path.push(Spanned::new(key.span(), key.get_ref().to_string()));
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() && !is_route(path) => collect(inner, path, leaves),
            _ => leaves.push(Leaf { path: path.clone(), value: value.clone() }),
        }
        path.pop();
    }
}

fn is_route(path: &[Spanned<String>]) -> bool {
    path.first().is_some_and(|key| key.get_ref() == "route")
}

/// Sets a value, in place of whatever is in its way.
fn insert(table: &mut Table, path: &[Spanned<String>], value: Value) {
    let Some((key, rest)) = path.split_first() else { return };
    let key = key.get_ref().clone();
    if rest.is_empty() {
        table.insert(key, value);
        return;
    }
    let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
    if !inner.is_table() {
        *inner = Value::Table(Table::new());
    }
    if let Value::Table(inner) = inner {
        insert(inner, rest, value);
    }
}

/// The place of a key's value, or of the nearest table around it; true if it is the key itself.
fn locate(table: &DeTable<'_>, path: &[&str]) -> Option<(Range<usize>, bool)> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.get_key_value(*first)?;
    let inner = match value.get_ref() {
        _ if rest.is_empty() => return Some((value.span(), true)),
        DeValue::Table(inner) => locate(inner, rest),
        _ => None,
    };
    Some(inner.unwrap_or((key.span(), false)))
}

/// The keys of a way with dots between. Dots between quotes belong to the key, as in `models."openai/gpt-4.1".price`.
fn split(key: &str) -> Vec<&str> {
    let mut quoted = false;
    let at_dot = |c: char| {
        quoted ^= c == '"';
        c == '.' && !quoted
    };
    key.split(at_dot)
        .map(|part| part.strip_prefix('"').and_then(|p| p.strip_suffix('"')).unwrap_or(part))
        .collect()
}

fn dotted(path: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let quoted =
        |part: &&str| if part.chars().all(plain) { (*part).to_owned() } else { format!("\"{part}\"") };
    path.iter().map(quoted).collect::<Vec<_>>().join(".")
}
