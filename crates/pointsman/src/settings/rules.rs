//! Values that each make sense, but not together or not here.

use std::time::Duration;

use base64::Engine as _;
use providers::catalogue;

use crate::settings::problem::suggestion;
use crate::settings::units::{ByteSize, SyncInterval};
use crate::settings::{Provider, Settings};

/// A rule that the settings break.
pub(super) struct Broken {
    /// The keys it is about; the first that was written is where the error points.
    pub(super) keys: Vec<String>,
    /// What is wrong, and what to write instead.
    pub(super) message: String,
}

#[derive(Default)]
struct Rules(Vec<Broken>);

impl Rules {
    fn check(&mut self, holds: bool, keys: &[&str], message: impl Into<String>) {
        if !holds {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            self.0.push(Broken { keys, message: message.into() });
        }
    }

    fn at_least_one(&mut self, value: bool, key: &str) {
        self.check(value, &[key], format!("`{key}` has to be 1 or more"));
    }

    fn some_time(&mut self, value: Duration, key: &str) {
        self.check(!value.is_zero(), &[key], format!("`{key}` has to be longer than `0s`"));
    }
}

/// All rules that these settings break.
pub(super) fn broken(settings: &Settings) -> Vec<Broken> {
    let mut rules = Rules::default();
    http(&mut rules, settings);
    nats(&mut rules, settings);
    limits(&mut rules, settings);
    ledger(&mut rules, settings);
    cache(&mut rules, settings);
    times(&mut rules, settings);
    alerts(&mut rules, settings);
    for (slug, entry) in &settings.providers {
        provider(&mut rules, slug, entry);
    }
    models(&mut rules, settings);
    route(&mut rules, settings);
    let (sealing, auth) = (&settings.sealing, &settings.auth);
    key_or_file(&mut rules, "sealing.private_key", sealing.private_key.expose(), &sealing.private_key_file);
    key_or_file(&mut rules, "auth.cluster_secret", auth.cluster_secret.expose(), &auth.cluster_secret_file);
    rules.0
}

fn http(rules: &mut Rules, settings: &Settings) {
    let http = &settings.http;
    rules.check(
        http.listen.ip().is_loopback() || settings.auth.mode.is_on(),
        &["http.listen"],
        "`http.listen` is open to other machines, and anybody there could use your providers: write `127.0.0.1`, \
         or set `auth.mode = \"on\"` and give callers API keys",
    );
    rules.check(
        http.body_limit.bytes() > 0,
        &["http.body_limit"],
        "`http.body_limit` of 0 would refuse every request: write for example `64MiB`",
    );
}

fn nats(rules: &mut Rules, settings: &Settings) {
    let nats = &settings.nats;
    let schemes = ["nats://", "tls://", "ws://", "wss://"];
    let is_url = |url: &str| schemes.iter().any(|s| url.strip_prefix(s).is_some_and(|host| !host.is_empty()));
    rules.check(
        nats.url.is_empty() || nats.url.split(',').all(|url| is_url(url.trim())),
        &["nats.url"],
        "`nats.url` has to be addresses like `nats://127.0.0.1:4222`, separated by commas",
    );
    let replicas = nats.replicas;
    rules.check(
        matches!(replicas, 1 | 3 | 5),
        &["nats.replicas"],
        format!(
            "`nats.replicas` has to be 1, 3 or 5, not {replicas}: only odd numbers agree after a failure"
        ),
    );
    rules.check(
        !matches!(replicas, 3 | 5) || !nats.url.is_empty(),
        &["nats.replicas"],
        format!("`nats.replicas = {replicas}` needs a cluster: name it in `nats.url`, or write 1"),
    );
    rules.check(
        nats.max_store >= ByteSize::mib(64),
        &["nats.max_store"],
        "`nats.max_store` has to be `64MiB` or more",
    );
    rules.check(
        !matches!(nats.sync_interval, SyncInterval::Every(every) if every.is_zero()),
        &["nats.sync_interval"],
        "`nats.sync_interval` cannot be 0: write `always` to flush before every acknowledgement",
    );
}

fn ledger(rules: &mut Rules, settings: &Settings) {
    let url = &settings.ledger.url;
    let schemes = ["sqlite:", "postgres://", "postgresql://"];
    rules.check(
        url.is_empty() || schemes.iter().any(|s| url.strip_prefix(s).is_some_and(|rest| !rest.is_empty())),
        &["ledger.url"],
        "`ledger.url` has to be `sqlite:` and a file, as in `sqlite:/var/lib/pointsman/ledger.db`, or a PostgreSQL \
         database, as in `postgres://user:password@host/database`",
    );
    rules.at_least_one(settings.ledger.batch >= 1, "ledger.batch");
}

fn cache(rules: &mut Rules, settings: &Settings) {
    let cache = &settings.cache;
    let embedder = &cache.embedder;
    rules.at_least_one(cache.max_entries >= 1, "cache.max_entries");
    rules.at_least_one(cache.lookups >= 1, "cache.lookups");
    rules.at_least_one(embedder.threads >= 1, "cache.embedder.threads");
    rules.at_least_one(embedder.queue >= 1, "cache.embedder.queue");
    rules.at_least_one(embedder.max_tokens >= 1, "cache.embedder.max_tokens");
    rules.some_time(cache.lookup_timeout, "cache.lookup_timeout");
    rules.some_time(embedder.timeout, "cache.embedder.timeout");
    rules.check(
        (0.0..=1.0).contains(&cache.threshold),
        &["cache.threshold"],
        "`cache.threshold` has to be a similarity from 0 to 1, as in 0.92",
    );
    rules.check(
        cache.max_disk.bytes() / 2 >= cache.max_size.bytes(),
        &["cache.max_disk", "cache.max_size"],
        "`cache.max_disk` has to be twice `cache.max_size` or more: the store needs room to copy what lives",
    );
    rules.check(
        embedder.url.is_empty() || embedder.dir.is_empty(),
        &["cache.embedder.url", "cache.embedder.dir"],
        "`cache.embedder.url` and `cache.embedder.dir` cannot both be set: keep one",
    );
    rules.check(
        embedder.url.is_empty() || ["http://", "https://"].iter().any(|scheme| embedder.url.starts_with(scheme)),
        &["cache.embedder.url"],
        "`cache.embedder.url` has to be the base of an embeddings endpoint, as in `https://api.openai.com/v1`",
    );
    let names = semantic_cache::embed::known_models();
    let known = names.iter().any(|name| name.eq_ignore_ascii_case(&embedder.model));
    rules.check(
        known || !embedder.url.is_empty() || !embedder.dir.is_empty(),
        &["cache.embedder.model"],
        format!(
            "`cache.embedder.model` names no known model: write one of {}, or name a folder in `cache.embedder.dir`",
            names.join(", ")
        ),
    );
}

fn limits(rules: &mut Rules, settings: &Settings) {
    let limits = &settings.limits;
    rules.check(
        limits.inline_body <= ByteSize::kib(512),
        &["limits.inline_body"],
        "`limits.inline_body` can be `512KiB` at most: the broker takes messages of up to 1 MiB",
    );
    rules.at_least_one(limits.lane_backlog >= 1, "limits.lane_backlog");
    rules.at_least_one(limits.call_backlog >= 1, "limits.call_backlog");
    if let Some(Err(problem)) = limits.ceiling_price.as_ref().map(providers::models::price) {
        let key = "limits.ceiling_price";
        rules.check(false, &[key], format!("`{key}`: {problem}"));
    }
    let percent = limits.storage_percent;
    rules.check(
        (1..=100).contains(&percent),
        &["limits.storage_percent"],
        format!("`limits.storage_percent` has to be from 1 to 100, not {percent}"),
    );
    for (ttl, key) in [
        (limits.result_ttl, "limits.result_ttl"),
        (limits.result_ttl_async, "limits.result_ttl_async"),
        (limits.responses_ttl, "limits.responses_ttl"),
    ] {
        let message = format!("`{key}` has to be `1s` or more: the broker counts in seconds");
        rules.check(ttl >= Duration::from_secs(1), &[key], message);
    }
}

fn alerts(rules: &mut Rules, settings: &Settings) {
    let alerts = &settings.alerts;
    rules.some_time(alerts.every, "alerts.every");
    rules.some_time(alerts.give_up_after, "alerts.give_up_after");
    let problems = alerts.checked().problems;
    rules.0.extend(problems.into_iter().map(|(keys, message)| Broken { keys, message }));
}

fn times(rules: &mut Rules, settings: &Settings) {
    let (deadlines, work) = (&settings.deadlines, &settings.work);
    rules.some_time(deadlines.interactive, "deadlines.interactive");
    rules.some_time(deadlines.asynchronous, "deadlines.asynchronous");
    rules.some_time(work.progress, "work.progress");
    rules.some_time(work.sweep, "work.sweep");
    for (deadline, key) in
        [(deadlines.interactive, "deadlines.interactive"), (deadlines.asynchronous, "deadlines.asynchronous")]
    {
        let message = format!("`{key}` is longer than `deadlines.maximum`");
        rules.check(deadline <= deadlines.maximum, &[key, "deadlines.maximum"], message);
    }
    rules.check(
        work.ack_wait >= work.progress.saturating_mul(3),
        &["work.ack_wait", "work.progress"],
        "`work.ack_wait` has to be at least three times `work.progress`: \
         else one late sign of life hands a running call to another worker",
    );
    let cooldown = settings.health.shortest_cooldown;
    rules.check(
        cooldown >= Duration::from_millis(100) && cooldown <= Duration::from_secs(24 * 3600),
        &["health.shortest_cooldown"],
        "`health.shortest_cooldown` has to be from `100ms` to `24h`: a config may not ask for less",
    );
    rules.at_least_one(work.router_in_flight >= 1, "work.router_in_flight");
    rules.at_least_one(work.worker_slots >= 1, "work.worker_slots");
}

fn provider(rules: &mut Rules, slug: &str, entry: &Provider) {
    let key = |name: &str| format!("providers.{slug}.{name}");
    let is_slug = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    rules.check(
        !slug.is_empty() && slug.chars().all(is_slug),
        &[&format!("providers.{slug}")],
        format!("`{slug}` cannot name a provider: use lower-case letters, digits and hyphens"),
    );
    match &entry.base_url {
        Some(url) => rules.check(
            // A placeholder may stand for part of a host.
            is_http(&url.replace(['{', '}'], "x")),
            &[&key("base_url")],
            format!("`{}` has to be a URL like `https://api.example.com/v1`", key("base_url")),
        ),
        None => {
            let known: Vec<&str> = catalogue::slugs().collect();
            let message =
                format!("`{slug}` is not in the catalogue: add its base_url ({})", suggestion(slug, &known));
            rules.check(catalogue::find(slug).is_some(), &[&key("base_url")], message);
            if let Some(words) = catalogue::retired(slug) {
                let message =
                    format!("`{slug}` is there no more: {words}; add the base_url of who answers instead");
                rules.check(false, &[&key("base_url")], message);
            }
        }
    }
    if let Some(name) = &entry.auth_header {
        let message = format!("`{}` is not the name of a header", key("auth_header"));
        rules.check(http::HeaderName::try_from(name.as_str()).is_ok(), &[&key("auth_header")], message);
    }
    rules.at_least_one(entry.concurrency != Some(0), &key("concurrency"));
    provider_headers(rules, slug, entry);
    provider_price(rules, slug, entry);
    provider_times(rules, slug, entry);
}

fn is_http(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(char::is_whitespace))
}

/// Headers that carry credentials, whoever the provider is.
const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"];

fn provider_headers(rules: &mut Rules, slug: &str, entry: &Provider) {
    for (name, value) in &entry.headers {
        let key = format!("providers.{slug}.headers.{name}");
        let valid =
            http::HeaderName::try_from(name.as_str()).is_ok() && http::HeaderValue::try_from(value).is_ok();
        rules.check(valid, &[&key], format!("`{name}` or its value cannot be sent as a header"));
        rules.check(
            !CREDENTIAL_HEADERS.contains(&name.to_ascii_lowercase().as_str()),
            &[&key],
            format!(
                "`{name}` carries a credential, but headers are published in clear: write it as `api_key`, \
                 with `auth_header = \"{name}\"`"
            ),
        );
    }
}

fn provider_price(rules: &mut Rules, slug: &str, entry: &Provider) {
    if let Some(Err(problem)) = entry.price.as_ref().map(providers::models::price) {
        let key = format!("providers.{slug}.price");
        rules.check(false, &[&key], format!("`providers.{slug}`: {problem}"));
    }
}

fn provider_times(rules: &mut Rules, slug: &str, entry: &Provider) {
    let key = |name: &str| format!("providers.{slug}.{name}_timeout");
    // What is left to its default gives way to an explicit total, so only explicit times can contradict each other.
    let total = entry.total_timeout.unwrap_or(catalogue::TIMEOUTS.total);
    for (name, time) in [
        ("connect", entry.connect_timeout),
        ("first_byte", entry.first_byte_timeout),
        ("idle", entry.idle_timeout),
        ("total", entry.total_timeout),
    ] {
        let Some(time) = time else { continue };
        rules.some_time(time, &key(name));
        // Waiting between pieces ends with the call anyway, so a long `idle` only has no effect.
        let message = format!("`{}` is longer than `{}`", key(name), key("total"));
        rules.check(name == "idle" || time <= total, &[&key(name), &key("total")], message);
    }
}

/// The registry is one message on the broker, of which models may take a part.
pub(crate) const MOST_MODELS: usize = 1000;

fn models(rules: &mut Rules, settings: &Settings) {
    let count = settings.models.len();
    let message = format!(
        "{count} models are configured, but at most {MOST_MODELS} can be: leave out those that you do not call"
    );
    rules.check(count <= MOST_MODELS, &["models"], message);
    for (name, entry) in &settings.models {
        let key = format!("models.\"{name}\"");
        if let Err(problem) = providers::models::configured(name, entry) {
            rules.check(false, &[&format!("{key}.price"), &key], format!("`{key}`: {problem}"));
        }
    }
}

fn route(rules: &mut Rules, settings: &Settings) {
    if settings.providers.len() > 1 {
        let last = settings.providers.keys().next_back().map(|slug| format!("providers.{slug}"));
        rules.check(
            settings.route.is_some(),
            &["route", &last.unwrap_or_default()],
            "with more than one provider, say which one answers: add for example `route = { provider = \"groq\" }`",
        );
    }
    let Some(route) = &settings.route else { return };
    rules.check(
        route.is_object(),
        &["route"],
        "`route` has to be a table, as in `route = { provider = \"groq\" }`",
    );
    if let Some(name) = credential_in(route) {
        rules.check(
            false,
            &["route"],
            format!(
                "`route` is published in clear, but has `{name}` in it: put the credential into \
                 `[providers.<slug>]` and name the provider"
            ),
        );
    }
}

/// The name of the first field that looks like a credential.
fn credential_in(value: &serde_json::Value) -> Option<&str> {
    match value {
        serde_json::Value::Object(map) => map.iter().find_map(|(name, value)| {
            let plain = name.to_ascii_lowercase().replace('-', "_");
            let secret = ["api_key", "secret", "authorization", "password"].iter().any(|s| plain.contains(s));
            if secret { Some(name.as_str()) } else { credential_in(value) }
        }),
        serde_json::Value::Array(items) => items.iter().find_map(credential_in),
        _ => None,
    }
}

/// 32 bytes in base64, as text or in a file.
fn key_or_file(rules: &mut Rules, name: &str, text: &str, file: &str) {
    let in_file = format!("{name}_file");
    rules.check(
        text.is_empty() || file.is_empty(),
        &[&in_file, name],
        format!("`{name}` and `{in_file}` exclude each other: leave one empty"),
    );
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim());
    rules.check(
        text.is_empty() || decoded.is_ok_and(|bytes| bytes.len() == 32),
        &[name],
        format!("`{name}` has to be 32 bytes in base64, as `openssl rand -base64 32` prints them"),
    );
}
