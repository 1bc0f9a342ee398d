//! Rules and channels of alerts: what they come to, and how they are refused.

use domain::alert::{Kind, Severity, Timing};

use super::*;

#[test]
fn the_rules_of_the_example_are_those_that_count_without_any() {
    let written = accepts(&uncommented()).alerts.checked();
    assert_eq!(written.rules, domain::alert::defaults());
    assert_eq!(accepts("").alerts.checked().rules, domain::alert::defaults());
}

#[test]
fn every_field_of_a_rule_is_in_the_example() {
    let rule = Rule {
        name: "x".to_owned(),
        kind: Some(Kind::Budget),
        workspaces: vec![String::new()],
        channels: vec![String::new()],
        severity: Some(Severity::Info),
        window: Some(Duration::ZERO),
        percent: Some(1),
        minimum_requests: Some(1),
        p95: Some(Duration::ZERO),
        multiple: Some(1),
        minimum_usd: Some(providers::models::UsdFor::default()),
        baseline: Some(1),
        count: Some(1),
        age: Some(Duration::ZERO),
        recover_after: Some(Duration::ZERO),
        remind_after: Some(Duration::ZERO),
    };
    for field in toml::Table::try_from(&rule).unwrap().keys() {
        assert!(EXAMPLE.lines().any(|line| line.starts_with(&format!("#{field} = "))), "{field}");
    }
}

#[test]
fn a_rule_says_what_differs() {
    let text = r#"
        [[alerts.rules]]
        kind = "spend"
        name = "acme-spend"
        workspaces = ["acme"]
        window = "10m"
        minimum_usd = 2.5
        severity = "critical"
        recover_after = "1s"
        remind_after = "0s"
    "#;
    let checked = accepts(text).alerts.checked();
    let [rule] = checked.rules.as_slice() else { panic!("{checked:?}") };
    assert_eq!((rule.name.as_str(), rule.severity), ("acme-spend", Severity::Critical));
    assert_eq!(rule.timing, Timing { hold: Duration::from_secs(1), remind: None });
    let expected = domain::alert::Condition::Spend {
        window: Duration::from_secs(600),
        multiple: 3,
        minimum: domain::model::NanoUsd(2_500_000_000),
        baseline: 24,
    };
    assert_eq!(rule.condition, expected);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let rule = |text: &str| format!("[[alerts.rules]]\n{text}");
    for (text, expected) in [
        (
            "",
            "`alerts.rules[0].kind` is missing: use one of budget, spend, error_rate, latency, breaker, dead_letters, queue_age",
        ),
        (
            "kind = 'breaker'\npercent = 1",
            "`alerts.rules[0].percent` means nothing to a rule of kind `breaker`: leave it out",
        ),
        ("kind = 'error_rate'\npercent = 101", "`alerts.rules[0].percent` has to be from 1 to 100"),
        ("kind = 'latency'\nwindow = '0s'", "`alerts.rules[0].window` has to be from `1s` to `7d`"),
        (
            "kind = 'budget'\nname = 'Über'",
            "`alerts.rules[0].name` cannot be `Über`: use lower-case letters, digits and hyphens",
        ),
        (
            "kind = 'budget'\nchannels = ['ops']",
            "`alerts.rules[0].channels` names `ops`, but there is no `[alerts.channels.ops]`",
        ),
        (
            "kind = 'queue_age'\nworkspaces = ['a']",
            "`alerts.rules[0].workspaces` means nothing here: all workspaces share the queues",
        ),
        (
            "kind = 'budget'\n[[alerts.rules]]\nkind = 'budget'",
            "two rules are called `budget`: give `alerts.rules[1]` a `name` of its own",
        ),
    ] {
        let found = read(&rule(text), &env(&[]), &[]).expect_err(text).to_string();
        assert!(found.ends_with(expected), "{found}");
    }
}

#[test]
fn channels_are_refused_without_repeating_their_secrets() {
    let channel = |text: &str| format!("[alerts.channels.ops]\n{text}");
    for (text, expected) in [
        ("", "`alerts.channels.ops.kind` is missing: write `webhook`, `slack`, `pagerduty` or `email`"),
        ("kind = 'slack'", "`alerts.channels.ops.url` is missing: where are notices to be sent?"),
        (
            "kind = 'slack'\nurl = 'secret'",
            "`alerts.channels.ops.url` has to be a URL like `https://hooks.example.com/alerts`",
        ),
        (
            "kind = 'slack'\nto = ['a@b.c']",
            "`alerts.channels.ops.to` means nothing to a channel of this kind: leave it out",
        ),
        (
            "kind = 'webhook'\nurl = 'http://x'\nsecrets = ['secret']",
            "is wrong: a secret is written `whsec_` and base64: make one with `echo whsec_$(openssl rand -base64 32)`",
        ),
        (
            "kind = 'webhook'\nurl = 'http://x'\nsecrets = ['whsec_c2VjcmV0']",
            "a secret has from 24 to 64 bytes, not 6: make one with `echo whsec_$(openssl rand -base64 32)`",
        ),
        (
            "kind = 'pagerduty'",
            "`alerts.channels.ops.routing_key` is missing: the integration key of a service",
        ),
        (
            "kind = 'email'\nhost = 'mail.example.com'\nfrom = 'a@b.c'\ntls = 'none'",
            "`alerts.channels.ops.tls` can only be `none` on this machine: write `starttls` or `implicit`",
        ),
        (
            "kind = 'email'\nhost = 'localhost'\nfrom = 'nobody'",
            "`alerts.channels.ops.from` has `nobody`, which is no address: write `ann@example.com`",
        ),
        (
            "kind = 'email'\nhost = 'localhost'\nfrom = 'a@b.c'\npassword = 'secret'",
            "`alerts.channels.ops.username` is missing beside `password`",
        ),
    ] {
        let found = read(&channel(text), &env(&[]), &[]).expect_err(text).to_string();
        assert!(found.ends_with(expected), "{found}");
        assert!(!found.contains("'secret'") && !found.contains("c2VjcmV0"), "{found}");
    }
}

#[test]
fn secrets_of_channels_are_not_printed() {
    let settings = accepts(&uncommented());
    let shown = format!("{settings:?} {:?}", settings.alerts.checked());
    for secret in ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "services/T0", "0123456789abcdef"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert_eq!(settings.alerts.checked().channels.len(), 4);
}
