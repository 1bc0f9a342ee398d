//! Models chosen from a catalogue, and targets chosen by cost.

use serde_json::json;

use super::*;
use crate::Decision;
use crate::health::Standing;
use crate::model::{Capability, ModelInfo, PicoUsd, Price};

struct Catalogue(Vec<ModelInfo>);

impl Models for Catalogue {
    fn find(&self, provider: &str, model: &str) -> Option<&ModelInfo> {
        self.0.iter().find(|m| m.provider == provider && m.name == model)
    }

    fn all(&self) -> Box<dyn Iterator<Item = &ModelInfo> + '_> {
        Box::new(self.0.iter())
    }
}

/// A chat model; prices in USD per million tokens.
fn chat(provider: &str, name: &str, price: Option<(u64, u64)>, more: &[Capability]) -> ModelInfo {
    let usd = |(input, output)| Price {
        input: PicoUsd(input * 1_000_000),
        output: PicoUsd(output * 1_000_000),
        ..Price::default()
    };
    ModelInfo {
        provider: provider.to_owned(),
        name: name.to_owned(),
        context_window: Some(8000),
        capabilities: more.iter().copied().chain([Capability::Chat]).collect(),
        price: price.map(usd),
        ..ModelInfo::default()
    }
}

fn catalogue() -> Catalogue {
    let tools = [Capability::Tools];
    let embedder =
        ModelInfo { capabilities: [Capability::Embeddings].into(), ..chat("a", "embed", Some((0, 0)), &[]) };
    Catalogue(vec![
        chat("a", "large", Some((10, 30)), &tools),
        chat("a", "small", Some((1, 2)), &tools),
        chat("b", "org/medium", Some((2, 4)), &tools),
        chat("b", "plain", Some((1, 1)), &[]),
        chat("c", "secret-price", None, &tools),
        chat("d", "cheapest", Some((0, 1)), &tools),
        embedder,
    ])
}

/// Provider `b` answers fast, `a` slowly; nothing is known of the others.
struct Speeds(Availability);

impl Health for Speeds {
    fn standing(&self, target: &Target) -> Standing {
        let latency_ms = match target.provider.as_str() {
            "a" => Some(900.0),
            "b" => Some(100.0),
            _ => None,
        };
        let availability = if target.provider == "d" { self.0 } else { Availability::Closed };
        Standing { availability, latency_ms, in_flight: None }
    }
}

fn decide<'a>(config: &'a Config, history: &[Attempt], operation: Operation, bytes: usize) -> Decision<'a> {
    let facts = RequestFacts { operation, body_bytes: bytes, ..facts() };
    let view = View { models: &catalogue(), health: &Speeds(Availability::Open), ..view() };
    super::super::next(config, &facts, history, &view)
}

/// The models in the order in which they are tried if each fails.
fn order(choose: serde_json::Value) -> Vec<String> {
    order_for(choose, Operation::Chat, 0)
}

fn order_for(choose: serde_json::Value, operation: Operation, bytes: usize) -> Vec<String> {
    let config = config(&json!({"choose": choose}).to_string());
    let (mut history, mut models) = (Vec::new(), Vec::new());
    while let Next::Call { target, after } = decide(&config, &history, operation, bytes).next {
        assert_eq!((after, target.choose.is_none()), (Duration::ZERO, true));
        let model = target.override_params["model"].as_str().unwrap().to_owned();
        assert_eq!(target.path, format!("config#{}/{model}", target.provider));
        let mut failed = tried(&[(target.path.as_str(), 500)]);
        failed[0].number = u32::try_from(history.len()).unwrap() + 1;
        history.append(&mut failed);
        models.push(format!("{}/{model}", target.provider));
        assert!(history.len() <= config.max_attempts() as usize);
    }
    models
}

#[test]
fn the_cheapest_fit_model_comes_first_and_the_others_follow_when_it_fails() {
    assert_eq!(
        order(json!({"requires": ["tools"]})),
        ["d/cheapest", "a/small", "b/org/medium", "a/large", "c/secret-price"]
    );
    assert_eq!(
        order(json!({"requires": ["tools"], "from": ["@a", "c"]})),
        ["a/small", "a/large", "c/secret-price"]
    );
    assert_eq!(
        order(json!({"requires": ["tools"], "max_price": {"input": 1.5, "output": 3}})),
        ["d/cheapest", "a/small"]
    );
    assert_eq!(order(json!({"requires": ["vision"]})), [""; 0]);
    assert_eq!(order(json!({})).len(), 5, "at most five of the six are tried");
}

#[test]
fn latency_can_be_preferred_and_bounded() {
    assert_eq!(
        order(json!({"requires": ["tools"], "prefer": "latency"})),
        ["b/org/medium", "a/small", "a/large", "d/cheapest", "c/secret-price"]
    );
    assert_eq!(
        order(json!({"requires": ["tools"], "max_latency": "500ms"})),
        ["d/cheapest", "b/org/medium", "c/secret-price"]
    );
}

#[test]
fn a_model_has_to_answer_the_operation_and_to_read_the_prompt() {
    assert_eq!(order_for(json!({}), Operation::Embeddings, 0), ["a/embed"]);
    assert_eq!(order_for(json!({}), Operation::Completions, 0), [""; 0]);
    assert_eq!(order_for(json!({}), Operation::Chat, 4 * 8001), [""; 0]);
}

#[test]
fn the_history_tells_which_models_were_tried_whatever_the_catalogue_says_now() {
    let config = config(r#"{"choose":{"requires":["tools"],"from":["a"]},"retry":{"attempts":1}}"#);
    let shown = |history: &[(&str, u16)]| {
        let decision = decide(&config, &tried(history), Operation::Chat, 0);
        (show(&decision.next), decision.why.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(shown(&[("config#a/small", 500)]).0, "call config#a/small after 1000 ms");
    let gone = ("config#z/gone", 400);
    let (next, why) = shown(&[gone]);
    assert_eq!(next, "call config#a/small after 0 ms");
    assert_eq!(
        why,
        [
            "fallback: 400 of config#z/gone is no success",
            "choose: a/small, first of 2 fit models, estimated at 0.001000000 USD"
        ]
    );
    assert_eq!(shown(&[gone, ("config#a/small", 200)]).0, "answer 1");
    assert_eq!(shown(&[gone, ("config#a/small", 400), ("config#a/large", 400)]).0, "answer 2");
    let attempts = tried(&[gone, ("config#a/small", 500), ("config#a/small", 200)]);
    assert_eq!(retry_count(&config, &attempts, 2), 1);
}

#[test]
fn a_choice_inside_a_fallback_leads_on_when_its_models_are_used_up() {
    let json = r#"{"strategy":{"mode":"fallback"},"targets":[{"choose":{"from":["c"]}},{"provider":"z"}]}"#;
    let parsed = config(json);
    let shown = |history: &[(&str, u16)]| show(&decide(&parsed, &tried(history), Operation::Chat, 0).next);
    assert_eq!(shown(&[]), "call config.targets[0]#c/secret-price after 0 ms");
    assert_eq!(shown(&[("config.targets[0]#c/secret-price", 500)]), "call config.targets[1] after 0 ms");
    assert_eq!(shown(&[("config.targets[0]#c/secret-price", 200)]), "answer 0");
    let nothing_fit = config(r#"{"choose":{"from":["nobody"]}}"#);
    assert_eq!(decide(&nothing_fit, &[], Operation::Chat, 0).next, Next::GiveUp(Refusal::NoTarget));
}

#[test]
fn models_of_open_providers_are_left_out_while_there_are_others() {
    let guarded = |from: &str| {
        config(&format!(
            r#"{{"strategy":{{"mode":"single","cb_config":{{"failure_threshold":1,"cooldown_interval":30000}}}},
                "targets":[{{"choose":{{"requires":["tools"],"from":[{from}]}}}}]}}"#
        ))
    };
    let first = |config: &Config| show(&decide(config, &[], Operation::Chat, 0).next);
    assert_eq!(first(&guarded(r#""a","d""#)), "call config.targets[0]#a/small after 0 ms");
    assert_eq!(first(&guarded(r#""d""#)), "call config.targets[0]#d/cheapest after 0 ms");
}

#[test]
fn least_cost_goes_by_the_model_that_each_target_would_use() {
    let config = config(
        r#"{"strategy":{"mode":"least_cost"},"targets":[
            {"provider":"a","override_params":{"model":"large"}},
            {"provider":"b","default_params":{"model":"plain"}},
            {"provider":"a"},
            {"provider":"c","override_params":{"model":"secret-price"}}]}"#,
    );
    assert!(config.needs_body());
    let cheapest = |model: Option<&str>, body: serde_json::Value| {
        let facts = RequestFacts { model, params: Some(&body), body_bytes: 4000, ..facts() };
        let view = View { models: &catalogue(), ..view() };
        show(&super::super::next(&config, &facts, &[], &view).next)
    };
    assert_eq!(cheapest(Some("small"), json!({})), "call config.targets[2] after 0 ms");
    assert_eq!(cheapest(Some("large"), json!({})), cheapest(Some("large"), json!({"max_tokens": 9})));
    assert_eq!(cheapest(None, json!({})), "call config.targets[1] after 0 ms");
}
