//! From JSON to a checked config, with inheritance resolved on the way.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::options::names_its_provider;
use super::provider_options::{KEYS as PROVIDER_OPTIONS, OF_REQUESTS};
use super::read::{
    FORWARD_HEADERS, Parsed, Unit, array, boolean, duration, given, header_name, header_names, known_keys,
    object, text, texts, wrong,
};
use super::{
    Cache, Config, ConfigError, Group, HeaderOptions, Node, OnLimit, Strategy, Target, Unsupported, cache,
    choose, needs, params, retry, strategy,
};
use crate::breaker;
use crate::operation::UnknownWord;

/// Keys that mean something in this version.
const KNOWN: &[&str] = &[
    "strategy",
    "targets",
    "name",
    "weight",
    "provider",
    "choose",
    "passthrough",
    "api_key",
    "virtual_key",
    "default_params",
    "override_params",
    "drop_params",
    "retry",
    "cache",
    "request_timeout",
    "custom_host",
    "forward_headers",
    "strict_open_ai_compliance",
    "unsupported_params",
    "on_limit",
    "openai_organization",
    "openai_project",
];

/// Keys of Portkey's schema that this version does not offer.
const LATER: &[&str] = &[
    "input_guardrails",
    "output_guardrails",
    "guardrails",
    "before_request_hooks",
    "after_request_hooks",
    "input_mutators",
    "output_mutators",
    "prompt_id",
    "fetch_integrated_models",
    "default_input_guardrails",
    "default_output_guardrails",
];

/// Keys that say which provider and account a target is.
const TARGET_ONLY: &[&str] =
    &["provider", "choose", "passthrough", "api_key", "virtual_key", "openai_organization", "openai_project"];

/// Portkey's answer to configs of its first version.
pub const LEGACY: &str =
    "This version of config is not supported in this route. Please migrate to the latest version";

/// Heaviest weight; keeps sums finite.
const MOST_WEIGHT: f64 = 1e9;

/// Milliseconds that `request_timeout` may be: fewer were meant as seconds.
pub(super) const TIMEOUTS: (u64, u64) = (100, u64::MAX);

/// Most targets in the outermost group, there if it is conditional, and in a nested one.
const MOST_TARGETS: (usize, usize, usize) = (100, 1000, 50);

/// Deepest nesting.
const MOST_DEPTH: usize = 10;

/// What a node gets from those above it.
#[derive(Clone, Default)]
struct Inherited {
    default_params: Map<String, Value>,
    override_params: Map<String, Value>,
    drop_params: Vec<params::Path>,
    retry: Option<retry::Policy>,
    cache: Option<Cache>,
    breaker: Option<breaker::Policy>,
    request_timeout: Option<Duration>,
    custom_host: Option<String>,
    forward_headers: Vec<String>,
    strict: Option<bool>,
    unsupported: Option<Unsupported>,
    on_limit: Option<OnLimit>,
}

pub(super) fn config(document: &Value, headers: &HeaderOptions) -> Parsed<Config> {
    headers.forward_headers.iter().flatten().try_for_each(|name| header_name(name, FORWARD_HEADERS))?;
    if ["options", "mode"].iter().any(|key| document.get(key).is_some()) {
        return Err(ConfigError::new("config", LEGACY));
    }
    let root = Reader { headers }.node(document, "config", &Inherited::default(), 0)?;
    Ok(Config { needs: needs::of(&root), root })
}

struct Reader<'h> {
    headers: &'h HeaderOptions,
}

impl Reader<'_> {
    fn node(&self, value: &Value, path: &str, above: &Inherited, depth: usize) -> Parsed<Node> {
        let map = object(value, path)?;
        if depth > MOST_DEPTH {
            let message = format!("targets are nested deeper than {MOST_DEPTH} levels");
            return Err(ConfigError::new(path, message));
        }
        known_keys(map, path, &[KNOWN, PROVIDER_OPTIONS], LATER)?;
        let inherited = self.inherit(map, path, above)?;
        match (given(map, "strategy"), given(map, "targets")) {
            (None, None) => self.target(map, path, inherited, depth).map(|t| Node::Target(Box::new(t))),
            (None, Some(_)) => {
                let message = "`targets` without `strategy`: add `\"strategy\": {\"mode\": \"fallback\"}`";
                Err(ConfigError::new(path, message))
            }
            (Some(_), None) => Err(ConfigError::new(
                path,
                "`strategy` without `targets`: add `\"targets\": [{\"provider\": \"…\"}]`",
            )),
            (Some(strategy), Some(targets)) => {
                self.group(map, path, inherited, (strategy, targets), depth).map(Node::Group)
            }
        }
    }

    fn group(
        &self,
        map: &Map<String, Value>,
        path: &str,
        mut inherited: Inherited,
        (strategy, targets): (&Value, &Value),
        depth: usize,
    ) -> Parsed<Group> {
        let mut target_only = TARGET_ONLY.iter().chain(PROVIDER_OPTIONS);
        if let Some(key) = target_only.find(|key| given(map, key).is_some()) {
            let message = "belongs to a target, not to a group; move it into `targets`";
            return Err(ConfigError::new(format!("{path}.{key}"), message));
        }
        let place = format!("{path}.strategy");
        let parts = strategy::parse(strategy, &place)?;
        let conditional = matches!(parts.strategy, strategy::Shape::Conditional { .. });
        // What is below a conditional group is another request's business each: no breaker goes through it.
        inherited.breaker = if conditional { None } else { parts.breaker.or(inherited.breaker) };
        let most = match (depth, conditional) {
            (0, false) => MOST_TARGETS.0,
            (0, true) => MOST_TARGETS.1,
            _ => MOST_TARGETS.2,
        };
        let targets = self.targets(targets, path, &inherited, depth, most)?;
        let strategy = parts.strategy.complete(&targets, &place)?;
        let balances = matches!(strategy, Strategy::LoadBalance { .. });
        if balances && targets.iter().map(Node::weight).sum::<f64>() <= 0.0 {
            let message =
                "all weights are 0, so no target would ever be chosen; give one a positive `weight`";
            return Err(ConfigError::new(format!("{path}.targets"), message));
        }
        Ok(Group {
            path: path.to_owned(),
            name: text(map, path, "name")?,
            weight: weight(map, path)?,
            strategy,
            time_budget: parts.time_budget,
            breaker: inherited.breaker,
            targets,
        })
    }

    fn targets(
        &self,
        value: &Value,
        path: &str,
        above: &Inherited,
        depth: usize,
        most: usize,
    ) -> Parsed<Vec<Node>> {
        let place = format!("{path}.targets");
        let items = array(value, &place, "an array of targets")?;
        if items.is_empty() {
            let message = "is empty; name at least one target, as in `[{\"provider\": \"openai\"}]`";
            return Err(ConfigError::new(place, message));
        }
        if items.len() > most {
            let message = format!("has {} targets; at most {most} are allowed here", items.len());
            return Err(ConfigError::new(place, message));
        }
        let mut names = HashSet::new();
        let one = |(i, item): (usize, &Value)| {
            let node = self.node(item, &format!("{place}[{i}]"), above, depth + 1)?;
            if let Some(name) = node.name().filter(|name| !names.insert((*name).to_owned())) {
                let message = format!("`{name}` is the name of another target here; give each its own");
                return Err(ConfigError::new(format!("{place}[{i}].name"), message));
            }
            Ok(node)
        };
        items.iter().enumerate().map(one).collect()
    }

    /// A node's own settings over those above it.
    fn inherit(&self, map: &Map<String, Value>, path: &str, above: &Inherited) -> Parsed<Inherited> {
        let mut own = above.clone();
        let place = |key: &str| format!("{path}.{key}");
        for (key, params) in
            [("default_params", &mut own.default_params), ("override_params", &mut own.override_params)]
        {
            if let Some(value) = given(map, key) {
                params.extend(object(value, &place(key))?.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        if let Some(value) = given(map, "drop_params") {
            for (i, path) in texts(value, &place("drop_params"), "an array of paths")?.into_iter().enumerate()
            {
                let path: params::Path = path.parse().map_err(|err: params::InvalidPath| {
                    ConfigError::new(format!("{}[{i}]", place("drop_params")), err.to_string())
                })?;
                if !own.drop_params.contains(&path) {
                    own.drop_params.push(path);
                }
            }
        }
        if let Some(value) = given(map, "retry") {
            own.retry = Some(retry::parse(value, &place("retry"), self.headers.profile)?);
        }
        if let Some(value) = given(map, "cache") {
            own.cache = Some(cache::parse(value, &place("cache"))?);
        }
        if let Some(value) = given(map, "request_timeout") {
            let timeout = duration(value, &place("request_timeout"), Unit::Milliseconds, TIMEOUTS)?;
            own.request_timeout = Some(timeout);
        }
        if let Some(host) = text(map, path, "custom_host")? {
            own.custom_host = Some(host);
        }
        if let Some(value) = given(map, "forward_headers") {
            own.forward_headers = header_names(value, &place("forward_headers"))?;
        }
        own.strict = boolean(map, path, "strict_open_ai_compliance")?.or(own.strict);
        if let Some(word) = text(map, path, "unsupported_params")? {
            let unknown = |err: UnknownWord| ConfigError::new(place("unsupported_params"), err.to_string());
            own.unsupported = Some(word.parse().map_err(unknown)?);
        }
        if let Some(word) = text(map, path, "on_limit")? {
            let unknown = |err: UnknownWord| ConfigError::new(place("on_limit"), err.to_string());
            own.on_limit = Some(word.parse().map_err(unknown)?);
        }
        Ok(own)
    }

    fn target(&self, map: &Map<String, Value>, path: &str, own: Inherited, depth: usize) -> Parsed<Target> {
        let headers = self.headers;
        let legacy_retries = headers.retry_count.unwrap_or(0);
        let retry = own.retry.unwrap_or_else(|| retry::Policy::of(legacy_retries, headers.profile));
        let mut target = Target {
            path: path.to_owned(),
            name: text(map, path, "name")?,
            weight: weight(map, path)?,
            api_key: text(map, path, "api_key")?,
            custom_host: headers.custom_host.clone().or(own.custom_host),
            default_params: own.default_params,
            override_params: own.override_params,
            drop_params: own.drop_params,
            retry,
            cache: own.cache,
            breaker: own.breaker,
            request_timeout: headers.request_timeout.or(own.request_timeout),
            forward_headers: headers.forward_headers.clone().unwrap_or(own.forward_headers),
            // The header can loosen what the config says and not tighten it, as in Portkey.
            strict_open_ai_compliance: headers.strict_open_ai_compliance.unwrap_or(true)
                && own.strict.unwrap_or(true),
            unsupported_params: own.unsupported.unwrap_or_default(),
            on_limit: own.on_limit.unwrap_or_default(),
            openai_organization: text(map, path, "openai_organization")?,
            openai_project: text(map, path, "openai_project")?,
            provider_options: provider_options(map),
            ..Target::default()
        };
        match given(map, "choose") {
            Some(wanted) => {
                alone(map, path)?;
                target.choose = Some(choose::parse(wanted, &format!("{path}.choose"))?);
                if target.custom_host.is_some() {
                    let message = "the provider is chosen with the model, so no `custom_host` can apply; move it to \
                                   the targets that it is for";
                    return Err(ConfigError::new(format!("{path}.choose"), message));
                }
                // The model is not known yet.
                target.override_params.shift_remove("model");
                target.default_params.shift_remove("model");
            }
            None => self.name_provider(&mut target, map, depth)?,
        }
        Ok(target)
    }

    /// Finds out who a target is: by its virtual key, else its provider, else as the request says, else by its model.
    fn name_provider(&self, target: &mut Target, map: &Map<String, Value>, depth: usize) -> Parsed<()> {
        let path = target.path.clone();
        let passthrough = boolean(map, &path, "passthrough")?.unwrap_or(false);
        // Where both are given, the provider is the dialect and the virtual key names the account.
        let named = text(map, &path, "virtual_key")?.or(text(map, &path, "provider")?);
        if passthrough && named.is_some() {
            let message = "the caller names the provider of a passthrough target; remove `passthrough`, or the provider";
            return Err(ConfigError::new(format!("{path}.passthrough"), message));
        }
        let open = named.is_none() && (depth == 0 || passthrough);
        let by_header = self.headers.provider.clone().filter(|_| open);
        if by_header.is_some() && target.api_key.is_none() {
            target.api_key = self.headers.api_key.clone();
        }
        for (key, value) in &self.headers.provider_options {
            if by_header.is_some() || OF_REQUESTS.contains(&key.as_str()) {
                target.provider_options.entry(key).or_insert_with(|| value.clone());
            }
        }
        let body_model = self.headers.model.as_deref().and_then(names_its_provider);
        let own_model =
            target.override_params.get("model").and_then(Value::as_str).and_then(names_its_provider);
        // Taken apart before the target is changed.
        let body_model = body_model.filter(|_| !target.override_params.contains_key("model"));
        let owned = |(slug, model): (&str, &str)| (slug.to_owned(), model.to_owned());
        let prefix = own_model.or(body_model).map(owned);
        let by_model = own_model.or(body_model.filter(|_| open)).map(|(slug, _)| slug.to_owned());
        let provider = named.or(by_header).or(by_model).map(|p| p.trim_start_matches('@').to_owned());
        target.provider = provider.filter(|p| !p.is_empty()).ok_or_else(|| {
            let message = match (passthrough, depth) {
                (true, _) => {
                    "is for the caller to name: send the header `x-portkey-provider`, or a model such as \
                              `@openai/gpt-4o`"
                }
                (_, 0) => {
                    "is missing; name a provider, as in `\"provider\": \"openai\"`, or send the header \
                           `x-portkey-provider`"
                }
                _ => "is missing; name a provider, as in `\"provider\": \"openai\"`",
            };
            ConfigError::new(format!("{path}.provider"), message)
        })?;
        // The prefix has done its work, or says what is known already.
        if let Some((_, model)) = prefix.filter(|(slug, _)| *slug == target.provider) {
            target.override_params.insert("model".to_owned(), model.into());
        }
        Ok(())
    }
}

/// A target whose model is chosen names neither provider nor model nor anything that goes with them.
fn alone(map: &Map<String, Value>, path: &str) -> Parsed<()> {
    let mut others =
        ["provider", "virtual_key", "api_key", "passthrough", "custom_host"].iter().chain(PROVIDER_OPTIONS);
    if let Some(key) = others.find(|key| given(map, key).is_some()) {
        let message = "the provider is chosen with the model; remove this, or `choose`, or name providers in `choose.from`";
        return Err(ConfigError::new(format!("{path}.{key}"), message));
    }
    for key in ["override_params", "default_params"] {
        if map.get(key).is_some_and(|params| params.get("model").is_some()) {
            let message = "the model is chosen; remove it, or `choose`";
            return Err(ConfigError::new(format!("{path}.{key}.model"), message));
        }
    }
    Ok(())
}

fn provider_options(map: &Map<String, Value>) -> Map<String, Value> {
    let wanted =
        |(key, value): &(&String, &Value)| PROVIDER_OPTIONS.contains(&key.as_str()) && !value.is_null();
    map.iter().filter(wanted).map(|(key, value)| (key.clone(), value.clone())).collect()
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
