//! From JSON to a checked config, with inheritance resolved on the way.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Config, ConfigError, Group, HeaderOptions, Node, Strategy, Target, retry};
use crate::time::parse_duration;

/// Keys that mean something in this version.
const KNOWN: &[&str] = &[
    "strategy",
    "targets",
    "name",
    "weight",
    "provider",
    "api_key",
    "virtual_key",
    "override_params",
    "retry",
    "request_timeout",
    "custom_host",
    "forward_headers",
    "strict_open_ai_compliance",
    "openai_organization",
    "openai_project",
];

/// Keys of Portkey's schema that this version does not offer.
const LATER: &[&str] = &[
    "cache",
    "input_guardrails",
    "output_guardrails",
    "guardrails",
    "before_request_hooks",
    "after_request_hooks",
    "input_mutators",
    "output_mutators",
    "prompt_id",
    "passthrough",
    "fetch_integrated_models",
    "default_params",
    "drop_params",
    "deployments",
    "resource_name",
    "deployment_id",
    "api_version",
    "cb_config",
    "default_input_guardrails",
    "default_output_guardrails",
];

/// Beginnings of the keys that configure providers of other dialects.
const LATER_PREFIXES: &[&str] = &[
    "amz_",
    "amzn_",
    "anthropic_",
    "aws_",
    "azure_",
    "databricks_",
    "fireworks_",
    "huggingface_",
    "mistral_",
    "oracle_",
    "snowflake_",
    "stability_",
    "vertex_",
    "workers_ai_",
];

/// Keys that say which provider and account a target is.
const TARGET_ONLY: &[&str] = &["provider", "api_key", "virtual_key", "openai_organization", "openai_project"];

/// The header that would forward itself.
const FORWARD_HEADERS: &str = "x-portkey-forward-headers";

/// Heaviest weight; keeps sums finite.
const MOST_WEIGHT: f64 = 1e9;

const LATER_STRATEGY: &[&str] = &["conditions", "default", "sticky", "cb_config"];

/// Most targets in the outermost group, and in a nested one.
const MOST_TARGETS: (usize, usize) = (100, 50);

/// Deepest nesting.
const MOST_DEPTH: usize = 10;

type Parsed<T> = Result<T, ConfigError>;

/// What a node gets from those above it.
#[derive(Clone, Default)]
struct Inherited {
    override_params: Map<String, Value>,
    retry: Option<retry::Policy>,
    request_timeout: Option<Duration>,
    custom_host: Option<String>,
    forward_headers: Vec<String>,
    strict: Option<bool>,
}

pub(super) fn config(document: &Value, headers: &HeaderOptions) -> Parsed<Config> {
    headers.forward_headers.iter().flatten().try_for_each(|name| header_name(name, FORWARD_HEADERS))?;
    let root = node(document, "config", &Inherited::default(), headers, 0)?;
    Ok(Config { root })
}

fn node(value: &Value, path: &str, above: &Inherited, headers: &HeaderOptions, depth: usize) -> Parsed<Node> {
    let map = object(value, path)?;
    if depth > MOST_DEPTH {
        return Err(ConfigError::new(path, format!("targets are nested deeper than {MOST_DEPTH} levels")));
    }
    known_keys(map, path, KNOWN, LATER)?;
    let inherited = inherit(map, path, above)?;
    let weight = weight(map, path)?;
    match (given(map, "strategy"), given(map, "targets")) {
        (None, None) => {
            target(map, path, weight, &inherited, headers, depth).map(|t| Node::Target(Box::new(t)))
        }
        (None, Some(_)) => {
            let message = "`targets` without `strategy`: add `\"strategy\": {\"mode\": \"fallback\"}`";
            Err(ConfigError::new(path, message))
        }
        (Some(_), None) => Err(ConfigError::new(
            path,
            "`strategy` without `targets`: add `\"targets\": [{\"provider\": \"…\"}]`",
        )),
        (Some(strategy), Some(targets)) => {
            if let Some(key) = TARGET_ONLY.iter().find(|key| given(map, key).is_some()) {
                let message = "belongs to a target, not to a group; move it into `targets`";
                return Err(ConfigError::new(format!("{path}.{key}"), message));
            }
            let strategy = self::strategy(strategy, &format!("{path}.strategy"))?;
            let targets = self::targets(targets, path, &inherited, headers, depth)?;
            if strategy == Strategy::LoadBalance && targets.iter().map(Node::weight).sum::<f64>() <= 0.0 {
                let message =
                    "all weights are 0, so no target would ever be chosen; give one a positive `weight`";
                return Err(ConfigError::new(format!("{path}.targets"), message));
            }
            Ok(Node::Group(Group { path: path.to_owned(), weight, strategy, targets }))
        }
    }
}

fn targets(
    value: &Value,
    path: &str,
    above: &Inherited,
    headers: &HeaderOptions,
    depth: usize,
) -> Parsed<Vec<Node>> {
    let place = format!("{path}.targets");
    let Value::Array(items) = value else {
        return Err(ConfigError::new(place, format!("is {}; it must be an array of targets", kind(value))));
    };
    let most = if depth == 0 { MOST_TARGETS.0 } else { MOST_TARGETS.1 };
    if items.is_empty() {
        return Err(ConfigError::new(
            place,
            "is empty; name at least one target, as in `[{\"provider\": \"openai\"}]`",
        ));
    }
    if items.len() > most {
        return Err(ConfigError::new(
            place,
            format!("has {} targets; at most {most} are allowed here", items.len()),
        ));
    }
    items
        .iter()
        .enumerate()
        .map(|(i, item)| node(item, &format!("{place}[{i}]"), above, headers, depth + 1))
        .collect()
}

fn strategy(value: &Value, path: &str) -> Parsed<Strategy> {
    let map = object(value, path)?;
    known_keys(map, path, &["mode", "on_status_codes"], LATER_STRATEGY)?;
    let mode = map.get("mode").and_then(Value::as_str).unwrap_or_default();
    let codes = given(map, "on_status_codes")
        .map(|v| status_codes(v, &format!("{path}.on_status_codes")))
        .transpose()?;
    match mode {
        "fallback" => Ok(Strategy::Fallback { on_status_codes: codes }),
        _ if codes.is_some() => {
            let message = "belongs to the strategy `fallback`; remove it or change `mode`";
            Err(ConfigError::new(format!("{path}.on_status_codes"), message))
        }
        "single" => Ok(Strategy::Single),
        "loadbalance" => Ok(Strategy::LoadBalance),
        "conditional" => Err(later(&format!("{path}.mode"), "the strategy `conditional`")),
        other => {
            let message = format!("`{other}` is no strategy: use `single`, `fallback` or `loadbalance`");
            Err(ConfigError::new(format!("{path}.mode"), message))
        }
    }
}

fn target(
    map: &Map<String, Value>,
    path: &str,
    weight: f64,
    inherited: &Inherited,
    headers: &HeaderOptions,
    depth: usize,
) -> Parsed<Target> {
    // Where both are given, the provider is the dialect and the virtual key names the account.
    let provider = text(map, path, "provider")?;
    let named = text(map, path, "virtual_key")?.or(provider);
    let mut override_params = inherited.override_params.clone();
    let api_key = text(map, path, "api_key")?;
    // Headers fill a document that names nobody.
    let (provider, api_key) = match (named, depth) {
        (None, 0) if headers.provider.is_some() => {
            (headers.provider.clone(), api_key.or_else(|| headers.api_key.clone()))
        }
        (None, _) => (provider_of_model(&mut override_params), api_key),
        (named, _) => (named, api_key),
    };
    let provider = provider.filter(|p| !p.trim_start_matches('@').is_empty()).ok_or_else(|| {
        let header = if depth == 0 { ", or send the header `x-portkey-provider`" } else { "" };
        let message = format!("is missing; name a provider, as in `\"provider\": \"openai\"`{header}");
        ConfigError::new(format!("{path}.provider"), message)
    })?;
    let legacy_retries =
        headers.retry_count.map(|n| retry::Policy { attempts: n.min(retry::MAX), ..Default::default() });
    Ok(Target {
        path: path.to_owned(),
        name: text(map, path, "name")?,
        weight,
        provider: provider.trim_start_matches('@').to_owned(),
        api_key,
        custom_host: headers.custom_host.clone().or_else(|| inherited.custom_host.clone()),
        override_params,
        retry: inherited.retry.clone().or(legacy_retries).unwrap_or_default(),
        request_timeout: headers.request_timeout.or(inherited.request_timeout),
        breaker: None,
        forward_headers: headers.forward_headers.clone().unwrap_or_else(|| inherited.forward_headers.clone()),
        // The header can loosen what the config says and not tighten it, as in Portkey.
        strict_open_ai_compliance: headers.strict_open_ai_compliance.unwrap_or(true)
            && inherited.strict.unwrap_or(true),
        openai_organization: text(map, path, "openai_organization")?,
        openai_project: text(map, path, "openai_project")?,
    })
}

/// Takes `@slug/model` apart, leaves the model and returns the slug. `@cf/…` and `@hf/…` are names of models.
fn provider_of_model(params: &mut Map<String, Value>) -> Option<String> {
    let (slug, model) = params.get("model")?.as_str()?.strip_prefix('@')?.split_once('/')?;
    if matches!(slug, "cf" | "hf") || model.is_empty() {
        return None;
    }
    let (slug, model) = (slug.to_owned(), Value::from(model));
    params.insert("model".to_owned(), model);
    Some(slug)
}

/// A field that is null counts as absent.
fn given<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// A node's own settings over those above it.
fn inherit(map: &Map<String, Value>, path: &str, above: &Inherited) -> Parsed<Inherited> {
    let mut own = above.clone();
    if let Some(value) = given(map, "override_params") {
        let params = object(value, &format!("{path}.override_params"))?;
        own.override_params.extend(params.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    if let Some(value) = given(map, "retry") {
        own.retry = Some(retry(value, &format!("{path}.retry"))?);
    }
    if let Some(value) = given(map, "request_timeout") {
        own.request_timeout = Some(request_timeout(value, &format!("{path}.request_timeout"))?);
    }
    if let Some(host) = text(map, path, "custom_host")? {
        own.custom_host = Some(host);
    }
    if let Some(value) = given(map, "forward_headers") {
        own.forward_headers = forward_headers(value, &format!("{path}.forward_headers"))?;
    }
    if let Some(value) = given(map, "strict_open_ai_compliance") {
        let place = format!("{path}.strict_open_ai_compliance");
        own.strict = Some(value.as_bool().ok_or_else(|| wrong(&place, value, "true or false"))?);
    }
    Ok(own)
}

fn retry(value: &Value, path: &str) -> Parsed<retry::Policy> {
    let map = object(value, path)?;
    let known = ["attempts", "on_status_codes", "use_retry_after_header", "use_retry_after_headers"];
    known_keys(map, path, &known, &[])?;
    let place = format!("{path}.attempts");
    let attempts = match given(map, "attempts") {
        None => 0,
        Some(v) => v.as_u64().ok_or_else(|| wrong(&place, v, "a number of retries, 0 to 5"))?,
    };
    let codes = given(map, "on_status_codes")
        .map(|v| status_codes(v, &format!("{path}.on_status_codes")))
        .transpose()?;
    let mut use_retry_after = false;
    for key in &known[2..] {
        if let Some(v) = given(map, key) {
            use_retry_after |=
                v.as_bool().ok_or_else(|| wrong(&format!("{path}.{key}"), v, "true or false"))?;
        }
    }
    Ok(retry::Policy {
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX).min(retry::MAX),
        on_status_codes: codes.unwrap_or_else(|| retry::STATUSES.to_vec()),
        use_retry_after,
    })
}

fn request_timeout(value: &Value, path: &str) -> Parsed<Duration> {
    let duration = match value {
        Value::String(text) => parse_duration(text).map_err(|err| ConfigError::new(path, err.to_string()))?,
        Value::Number(n) => {
            let ms = n.as_u64().ok_or_else(|| wrong(path, value, "milliseconds"))?;
            if ms < 100 {
                let message =
                    format!("`{ms}` means {ms} milliseconds; write at least 100, or \"{ms}s\" for seconds");
                return Err(ConfigError::new(path, message));
            }
            Duration::from_millis(ms)
        }
        other => return Err(wrong(path, other, "milliseconds, or text such as \"20s\"")),
    };
    if duration.is_zero() {
        return Err(ConfigError::new(path, "no time at all; leave it out for no timeout"));
    }
    Ok(duration)
}

fn forward_headers(value: &Value, path: &str) -> Parsed<Vec<String>> {
    let expected = "an array of header names";
    let Value::Array(items) = value else { return Err(wrong(path, value, expected)) };
    let names: Option<Vec<String>> = items.iter().map(|i| i.as_str().map(str::to_ascii_lowercase)).collect();
    let names = names.ok_or_else(|| wrong(path, value, expected))?;
    names.iter().enumerate().try_for_each(|(i, name)| header_name(name, &format!("{path}[{i}]")))?;
    Ok(names)
}

fn header_name(name: &str, path: &str) -> Parsed<()> {
    if name.eq_ignore_ascii_case(FORWARD_HEADERS) {
        return Err(ConfigError::new(
            path,
            format!("`{FORWARD_HEADERS}` itself is not forwarded; leave it out"),
        ));
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(ConfigError::new(path, "is not the name of a header; write for example `x-tenant`"));
    }
    Ok(())
}

fn status_codes(value: &Value, path: &str) -> Parsed<Vec<u16>> {
    let Value::Array(items) = value else { return Err(wrong(path, value, "an array of status codes")) };
    let code = |(i, item): (usize, &Value)| {
        let code = item.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| (100..=599).contains(n));
        code.ok_or_else(|| wrong(&format!("{path}[{i}]"), item, "a status code from 100 to 599"))
    };
    items.iter().enumerate().map(code).collect()
}

fn weight(map: &Map<String, Value>, path: &str) -> Parsed<f64> {
    let place = format!("{path}.weight");
    match given(map, "weight") {
        None => Ok(1.0),
        Some(value) => match value.as_f64() {
            Some(weight) if (0.0..=MOST_WEIGHT).contains(&weight) => Ok(weight),
            _ => Err(wrong(&place, value, "a number that is not negative and at most 1000000000")),
        },
    }
}

fn text(map: &Map<String, Value>, path: &str, key: &str) -> Parsed<Option<String>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(&format!("{path}.{key}"), other, "a string")),
    }
}

fn object<'a>(value: &'a Value, path: &str) -> Parsed<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| wrong(path, value, "a JSON object"))
}

fn wrong(path: &str, value: &Value, expected: &str) -> ConfigError {
    // Text may be a secret in the wrong place, so that only numbers are shown.
    let message = match value {
        Value::Number(number) => format!("is {number}; write {expected}"),
        other => format!("is {}; write {expected}", kind(other)),
    };
    ConfigError::new(path, message)
}

fn later(path: &str, what: &str) -> ConfigError {
    ConfigError::new(path, format!("{what} is not offered by this version; remove it"))
}

fn known_keys(map: &Map<String, Value>, path: &str, known: &[&str], later_keys: &[&str]) -> Parsed<()> {
    let is_later = |key: &str| {
        let prefixed = || LATER_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        !later_keys.is_empty() && (later_keys.contains(&key) || prefixed())
    };
    for (key, value) in map {
        // Switching off what is not offered is no use of it.
        if known.contains(&key.as_str()) || (value.is_null() && is_later(key)) {
            continue;
        }
        let place = format!("{path}.{key}");
        if is_later(key) {
            return Err(later(&place, &format!("`{key}`")));
        }
        let snake = snake_case(key);
        let all = || known.iter().chain(later_keys);
        let suggestion = all().find(|k| **k == snake).or_else(|| {
            all()
                .filter(|k| strsim::damerau_levenshtein(k, &snake) <= 2)
                .min_by_key(|k| strsim::damerau_levenshtein(k, &snake))
        });
        let message = match suggestion {
            Some(suggestion) => format!("unknown key; did you mean `{suggestion}`?"),
            None => format!("unknown key; known here: {}", known.join(", ")),
        };
        return Err(ConfigError::new(place, message));
    }
    Ok(())
}

/// `overrideParams`, `override-params` and `OVERRIDE_PARAMS` as `override_params`.
pub(super) fn snake_case(key: &str) -> String {
    let mut out = String::new();
    let mut after_lower = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        out.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    out
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
