//! How the answer is drawn: `inferenceConfig`, and how much the model thinks first.
//!
//! Sources: "Extended thinking" and "Adaptive thinking" in the Bedrock user guide; "Extended thinking in Amazon Nova 2".

use domain::model::ModelInfo;
use serde_json::{Map, Number, Value, json};

use super::family::{Family, Thinking};
use super::request::{Body, put_at};
use crate::chat::{Effort, Reasoning};

/// What a request says about it.
#[derive(Debug)]
pub(super) struct Sampling {
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<Number>,
    pub(super) top_p: Option<Number>,
    pub(super) top_k: Option<u64>,
    pub(super) stop: Vec<String>,
    pub(super) reasoning: Option<Reasoning>,
}

/// Limit of an answer by which efforts are turned into budgets where neither caller nor catalogue says one.
const USUAL_LIMIT: u64 = 4096;

/// Writes it.
pub(super) fn write(sampling: Sampling, family: Family, model: Option<&ModelInfo>, body: &mut Body) {
    let limit = sampling.max_tokens.or(model.and_then(|info| info.max_output)).unwrap_or(USUAL_LIMIT);
    let Sampling { max_tokens, temperature, top_p, top_k, stop, reasoning } = sampling;
    let rules = reasoning.map_or(Rules::None, |reasoning| think(&reasoning, family.thinking, limit, body));
    let mut config = Map::new();
    match max_tokens {
        Some(_) if rules == Rules::Unset => body.drop("max_tokens"),
        Some(most) => drop(config.insert("maxTokens".to_owned(), most.into())),
        None => (),
    }
    if let Some(temperature) = temperature {
        let value = temperature.as_f64().unwrap_or_default();
        if rules == Rules::Unset || (rules == Rules::Fixed && value != 1.0) {
            body.drop("temperature");
        } else if value > 1.0 {
            // Converse's scale ends at 1, OpenAI's at 2.
            body.drop("temperature");
            config.insert("temperature".to_owned(), 1.into());
        } else {
            config.insert("temperature".to_owned(), temperature.into());
        }
    }
    if let Some(top_p) = top_p {
        let low = top_p.as_f64().is_none_or(|value| value < LEAST_TOP_P);
        if rules == Rules::Unset || (rules == Rules::Fixed && low) {
            body.drop("top_p");
        } else {
            config.insert("topP".to_owned(), top_p.into());
        }
    }
    if let Some(top_k) = top_k {
        if family.top_k.is_empty() || rules != Rules::None {
            body.drop("top_k");
        } else {
            put_at(&mut body.additional, family.top_k, top_k.into());
        }
    }
    if !stop.is_empty() {
        if family.speaks_anthropic {
            // Converse itself does not say which of them came up.
            let paths = json!([super::answer::STOP_SEQUENCE]);
            body.fields.insert("additionalModelResponseFieldPaths".to_owned(), paths);
        }
        config.insert("stopSequences".to_owned(), stop.into());
    }
    if !config.is_empty() {
        body.fields.insert("inferenceConfig".to_owned(), Value::Object(config));
    }
}

/// Least `top_p` that Claude takes while it thinks.
const LEAST_TOP_P: f64 = 0.95;

/// What thinking forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// Nothing.
    None,
    /// Claude: another temperature than 1, `top_k`, a `top_p` below [`LEAST_TOP_P`].
    Fixed,
    /// Nova at high effort: temperature, `top_p`, `top_k` and `max_tokens`.
    Unset,
}

fn think(reasoning: &Reasoning, thinking: Thinking, limit: u64, body: &mut Body) -> Rules {
    if reasoning.is_off() {
        // Models that can be told to think do not unless they are told, but for those that always do a little.
        if matches!(thinking, Thinking::Effort(_)) {
            body.drop("reasoning_effort");
        }
        return Rules::None;
    }
    let unsaid = match thinking {
        Thinking::Budget => reasoning.lost_beside_budget(),
        Thinking::None | Thinking::Adaptive | Thinking::MaxEffort | Thinking::Effort(_) => {
            reasoning.lost_beside_effort()
        }
    };
    unsaid.into_iter().for_each(|name| body.drop(name));
    match thinking {
        Thinking::None => {
            body.drop("reasoning_effort");
            Rules::None
        }
        Thinking::Budget => budget(reasoning, limit, body),
        Thinking::Adaptive => {
            let mut thinking = json!({"type": "adaptive"});
            if reasoning.summary.is_some() {
                thinking["display"] = "summarized".into();
            }
            body.additional.insert("thinking".to_owned(), thinking);
            if let Some(effort) = reasoning.effort(limit) {
                body.put_in("outputConfig", "effort", effort.max(Effort::Low).as_str());
            }
            Rules::Fixed
        }
        Thinking::MaxEffort => {
            let effort = word(reasoning, limit).unwrap_or(Effort::Medium);
            let config = json!({"type": "enabled", "maxReasoningEffort": effort.as_str()});
            body.additional.insert("reasoningConfig".to_owned(), config);
            if effort == Effort::High { Rules::Unset } else { Rules::None }
        }
        Thinking::Effort(path) => {
            if let Some(effort) = word(reasoning, limit) {
                put_at(&mut body.additional, path, effort.as_str().into());
            }
            Rules::None
        }
    }
}

/// The effort in the three words that every model with efforts knows.
fn word(reasoning: &Reasoning, limit: u64) -> Option<Effort> {
    reasoning.effort(limit).map(|effort| effort.clamp(Effort::Low, Effort::High))
}

fn budget(reasoning: &Reasoning, limit: u64, body: &mut Body) -> Rules {
    let usual = || Reasoning { effort: Some(Effort::Medium), ..Reasoning::default() }.budget(limit);
    let tokens = reasoning.budget(limit).or_else(usual).unwrap_or(Reasoning::LEAST_BUDGET);
    // A budget of the caller's own is passed on as it is: what is wrong with it, Bedrock says best. One that we work
    // out must leave room for an answer.
    if reasoning.budget_tokens.is_none() && tokens >= limit {
        body.drop("reasoning_effort");
        return Rules::None;
    }
    body.additional.insert("thinking".to_owned(), json!({"type": "enabled", "budget_tokens": tokens}));
    Rules::Fixed
}
