//! The ledger against the events and the provider's bill: attempt by attempt, token kind by token kind.

use std::collections::BTreeMap;

use domain::event::Kind;
use domain::spend::Entry;
use domain::{Attempt, Event};

use super::Books;

/// What the ledger says of the requests that were sent.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// All attempts.
    pub attempts: Vec<Entry>,
    /// All ends of requests.
    pub requests: Vec<Entry>,
}

/// Names what the ledger lacks, has too much of, or says differently.
pub(super) fn compare(
    ledger: &Ledger,
    books: &Books,
    events: &BTreeMap<&str, &Event>,
    wrong: &mut Vec<String>,
) {
    let finished = events.values().filter(|event| event.kind == Kind::AttemptFinished);
    let told: BTreeMap<String, (&Event, &Attempt)> = finished
        .filter_map(|event| Some((event.attempt_id.as_ref()?.to_string(), (*event, event.attempt.as_ref()?))))
        .collect();
    let kept = by_id(&ledger.attempts, wrong);
    for (id, (event, attempt)) in &told {
        match kept.get(id.as_str()) {
            None => wrong.push(format!("attempt {id} was reported and is not in the ledger")),
            Some(entry) if says(entry) != tells(event, attempt) => wrong.push(format!(
                "the ledger says {:?} of attempt {id}, reported was {:?}",
                says(entry),
                tells(event, attempt)
            )),
            Some(_) => {}
        }
    }
    for id in kept.keys().filter(|id| !told.contains_key(**id)) {
        wrong.push(format!("the ledger has attempt {id}, which was never reported"));
    }
    bill(books, &kept, wrong);
    let ended = by_id(&ledger.requests, wrong);
    for (id, outcome) in &books.outcomes {
        let status = ended.get(id.as_str()).map(|entry| entry.status);
        if status != Some(Some(outcome.status)) {
            wrong.push(format!("{id} ended with {}, the ledger says {status:?}", outcome.status));
        }
    }
    for id in ended.keys().filter(|id| !books.outcomes.contains_key(**id)) {
        wrong.push(format!("the ledger has an end of {id}, which has none"));
    }
}

/// Every call that the provider answered in full is in the ledger with its tokens.
fn bill(books: &Books, kept: &BTreeMap<&str, &Entry>, wrong: &mut Vec<String>) {
    for row in &books.rows {
        let Some(entry) = row.attempt_id.as_deref().and_then(|id| kept.get(id)) else {
            wrong.push(format!("the provider bills what is not in the ledger: {row:?}"));
            continue;
        };
        let answered = entry.error.is_none() && entry.status.is_some_and(|status| status < 300);
        let usage = entry.usage.map(|usage| (usage.input, usage.output));
        if answered && usage != Some((row.input_tokens, row.output_tokens)) {
            wrong.push(format!("the ledger has tokens {usage:?} of {}, billed is {row:?}", entry.id));
        }
    }
}

fn by_id<'a>(entries: &'a [Entry], wrong: &mut Vec<String>) -> BTreeMap<&'a str, &'a Entry> {
    let mut kept = BTreeMap::new();
    for entry in entries {
        if kept.insert(entry.id.as_str(), entry).is_some() {
            wrong.push(format!("the ledger has {} twice", entry.id));
        }
    }
    kept
}

/// What has to be the same on both sides.
type Gist<'a> = (Option<domain::Usage>, Option<u64>, Option<u16>, Option<&'a str>, [bool; 4]);

fn says(entry: &Entry) -> Gist<'_> {
    let flags = [entry.duplicate_possible, entry.estimated, entry.streamed, entry.last];
    (entry.usage, entry.cost.map(|cost| cost.0), entry.status, entry.error.as_deref(), flags)
}

fn tells<'a>(event: &Event, attempt: &'a Attempt) -> Gist<'a> {
    let flags = [attempt.duplicate_possible, attempt.estimated, event.streamed, event.last];
    let error = attempt.error.map(|error| error.as_str());
    (attempt.usage, attempt.cost.map(|cost| cost.0), attempt.status, error, flags)
}
