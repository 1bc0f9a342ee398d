//! Laws that hold for every config of the schema, every history and whatever is known of the targets.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy as Generator, any, prop, prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use super::*;
use crate::config::tests::generate::any_document;
use crate::health::Standing;
use crate::model::{Capability, ModelInfo};
use crate::quota::Need;

/// Health that looks like chance: by place and a seed.
struct Chance(u64);

impl Health for Chance {
    fn standing(&self, target: &Target) -> Standing {
        let n = target.path.bytes().fold(self.0, |n, b| n.rotate_left(7) ^ u64::from(b)) % 97;
        let availability = match n % 5 {
            0 | 1 => Availability::Open,
            2 => Availability::HalfOpen,
            _ => Availability::Closed,
        };
        Standing { availability, latency_ms: (n % 3 > 0).then_some(n as f64), in_flight: None }
    }

    fn full_until(&self, target: &Target, need: &Need<'_>) -> Option<Timestamp> {
        let n =
            target.provider.bytes().fold(self.0 ^ need.input, |n, b| n.rotate_left(5) ^ u64::from(b)) % 31;
        n.is_multiple_of(3).then_some(Timestamp(n * 500))
    }
}

/// Seven models that can do everything, of two providers.
struct Seven(Vec<ModelInfo>);

impl Seven {
    fn new() -> Self {
        let model = |n: usize| ModelInfo {
            provider: if n.is_multiple_of(2) { "openai" } else { "groq" }.to_owned(),
            name: format!("m{n}"),
            capabilities: Capability::ALL.iter().copied().collect(),
            price: Some(crate::model::Price::default()),
            ..ModelInfo::default()
        };
        Self((0..7).map(model).collect())
    }
}

impl Models for Seven {
    fn find(&self, _: &str, _: &str) -> Option<&ModelInfo> {
        self.0.first()
    }

    fn all(&self) -> Box<dyn Iterator<Item = &ModelInfo> + '_> {
        Box::new(self.0.iter())
    }
}

fn any_status() -> impl Generator<Value = u16> {
    prop::sample::select(vec![200u16, 246, 400, 401, 408, 429, 500, 503, 0])
}

proptest! {
    #[test]
    fn every_request_moves_forward_and_ends_within_the_plan(
        document in any_document(),
        statuses in prop::collection::vec(any_status(), 1..12),
        session in any::<u8>(),
        seed: u64,
    ) {
        let config = config(&document.to_string());
        let metadata = json!({"a": session.to_string()});
        let params = json!({"a": seed % 9, "max_tokens": 9});
        let headers = BTreeMap::from([("x-a".to_owned(), session.to_string())]);
        let facts = RequestFacts { metadata: metadata.as_object(), params: Some(&params), headers: &headers, ..facts() };
        let models = Seven::new();
        let (mut now, mut history) = (Timestamp(1000), Vec::<Attempt>::new());
        let mut places: Vec<String> = Vec::new();
        for round in 0u64.. {
            // What is known is another thing at every step.
            let health = Chance(seed.wrapping_add(round));
            let view = View { now, seed, health: &health, models: &models, ..view() };
            let decision = super::super::next(&config, &facts, &history, &view);
            prop_assert_eq!(&decision, &super::super::next(&config, &facts, &history, &view));
            for reason in &decision.why {
                prop_assert!(!reason.to_string().is_empty());
            }
            let Next::Call { target, after } = decision.next else {
                match decision.next {
                    Next::Answer(index) => prop_assert_eq!(index + 1, history.len()),
                    // As in Portkey, a conditional group without a match is an error wherever it stands.
                    Next::GiveUp(Refusal::NoMatch) => {}
                    Next::GiveUp(refusal) => prop_assert!(history.is_empty(), "{:?} after {:?}", refusal, history),
                    other => prop_assert!(false, "{:?}", other),
                }
                break;
            };
            prop_assert!(!history.last().is_some_and(Attempt::is_success) || history.last().unwrap().path == target.path
                || !success_is_final(&config, &history[..history.len() - 1], config.target(&history.last().unwrap().path).unwrap()));
            let position = config.targets().position(|t| t.path == config.target(&target.path).unwrap().path);
            prop_assert!(position >= history.last().map(|a| {
                config.targets().position(|t| t.path == config.target(&a.path).unwrap().path)
            }).unwrap_or_default(), "no target is gone back to");
            if places.last() != Some(&target.path) {
                prop_assert!(!places.contains(&target.path), "no model is gone back to");
                places.push(target.path.clone());
            }
            now = now.plus(after);
            let status = statuses[usize::try_from(round).unwrap() % statuses.len()];
            let error = match status {
                0 => Some(ErrorClass::Lost),
                200..300 => None,
                status => Some(ErrorClass::of_status(status)),
            };
            let number = u32::try_from(round).unwrap() + 1;
            let mut made = attempt(number, &target.path, (status != 0).then_some(status), error);
            (made.started_at, made.finished_at) = (now, now.plus(Duration::from_millis(300)));
            now = made.finished_at;
            history.push(made);
            let lost = history.iter().filter(|a| a.error == Some(ErrorClass::Lost)).count();
            prop_assert!(history.len() - lost <= config.max_attempts() as usize, "{} attempts", history.len());
        }
    }
}
