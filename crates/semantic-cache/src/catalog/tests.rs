//! What is held, and what has to go, against a plain model.

use proptest::prelude::*;

use super::*;
use crate::testing::{HOUR, ROOMY, answer_of, entry, invalidation};

/// What happens to a cache, in order.
#[derive(Clone, Debug)]
enum Step {
    /// Id, key, asked so long before it was answered.
    Stored(usize, usize, u64),
    /// Key, or all.
    Invalidated(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_usize, 0..6_usize, 0..4_u64).prop_map(|(id, key, before)| Step::Stored(id, key, before)),
        1 => prop::option::of(0..6_usize).prop_map(Step::Invalidated),
    ]
}

/// The entry of a step; ids are used again for other requests, as callers may.
fn stored(id: usize, key: usize, before: u64, at: u64) -> Entry {
    let entry = entry(&format!("r{id}"), &format!("k{key}"), at);
    Entry { asked_at: Timestamp(at.saturating_sub(before)), ..entry }
}

fn selection(key: Option<usize>) -> Selection {
    match key {
        Some(key) => Selection { keys: vec![format!("k{key}")], ..Selection::default() },
        None => Selection { all: true, ..Selection::default() },
    }
}

fn follow(catalog: &mut Catalog, sequence: u64, step: &Step, bounds: Bounds) {
    match *step {
        Step::Stored(id, key, before) => {
            let entry = stored(id, key, before, sequence);
            let plan = catalog.plan_entry(&entry, entry.stored_at, bounds);
            let after = catalog.state_after(&plan, Some(&entry), sequence);
            catalog.follow(&plan, Some(entry));
            assert_eq!(catalog.state(sequence), after, "what is written on disk is what is held");
        }
        Step::Invalidated(key) => {
            let said = invalidation(selection(key), sequence);
            let plan = catalog.plan_invalidation(sequence, &Workspace::default(), &said);
            let after = catalog.state_after(&plan, None, sequence);
            catalog.follow(&plan, None);
            assert_eq!(catalog.state(sequence), after);
        }
    }
}

/// The same, said as simply as can be: times and sequences rise together, so the newest are the last.
fn naive(steps: &[Step], most: usize) -> Vec<String> {
    let mut held: Vec<Entry> = Vec::new();
    let mut said: Vec<Invalidation> = Vec::new();
    for (at, step) in (1..).zip(steps) {
        match *step {
            Step::Stored(id, key, before) => {
                let entry = stored(id, key, before, at);
                if !said.iter().any(|said| said.forbids(&entry)) {
                    held.retain(|other| other.key != entry.key && other.id != entry.id);
                    held.push(entry);
                }
            }
            Step::Invalidated(key) => {
                said.push(invalidation(selection(key), at));
                held.retain(|entry| !said.iter().any(|said| said.forbids(entry)));
            }
        }
        let surplus = held.len().saturating_sub(most);
        held.drain(..surplus);
    }
    held.iter().map(|entry| format!("{} {} {}", entry.id, entry.key, entry.stored_at.0)).collect()
}

fn shown(catalog: &Catalog) -> Vec<String> {
    let mut entries = catalog.newest_first(&Workspace::default());
    entries.reverse();
    entries.iter().map(|entry| format!("{} {} {}", entry.id, entry.key, entry.stored_at.0)).collect()
}

proptest! {
    #[test]
    fn holds_the_newest_that_were_not_taken_out(steps in prop::collection::vec(step(), 0..60), most in 1..9_usize) {
        let bounds = Bounds { entries: most, ..ROOMY };
        let mut catalog = Catalog::default();
        for (sequence, step) in (1..).zip(&steps) {
            follow(&mut catalog, sequence, step, bounds);
            prop_assert!(catalog.len() <= most);
        }
        prop_assert_eq!(shown(&catalog), naive(&steps, most));
    }

    #[test]
    fn what_was_taken_out_never_comes_back(
        steps in prop::collection::vec(step(), 1..40),
        order in any::<prop::sample::Index>(),
        most in 1..9_usize,
    ) {
        // Events may be told late and more than once: an answer that was asked for long ago, an entry of before.
        let bounds = Bounds { entries: most, ..ROOMY };
        let mut catalog = Catalog::default();
        let mut said = Vec::new();
        let again = order.index(steps.len());
        let told: Vec<_> = (1..).zip(&steps).collect();
        for (sequence, step) in told.iter().chain(&told[again..]) {
            follow(&mut catalog, *sequence, step, bounds);
            if let Step::Invalidated(key) = step {
                said.push(invalidation(selection(*key), *sequence));
            }
            for entry in catalog.newest_first(&Workspace::default()) {
                prop_assert!(!said.iter().any(|said| said.forbids(&entry)), "{} is back", entry.id);
                let same = catalog.same_request(&entry.workspace, &entry.key);
                prop_assert_eq!(same.as_ref().map(|same| &same.id), Some(&entry.id), "each key has one entry");
            }
        }
    }

    #[test]
    fn bytes_are_counted_and_bounded(sizes in prop::collection::vec(0..2000_usize, 1..40), most in 1000..8000_u64) {
        let mut catalog = Catalog::default();
        for (n, size) in (1..).zip(sizes) {
            let entry = Entry { size, ..entry(&format!("r{n}"), &format!("k{n}"), n) };
            let plan = catalog.plan_entry(&entry, entry.stored_at, Bounds { entries: 100, bytes: most });
            catalog.follow(&plan, Some(entry));
            let sum: u64 = catalog.newest_first(&Workspace::default()).iter().map(|entry| weigh(entry)).sum();
            prop_assert_eq!(catalog.bytes(), sum);
            prop_assert!(sum <= most);
        }
    }
}

fn hold(catalog: &mut Catalog, entry: Entry, bounds: Bounds) -> Plan {
    let plan = catalog.plan_entry(&entry, entry.stored_at, bounds);
    catalog.follow(&plan, Some(entry));
    plan
}

#[test]
fn an_older_answer_does_not_replace_a_newer_one() {
    let mut catalog = Catalog::default();
    hold(&mut catalog, entry("new", "k", 10), ROOMY);
    let plan = hold(&mut catalog, entry("old", "k", 9), ROOMY);
    assert!(!plan.put && plan.refused && plan.gone.is_empty(), "{plan:?}");
    let same = catalog.same_request(&Workspace::default(), "k").unwrap();
    assert_eq!(same.id.as_str(), "new");
}

#[test]
fn an_entry_told_twice_is_left_alone() {
    let mut catalog = Catalog::default();
    hold(&mut catalog, entry("r1", "k", 10), ROOMY);
    let plan = hold(&mut catalog, entry("r1", "k", 10), ROOMY);
    assert!(!plan.put && !plan.refused && plan.gone.is_empty(), "{plan:?}");
    assert_eq!(catalog.len(), 1);
}

#[test]
fn what_has_expired_makes_room_before_anything_is_evicted() {
    let two = Bounds { entries: 2, ..ROOMY };
    let mut catalog = Catalog::default();
    hold(&mut catalog, entry("keeps", "a", 10), two);
    hold(&mut catalog, Entry { expires_at: Timestamp(15), ..entry("ends", "b", 12) }, two);
    let plan = hold(&mut catalog, entry("new", "c", 20), two);
    let gone: Vec<_> = plan.gone.iter().map(|(place, why)| (place.id.as_str(), *why)).collect();
    assert_eq!(gone, [("ends", Gone::Expired)]);
    assert_eq!(catalog.len(), 2);
}

#[test]
fn one_that_is_older_than_all_that_fit_is_not_held_and_drives_nobody_out() {
    let two = Bounds { entries: 2, ..ROOMY };
    let mut catalog = Catalog::default();
    hold(&mut catalog, entry("r1", "a", 10), two);
    hold(&mut catalog, entry("r2", "b", 12), two);
    let plan = hold(&mut catalog, entry("r0", "c", 9), two);
    assert!(!plan.put && plan.gone.is_empty(), "{plan:?}");
}

#[test]
fn invalidations_are_forgotten_after_their_time_and_not_before() {
    let mut catalog = Catalog::default();
    let said = invalidation(selection(None), HOUR);
    let plan = catalog.plan_invalidation(1, &Workspace::default(), &said);
    catalog.follow(&plan, None);
    assert_eq!(catalog.invalidated_at(&Workspace::default()), Some(Timestamp(HOUR)));
    let late = |at: u64| Entry { asked_at: Timestamp(HOUR), ..entry("r", "k", at) };
    assert!(hold(&mut catalog, late(26 * HOUR), ROOMY).refused, "a request that took a day");
    hold(&mut catalog, entry("other", "o", 26 * HOUR + 1), ROOMY);
    assert_eq!(catalog.invalidated_at(&Workspace::default()), None);
}

#[test]
fn an_invalidation_is_of_one_workspace() {
    let mut catalog = Catalog::default();
    let theirs = Workspace::parse("theirs").unwrap();
    hold(&mut catalog, Entry { workspace: theirs.clone(), ..entry("r1", "k", 10) }, ROOMY);
    hold(&mut catalog, entry("r1", "k", 10), ROOMY);
    assert_eq!(catalog.len(), 2, "the same id and key in two workspaces");
    let plan = catalog.plan_invalidation(5, &Workspace::default(), &invalidation(selection(None), 20));
    catalog.follow(&plan, None);
    assert_eq!(catalog.workspaces().keys().collect::<Vec<_>>(), [&theirs]);
    assert_eq!(catalog.invalidated_at(&theirs), None);
}

#[test]
fn of_very_many_invalidations_the_older_forbid_everything() {
    let mut catalog = Catalog::default();
    for n in 1..=(MOST_NOTED as u64 + 10) {
        let plan = catalog.plan_invalidation(n, &Workspace::default(), &invalidation(selection(Some(1)), n));
        catalog.follow(&plan, None);
    }
    let noted: Vec<_> = catalog.noted().map(|noted| noted.sequence).collect();
    assert!(noted.len() <= MOST_NOTED && noted.is_sorted(), "{}", noted.len());
    assert!(hold(&mut catalog, entry("r", "k9", 100), ROOMY).refused, "older than what was drawn together");
    let at = MOST_NOTED as u64;
    assert!(!hold(&mut catalog, entry("r", "k9", at), ROOMY).refused, "another key, asked for since");
    assert!(hold(&mut catalog, entry("s", "k1", at), ROOMY).refused, "its own key");
}

#[test]
fn the_same_words_are_found_but_for_what_says_nothing() {
    let mut catalog = Catalog::default();
    let text = |text: &str| Some(text.to_owned());
    hold(&mut catalog, Entry { text: text("What is  NATS?"), ..entry("old", "a", 10) }, ROOMY);
    hold(&mut catalog, Entry { text: text("what is NATS"), ..entry("new", "b", 11) }, ROOMY);
    hold(
        &mut catalog,
        Entry { partition: "q".to_owned(), text: text("what is nats"), ..entry("r", "c", 12) },
        ROOMY,
    );
    let found = |workspace: &str, text: &str| -> Vec<String> {
        let same = catalog.same_words(&Workspace::parse(workspace).unwrap(), "p", text);
        same.iter().map(|entry| entry.id.to_string()).collect()
    };
    let own = Workspace::default().to_string();
    assert_eq!(found(&own, " what is nats ?"), ["new", "old"]);
    assert!(found(&own, "what was nats").is_empty());
    assert!(found("theirs", "what is nats").is_empty());
    assert_eq!(answer_of(&entry("old", "a", 10)).len(), entry("old", "a", 10).size);
}
