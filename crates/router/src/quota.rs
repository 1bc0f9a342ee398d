//! What is left of a target's limits at its provider, model by model, as this router knows it.

use std::collections::HashMap;

use domain::Timestamp;
use domain::quota::{Estimate, Need, Report, Sent, Shown};

/// Models of one target whose limits are kept; callers can name what they like.
const MOST_MODELS: usize = 256;

/// The limits of one target, by model. The empty name stands for requests that name none.
#[derive(Default)]
pub(crate) struct Limits(HashMap<String, Model>);

#[derive(Default)]
struct Model {
    estimate: Estimate,
    /// Calls of ours that other routers have not been told of.
    untold: Vec<Sent>,
}

impl Limits {
    fn model(&mut self, name: Option<&str>) -> Option<&mut Model> {
        let name = name.unwrap_or_default();
        if !self.0.contains_key(name) {
            if self.0.len() >= MOST_MODELS {
                return None;
            }
            self.0.insert(name.to_owned(), Model::default());
        }
        self.0.get_mut(name)
    }

    /// From when on there is room for a call. None: now, as far as is known.
    pub(crate) fn full_until(&self, need: &Need<'_>, now: Timestamp) -> Option<Timestamp> {
        self.0.get(need.model.unwrap_or_default())?.estimate.full_until(need, now)
    }

    /// Counts a call that is being sent, and says whether others have to be told.
    pub(crate) fn send(&mut self, need: &Need<'_>, now: Timestamp) -> Option<(Sent, bool)> {
        let model = self.model(need.model)?;
        let call = model.estimate.call(need, now);
        model.estimate.send(call);
        let known = model.estimate.is_known();
        if known {
            model.untold.push(call);
        }
        Some((call, known))
    }

    /// A call that was counted was not sent. Others who were told count it until the provider's next word.
    pub(crate) fn take_back(&mut self, name: Option<&str>, call: &Sent) {
        if let Some(model) = self.0.get_mut(name.unwrap_or_default()) {
            model.estimate.take_back(call);
            if let Some(place) = model.untold.iter().rposition(|untold| untold == call) {
                model.untold.remove(place);
            }
        }
    }

    /// What other routers have not been told, once.
    pub(crate) fn take_untold(&mut self) -> Vec<Report> {
        let untold = self.0.iter_mut().filter(|(_, model)| !model.untold.is_empty());
        let report = |(name, model): (&String, &mut Model)| Report {
            model: (!name.is_empty()).then(|| name.clone()),
            sent: std::mem::take(&mut model.untold),
            ..Report::default()
        };
        untold.map(report).collect()
    }

    /// Takes in what others tell. `own`: this process told it, and has counted its calls already.
    pub(crate) fn hear(&mut self, reports: &[Report], own: bool, now: Timestamp) {
        for report in reports {
            let Some(model) = self.model(report.model.as_deref()) else { continue };
            if let Some(said) = &report.said {
                model.estimate.hear(said);
            }
            if let Some(output) = report.output {
                model.estimate.answered(output, now);
            }
            for call in report.sent.iter().filter(|_| !own) {
                model.estimate.send(*call);
            }
        }
    }

    /// Forgets models of which nothing was heard for long.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, model| !model.estimate.is_over(now));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The limits as they are shown, by the model's name.
    pub(crate) fn show(&self, now: Timestamp) -> Vec<Shown> {
        let shown = |(name, model): (&String, &Model)| {
            model.estimate.show(Some(name.as_str()).filter(|name| !name.is_empty()), now)
        };
        let mut shown: Vec<Shown> = self.0.iter().filter_map(shown).collect();
        shown.sort_by(|a, b| a.model.cmp(&b.model));
        shown
    }
}

#[cfg(test)]
mod tests {
    use domain::quota::{Left, Quota, Said};

    use super::*;

    fn need(model: Option<&str>) -> Need<'_> {
        Need { model, input: 0, output: Some(0) }
    }

    #[test]
    fn what_one_router_sends_others_count_and_it_does_not_count_it_twice() {
        let at = Timestamp(1000);
        let left = Left { remaining: 2, limit: Some(10), reset_ms: Some(5000) };
        let quota = Quota { requests: Some(left), ..Quota::default() };
        let said = Said { started_at: at, decided_at: at, at, quota, shut_until: None };
        let word = [Report { model: Some("m".to_owned()), said: Some(said), ..Report::default() }];
        let (mut one, mut other) = (Limits::default(), Limits::default());
        assert_eq!(one.send(&need(Some("m")), Timestamp(900)).map(|(_, told)| told), Some(false));
        assert!(one.take_untold().is_empty(), "nobody knows of a limit");
        one.hear(&word, false, at);
        other.hear(&word, false, at);
        for now in [1001, 1002] {
            assert_eq!(one.full_until(&need(Some("m")), Timestamp(now)), None);
            assert!(one.send(&need(Some("m")), Timestamp(now)).unwrap().1);
        }
        let told = one.take_untold();
        one.hear(&told, true, at);
        assert_eq!(one.show(Timestamp(1003))[0].requests, Some(0));
        assert_eq!(other.full_until(&need(Some("m")), Timestamp(1003)), None);
        other.hear(&told, false, at);
        assert_eq!(other.full_until(&need(Some("m")), Timestamp(1003)), Some(Timestamp(6000)));
        assert_eq!(other.full_until(&need(None), Timestamp(1003)), None, "another model");
        one.take_back(Some("m"), &told[0].sent[1]);
        assert_eq!(one.full_until(&need(Some("m")), Timestamp(1003)), None);
        one.forget(Timestamp(200_000));
        assert!(one.is_empty());
    }
}
