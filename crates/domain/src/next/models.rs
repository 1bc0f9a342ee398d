//! Models that are fit for a request, in the order in which they are tried, and what a request is likely to cost.

use std::collections::BTreeMap;

use serde_json::Value;

use super::choice::unknown_last;
use super::{Callee, View};
use crate::Operation;
use crate::config::choose::Prefer;
use crate::config::{Choose, Target};
use crate::facts::RequestFacts;
use crate::health::{Availability, Standing};
use crate::model::{Capability, ModelInfo, NanoUsd, estimate};
use crate::quota::{self, Need};

/// Tokens that an answer is taken to have if the request sets no limit.
const USUAL_OUTPUT: u64 = 500;

/// A model that is fit.
pub(super) struct Candidate<'v> {
    pub(super) info: &'v ModelInfo,
    pub(super) cost: Option<NanoUsd>,
    pub(super) standing: Standing,
    /// The provider's limits on the model leave no room.
    full: bool,
}

/// The models that are fit for a request, best first. Those whose provider's breaker is open or whose provider has
/// no room are left out, unless there are no others.
pub(super) fn rank<'v>(
    target: &Target,
    wanted: &Choose,
    facts: &RequestFacts<'_>,
    view: &View<'v>,
) -> Vec<Candidate<'v>> {
    let mut standings: BTreeMap<&str, (Target, Standing)> = BTreeMap::new();
    let mut fit: Vec<Candidate<'v>> = Vec::new();
    for info in view.models.all().filter(|info| is_fit(info, wanted, facts)) {
        let (there, standing) = standings.entry(&info.provider).or_insert_with(|| {
            let there = with_model(target, &info.provider, &info.name);
            let standing = view.health.standing(&there);
            (there, standing)
        });
        let too_slow = |most: &std::time::Duration| {
            standing.latency_ms.is_some_and(|ms| ms > crate::time::millis(*most) as f64)
        };
        if !wanted.max_latency.as_ref().is_some_and(too_slow) {
            let need = Need { model: Some(&info.name), ..Need::of(there, facts) };
            let full = view.health.full_until(there, &need).is_some_and(|until| until > view.now);
            fit.push(Candidate { info, cost: cost_of(info, facts), standing: *standing, full });
        }
    }
    let open = |c: &Candidate<'_>| target.breaker.is_some() && c.standing.availability == Availability::Open;
    if !fit.iter().all(open) {
        fit.retain(|c| !open(c));
    }
    if !fit.iter().all(|c| c.full) {
        fit.retain(|c| !c.full);
    }
    let price = |c: &Candidate<'_>| c.cost.map(|cost| cost.0 as f64);
    let latency = |c: &Candidate<'_>| c.standing.latency_ms;
    fit.sort_by(|a, b| match wanted.prefer {
        Prefer::Price => unknown_last(price(a), price(b)).then(unknown_last(latency(a), latency(b))),
        Prefer::Latency => unknown_last(latency(a), latency(b)).then(unknown_last(price(a), price(b))),
    });
    fit
}

fn is_fit(info: &ModelInfo, wanted: &Choose, facts: &RequestFacts<'_>) -> bool {
    let answers = match facts.operation {
        Operation::Chat | Operation::Messages | Operation::CountTokens | Operation::Responses => {
            Capability::Chat
        }
        Operation::Completions => Capability::Completions,
        Operation::Embeddings => Capability::Embeddings,
        Operation::Rerank => Capability::Rerank,
        Operation::Images | Operation::ImageEdits => Capability::ImageOutput,
        // The catalogue does not tell which models do these.
        Operation::Moderations
        | Operation::Speech
        | Operation::Transcriptions
        | Operation::Translations
        | Operation::Passthrough => return false,
    };
    let cheap = |most, rate: fn(&crate::model::Price) -> crate::model::PicoUsd| match most {
        None => true,
        Some(most) => info.price.as_ref().is_some_and(|price| rate(price) <= most),
    };
    info.capabilities.contains(&answers)
        && info.can(&wanted.requires)
        && (wanted.from.is_empty() || wanted.from.contains(&info.provider))
        && info.context_window.is_none_or(|window| facts.input_tokens() <= window)
        && cheap(wanted.max_input_price, |price| price.input)
        && cheap(wanted.max_output_price, |price| price.output)
}

/// The model that would be tried first.
pub(super) fn first(
    target: &Target,
    wanted: &Choose,
    facts: &RequestFacts<'_>,
    view: &View<'_>,
) -> Option<Target> {
    let ranked = rank(target, wanted, facts, view);
    ranked.first().map(|best| with_model(target, &best.info.provider, &best.info.name))
}

/// The target with a chosen model.
pub(super) fn with_model(target: &Target, provider: &str, model: &str) -> Target {
    let mut chosen = target.clone();
    chosen.path = format!("{}#{provider}/{model}", target.path);
    chosen.provider = provider.to_owned();
    chosen.override_params.insert("model".to_owned(), model.into());
    chosen.choose = None;
    chosen
}

/// The target with a chosen model, to be called.
pub(super) fn callee<'a>(target: &Target, (provider, model): (&str, &str)) -> Callee<'a> {
    Callee::Chosen(Box::new(with_model(target, provider, model)))
}

/// The model that an attempt's path names, if the attempt was made at this target: provider and name.
pub(super) fn model_in<'p>(path: &'p str, target: &Target) -> Option<(&'p str, &'p str)> {
    path.strip_prefix(target.path.as_str())?.strip_prefix('#')?.split_once('/')
}

/// Estimated cost of the request at a target, in nano-USD. None: its model or the price is unknown.
pub(super) fn cost(target: &Target, facts: &RequestFacts<'_>, view: &View<'_>) -> Option<f64> {
    let model = quota::model(target, facts);
    let info = view.models.find(&target.provider, model?)?;
    cost_of(info, facts).map(|cost| cost.0 as f64)
}

/// The prompt's estimated tokens, and as many of the answer as the request allows, else [`USUAL_OUTPUT`].
fn cost_of(info: &ModelInfo, facts: &RequestFacts<'_>) -> Option<NanoUsd> {
    let limit = |key: &str| facts.params.and_then(|p| p.get(key)).and_then(Value::as_u64);
    let output = match facts.operation {
        Operation::Embeddings => 0,
        _ => limit("max_completion_tokens").or_else(|| limit("max_tokens")).unwrap_or(USUAL_OUTPUT),
    };
    let output = info.max_output.map_or(output, |most| output.min(most));
    info.price.as_ref().map(|price| estimate(price, facts.input_tokens(), output))
}
