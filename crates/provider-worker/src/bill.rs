//! What attempts cost, and what callers are shown of it.

use std::sync::Arc;

use bytes::Bytes;
use domain::headers::COST;
use domain::model::{NanoUsd, Price};
use domain::price::{self, Charged};
use domain::{Attempt, Registry};
use providers::openai::Told;
use providers::show::{self, Costs};
use providers::{models, served};

use crate::answer::{Answer, Made, Whole};
use crate::handle::Task;

/// Says what an attempt cost, if it used anything and the price is known.
pub(crate) fn price(attempt: &mut Attempt, registry: &Registry) {
    let Some(usage) = &attempt.usage else { return };
    let (asked, answered) = (attempt.model.as_deref(), attempt.model_answered.as_deref());
    let Some(price) = price_of(registry, &attempt.provider, asked, answered) else { return };
    let how = Charged { tier: attempt.tier.as_deref(), region: attempt.region.as_deref() };
    attempt.cost = Some(price::cost(price, usage, &how));
    attempt.price = Some(price::version(price));
}

fn price_of<'r>(
    registry: &'r Registry,
    provider: &str,
    asked: Option<&str>,
    answered: Option<&str>,
) -> Option<&'r Price> {
    models::View::new(registry).price_of_answer(provider, asked, answered)
}

/// What the answer to a task costs, for streams that say so at their end.
pub(crate) fn costs(task: &Task, registry: Arc<Registry>) -> Costs {
    let (provider, model) = (task.call.provider.clone(), task.model());
    let region = served::region(&task.call, model.as_deref());
    Box::new(move |told: &Told| {
        let price = price_of(&registry, &provider, model.as_deref(), told.model.as_deref())?;
        let region = told.region.as_deref().or(region.as_deref());
        Some(price::cost(price, told.usage.as_ref()?, &Charged { tier: told.tier.as_deref(), region }))
    })
}

/// A whole answer with its cost, if the caller wants to see it. A stream has shown it by now.
pub(crate) fn shown(task: &Task, attempt: &Attempt, made: Made) -> Made {
    let (Some(cost), true, None) = (attempt.cost, task.envelope.show_cost, made.forwarded) else {
        return made;
    };
    let Answer::Complete(whole) = made.answer else { return made };
    let answer = Answer::Complete(with_cost(whole, cost));
    Made { answer, ..made }
}

fn with_cost(mut whole: Whole, cost: NanoUsd) -> Whole {
    whole.headers.insert(COST.to_owned(), cost.dollars());
    // A stream that nobody was sent piece by piece may have its cost already.
    if let Some(body) = show::in_answer(&whole.body, cost) {
        whole.body = Bytes::from(body);
    }
    whole
}

#[cfg(test)]
mod tests {
    use domain::model::PicoUsd;
    use domain::{Timestamp, Usage};
    use providers::catalogue;

    use super::*;

    fn attempt(provider: &str, model: &str) -> Attempt {
        Attempt {
            model: Some(model.to_owned()),
            usage: Some(Usage { input: 1000, output: 100, ..Usage::default() }),
            ..Attempt::new(1, "config", provider, Timestamp(1), Timestamp(2))
        }
    }

    #[track_caller]
    fn check(registry: &Registry, mut attempt: Attempt, nano: Option<u64>) {
        price(&mut attempt, registry);
        assert_eq!(attempt.cost, nano.map(NanoUsd));
        assert_eq!(attempt.price.is_some(), nano.is_some());
    }

    #[test]
    fn what_is_used_is_priced_and_what_is_unknown_is_not_free() {
        let mut registry = Registry::default();
        // 1000 · 2.5 + 100 · 10 micro-USD.
        check(&registry, attempt("openai", "gpt-4o"), Some(3_500_000));
        let priority = Attempt { tier: Some("priority".to_owned()), ..attempt("openai", "gpt-4o") };
        // 1000 · 4.25 + 100 · 17.
        check(&registry, priority, Some(5_950_000));
        check(&registry, Attempt { usage: None, ..attempt("openai", "gpt-4o") }, None);
        check(&registry, attempt("openai", "gpt-40"), None);
        let named = Attempt { model_answered: Some("gpt-4o".to_owned()), ..attempt("azure-openai", "ours") };
        check(&registry, named, Some(3_500_000));
        check(&registry, attempt("local", "llama"), None);
        let price = Some(Price { input: PicoUsd(1_000_000), ..Price::default() });
        let local =
            domain::registry::Provider { price, ..catalogue::blank(Default::default(), "http://local") };
        registry.providers.insert("local".to_owned(), local);
        check(&registry, attempt("local", "llama"), Some(1_000_000));
    }

    #[test]
    fn whole_answers_say_what_they_cost_twice() {
        let body = Bytes::from_static(b"{\"usage\":{\"total_tokens\":3}}");
        let whole = Whole { status: 200, content_type: String::new(), headers: Default::default(), body };
        let shown = with_cost(whole, NanoUsd(3_500_000));
        assert_eq!(shown.headers[COST], "0.0035");
        assert_eq!(&shown.body[..], b"{\"usage\":{\"total_tokens\":3,\"estimated_cost\":0.0035}}");
    }
}
