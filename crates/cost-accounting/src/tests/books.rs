//! What is booked, and what questions find.

use domain::model::NanoUsd;
use domain::spend::{EntriesQuery, Latency, Order, Query, Row, Selection};
use domain::{Attempt, Event, Timestamp, Usage, Workspace};

use super::given::{BEGIN, attempt, event, failed, good, hit, refused, usage};
use super::{Shelf, shelves};

fn by(words: &[&str]) -> Query {
    let group_by = words.iter().map(|word| word.parse().unwrap()).collect();
    Query { group_by, order: Order::Keys, ..Query::default() }
}

fn values(rows: &[Row]) -> Vec<Option<&str>> {
    rows.iter().flat_map(|row| row.keys.iter().map(|(_, value)| value.as_deref())).collect()
}

/// A request rescued by a fallback, one in another workspace, one with a lost attempt, a cache hit and a refusal.
async fn filled(name: &str) -> [Shelf; 2] {
    let kinds = Usage {
        cached_input: 60,
        cache_write: 20,
        cache_write_long: 5,
        reasoning: 7,
        audio_input: 2,
        audio_output: 1,
        images: 3,
        searches: 4,
        ..usage(100, 10)
    };
    let lost = Attempt { duplicate_possible: true, ..attempt(1, "openai", "gpt-4o") };
    let estimated = Attempt { estimated: true, ..good(2, "openai", "gpt-4o", usage(1, 1), Some(7)) };
    let events: Vec<(u64, Event)> = (1..)
        .zip([
            event("r1", &failed(1, "openai", "gpt-4o", 500), false),
            event("r1", &good(2, "anthropic", "claude", kinds, Some(5_000)), true),
            event("acme~r2", &good(1, "groq", "new-model", usage(30, 3), None), true),
            event("r3", &lost, false),
            event("r3", &estimated, true),
            hit("r4", Some(900), BEGIN + 3_600_000),
            refused("r5", BEGIN + 86_400_000 * 30),
        ])
        .collect();
    let shelves = shelves(name).await;
    for shelf in &shelves {
        shelf.put(&events).await;
    }
    shelves
}

#[tokio::test]
async fn every_kind_of_token_and_every_flag_is_summed() {
    for shelf in filled("summed").await {
        let wanted = Row {
            requests: 5,
            attempts: 5,
            errors: 1,
            rescued: 2,
            cache_hits: 1,
            input_tokens: 131,
            output_tokens: 14,
            cached_input_tokens: 60,
            cache_write_tokens: 20,
            cache_write_long_tokens: 5,
            reasoning_tokens: 7,
            audio_input_tokens: 2,
            audio_output_tokens: 1,
            images: 3,
            searches: 4,
            cost: NanoUsd(5_007),
            unknown_cost_attempts: 1,
            estimated_attempts: 1,
            duplicate_possible_attempts: 1,
            saved: NanoUsd(900),
            ..Row::default()
        };
        assert_eq!(shelf.ask(&Query::default()).await.total, wanted, "{}", shelf.name);
    }
}

#[tokio::test]
async fn an_attempt_counts_where_it_was_made_and_a_request_where_it_ended() {
    for shelf in filled("places").await {
        let report = shelf.ask(&by(&["provider"])).await;
        let found: Vec<_> =
            report.rows.iter().map(|row| (row.requests, row.attempts, row.cost.0, row.saved.0)).collect();
        assert_eq!(values(&report.rows), [Some("anthropic"), Some("groq"), Some("openai"), None]);
        assert_eq!(found, [(1, 1, 5_000, 0), (1, 1, 0, 0), (2, 3, 7, 900), (1, 0, 0, 0)], "{}", shelf.name);
        let mut page = Query { order: Order::Cost, limit: 1, offset: 1, ..by(&["provider"]) };
        let second = shelf.ask(&page).await;
        assert_eq!((second.rows[0].cost.0, second.groups, second.total.attempts), (7, 4, 5));
        for order in Order::ALL {
            page = Query { order: *order, ..by(&["provider", "model"]) };
            assert_eq!(shelf.ask(&page).await.rows.len(), 4, "{} {order}", shelf.name);
        }
    }
}

#[tokio::test]
async fn rows_group_by_every_dimension() {
    for shelf in filled("dimensions").await {
        for (word, wanted) in [
            ("workspace", vec![Some("acme"), Some("default")]),
            ("api_key", vec![Some("key-1")]),
            ("virtual_key", vec![None]),
            ("operation", vec![Some("chat")]),
            ("config", vec![Some("pc-main@3")]),
            ("user", vec![Some("ann")]),
            ("metadata.team", vec![Some("blue")]),
            ("metadata.tier", vec![Some("2")]),
            ("metadata.none", vec![None]),
            ("cache_status", vec![Some("hit"), None]),
            ("status", vec![Some("200"), Some("429"), Some("500"), None]),
            ("hour", vec![Some("2026-11-21T21:00Z"), Some("2026-11-21T22:00Z"), Some("2026-12-21T21:00Z")]),
            ("day", vec![Some("2026-11-21"), Some("2026-12-21")]),
            ("week", vec![Some("2026-11-16"), Some("2026-12-21")]),
            ("month", vec![Some("2026-11"), Some("2026-12")]),
        ] {
            let report = shelf.ask(&by(&[word])).await;
            assert_eq!(values(&report.rows), wanted, "{} by {word}", shelf.name);
        }
    }
}

#[tokio::test]
async fn filters_choose_rows_and_are_never_read_as_sql() {
    for shelf in filled("filters").await {
        for (dimension, value, attempts, requests) in [
            ("provider", "openai", 3, 2),
            ("metadata.team", "blue", 5, 5),
            ("metadata.team", "red", 0, 0),
            ("day", "2026-12-21", 0, 1),
            ("status", "500", 1, 0),
            ("model", "' OR 1 = 1 --", 0, 0),
            ("metadata.x' OR '1'='1", "x", 0, 0),
        ] {
            let filters = vec![(dimension.parse().unwrap(), vec![value.to_owned()])];
            let select = Selection { filters, ..Selection::default() };
            let total = shelf.ask(&Query { select, ..by(&["metadata.team"]) }).await.total;
            assert_eq!((total.attempts, total.requests), (attempts, requests), "{} {dimension}", shelf.name);
        }
        let acme = Selection { workspace: Workspace::parse("acme").ok(), ..Selection::default() };
        assert_eq!(shelf.ask(&Query { select: acme, ..by(&["user"]) }).await.total.requests, 1);
        let border = Some(Timestamp(BEGIN + 3_600_000));
        for (since, until, requests) in [(border, None, 2), (None, border, 3)] {
            let select = Selection { since, until, ..Selection::default() };
            assert_eq!(shelf.ask(&Query { select, ..Query::default() }).await.total.requests, requests);
        }
    }
}

#[tokio::test]
async fn latencies_are_those_of_nearest_rank() {
    for shelf in shelves("latency").await {
        let one = |n: u64| {
            let user = Some(if n.is_multiple_of(2) { "even" } else { "odd" }.to_owned());
            (n, Event { total_ms: Some(n), user, ..hit(&format!("r{n}"), None, BEGIN + n) })
        };
        shelf.put(&(1..=200).map(one).collect::<Vec<_>>()).await;
        let report = shelf.ask(&Query { latency: true, ..by(&["user"]) }).await;
        let wanted = Latency { avg: 100, p50: 100, p90: 180, p99: 198 };
        assert_eq!(report.total.latency_ms, Some(wanted), "{}", shelf.name);
        let even = Latency { avg: 101, p50: 100, p90: 180, p99: 198 };
        let odd = Latency { avg: 100, p50: 99, p90: 179, p99: 197 };
        let found: Vec<Option<Latency>> = report.rows.iter().map(|row| row.latency_ms).collect();
        assert_eq!(found, [Some(even), Some(odd)]);
    }
}

#[tokio::test]
async fn exports_page_through_every_row_once() {
    for shelf in filled("exports").await {
        for requests in [false, true] {
            let mut query = EntriesQuery { requests, limit: 2, ..EntriesQuery::default() };
            let mut entries = Vec::new();
            loop {
                let mut reading = shelf.store.reading().await.unwrap();
                let page = crate::entries::page(&mut reading, &query, Timestamp(7)).await.unwrap();
                entries.extend(page.entries);
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            let ids: std::collections::BTreeSet<&str> = entries.iter().map(|e| e.id.as_str()).collect();
            assert_eq!((entries.len(), ids.len()), (5, 5), "{}", shelf.name);
            let id = if requests { "r1" } else { "r1.2" };
            let found = entries.iter().find(|entry| entry.id == id).unwrap();
            assert_eq!(
                (found.provider.as_deref(), found.last, found.status),
                (Some("anthropic"), true, Some(200))
            );
            let counts = found.usage.map(|usage| (usage.input, usage.cache_write_long, usage.searches));
            let wanted = (Some((100, 5, 4)), Some(NanoUsd(5_000)), None);
            assert_eq!(
                (counts, found.cost, found.attempts),
                if requests { (None, None, Some(2)) } else { wanted }
            );
        }
    }
}

#[tokio::test]
async fn a_request_is_its_latest_end_and_an_attempt_its_first_report() {
    for shelf in shelves("latest").await {
        let answered = event("r1", &good(1, "openai", "gpt-4o", usage(5, 5), Some(10)), true);
        let mut repeated = answered.clone();
        repeated.attempt.as_mut().unwrap().usage = Some(usage(99, 99));
        // The later ones come first, as after a crash.
        shelf.put(&[(9, repeated), (5, answered)]).await;
        shelf.put(&[(1, refused("r1", BEGIN))]).await;
        let total = shelf.ask(&Query::default()).await.total;
        assert_eq!((total.requests, total.errors, total.input_tokens), (1, 0, 5), "{}", shelf.name);
    }
}

#[tokio::test]
async fn checking_lists_what_is_not_certain_and_what_is_wrong() {
    for shelf in filled("checking").await {
        let checked = shelf.check().await;
        assert_eq!(checked.wrong, Vec::<String>::new(), "{}", shelf.name);
        assert!(checked.dimensions.contains(&"metadata.team".to_owned()), "{:?}", checked.dimensions);
        assert_eq!(checked.unknown[0].model.as_deref(), Some("new-model"));
        assert_eq!((checked.estimated[0].attempts, checked.duplicates[0].attempts), (1, 1));
        let mut change = shelf.store.change().await.unwrap();
        let forget = crate::store::Statement::new("DELETE FROM requests WHERE id = 'r1'");
        assert_eq!(forget.execute(&mut change.transaction).await.unwrap(), 1);
        change.commit().await.unwrap();
        assert!(shelf.check().await.wrong[0].contains("1 attempts ended requests"), "{}", shelf.name);
    }
}
