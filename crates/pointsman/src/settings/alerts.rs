//! Who is told of what: rules and channels as they are written, and what they come to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use alerts::{Channel as Receiver, Email, Mailbox, SigningKey};
use domain::Workspace;
use domain::alert::{self, Condition, Kind, Severity};
use domain::model::NanoUsd;
use providers::models::UsdFor;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::settings::provider::{Secret, hidden};
use crate::settings::units;

/// Who is told of what.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Alerts {
    /// How often rules are judged.
    #[serde(with = "units::duration")]
    pub every: Duration,
    /// How long a notice is offered to a channel that does not take it.
    #[serde(with = "units::duration")]
    pub give_up_after: Duration,
    /// Who is told, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, Channel>,
    /// What is watched. None: one rule of each kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            give_up_after: Duration::from_secs(24 * 3600),
            channels: BTreeMap::new(),
            rules: None,
        }
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(self, f)
    }
}

/// One who is told.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Channel {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ChannelKind>,
    /// Where to; may hold a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    /// What webhooks are signed with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// PagerDuty's integration key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<Secret>,
    /// SMTP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the connection to it is secured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// User name at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The sender's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The receivers' addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// Standard Webhooks.
    Webhook,
    /// Slack's incoming webhooks.
    Slack,
    /// PagerDuty's Events API v2.
    PagerDuty,
    /// SMTP.
    Email,
}

/// How a connection to an SMTP server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Plain at first.
    StartTls,
    /// From the first byte on.
    Implicit,
    /// Not at all; only on this machine.
    None,
}

/// Something that is watched; what is left out counts as in the rule of its kind that holds without settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Rule {
    /// What it is called; empty: as its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it watches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Workspaces that it watches; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<String>,
    /// Channels that it tells; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// How bad it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The time that is looked at.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// Share of failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Fewer requests say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_requests: Option<u64>,
    /// Slowest that one in twenty answers may be.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub p95: Option<Duration>,
    /// How many times the usual spending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple: Option<u32>,
    /// Less spending is never bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_usd: Option<UsdFor<1>>,
    /// Windows that tell what is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<u32>,
    /// Dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How old the oldest message may be.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// How long it has to be good before it is over.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub recover_after: Option<Duration>,
    /// How long until it is said again; zero: never.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub remind_after: Option<Duration>,
}

/// What is wrong: the keys it is about, and the words.
pub(super) type Problem = (Vec<String>, String);

/// What the section comes to.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) rules: Vec<alert::Rule>,
    pub(crate) channels: BTreeMap<String, Receiver>,
    pub(super) problems: Vec<Problem>,
}

impl Alerts {
    /// Rules and channels, and what is wrong with them.
    pub(crate) fn checked(&self) -> Checked {
        let mut checked = Checked { rules: alert::defaults(), ..Checked::default() };
        for (name, channel) in &self.channels {
            let place = format!("alerts.channels.{name}");
            if !is_name(name) {
                let message = format!("`{name}` cannot name a channel: {NAME}");
                checked.problems.push((vec![place.clone()], message));
            }
            match channel.receiver() {
                Ok(receiver) => {
                    checked.channels.insert(name.clone(), receiver);
                }
                Err((field, message)) => {
                    let key = format!("{place}.{field}");
                    checked.problems.push((vec![key.clone(), place], format!("`{key}` {message}")));
                }
            }
        }
        if let Some(rules) = &self.rules {
            checked.rules.clear();
            self.check_rules(rules, &mut checked);
        }
        checked
    }

    fn check_rules(&self, rules: &[Rule], checked: &mut Checked) {
        let mut names = BTreeSet::new();
        let keys = || vec!["alerts.rules".to_owned()];
        for (index, written) in rules.iter().enumerate() {
            let known = |channel: &&String| !self.channels.contains_key(*channel);
            if let Some(channel) = written.channels.iter().find(known) {
                let message = format!(
                    "`alerts.rules[{index}].channels` names `{channel}`, but there is no `[alerts.channels.{channel}]`"
                );
                checked.problems.push((keys(), message));
            }
            match written.rule() {
                Ok(rule) => {
                    if !names.insert(rule.name.clone()) {
                        let message = format!(
                            "two rules are called `{}`: give `alerts.rules[{index}]` a `name` of its own",
                            rule.name
                        );
                        checked.problems.push((keys(), message));
                    }
                    checked.rules.push(rule);
                }
                Err((field, message)) => {
                    checked.problems.push((keys(), format!("`alerts.rules[{index}].{field}` {message}")));
                }
            }
        }
    }
}

const NAME: &str = "use lower-case letters, digits and hyphens";

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 60 && name.chars().all(fits)
}

/// A field and what is wrong with it.
type Wrong = (&'static str, String);

impl Channel {
    fn receiver(&self) -> Result<Receiver, Wrong> {
        use ChannelKind as K;
        let kinds = "is missing: write `webhook`, `slack`, `pagerduty` or `email`";
        let kind = self.kind.ok_or(("kind", kinds.to_owned()))?;
        let email = &[K::Email][..];
        let given = [
            ("url", self.url.is_some(), &[K::Webhook, K::Slack, K::PagerDuty][..]),
            ("secrets", !self.secrets.is_empty(), &[K::Webhook]),
            ("routing_key", self.routing_key.is_some(), &[K::PagerDuty]),
            ("host", self.host.is_some(), email),
            ("port", self.port.is_some(), email),
            ("tls", self.tls.is_some(), email),
            ("username", self.username.is_some(), email),
            ("password", self.password.is_some(), email),
            ("from", self.from.is_some(), email),
            ("to", !self.to.is_empty(), email),
        ];
        for (field, is_given, of) in given {
            if is_given && !of.contains(&kind) {
                return Err((field, "means nothing to a channel of this kind: leave it out".to_owned()));
            }
        }
        match kind {
            K::Webhook => Ok(Receiver::Webhook { url: self.url(None)?, keys: self.signing_keys()? }),
            K::Slack => Ok(Receiver::Slack { url: self.url(None)? }),
            K::PagerDuty => {
                let key = self.routing_key.as_ref().map(Secret::expose).filter(|key| !key.is_empty());
                let key =
                    key.ok_or(("routing_key", "is missing: the integration key of a service".to_owned()))?;
                let routing_key = Zeroizing::new(key.to_owned());
                Ok(Receiver::PagerDuty { url: self.url(Some(alerts::PAGERDUTY))?, routing_key })
            }
            K::Email => self.email().map(Receiver::Email),
        }
    }

    /// The URL is not repeated: it may be a secret.
    fn url(&self, default: Option<&str>) -> Result<Zeroizing<String>, Wrong> {
        let url = self.url.as_ref().map(Secret::expose).or(default);
        let url = url.ok_or(("url", "is missing: where are notices to be sent?".to_owned()))?;
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let fits = http::Uri::try_from(url).is_ok() && host.is_some_and(|host| !host.is_empty());
        match fits {
            true => Ok(Zeroizing::new(url.to_owned())),
            false => Err(("url", "has to be a URL like `https://hooks.example.com/alerts`".to_owned())),
        }
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>, Wrong> {
        if self.secrets.is_empty() {
            let message =
                "is missing: receivers know by it that a notice is ours; write `[\"${ALERTS_SECRET}\"]`";
            return Err(("secrets", message.to_owned()));
        }
        let read = |secret: &Secret| SigningKey::parse(secret.expose());
        let keys: Result<Vec<SigningKey>, _> = self.secrets.iter().map(read).collect();
        keys.map_err(|err| ("secrets", format!("is wrong: {err}")))
    }

    fn email(&self) -> Result<Email, Wrong> {
        let missing = |field, example: &str| (field, format!("is missing: write for example `{example}`"));
        let host = self.host.clone().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| missing("host", "smtp.example.com"))?;
        let from = self.from.as_deref().ok_or_else(|| missing("from", "alerts@example.com"))?;
        let to: Result<Vec<Mailbox>, Wrong> = self.to.iter().map(|to| mailbox("to", to)).collect();
        let tls = self.tls.unwrap_or(Tls::StartTls);
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if tls == Tls::None && !is_here {
            let message = "can only be `none` on this machine: write `starttls` or `implicit`";
            return Err(("tls", message.to_owned()));
        }
        let port = match tls {
            Tls::StartTls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        };
        let login = match (&self.username, &self.password) {
            (Some(user), Some(password)) => {
                Some((user.clone(), Zeroizing::new(password.expose().to_owned())))
            }
            (None, None) => None,
            (Some(_), None) => return Err(("password", "is missing beside `username`".to_owned())),
            (None, Some(_)) => return Err(("username", "is missing beside `password`".to_owned())),
        };
        let tls = match tls {
            Tls::StartTls => alerts::Tls::StartTls,
            Tls::Implicit => alerts::Tls::Implicit,
            Tls::None => alerts::Tls::None,
        };
        Ok(Email { host, port: self.port.unwrap_or(port), tls, login, from: mailbox("from", from)?, to: to? })
    }
}

fn mailbox(field: &'static str, text: &str) -> Result<Mailbox, Wrong> {
    let wrong = |_| (field, format!("has `{text}`, which is no address: write `ann@example.com`"));
    text.parse().map_err(wrong)
}

impl Rule {
    fn rule(&self) -> Result<alert::Rule, Wrong> {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let missing = || ("kind", format!("is missing: use one of {}", kinds.join(", ")));
        let kind = self.kind.ok_or_else(missing)?;
        self.check_fields(kind)?;
        let mut rule = alert::Rule::default_of(kind);
        if !self.name.is_empty() {
            rule.name.clone_from(&self.name);
        }
        if !is_name(&rule.name) {
            return Err(("name", format!("cannot be `{}`: {NAME}", rule.name)));
        }
        let workspace = |text: &String| {
            let wrong = |_| ("workspaces", format!("has `{text}`, which is no workspace"));
            Workspace::parse(text).map_err(wrong)
        };
        rule.workspaces = self.workspaces.iter().map(workspace).collect::<Result<_, _>>()?;
        rule.channels.clone_from(&self.channels);
        rule.severity = self.severity.unwrap_or(rule.severity);
        rule.condition = self.condition(rule.condition);
        rule.timing.hold = self.recover_after.unwrap_or(rule.timing.hold);
        rule.timing.remind = self.remind_after.or(rule.timing.remind).filter(|every| !every.is_zero());
        Ok(rule)
    }

    /// What is written means something to the kind, and makes sense.
    fn check_fields(&self, kind: Kind) -> Result<(), Wrong> {
        use Kind as K;
        let given = [
            ("window", self.window.is_some(), &[K::Spend, K::ErrorRate, K::Latency, K::DeadLetters][..]),
            ("percent", self.percent.is_some(), &[K::ErrorRate]),
            ("minimum_requests", self.minimum_requests.is_some(), &[K::ErrorRate, K::Latency]),
            ("p95", self.p95.is_some(), &[K::Latency]),
            ("multiple", self.multiple.is_some(), &[K::Spend]),
            ("minimum_usd", self.minimum_usd.is_some(), &[K::Spend]),
            ("baseline", self.baseline.is_some(), &[K::Spend]),
            ("count", self.count.is_some(), &[K::DeadLetters]),
            ("age", self.age.is_some(), &[K::QueueAge]),
        ];
        for (field, is_given, of) in given {
            if is_given && !of.contains(&kind) {
                return Err((
                    field,
                    format!("means nothing to a rule of kind `{}`: leave it out", kind.as_str()),
                ));
            }
        }
        if kind == K::QueueAge && !self.workspaces.is_empty() {
            return Err(("workspaces", "means nothing here: all workspaces share the queues".to_owned()));
        }
        let (second, week) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));
        let range = |low: bool| (!low).then_some(());
        let ranges = [
            ("window", self.window.and_then(|w| range((second..=week).contains(&w))), "from `1s` to `7d`"),
            ("percent", self.percent.and_then(|p| range((1..=100).contains(&p))), "from 1 to 100"),
            ("multiple", self.multiple.and_then(|m| range(m >= 1)), "1 or more"),
            ("baseline", self.baseline.and_then(|b| range((1..=100).contains(&b))), "from 1 to 100"),
            ("count", self.count.and_then(|c| range(c >= 1)), "1 or more"),
            ("minimum_requests", self.minimum_requests.and_then(|m| range(m >= 1)), "1 or more"),
        ];
        match ranges.iter().find(|(_, wrong, _)| wrong.is_some()) {
            Some((field, _, words)) => Err((field, format!("has to be {words}"))),
            None => Ok(()),
        }
    }

    fn condition(&self, default: Condition) -> Condition {
        match default {
            Condition::Spend { window, multiple, minimum, baseline } => Condition::Spend {
                window: self.window.unwrap_or(window),
                multiple: self.multiple.unwrap_or(multiple),
                minimum: self.minimum_usd.map_or(minimum, |usd| NanoUsd(usd.0.0 / 1000)),
                baseline: self.baseline.unwrap_or(baseline),
            },
            Condition::ErrorRate { window, percent, minimum } => Condition::ErrorRate {
                window: self.window.unwrap_or(window),
                percent: self.percent.unwrap_or(percent),
                minimum: self.minimum_requests.unwrap_or(minimum),
            },
            Condition::Latency { window, p95, minimum } => Condition::Latency {
                window: self.window.unwrap_or(window),
                p95: self.p95.unwrap_or(p95),
                minimum: self.minimum_requests.unwrap_or(minimum),
            },
            Condition::DeadLetters { window, count } => Condition::DeadLetters {
                window: self.window.unwrap_or(window),
                count: self.count.unwrap_or(count),
            },
            Condition::QueueAge { age } => Condition::QueueAge { age: self.age.unwrap_or(age) },
            Condition::Budget => Condition::Budget,
            Condition::Breaker => Condition::Breaker,
        }
    }
}
