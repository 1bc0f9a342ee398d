//! Declared caps.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// 2026-11-21T00:00:00Z, a Saturday.
const MADE: Timestamp = Timestamp(1_795_219_200_000);

fn read(usage: Value, rates: Value) -> Result<Vec<Limit>, InvalidCap> {
    limits(Level::ApiKey, "k1", &Caps { usage_limits: usage, rate_limits: rates }, MADE)
}

#[track_caller]
fn budget(declared: Value) -> Limit {
    let mut found = read(declared, Value::Null).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[track_caller]
fn rate(declared: Value) -> Limit {
    let mut found = read(Value::Null, json!([declared])).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn budgets_are_read() {
    let plain = budget(json!({ "credit_limit": 10 }));
    assert_eq!((plain.unit, plain.cap, plain.alert_at), (Unit::Cost, 10_000_000_000, None));
    assert_eq!((plain.window, plain.soft), (Window::Fixed(Reset::Never), false));
    assert_eq!(plain.unreachable, Unreachable::Closed);
    let all = budget(json!({
        "type": "tokens", "credit_limit": 100_000, "alert_threshold": 80_000, "periodic_reset": "monthly",
        "soft": true, "on_unreachable": "open",
    }));
    assert_eq!((all.unit, all.cap, all.alert_at), (Unit::Tokens, 100_000, Some(80_000)));
    assert_eq!((all.window, all.soft), (Window::Fixed(Reset::Monthly), true));
    assert_eq!(all.unreachable, Unreachable::Open);
    assert_eq!(all.name(), "apikey.k1.tokens.monthly");
}

#[test]
fn rates_are_read() {
    for (word, seconds) in [("rps", 1), ("rpm", 60), ("rph", 3600), ("rpd", 86_400), ("rpw", 604_800)] {
        let limit = rate(json!({ "type": "requests", "unit": word, "value": 60 }));
        assert_eq!(limit.window, Window::Sliding(Duration::from_secs(seconds)));
        assert_eq!((limit.cap, limit.unreachable), (60, Unreachable::Open));
    }
    let held = rate(json!({ "type": "concurrent", "value": 8, "on_unreachable": "closed" }));
    assert_eq!((held.unit, held.window), (Unit::Concurrent, Window::Held));
    assert_eq!(held.unreachable, Unreachable::Closed);
}

#[test]
fn dollars_are_read_exactly() {
    for (text, nano) in [
        ("0.1", 100_000_000),
        ("0.07", 70_000_000),
        ("1.005", 1_005_000_000),
        ("1e-9", 1),
        ("0", 0),
        ("2.5e3", 2_500_000_000_000),
        ("4503599.627370497", 4_503_599_627_370_497),
    ] {
        let number: Value = serde_json::from_str(text).unwrap();
        assert_eq!(budget(json!({ "credit_limit": number })).cap, nano, "{text}");
    }
}

proptest! {
    #[test]
    fn dollars_with_up_to_six_digits_after_the_point_keep_every_digit(micro in 0_u64..1_000_000_000_000) {
        let text = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
        let number: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(budget(json!({ "credit_limit": number })).cap, micro * 1000);
    }

    #[test]
    fn whatever_is_declared_is_read_or_refused_with_its_place(
        name in prop::sample::select(vec!["type", "credit_limit", "alert_threshold", "periodic_reset", "soft", "x"]),
        value in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!("cost")), Just(json!(true)),
            any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from),
        ],
    ) {
        if let Err(err) = read(json!([{ "credit_limit": 5, name: value }]), Value::Null) {
            prop_assert!(err.path.starts_with("usage_limits[0]."), "{}", err.path);
        }
    }
}

#[test]
fn resets_are_the_calendars_or_counted_from_a_moment() {
    let reset = |declared: Value| match budget(declared).window {
        Window::Fixed(reset) => reset,
        other => panic!("{other:?}"),
    };
    assert_eq!(reset(json!({ "credit_limit": 1, "periodic_reset": "daily" })), Reset::Daily);
    assert_eq!(reset(json!({ "credit_limit": 1, "periodic_reset": "weekly" })), Reset::Weekly);
    let days = reset(json!({ "credit_limit": 1, "periodic_reset_days": 30 }));
    assert_eq!(days, Reset::Days { days: 30, from: MADE });
    let moved = |word: &str, at: &str| {
        reset(json!({ "credit_limit": 1, "periodic_reset": word, "next_usage_reset_at": at }))
    };
    let noon = Timestamp(MADE.0 + 12 * 3_600_000);
    assert_eq!(moved("weekly", "2026-11-21T12:00:00Z"), Reset::Days { days: 7, from: noon });
    assert_eq!(moved("weekly", "2026-11-23T00:00:00Z"), Reset::Weekly, "a Monday");
    assert_eq!(moved("daily", "2026-11-21T13:00:00+01:00"), Reset::Days { days: 1, from: noon });
    assert_eq!(moved("monthly", "2026-12-01T00:00:00Z"), Reset::Monthly);
}

#[test]
fn nothing_declared_is_no_limit() {
    for nothing in [json!(null), json!({}), json!([])] {
        assert_eq!(read(nothing.clone(), nothing), Ok(Vec::new()));
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place_and_what_to_write() {
    for (usage, rates, expected) in [
        (json!("10"), json!(null), "`usage_limits`: `\"10\"` is no limit; write an object, as in `{\"type\""),
        (json!([3]), json!(null), "`usage_limits[0]`: `3` is no limit"),
        (json!({ "type": "cost" }), json!(null), "`usage_limits.credit_limit`: is missing"),
        (
            json!({ "credit_limit": -1 }),
            json!(null),
            "`usage_limits.credit_limit`: `-1` cannot be; write dollars",
        ),
        (json!({ "credit_limit": "5" }), json!(null), "`usage_limits.credit_limit`: `\"5\"` cannot be"),
        (
            json!({ "credit_limit": 0.000_000_000_1 }),
            json!(null),
            "`usage_limits.credit_limit`: `1e-10` cannot be",
        ),
        (json!({ "credit_limit": 18_446_744_074_u64 }), json!(null), "`usage_limits.credit_limit`: "),
        (
            json!({ "credit_limit": 1.5, "type": "tokens" }),
            json!(null),
            "`usage_limits.credit_limit`: `1.5` cannot be; write a whole number",
        ),
        (
            json!({ "credit_limit": 1, "type": "concurrent" }),
            json!(null),
            "`usage_limits.type`: `concurrent` cannot be counted here; use one of cost, tokens, requests",
        ),
        (
            json!({ "credit_limit": 1, "alert_threshold": 2 }),
            json!(null),
            "`usage_limits.alert_threshold`: is above `credit_limit`",
        ),
        (
            json!({ "credit_limit": 1, "periodic_reset": "yearly" }),
            json!(null),
            "`usage_limits.periodic_reset`: `yearly` is no period; use one of daily, weekly, monthly",
        ),
        (
            json!({ "credit_limit": 1, "periodic_reset_days": 366 }),
            json!(null),
            "`usage_limits.periodic_reset_days`: `366` cannot be; write a whole number from 1 to 365",
        ),
        (
            json!({ "credit_limit": 1, "periodic_reset": "daily", "periodic_reset_days": 3 }),
            json!(null),
            "`usage_limits.periodic_reset_days`: `periodic_reset` says already when",
        ),
        (
            json!({ "credit_limit": 1, "next_usage_reset_at": "2026-12-01T00:00:00Z" }),
            json!(null),
            "`usage_limits.next_usage_reset_at`: says when, but not how often",
        ),
        (
            json!({ "credit_limit": 1, "periodic_reset": "monthly", "next_usage_reset_at": "2026-12-02T00:00:00Z" }),
            json!(null),
            "`usage_limits.next_usage_reset_at`: months begin on the first",
        ),
        (
            json!({ "credit_limit": 1, "periodic_reset_days": 3, "next_usage_reset_at": "tomorrow" }),
            json!(null),
            "`usage_limits.next_usage_reset_at`: `\"tomorrow\"` is no time; write it as in",
        ),
        (
            json!([{ "credit_limit": 1 }, { "credit_limit": 1, "creditLimit": 2 }]),
            json!(null),
            "`usage_limits[1].creditLimit`: is unknown here; known fields: type, credit_limit, ",
        ),
        (
            json!([{ "credit_limit": 1 }, { "credit_limit": 2, "type": "cost" }]),
            json!(null),
            "`usage_limits[1]`: there is another limit of `cost` once here",
        ),
        (
            json!({ "credit_limit": 1, "soft": 1 }),
            json!(null),
            "`usage_limits.soft`: `1` cannot be; write true or",
        ),
        (
            json!(null),
            json!([{ "unit": "rpm", "value": 1 }]),
            "`rate_limits[0].type`: is missing; use one of requests",
        ),
        (
            json!(null),
            json!([{ "type": "requests", "value": 1 }]),
            "`rate_limits[0].unit`: is missing; use one of rps",
        ),
        (
            json!(null),
            json!([{ "type": "requests", "value": 1, "unit": "rpy" }]),
            "`rate_limits[0].unit`: `rpy` is no period; use one of rps, rpm, rph, rpd, rpw",
        ),
        (
            json!(null),
            json!([{ "type": "concurrent", "value": 1, "unit": "rpm" }]),
            "`rate_limits[0].unit`: calls under way",
        ),
        (json!(null), json!([{ "type": "requests", "unit": "rpm" }]), "`rate_limits[0].value`: is missing"),
        (
            json!(null),
            json!([{ "type": "requests", "unit": "rpm", "value": 1, "on_unreachable": "perhaps" }]),
            "`rate_limits[0].on_unreachable`: `perhaps` cannot be; use open or closed",
        ),
        (
            json!(null),
            json!([{ "type": "requests", "unit": "rpm", "value": 1 }, { "type": "requests", "unit": "rpm", "value": 2 }]),
            "`rate_limits[1]`: there is another limit of `requests` rpm here",
        ),
        (
            json!(null),
            json!([{ "type": "cost", "unit": "rpm", "value": 1 }]),
            "`rate_limits[0].type`: `cost` cannot be counted here",
        ),
    ] {
        let message = read(usage, rates).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}\n{expected}");
    }
}
