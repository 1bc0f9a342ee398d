//! Policies of usage and rates: whose requests they count, and in which buckets.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::limits::{InvalidCap, Of, Shape, limit, short};
use super::{Stamp, Status, matches};
use crate::envelope::VirtualKeyRef;
use crate::limit::{Bucket, Level, Limit};
use crate::operation::{UnknownWord, words};
use crate::{Operation, Slug, Timestamp, Workspace};

words! {
    /// What a policy caps.
    PolicyKind, "kind of policy" {
        /// What is used up over a long time.
        Usage = "usage",
        /// How fast.
        Rate = "rate",
    }
}

/// A limit on requests of a workspace that fulfil conditions, counted together or by what distinguishes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitPolicy {
    /// Its name in addresses.
    pub id: Slug,
    /// Whose requests it looks at.
    pub workspace: Workspace,
    /// Budget or rate.
    pub kind: PolicyKind,
    /// Its name for people.
    pub name: String,
    /// All have to be fulfilled, as in `[{"key": "metadata.team", "value": ["red", "blue"]}]`. Kept word for word.
    #[serde(default)]
    pub conditions: Vec<Value>,
    /// Each combination of values is counted alone, as in `[{"key": "user"}]`. Kept word for word.
    #[serde(default)]
    pub group_by: Vec<Value>,
    /// The cap, with the fields of an entry of `usage_limits` or `rate_limits`. Kept word for word.
    pub cap: Map<String, Value>,
    /// Whether it is in force.
    #[serde(default)]
    pub status: Status,
    /// Who keeps it in line with files elsewhere; None: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub updated: Stamp,
}

impl LimitPolicy {
    /// Reads what it declares.
    pub fn rule(&self) -> Result<Rule, InvalidCap> {
        let owner = format!("{}.{}", self.workspace, self.id);
        Rule::read(self.kind, &owner, &self.conditions, &self.group_by, &self.cap, self.created.at)
    }
}

/// A request at one of its targets, as limits look at it.
#[derive(Clone, Copy, Debug)]
pub struct Spender<'a> {
    /// Whose request it is.
    pub workspace: &'a Workspace,
    /// The API key that it came with.
    pub key: Option<&'a Slug>,
    /// The caller's own user.
    pub user: Option<&'a str>,
    /// What the caller says about it.
    pub metadata: Option<&'a Map<String, Value>>,
    /// The routing document: `pc-…`, with or without `@` and its version.
    pub config: Option<&'a str>,
    /// What is asked for.
    pub operation: Operation,
    /// The model that the caller asked for, whatever the target makes of it.
    pub model: Option<&'a str>,
    /// The target's provider.
    pub provider: &'a str,
    /// The target's virtual key.
    pub virtual_key: Option<&'a VirtualKeyRef>,
}

/// A policy as it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The limit of each bucket.
    pub limit: Arc<Limit>,
    conditions: Vec<Condition>,
    groups: Vec<Field>,
}

impl Rule {
    /// Reads what a policy declares; `from` is when it was made.
    pub fn read(
        kind: PolicyKind,
        owner: &str,
        conditions: &[Value],
        group_by: &[Value],
        cap: &Map<String, Value>,
        from: Timestamp,
    ) -> Result<Self, InvalidCap> {
        let shape = match kind {
            PolicyKind::Usage => Shape::Budget,
            PolicyKind::Rate => Shape::Rate,
        };
        let conditions = conditions.iter().enumerate().map(|(at, one)| Condition::read(at, one));
        let conditions: Vec<Condition> = conditions.collect::<Result<_, _>>()?;
        let mut groups: Vec<Field> = Vec::new();
        for (at, one) in group_by.iter().enumerate() {
            let field = group(at, one)?;
            if groups.contains(&field) {
                let message = format!("`{}` is there twice; leave one out", field.word());
                return Err(InvalidCap::new(format!("group_by[{at}].key"), message));
            }
            groups.push(field);
        }
        let of = Of { level: Level::Policy, owner, from };
        Ok(Self { limit: Arc::new(limit(&of, shape, cap, "")?), conditions, groups })
    }

    /// Whether requests are counted by something that distinguishes them.
    pub fn is_grouped(&self) -> bool {
        !self.groups.is_empty()
    }

    /// The bucket that a request counts for. None: the policy is not about it.
    pub fn bucket(&self, asked: &Spender<'_>) -> Option<Bucket> {
        if !self.conditions.iter().all(|condition| condition.holds(asked)) {
            return None;
        }
        let mut tuple = String::new();
        for field in &self.groups {
            let value = field.value(asked)?;
            if !tuple.is_empty() {
                tuple.push(',');
            }
            escape(&field.word(), &mut tuple);
            tuple.push('=');
            escape(&value, &mut tuple);
        }
        Some(Bucket { limit: Arc::clone(&self.limit), tuple })
    }
}

/// Percent-encodes what has a meaning in the names of buckets, so that two values never give one name.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '%' | ',' | '=' | '/' | ' ' => {
                let _ = write!(into, "%{:02X}", u32::from(c));
            }
            c if c.is_ascii_control() => {
                let _ = write!(into, "%{:02X}", u32::from(c));
            }
            c => into.push(c),
        }
    }
}

/// Something of a request that policies tell requests apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    ApiKey,
    Metadata(String),
    VirtualKey,
    Provider,
    Config,
    Prompt,
    Model,
    EndpointType,
    Workspace,
    User,
}

/// The fields that have one word.
const FIELDS: &[(&str, Field)] = &[
    ("api_key", Field::ApiKey),
    ("virtual_key", Field::VirtualKey),
    ("provider", Field::Provider),
    ("config", Field::Config),
    ("prompt", Field::Prompt),
    ("model", Field::Model),
    ("endpoint_type", Field::EndpointType),
    ("workspace_id", Field::Workspace),
    ("user", Field::User),
];

/// Portkey's words for operations that have another here.
const ENDPOINTS: &[(&str, Operation)] = &[
    ("chatComplete", Operation::Chat),
    ("complete", Operation::Completions),
    ("embed", Operation::Embeddings),
    ("moderate", Operation::Moderations),
    ("messagesCountTokens", Operation::CountTokens),
    ("createModelResponse", Operation::Responses),
    ("imageGenerate", Operation::Images),
    ("imageEdit", Operation::ImageEdits),
    ("createSpeech", Operation::Speech),
    ("createTranscription", Operation::Transcriptions),
    ("createTranslation", Operation::Translations),
    ("proxy", Operation::Passthrough),
];

impl Field {
    fn read(path: &str, fields: &Map<String, Value>) -> Result<Self, InvalidCap> {
        let hint = || {
            let words: Vec<&str> = FIELDS.iter().map(|(word, _)| *word).collect();
            format!("use one of {}, metadata.<name>", words.join(", "))
        };
        let path = format!("{path}.key");
        match fields.get("key") {
            Some(Value::String(text)) => {
                let known = FIELDS.iter().find(|(word, _)| word == text).map(|(_, field)| field.clone());
                let metadata = text.strip_prefix("metadata.").filter(|name| !name.is_empty());
                let found = known.or_else(|| metadata.map(|name| Self::Metadata(name.to_owned())));
                found.ok_or_else(|| InvalidCap::new(path, format!("`{text}` is unknown; {}", hint())))
            }
            None | Some(Value::Null) => Err(InvalidCap::new(path, format!("is missing; {}", hint()))),
            Some(other) => Err(InvalidCap::new(path, format!("{} is no word; {}", short(other), hint()))),
        }
    }

    fn word(&self) -> Cow<'static, str> {
        match self {
            Self::Metadata(name) => format!("metadata.{name}").into(),
            other => FIELDS.iter().find(|(_, field)| field == other).map_or("", |(word, _)| *word).into(),
        }
    }

    /// What a request has there.
    fn value<'a>(&self, asked: &Spender<'a>) -> Option<Cow<'a, str>> {
        let said = |name: &str| -> Option<Cow<'a, str>> {
            match asked.metadata?.get(name)? {
                Value::Null => None,
                Value::String(text) => Some(text.as_str().into()),
                other => Some(other.to_string().into()),
            }
        };
        match self {
            Self::ApiKey => asked.key.map(|id| id.as_str().into()),
            // Portkey's word for the caller's user, wherever that was named.
            Self::Metadata(name) if name == "_user" => said(name).or_else(|| asked.user.map(Into::into)),
            Self::Metadata(name) => said(name),
            Self::VirtualKey => asked.virtual_key.map(|key| key.slug.as_str().into()),
            Self::Provider => Some(asked.provider.into()),
            Self::Config => asked.config.map(|config| before_at(config).into()),
            Self::Prompt => said("_prompt"),
            Self::Model => asked.model.map(Into::into),
            Self::EndpointType => Some(asked.operation.as_str().into()),
            Self::Workspace => Some(asked.workspace.as_str().into()),
            Self::User => asked.user.map(Into::into).or_else(|| said("_user")),
        }
    }
}

/// A config's name without its version.
fn before_at(config: &str) -> &str {
    config.split_once('@').map_or(config, |(name, _)| name)
}

/// One of the things that have to be so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    field: Field,
    /// Any of these. None: whatever is there.
    values: Option<Vec<String>>,
    /// None of these.
    but: Vec<String>,
    /// The opposite has to be so.
    negated: bool,
}

impl Condition {
    fn read(at: usize, value: &Value) -> Result<Self, InvalidCap> {
        let path = format!("conditions[{at}]");
        let example = "{\"key\":\"metadata.team\",\"value\":\"red\"}";
        let fields = object(&path, value, &["key", "value", "excludes"], example)?;
        let field = Field::read(&path, fields)?;
        let hint = "write text, a list of texts, or `*` for whatever is there";
        let (negated, but) = match fields.get("excludes") {
            None | Some(Value::Null) => (false, Vec::new()),
            Some(Value::Bool(yes)) => (*yes, Vec::new()),
            Some(listed) => (false, texts(&format!("{path}.excludes"), &field, listed, hint)?),
        };
        let at = format!("{path}.value");
        let values = match fields.get("value") {
            // Whatever is there, but not this.
            None | Some(Value::Null) if !but.is_empty() => vec!["*".to_owned()],
            None | Some(Value::Null) => return Err(InvalidCap::new(at, format!("is missing; {hint}"))),
            Some(listed) => texts(&at, &field, listed, hint)?,
        };
        let any = values.iter().any(|value| value == "*");
        Ok(Self { field, values: (!any).then_some(values), but, negated })
    }

    fn holds(&self, asked: &Spender<'_>) -> bool {
        let found = self.field.value(asked);
        let among = |values: &[String]| match (&found, &self.field) {
            (None, _) => false,
            (Some(model), Field::Model) => values.iter().any(|pattern| is_model(pattern, model, asked)),
            (Some(found), _) => values.iter().any(|value| value == found),
        };
        let fits = found.is_some() && self.values.as_deref().is_none_or(among) && !among(&self.but);
        fits != self.negated
    }
}

/// Whether a pattern, as in `gpt-4*` or `@openai-prod/*`, is about the model that was asked for. The part before the
/// slash names a virtual key or a provider, be it that the caller named it or that the target has it.
fn is_model(pattern: &str, model: &str, asked: &Spender<'_>) -> bool {
    let (named, bare) = parts(model);
    match parts(pattern) {
        (None, pattern) => matches(pattern, bare),
        (Some(place), pattern) => {
            let virtual_key = asked.virtual_key.map(|key| key.slug.as_str());
            let mut places = [named, virtual_key, Some(asked.provider)].into_iter().flatten();
            places.any(|found| matches(place, found)) && matches(pattern, bare)
        }
    }
}

/// The place and the rest of `@place/model`.
fn parts(model: &str) -> (Option<&str>, &str) {
    match model.strip_prefix('@').and_then(|rest| rest.split_once('/')) {
        Some((place, bare)) => (Some(place), bare),
        None => (None, model),
    }
}

/// The values of a condition, which are one or a list, as requests have them.
fn texts(path: &str, field: &Field, value: &Value, hint: &str) -> Result<Vec<String>, InvalidCap> {
    let listed = match value {
        Value::Array(all) if all.is_empty() => {
            return Err(InvalidCap::new(path, format!("the list is empty; {hint}")));
        }
        Value::Array(all) => {
            let each = all.iter().enumerate().map(|(n, one)| (format!("{path}[{n}]"), one));
            each.collect()
        }
        one => vec![(path.to_owned(), one)],
    };
    let read = |(path, one): (String, &Value)| match scalar(&path, one, hint)? {
        any if any == "*" => Ok(any),
        text => usual(field, text, &path),
    };
    listed.into_iter().map(read).collect()
}

/// A value as requests have it, where there are other spellings of it.
fn usual(field: &Field, value: String, path: &str) -> Result<String, InvalidCap> {
    match field {
        Field::EndpointType => {
            let alias = ENDPOINTS.iter().find(|(word, _)| *word == value).map(|(_, operation)| *operation);
            let found = alias.map_or_else(|| value.parse::<Operation>(), Ok);
            found.map(|operation| operation.to_string()).map_err(|err| InvalidCap::new(path, err.to_string()))
        }
        Field::VirtualKey | Field::Provider => {
            Ok(value.strip_prefix('@').map(str::to_owned).unwrap_or(value))
        }
        Field::Config => Ok(before_at(&value).to_owned()),
        _ => Ok(value),
    }
}

fn group(at: usize, value: &Value) -> Result<Field, InvalidCap> {
    let path = format!("group_by[{at}]");
    Field::read(&path, object(&path, value, &["key"], "{\"key\":\"metadata.team\"}")?)
}

fn scalar(path: &str, value: &Value, hint: &str) -> Result<String, InvalidCap> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(InvalidCap::new(path, format!("{} cannot be compared; {hint}", short(other)))),
    }
}

fn object<'a>(
    path: &str,
    value: &'a Value,
    known: &[&str],
    example: &str,
) -> Result<&'a Map<String, Value>, InvalidCap> {
    let fields = value.as_object().ok_or_else(|| {
        InvalidCap::new(path, format!("{} cannot be; write an object, as in `{example}`", short(value)))
    })?;
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(fields),
        Some(name) => {
            let message = format!("is unknown here; known fields: {}", known.join(", "));
            Err(InvalidCap::new(format!("{path}.{name}"), message))
        }
    }
}
