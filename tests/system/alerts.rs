//! Alerts: real events and circuits, a real broker, and receivers that check what they get.

mod receiver;

use std::path::Path;
use std::time::Duration;

use domain::Event;
use receiver::{Got, Receiver, Reply, Smtp};
use serde_json::{Value, json};
use system_tests::harness::broker::free_port;
use system_tests::harness::process::Start;
use system_tests::harness::{Broker, Client, Observer, Pointsman, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";

/// A start with rules, and one webhook called `hook`.
fn with_hook(start: Start, rules: &str, url: &str) -> Start {
    start
        .set("alerts.every", "200ms")
        .set("alerts.rules", rules)
        .set("alerts.channels.hook.kind", "webhook")
        .set("alerts.channels.hook.url", url)
        .set("alerts.channels.hook.secrets", &format!("['{SECRET}']"))
}

/// A broker, and the role alone.
struct Watch {
    dir: tempfile::TempDir,
    broker: Broker,
    bus: bus::Bus,
    _observer: Observer,
}

impl Watch {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path().join("nats"));
        let observer = Observer::connect(&broker.url()).await;
        let bus = observer.bus(&broker.url()).await;
        Self { dir, broker, bus, _observer: observer }
    }

    fn role(&self, rules: &str, url: &str) -> Start {
        let start = crate::pointsman(self.dir.path(), &["run", "alerts"])
            .arg("--nats")
            .arg(self.broker.url())
            .arg("--data-dir")
            .arg(self.dir.path().join("data").display().to_string())
            // What a killed process holds soon goes to another.
            .set("work.ack_wait", "2s")
            .set("work.progress", "500ms");
        with_hook(start, rules, url)
    }

    /// The role, when it has begun to judge.
    async fn judging(&self, start: Start) -> Pointsman {
        let before = self.bus.alert_record().await.map_or(0, |(_, sequence)| sequence);
        let role = start.ready();
        eventually("somebody judges", PATIENCE, || async {
            self.bus.alert_record().await.ok().filter(|(_, sequence)| *sequence > before)
        })
        .await;
        role
    }

    fn cli(&self, arguments: &[&str]) -> Value {
        cli(self.dir.path(), arguments, &self.broker.url())
    }

    /// Reports that a limit of this name was crossed.
    async fn cross(&self, limit: &str, level: &str) {
        let now = self.bus.clock().now();
        let event: Event = serde_json::from_value(json!({
            "v": 1, "id": format!("{limit}..1.{level}"), "kind": "limit.crossed", "at": now, "request": "r1",
            "workspace": "default", "causation": "r1", "operation": "chat", "lane": "normal", "config": "x",
            "limit": {
                "limit": limit, "level": level, "unit": "cost", "used": 4_500_000_000_u64, "cap": 5_000_000_000_u64,
                "resets_at": now.0 + 3_600_000, "emails": ["ann@example.com"],
            },
        }))
        .unwrap();
        self.bus.report(&event).await.unwrap();
    }
}

fn cli(dir: &Path, arguments: &[&str], nats: &str) -> Value {
    let finished = crate::pointsman(dir, arguments).arg("--json").arg("--nats").arg(nats).finish();
    assert!(finished.status.success(), "{finished:?}");
    finished.json()
}

fn types(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.webhook(SECRET)).collect()
}

const BUDGET: &str = "[{ kind = 'budget' }]";

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_provider_raises_one_alert_and_its_recovery_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&[]).await;
    let rules =
        "[{ kind = 'error_rate', window = '3s', percent = 50, minimum_requests = 4, recover_after = '0s' }]";
    let gateway = with_hook(crate::up(dir.path()), rules, &receiver.url()).ready();
    let client = Client::new(&gateway.http());
    eventually("somebody judges", PATIENCE, || async {
        let listed =
            crate::pointsman(dir.path(), &["alerts", "ls"]).arg("--nats").arg(gateway.nats()).finish();
        listed.status.success().then_some(())
    })
    .await;
    for _ in 0..6 {
        assert_eq!(client.send(client.chat("mock?status=500")).await.status, 500);
    }
    let raised = receiver.wait_for(1).await;
    assert_eq!(types(&raised), ["alert.raised"]);
    let data = &raised[0].body["data"];
    assert_eq!((&data["rule"], &data["subject"]), (&json!("error-rate"), &json!("default")));
    let listed = cli(dir.path(), &["alerts", "ls"], &gateway.nats());
    assert_eq!(listed["alerts"][0]["state"], "firing", "{listed}");
    let all = receiver.wait_for(2).await;
    assert_eq!(types(&all), ["alert.raised", "alert.recovered"]);
    assert_eq!(all[0].body["data"]["key"], all[1].body["data"]["key"]);
    assert_ne!(all[0].headers["webhook-id"], all[1].headers["webhook-id"]);
    let listed = cli(dir.path(), &["alerts", "ls"], &gateway.nats());
    assert_eq!(listed["alerts"][0]["state"], "ok", "{listed}");
    let metrics = client.send(client.request(reqwest::Method::GET, "/metrics")).await.text;
    assert!(metrics.contains(r#"pointsman_notices_total{channel="hook",result="sent"} 2"#), "{metrics}");
    assert!(metrics.contains(r#"pointsman_alerts_firing{rule="error-rate"} 0"#), "{metrics}");
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossed_limit_is_said_once_and_its_people_are_told() {
    let watch = Watch::start().await;
    let (receiver, smtp) = (Receiver::start(&[]).await, Smtp::start().await);
    let start = watch
        .role("[{ kind = 'budget', channels = ['hook'] }]", &receiver.url())
        .set("alerts.channels.mail.kind", "email")
        .set("alerts.channels.mail.host", "127.0.0.1")
        .set("alerts.channels.mail.port", &smtp.port.to_string())
        .set("alerts.channels.mail.tls", "none")
        .set("alerts.channels.mail.username", "alerts")
        .set("alerts.channels.mail.password", "s3cret")
        .set("alerts.channels.mail.from", "Pointsman <alerts@example.com>")
        .set("alerts.channels.mail.to", "['ops@example.com']");
    let role = watch.judging(start).await;
    watch.cross("apikey.ab12.budget", "threshold").await;
    watch.cross("apikey.ab12.budget", "threshold").await;
    let got = receiver.wait_for(1).await;
    let summary = got[0].body["data"]["summary"].as_str().unwrap();
    assert_eq!(
        summary,
        "limit default/apikey.ab12.budget is used up to its threshold: 4.500000000 USD of 5.000000000 USD"
    );
    let mail = &smtp.wait_for(1).await[0];
    assert_eq!((mail.login.as_str(), mail.from.as_str()), (":alerts:s3cret", "alerts@example.com"));
    assert_eq!(
        mail.to,
        ["ann@example.com"],
        "the rule does not name the channel, so its own people are not told"
    );
    assert!(mail.data.contains("Subject: [raised] limit default/apikey.ab12.budget"), "{}", mail.data);
    assert!(mail.data.contains("multipart/alternative"), "{}", mail.data);
    watch.cross("apikey.ab12.budget", "exhausted").await;
    let got = receiver.wait_for(2).await;
    assert_eq!(types(&got), ["alert.raised", "alert.raised"]);
    assert_eq!(got[1].body["data"]["severity"], "error");
    assert_eq!(smtp.wait_for(2).await.len(), 2);
    assert!(!role.log().contains("s3cret") && !role.log().contains(SECRET), "{}", role.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_goes_to_all_channels_and_says_what_they_answer() {
    let watch = Watch::start().await;
    let (hook, slack, pagerduty, smtp) = (
        Receiver::start(&[]).await,
        Receiver::start(&[]).await,
        Receiver::start(&[Reply::Status(202, None), Reply::Status(400, None)]).await,
        Smtp::start().await,
    );
    let start = watch
        .role(BUDGET, &hook.url())
        .set("alerts.channels.team.kind", "slack")
        .set("alerts.channels.team.url", &slack.url())
        .set("alerts.channels.oncall.kind", "pagerduty")
        .set("alerts.channels.oncall.url", &pagerduty.url())
        .set("alerts.channels.oncall.routing_key", "R0UT1NG")
        .set("alerts.channels.mail.kind", "email")
        .set("alerts.channels.mail.host", "127.0.0.1")
        .set("alerts.channels.mail.port", &smtp.port.to_string())
        .set("alerts.channels.mail.tls", "none")
        .set("alerts.channels.mail.from", "alerts@example.com")
        .set("alerts.channels.mail.to", "['ops@example.com', 'boss@example.com']");
    let _role = watch.judging(start).await;
    let said = watch.cli(&["alerts", "test"]);
    let names: Vec<&Value> = said["answers"].as_array().unwrap().iter().map(|a| &a["channel"]).collect();
    assert_eq!(names, ["hook", "mail", "oncall", "team"]);
    assert!(said["answers"].as_array().unwrap().iter().all(|a| a["taken"] == true), "{said}");
    assert_eq!(said["answers"][0]["said"], "HTTP 200 noted");
    assert_eq!(said["answers"][1]["said"], "250 2.0.0 queued as 1");
    assert_eq!(hook.got()[0].webhook(SECRET), "alert.test");
    let message = &slack.got()[0].body;
    assert!(message["text"].as_str().unwrap().contains("This is a test"), "{message}");
    assert_eq!(message["blocks"][0]["type"], "section");
    let event = &pagerduty.got()[0].body;
    assert_eq!((&event["routing_key"], &event["event_action"]), (&json!("R0UT1NG"), &json!("trigger")));
    for field in ["summary", "source", "severity", "timestamp", "custom_details"] {
        assert!(!event["payload"][field].is_null(), "{field} in {event}");
    }
    assert_eq!(smtp.wait_for(1).await[0].to, ["ops@example.com", "boss@example.com"]);
    // A refusal is said, and a test is neither tried again nor put aside.
    let refused = crate::pointsman(watch.dir.path(), &["alerts", "test", "oncall", "--json"])
        .arg("--nats")
        .arg(watch.broker.url())
        .finish();
    assert!(!refused.status.success());
    assert_eq!(refused.json()["answers"][0]["said"], "HTTP 400 noted");
    assert_eq!(watch.cli(&["dead", "ls"])["dead"], json!([]));
    let unknown = crate::pointsman(watch.dir.path(), &["alerts", "test", "nobody"])
        .arg("--nats")
        .arg(watch.broker.url())
        .finish();
    assert!(unknown.stderr.contains("no channel is called `nobody` (channels: hook, mail, oncall, team)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_down_gets_the_notice_later() {
    let watch = Watch::start().await;
    let port = free_port();
    let role = watch.judging(watch.role(BUDGET, &format!("http://127.0.0.1:{port}/hook"))).await;
    watch.cross("apikey.ab12.budget", "threshold").await;
    let waiting = eventually("it was tried in vain", PATIENCE, || async {
        let history = watch.cli(&["alerts", "history"])["history"].clone();
        let delivery = history[0]["deliveries"][0].clone();
        (delivery["taken"] == false && !delivery["again_at"].is_null()).then_some(delivery)
    })
    .await;
    assert!(!waiting["said"].as_str().unwrap().contains("/hook"), "the URL may be a secret: {waiting}");
    let receiver = Receiver::listen(port, &[Reply::Status(503, Some(3)), Reply::Status(500, None)]).await;
    let got = receiver.wait_for(3).await;
    assert_eq!(types(&got), ["alert.raised"; 3]);
    let ids: Vec<&String> = got.iter().map(|got| &got.headers["webhook-id"]).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
    assert!(got[1].at - got[0].at >= Duration::from_millis(2900), "it waits as long as it was asked to");
    eventually("history has it", PATIENCE, || async {
        let history = watch.cli(&["alerts", "history"])["history"].clone();
        (history[0]["deliveries"][0]["taken"] == true).then_some(())
    })
    .await;
    assert_eq!(receiver.got().len(), 3, "{}", role.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_neither_loses_a_notice_nor_raises_it_again() {
    let watch = Watch::start().await;
    let receiver = Receiver::start(&[Reply::Hang]).await;
    let role = watch.judging(watch.role(BUDGET, &receiver.url())).await;
    watch.cross("apikey.ab12.budget", "threshold").await;
    receiver.wait_for(1).await;
    // The receiver has it, but has not said so: nobody knows.
    role.kill();
    let role = watch.judging(watch.role(BUDGET, &receiver.url())).await;
    let got = receiver.wait_for(2).await;
    assert_eq!(got[0].headers["webhook-id"], got[1].headers["webhook-id"], "the receiver can tell");
    // Another happening passes through the same memory: what was said before is not said again.
    watch.cross("apikey.ab12.budget", "threshold").await;
    watch.cross("apikey.cd34.budget", "threshold").await;
    let got = receiver.wait_for(3).await;
    assert_eq!(got[2].body["data"]["subject"], "default/apikey.cd34.budget");
    assert_eq!(got.len(), 3, "{}", role.log());
    assert_eq!(watch.cli(&["alerts", "history"])["history"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_nobody_judged_is_said_afterwards() {
    let watch = Watch::start().await;
    let receiver = Receiver::start(&[]).await;
    watch.judging(watch.role(BUDGET, &receiver.url())).await.kill();
    for number in 0..5 {
        watch.cross(&format!("apikey.k{number}.budget"), "threshold").await;
    }
    let _two = [
        watch.judging(watch.role(BUDGET, &receiver.url())).await,
        watch.role(BUDGET, &receiver.url()).ready(),
    ];
    let got = receiver.wait_for(5).await;
    let mut subjects: Vec<&str> =
        got.iter().map(|got| got.body["data"]["subject"].as_str().unwrap()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!((subjects.len(), got.len()), (5, 5), "two processes judge once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_put_aside_and_can_be_sent_back() {
    let watch = Watch::start().await;
    let receiver = Receiver::start(&[Reply::Status(500, None); 2]).await;
    let start = watch.role(BUDGET, &receiver.url()).set("alerts.give_up_after", "1s");
    let _role = watch.judging(start).await;
    watch.cross("apikey.ab12.budget", "threshold").await;
    let letter = eventually("it is put aside", PATIENCE, || async {
        let dead = watch.cli(&["dead", "ls"])["dead"].clone();
        dead.get(0).cloned()
    })
    .await;
    assert_eq!(letter["stage"], "alerts");
    assert_eq!(letter["reason"], "not taken within 1s (2 tries), at last: HTTP 500 noted");
    let history = watch.cli(&["alerts", "history"]);
    assert!(history["history"][0]["deliveries"][0]["again_at"].is_null(), "{history}");
    watch.cli(&["dead", "redrive", &letter["number"].to_string()]);
    let got = receiver.wait_for(3).await;
    assert_eq!(types(&got), ["alert.raised"; 3]);
}
