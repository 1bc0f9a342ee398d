//! From a config to the document that it can be read from again.

use serde_json::{Map, Value, json};

use super::read::{Unit, print_duration};
use super::{Group, Node, OnLimit, Target, Unsupported, cache, choose, parse, retry, strategy};

pub(super) fn node(node: &Node) -> Value {
    match node {
        Node::Target(target) => self::target(target),
        Node::Group(group) => self::group(group),
    }
}

fn group(group: &Group) -> Value {
    let mut map = Map::new();
    common(&mut map, group.name.as_deref(), group.weight);
    map.insert("strategy".to_owned(), strategy::print(group));
    map.insert("targets".to_owned(), group.targets.iter().map(node).collect());
    Value::Object(map)
}

fn common(map: &mut Map<String, Value>, name: Option<&str>, weight: f64) {
    if let Some(name) = name {
        map.insert("name".to_owned(), name.into());
    }
    if weight != 1.0 {
        let whole = weight.fract() == 0.0;
        map.insert("weight".to_owned(), if whole { (weight as u64).into() } else { weight.into() });
    }
}

fn target(target: &Target) -> Value {
    let mut map = Map::new();
    common(&mut map, target.name.as_deref(), target.weight);
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let params = |map: &Map<String, Value>| (!map.is_empty()).then(|| Value::Object(map.clone()));
    match &target.choose {
        Some(wanted) => put("choose", Some(choose::print(wanted))),
        None => put("provider", Some(target.provider.as_str().into())),
    }
    put("api_key", text(&target.api_key));
    put("custom_host", text(&target.custom_host));
    put("default_params", params(&target.default_params));
    put("override_params", params(&target.override_params));
    put("drop_params", (!target.drop_params.is_empty()).then(|| json!(target.drop_params)));
    put("retry", (target.retry != retry::Policy::default()).then(|| retry::print(&target.retry)));
    put("cache", target.cache.as_ref().map(cache::print));
    let ms = |timeout| print_duration(timeout, Unit::Milliseconds, parse::TIMEOUTS);
    put("request_timeout", target.request_timeout.map(ms));
    put("forward_headers", (!target.forward_headers.is_empty()).then(|| json!(target.forward_headers)));
    put("strict_open_ai_compliance", (!target.strict_open_ai_compliance).then_some(false.into()));
    let unsupported = target.unsupported_params;
    put("unsupported_params", (unsupported != Unsupported::Drop).then(|| unsupported.as_str().into()));
    put("on_limit", (target.on_limit != OnLimit::Usual).then(|| target.on_limit.as_str().into()));
    put("openai_organization", text(&target.openai_organization));
    put("openai_project", text(&target.openai_project));
    for (key, value) in &target.provider_options {
        put(key, Some(value.clone()));
    }
    Value::Object(map)
}
