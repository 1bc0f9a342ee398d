//! Which rows are meant: query parameters as conditions on dimensions.

use std::collections::BTreeSet;

use domain::Slug;
use domain::spend::{Dimension, Selection};
use serde_json::Value;

use crate::body::suggest;
use crate::call::Call;
use crate::refusal::Refusal;

/// Dimensions that have a name of their own.
pub(super) const NAMED: &[&str] = &[
    "workspace",
    "api_key",
    "virtual_key",
    "provider",
    "model",
    "operation",
    "config",
    "user",
    "cache_status",
    "status",
    "hour",
    "day",
    "week",
    "month",
];

/// What stands before the key of the caller's metadata.
const METADATA: &str = "metadata.";

/// Reads the name of a dimension.
pub(super) fn dimension(param: &str, text: &str) -> Result<Dimension, Refusal> {
    text.trim().parse().map_err(|_| {
        let known = [NAMED, &["metadata.<key>"]].concat();
        let message = format!("`{param}`: nothing is booked by `{text}`; {}", suggest(text, &known));
        Refusal::invalid(param, message)
    })
}

/// Reads conditions that are named like dimensions, as in `provider=openai,groq` or `metadata.team=red`.
pub(super) fn by_dimension(call: &Call<'_>, select: &mut Selection) {
    for (name, text) in call.query.pairs() {
        let wanted = NAMED.contains(&name) || name.starts_with(METADATA);
        let dimension = if wanted { name.parse().ok() } else { None };
        if let Some(dimension) = dimension {
            put(select, dimension, list(text));
        }
    }
}

/// Reads conditions in Portkey's words.
pub(super) fn by_portkey(call: &Call<'_>, select: &mut Selection) -> Result<(), Refusal> {
    for (name, text) in call.query.pairs().filter(|(_, text)| !text.is_empty()) {
        match name {
            "status_code" => put(select, Dimension::Status, list(text)),
            "virtual_keys" => put(select, Dimension::VirtualKey, list(text)),
            "api_key_ids" => put(select, Dimension::ApiKey, list(text)),
            "configs" => put(select, Dimension::Config, configs(call, text)),
            "cache_status" => put(select, Dimension::CacheStatus, cache_status(text)?),
            "ai_org_model" => models(select, text)?,
            "metadata" => metadata(select, text)?,
            _ => {}
        }
    }
    Ok(())
}

/// Several conditions on one dimension are alternatives.
fn put(select: &mut Selection, dimension: Dimension, values: Vec<String>) {
    match select.filters.iter_mut().find(|(known, _)| *known == dimension) {
        Some((_, known)) => known.extend(values),
        None => select.filters.push((dimension, values)),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The books name a config with its version; without one, all versions are meant.
fn configs(call: &Call<'_>, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for name in list(text) {
        if let Ok(slug) = Slug::parse(&name) {
            let versions = call.policy.config_versions(&call.workspace, &slug);
            all.extend(versions.iter().map(|version| format!("{slug}@{}", version.version)));
        }
        all.push(name);
    }
    all
}

fn cache_status(text: &str) -> Result<Vec<String>, Refusal> {
    let read = |word: String| match word.to_ascii_lowercase().replace([' ', '-'], "_").as_str() {
        "hit" | "cache_hit" => Ok("hit".to_owned()),
        "semantic_hit" | "cache_semantic_hit" => Ok("semantic_hit".to_owned()),
        "miss" | "cache_miss" => Ok("miss".to_owned()),
        "semantic_miss" | "cache_semantic_miss" => Ok("semantic_miss".to_owned()),
        "refresh" | "refreshed" | "cache_refreshed" => Ok("refresh".to_owned()),
        _ => {
            let words = domain::cache::Status::ALL.map(|status| format!("`{}`", status.as_str())).join(", ");
            let message = format!("`cache_status`: `{word}` is not booked; write one of {words}");
            Err(Refusal::invalid("cache_status", message))
        }
    };
    list(text).into_iter().map(read).collect()
}

/// `openai__gpt-4o,openai__gpt-4o-mini`: providers and models, which have to be free to combine.
fn models(select: &mut Selection, text: &str) -> Result<(), Refusal> {
    const NAME: &str = "ai_org_model";
    let mut pairs = BTreeSet::new();
    for part in list(text) {
        let Some((provider, model)) = part.split_once("__") else {
            let message =
                format!("`{NAME}`: `{part}` has no `__`; write provider and model, as in openai__gpt-4o");
            return Err(Refusal::invalid(NAME, message));
        };
        pairs.insert((provider.to_owned(), model.to_owned()));
    }
    let providers: BTreeSet<&String> = pairs.iter().map(|(provider, _)| provider).collect();
    let models: BTreeSet<&String> = pairs.iter().map(|(_, model)| model).collect();
    if providers.len() * models.len() != pairs.len() {
        let message = format!(
            "`{NAME}`: these models are of different providers; ask for one provider at a time, or use \
             /v1/admin/analytics/spend with `group_by=provider,model`"
        );
        return Err(Refusal::invalid(NAME, message));
    }
    let owned = |all: BTreeSet<&String>| all.into_iter().cloned().collect::<Vec<String>>();
    let (providers, models) = (owned(providers), owned(models));
    put(select, Dimension::Provider, providers);
    put(select, Dimension::Model, models);
    Ok(())
}

/// `{"team": "red", "env": ["prod", "stage"]}`; what is no text is booked as JSON.
fn metadata(select: &mut Selection, text: &str) -> Result<(), Refusal> {
    let Ok(Value::Object(pairs)) = serde_json::from_str(text) else {
        let message = "`metadata`: write a JSON object, as in {\"team\": \"red\"}";
        return Err(Refusal::invalid("metadata", message));
    };
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (key, value) in pairs {
        let values = match &value {
            Value::Array(several) => several.iter().map(word).collect(),
            one => vec![word(one)],
        };
        put(select, Dimension::Metadata(key), values);
    }
    Ok(())
}
