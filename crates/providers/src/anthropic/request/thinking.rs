//! How much the model thinks, how long its answer may be, and what of sampling goes with it.

use domain::ApiError;
use serde_json::{Map, Number, Value, json};

use super::super::model::Model;
use super::write::Report;
use crate::chat::{Effort, Reasoning};

/// Most tokens of an answer where neither the caller nor the catalogue says: every Claude model writes so many.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// What was asked for.
pub(super) struct Wanted<'a> {
    pub(super) max_tokens: Option<u64>,
    /// Most tokens that the model writes.
    pub(super) ceiling: Option<u64>,
    pub(super) reasoning: Option<&'a Reasoning>,
    /// A tool has to be called.
    pub(super) forced: bool,
}

/// What is said.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) max_tokens: u64,
    pub(super) thinking: Option<Value>,
    pub(super) effort: Option<&'static str>,
}

/// Decides on `thinking`, `output_config.effort` and `max_tokens`.
///
/// Source: "Extended thinking", "Adaptive thinking" and "Effort" on platform.claude.com.
pub(super) fn plan(model: Model, wanted: &Wanted<'_>, report: &mut Report<'_>) -> Result<Plan, ApiError> {
    let limit = wanted.max_tokens.or(wanted.ceiling).unwrap_or(DEFAULT_MAX_TOKENS);
    let mut plan = Plan { max_tokens: limit, ..Plan::default() };
    let Some(reasoning) = wanted.reasoning else { return Ok(plan) };
    if reasoning.is_off() {
        if model.always_thinks() {
            report.leave_out("reasoning_effort");
            plan.effort = Some("low");
        } else {
            plan.thinking = Some(json!({ "type": "disabled" }));
        }
    } else if model.thinks_by_budget(reasoning.budget_tokens.is_some()) {
        by_budget(model, reasoning, wanted, &mut plan, report)?;
    } else {
        reasoning.lost_beside_effort().into_iter().for_each(|name| report.leave_out(name));
        plan.thinking = Some(shown(json!({ "type": "adaptive" }), reasoning));
        plan.effort = reasoning.effort(limit).map(|effort| word(effort, model));
    }
    Ok(plan)
}

/// Thinking within a budget, which has to be at least [`Reasoning::LEAST_BUDGET`] and less than `max_tokens`, and does
/// not go with a forced tool.
fn by_budget(
    model: Model,
    reasoning: &Reasoning,
    wanted: &Wanted<'_>,
    plan: &mut Plan,
    report: &mut Report<'_>,
) -> Result<(), ApiError> {
    let name = if reasoning.budget_tokens.is_some() { "thinking.budget_tokens" } else { "reasoning_effort" };
    // Beside a budget of the caller's own, the effort is about the answer itself.
    let beside = reasoning.effort.filter(|_| reasoning.budget_tokens.is_some() && model.takes_effort());
    plan.effort = beside.map(|effort| word(effort, model));
    if plan.effort.is_none() {
        reasoning.lost_beside_budget().into_iter().for_each(|name| report.leave_out(name));
    }
    if wanted.forced {
        report.leave_out(name);
        return Ok(());
    }
    let plain = Reasoning { effort: Some(reasoning.effort.unwrap_or(Effort::Medium)), ..reasoning.clone() };
    let asked = plain.budget(plan.max_tokens).unwrap_or(Reasoning::LEAST_BUDGET);
    let budget = asked.max(Reasoning::LEAST_BUDGET);
    if budget != asked {
        report.leave_out(name);
    }
    if wanted.max_tokens.is_none() && budget >= plan.max_tokens {
        let roomy = budget.saturating_add(DEFAULT_MAX_TOKENS);
        plan.max_tokens = wanted.ceiling.map_or(roomy, |ceiling| roomy.min(ceiling));
    }
    if budget >= plan.max_tokens {
        if reasoning.budget_tokens.is_none() {
            report.leave_out(name);
            return Ok(());
        }
        let text = format!(
            "is {budget}, but thinking counts as part of the answer, which may have {} tokens; write less than that, \
             or a greater `max_tokens`",
            plan.max_tokens
        );
        return Err(report.refuse(name, "invalid_value", &text));
    }
    plan.thinking = Some(shown(json!({ "type": "enabled", "budget_tokens": budget }), reasoning));
    Ok(())
}

/// A caller who wants a summary sees what was thought, whatever the model's default.
fn shown(mut thinking: Value, reasoning: &Reasoning) -> Value {
    if reasoning.summary.is_some() {
        thinking["display"] = "summarized".into();
    }
    thinking
}

/// Anthropic's word for an effort.
fn word(effort: Effort, model: Model) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => model.greatest_effort(),
    }
}

/// How tokens are chosen.
pub(super) struct Sampling {
    pub(super) temperature: Option<Number>,
    pub(super) top_p: Option<Number>,
    pub(super) top_k: Option<u64>,
}

impl Sampling {
    /// Adds what the model takes. Temperatures go from 0 to 1; thinking goes with neither temperature nor `top_k`, and
    /// with a `top_p` from 0.95.
    pub(super) fn put(
        self,
        model: Model,
        thinks: bool,
        body: &mut Map<String, Value>,
        report: &mut Report<'_>,
    ) {
        let is_one = |number: &Number| number.as_f64() == Some(1.0);
        let free = model.can_be_sampled();
        let temperature = self.temperature.map(|number| match number.as_f64() {
            Some(high) if high > 1.0 => (Number::from(1), true),
            Some(low) if low < 0.0 => (Number::from(0), true),
            _ => (number, false),
        });
        let takes_heat = |number: &Number| is_one(number) || (free && !thinks);
        let takes_top_p = |number: &Number| {
            is_one(number) || (free && (!thinks || number.as_f64().is_some_and(|p| p >= 0.95)))
        };
        let mut heated = false;
        if let Some((number, clamped)) = temperature {
            let taken = takes_heat(&number);
            if clamped || !taken {
                report.leave_out("temperature");
            }
            if taken {
                heated = true;
                body.insert("temperature".to_owned(), number.into());
            }
        }
        let excluded = heated && model.takes_one_of_temperature_and_top_p();
        match self.top_p {
            Some(number) if takes_top_p(&number) && !excluded => {
                body.insert("top_p".to_owned(), number.into());
            }
            Some(number) if !(excluded && is_one(&number)) => report.leave_out("top_p"),
            _ => {}
        }
        match self.top_k {
            Some(top_k) if free && !thinks => {
                body.insert("top_k".to_owned(), top_k.into());
            }
            Some(_) => report.leave_out("top_k"),
            None => {}
        }
    }
}
