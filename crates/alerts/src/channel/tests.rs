//! What receivers read, to the byte where a standard says so.

use std::collections::BTreeMap;

use domain::Workspace;
use domain::alert::{Change, Kind, Notice, Severity};
use serde_json::json;

use super::*;

pub(crate) fn notice() -> Notice {
    Notice {
        change: Change::Raised,
        key: "errors/default".to_owned(),
        rule: "errors".to_owned(),
        kind: Kind::ErrorRate,
        severity: Severity::Error,
        subject: "default".to_owned(),
        workspace: Some(Workspace::default()),
        since: Timestamp(1_800_000_000_000),
        summary: "default: 12 of 20 requests failed <now> & here".to_owned(),
        details: BTreeMap::from([("failures".to_owned(), "12".to_owned())]),
        ..Notice::test(Vec::new(), Timestamp(1_800_000_060_500), 7)
    }
}

/// The example of the specification's reference libraries.
#[test]
fn a_signature_is_that_of_the_standard() {
    let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let headers = webhook::headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        r#"{"test": 2432232314}"#,
        std::slice::from_ref(&key),
        Timestamp(1_614_265_330_000),
    );
    assert_eq!(headers[0], ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()));
    assert_eq!(headers[1], ("webhook-timestamp", "1614265330".to_owned()));
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(headers[2], ("webhook-signature", signature.to_owned()));
    let other = SigningKey::parse("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz").unwrap();
    let both = webhook::headers("msg", "{}", &[key, other], Timestamp(0));
    assert_eq!(both[2].1.split(' ').filter(|part| part.starts_with("v1,")).count(), 2);
}

#[test]
fn secrets_are_checked() {
    for bad in ["", "whsec_", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ="] {
        assert!(SigningKey::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_webhook_has_type_time_and_data() {
    let body: serde_json::Value = serde_json::from_str(&webhook::body(&notice())).unwrap();
    let id = notice().id;
    assert_eq!(
        body,
        json!({
            "type": "alert.raised",
            "timestamp": "2027-01-15T08:01:00.5Z",
            "data": {
                "id": id, "key": "errors/default", "rule": "errors", "kind": "error_rate", "severity": "error",
                "subject": "default", "workspace": "default", "since": "2027-01-15T08:00:00Z",
                "summary": "default: 12 of 20 requests failed <now> & here", "details": { "failures": "12" },
            },
        })
    );
}

#[test]
fn slack_gets_text_and_blocks_without_links_of_strangers() {
    let body = slack::body(&notice());
    assert_eq!(body["text"], "errors raised: default: 12 of 20 requests failed &lt;now&gt; &amp; here");
    assert_eq!(body["blocks"][0]["type"], "section");
    let text = body["blocks"][0]["text"]["text"].as_str().unwrap();
    assert!(text.starts_with(":red_circle: *errors* raised\ndefault: 12 of 20"), "{text}");
    assert_eq!(body["blocks"][0]["fields"][0], json!({ "type": "mrkdwn", "text": "*failures*\n12" }));
    assert_eq!(body["blocks"][1]["type"], "context");
    // Slack refuses an empty list of fields.
    let bare = slack::body(&Notice { details: BTreeMap::new(), ..notice() });
    assert_eq!(bare["blocks"][0].get("fields"), None);
}

#[test]
fn pagerduty_gets_one_incident_for_each_alert() {
    let event = |change| pagerduty::body(&Notice { change, ..notice() }, "R0UT1NG", "gateway-1");
    let raised = event(Change::Raised);
    assert_eq!(raised["routing_key"], "R0UT1NG");
    assert_eq!(raised["event_action"], "trigger");
    assert_eq!(raised["dedup_key"], "pointsman/errors/default");
    let payload = &raised["payload"];
    assert_eq!(payload["source"], "gateway-1");
    assert_eq!((&payload["severity"], &payload["class"]), (&json!("error"), &json!("error_rate")));
    assert_eq!(payload["timestamp"], "2027-01-15T08:01:00.5Z");
    assert_eq!(payload["custom_details"]["failures"], "12");
    let over = event(Change::Recovered);
    assert_eq!((&over["event_action"], &over["dedup_key"]), (&json!("resolve"), &raised["dedup_key"]));
    assert_ne!(event(Change::Test)["dedup_key"], raised["dedup_key"], "a test touches no incident");
    let long = pagerduty::body(&Notice { summary: "é".repeat(3000), ..notice() }, "R", "s");
    assert_eq!(long["payload"]["summary"].as_str().unwrap().chars().count(), 1024);
}

#[test]
fn an_email_has_an_id_and_two_readings() {
    let email = Email {
        host: "localhost".to_owned(),
        port: 25,
        tls: Tls::None,
        login: None,
        from: "Pointsman <alerts@example.com>".parse().unwrap(),
        to: vec!["ops@example.com".parse().unwrap()],
    };
    let named = Notice {
        emails: vec!["ann@example.com".into(), "nobody".into(), "ops@example.com".into()],
        ..notice()
    };
    let all = email::receivers(&email, &named, false);
    let addresses: Vec<String> = all.iter().map(|mailbox| mailbox.email.to_string()).collect();
    assert_eq!(addresses, ["ops@example.com", "ann@example.com"]);
    assert_eq!(email::receivers(&email, &named, true).len(), 2, "only the notice's own");
    let text = email::message(&email, &named, &all).unwrap().formatted();
    let text = String::from_utf8(text).unwrap();
    for part in [
        &format!("Message-ID: <{}@example.com>\r\n", named.id),
        "Subject: [raised] default: 12 of 20 requests failed",
        "Date: Fri, 15 Jan 2027 08:01:00 +0000\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "failures: 12",
        "&lt;now&gt; &amp; here",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn channels_do_not_print_their_secrets() {
    let url = Zeroizing::new("https://hooks.slack.com/services/secret".to_owned());
    let keys = vec![SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
    assert_eq!(
        format!("{:?} {:?}", Channel::Slack { url: url.clone() }, Channel::Webhook { url, keys }),
        "slack webhook"
    );
}
