//! Settings from file, environment and flags, and how they are refused.

use std::path::Path;
use std::time::Duration;

use super::*;

const EXAMPLE: &str = include_str!("../../../../deploy/pointsman.example.toml");

type Env = BTreeMap<String, String>;

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Reads a file that exists only here, with environment and flags over it.
fn read(text: &str, env: &Env, set: &[&str]) -> Result<Settings, SettingsErrors> {
    let set: Vec<String> = set.iter().map(|flag| (*flag).to_owned()).collect();
    layers::read("pointsman.toml", text, Sources { file: None, env, set: &set })
}

#[track_caller]
fn accepts(text: &str) -> Settings {
    read(text, &env(&[]), &[]).unwrap_or_else(|err| panic!("{err}"))
}

#[track_caller]
fn refuses(text: &str, expected: &[&str]) {
    refuses_all(text, &[], &[], expected);
}

#[track_caller]
fn refuses_all(text: &str, pairs: &[(&str, &str)], set: &[&str], expected: &[&str]) {
    let found = read(text, &env(pairs), set).expect_err("this is wrong").to_string();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

/// The commented settings of the example, too.
fn uncommented() -> String {
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let lines = EXAMPLE.lines().map(|line| if is_setting(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_says_what_counts_without_a_file() {
    let example = Settings::check("example", EXAMPLE, &env(&[])).unwrap_or_else(|err| panic!("{err}"));
    assert_eq!(example, Settings::default());
    let nothing = Settings::load(Sources { file: None, env: &env(&[]), set: &[] });
    assert_eq!(nothing, Ok(Settings::default()));
}

#[test]
fn the_example_is_valid_with_its_comments_taken_away() {
    let settings = accepts(&uncommented());
    assert_eq!(settings.providers.keys().collect::<Vec<_>>(), ["groq", "openai"]);
    assert_eq!(settings.route.unwrap()["targets"][1]["provider"], "groq");
    let openai = &settings.providers["openai"];
    assert_eq!(openai.concurrency, Some(providers::catalogue::CONCURRENCY));
    assert_eq!(openai.first_byte_timeout, Some(providers::catalogue::TIMEOUTS.first_byte));
    assert_eq!(openai.total_timeout, Some(providers::catalogue::TIMEOUTS.total));
    assert_eq!(settings.models["openai/gpt-4o"].context_window, Some(128_000));
}

#[test]
fn every_setting_is_in_the_example() {
    let provider = Provider {
        format: Some(domain::registry::Format::OpenAi),
        base_url: Some(String::new()),
        api_key: Some(Secret::default()),
        auth_header: Some(String::new()),
        auth_scheme: Some(String::new()),
        signing: Some(domain::envelope::Signing::AwsSigv4 { service: String::new() }),
        options: serde_json::Map::from_iter([("aws_region".to_owned(), "x".into())]),
        operations: vec![domain::Operation::Chat],
        paths: BTreeMap::from([("chat".to_owned(), String::new())]),
        quirks: domain::registry::Quirks { unsupported: vec![String::new()], ..Default::default() },
        variants: vec![domain::registry::Variant { models: vec![String::new()], ..Default::default() }],
        when: vec![domain::registry::When {
            option: String::new(),
            value: String::new(),
            base_url: None,
            operations: Vec::new(),
            paths: BTreeMap::new(),
        }],
        concurrency: Some(1),
        connect_timeout: Some(Duration::ZERO),
        first_byte_timeout: Some(Duration::ZERO),
        idle_timeout: Some(Duration::ZERO),
        total_timeout: Some(Duration::ZERO),
        headers: BTreeMap::from([("openai-organization".to_owned(), String::new())]),
        models: vec![String::new()],
        price: Some(providers::models::Rates::default()),
    };
    let usd = providers::models::UsdFor::default();
    let long = providers::models::LongRates {
        above: Some(1),
        input: Some(usd),
        output: Some(usd),
        cached_input: Some(usd),
        cache_write: Some(usd),
        cache_write_long: Some(usd),
    };
    let model = Model {
        aliases: Some(Vec::new()),
        context_window: Some(1),
        max_output: Some(1),
        capabilities: Some(std::collections::BTreeSet::new()),
        price: Some(providers::models::Rates {
            input: Some(usd),
            output: Some(usd),
            cached_input: Some(usd),
            cache_write: Some(usd),
            cache_write_long: Some(usd),
            reasoning: Some(usd),
            audio_input: Some(usd),
            audio_output: Some(usd),
            request: Some(providers::models::UsdFor::default()),
            image: Some(providers::models::UsdFor::default()),
            search: Some(providers::models::UsdFor::default()),
            long: Some(long),
            tiers: BTreeMap::from([("batch".to_owned(), Default::default())]),
            regions: BTreeMap::from([("eu".to_owned(), Default::default())]),
        }),
        source: Some(String::new()),
        as_of: Some(String::new()),
    };
    let hook = Channel {
        kind: Some(ChannelKind::Webhook),
        url: Some(Secret::default()),
        secrets: vec![Secret::default()],
        ..Channel::default()
    };
    let oncall = Channel {
        kind: Some(ChannelKind::PagerDuty),
        url: Some(Secret::default()),
        routing_key: Some(Secret::default()),
        ..Channel::default()
    };
    let mail = Channel {
        kind: Some(ChannelKind::Email),
        host: Some(String::new()),
        port: Some(1),
        tls: Some(Tls::StartTls),
        username: Some(String::new()),
        password: Some(Secret::default()),
        from: Some(String::new()),
        to: vec![String::new()],
        ..Channel::default()
    };
    let channels = [("hook", hook), ("oncall", oncall), ("mail", mail)];
    let channels = channels.map(|(name, channel)| (name.to_owned(), channel)).into();
    let all = Settings {
        alerts: Alerts { channels, rules: Some(Vec::new()), ..Alerts::default() },
        providers: BTreeMap::from([("openai".to_owned(), provider)]),
        models: BTreeMap::from([("openai/gpt-4o".to_owned(), model)]),
        route: Some(serde_json::json!({ "strategy": { "mode": "" } })),
        ..Settings::default()
    };
    let example: toml::Table = uncommented().parse().unwrap();
    let mut missing = Vec::new();
    walk(&toml::Table::try_from(&all).unwrap(), &example, "", &mut missing);
    assert!(missing.is_empty(), "not in the example: {missing:?}");
}

fn walk(all: &toml::Table, example: &toml::Table, at: &str, missing: &mut Vec<String>) {
    for (key, value) in all {
        match (value, example.get(key)) {
            (toml::Value::Table(all), Some(toml::Value::Table(example))) => {
                walk(all, example, &format!("{at}{key}."), missing);
            }
            (_, Some(_)) => {}
            (_, None) => missing.push(format!("{at}{key}")),
        }
    }
}

#[test]
fn every_line_of_the_example_is_explained() {
    let unexplained: Vec<&str> = EXAMPLE
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with("# ") && !line[1..].contains(" # "))
        .filter(|line| {
            !["#api_key = \"${GROQ", "#strategy", "#targets"].iter().any(|known| line.starts_with(known))
        })
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let text = "[http]\nbody_limit = '1MiB'";
    let pairs = env(&[("POINTSMAN_HTTP__BODY_LIMIT", "2MiB")]);
    let limit = |env: &Env, set: &[&str]| read(text, env, set).unwrap().http.body_limit.bytes() >> 20;
    assert_eq!(limit(&env(&[]), &[]), 1);
    assert_eq!(limit(&pairs, &[]), 2);
    assert_eq!(limit(&pairs, &["http.body_limit=3MiB"]), 3);
    assert_eq!(limit(&pairs, &["http.body_limit=3MiB", "http.body_limit=4MiB"]), 4);
}

#[test]
fn overrides_take_the_type_of_their_key() {
    let pairs = env(&[
        ("POINTSMAN_DATA_DIR", "1234"),
        ("POINTSMAN_LOG__LEVEL", "true"),
        ("POINTSMAN_HTTP__LISTEN", "127.0.0.1:0"),
        ("POINTSMAN_HTTP__REUSE_PORT", "true"),
        ("POINTSMAN_HTTP__TRUSTED_CUSTOM_HOSTS", "[\"one\", \"two\"]"),
        ("POINTSMAN_NATS__PORT", "4222"),
        ("POINTSMAN_LIMITS__INLINE_BODY", "1000"),
        ("POINTSMAN_PROVIDERS__MISTRAL_AI__API_KEY", "12345"),
        ("POINTSMAN_SETTINGS", "other.toml"),
    ]);
    let settings =
        read("", &pairs, &["work.drain=5s", "route.provider=mistral-ai", "nats.url=nats://a:1"]).unwrap();
    assert_eq!(settings.data_dir, Path::new("1234"));
    assert_eq!(settings.log.level, "true");
    assert_eq!(settings.http.listen, "127.0.0.1:0".parse().unwrap());
    assert!(settings.http.reuse_port);
    assert_eq!(settings.http.trusted_custom_hosts, ["one", "two"]);
    assert_eq!(settings.nats.port, 4222);
    assert_eq!(settings.limits.inline_body.bytes(), 1000);
    assert_eq!(settings.providers["mistral-ai"].api_key.as_ref().unwrap().expose(), "12345");
    assert_eq!(settings.work.drain, Duration::from_secs(5));
    assert_eq!(settings.route, Some(serde_json::json!({ "provider": "mistral-ai" })));
    assert_eq!(settings.nats.url, "nats://a:1");
}

#[test]
fn names_that_a_container_platform_sets_are_no_settings() {
    let pairs = env(&[("POINTSMAN_SERVICE_HOST", "10.0.0.1"), ("POINTSMAN_PORT", "tcp://10.0.0.1:8787")]);
    assert_eq!(read("", &pairs, &[]), Ok(Settings::default()));
}

#[test]
fn variables_are_put_in() {
    let text = r#"
        data_dir = "${HOME}/pointsman-${NAME:-main}"
        [http]
        trusted_custom_hosts = ["${HOST:-}", "$${HOST}"]
        [work]
        worker_slots = "${SLOTS:-7}"
        [providers.openai]
        api_key = "${KEY}"
    "#;
    let pairs = env(&[("HOME", "/home/me"), ("NAME", ""), ("KEY", "sk-canary")]);
    let settings = read(text, &pairs, &[]).unwrap();
    assert_eq!(settings.data_dir, Path::new("/home/me/pointsman-main"));
    assert_eq!(settings.http.trusted_custom_hosts, ["", "${HOST}"]);
    assert_eq!(settings.work.worker_slots, 7);
    assert_eq!(settings.providers["openai"].api_key.as_ref().unwrap().expose(), "sk-canary");
}

#[test]
fn models_are_laid_over_those_known() {
    let text = "[models.'openai/gpt-4.1']\nprice.output = 7\naliases = ['gpt']";
    let settings = read(text, &env(&[]), &["models.\"openai/gpt-4.1\".price.input=1.5"]).unwrap();
    let price = settings.models["openai/gpt-4.1"].price.clone().unwrap();
    assert_eq!(price.input.map(providers::models::UsdFor::dollars), Some(1.5));
    assert_eq!(price.output.map(providers::models::UsdFor::dollars), Some(7.0));
    assert!(format!("{settings:?}").contains("[models.\"openai/gpt-4.1\".price]"));
}

#[test]
fn secrets_do_not_show() {
    let text = r#"
        [nats]
        url = "nats://me:sk-canary@host:4222"
        [providers.openai]
        api_key = "${KEY}"
        headers = { x-team = "sk-canary" }
        [sealing]
        private_key = "${SEAL}"
    "#;
    let seal = "c2stY2FuYXJ5c2stY2FuYXJ5c2stY2FuYXJ5c2stY2E=";
    let settings = read(text, &env(&[("KEY", "sk-canary"), ("SEAL", seal)]), &[]).unwrap();
    let shown = format!("{settings:?} {:?} {:?} {:?}", settings.nats, settings.providers, settings.sealing);
    assert!(shown.contains("openai") && shown.contains("x-team") && shown.contains("host:4222"), "{shown}");
    assert!(!shown.contains("canary") && !shown.contains(seal), "{shown}");

    let misplaced = r#"
        [http]
        listen = "${KEY}"
        [work]
        ack_wait = "${KEY}"
        [providers.openai]
        api_key = 271828
        base_url = "${KEY}"
        [sealing]
        private_key = "${KEY}"
    "#;
    let pairs = [("KEY", "sk-canary"), ("POINTSMAN_SEALING__PRIVATE_KEY", "sk-canary-too")];
    let errors = read(misplaced, &env(&pairs), &["sk-canary"]).unwrap_err().to_string();
    assert_eq!(errors.lines().count(), 6, "{errors}");
    assert!(!errors.contains("canary") && !errors.contains("271828"), "{errors}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let file = Some(Path::new("/no/such/pointsman.toml"));
    let err = Settings::load(Sources { file, env: &env(&[]), set: &[] }).unwrap_err().to_string();
    assert!(err.starts_with("/no/such/pointsman.toml: cannot read the settings file: "), "{err}");
}

#[test]
fn a_sealing_key_comes_from_text_or_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "from a file\n").unwrap();
    let sealing = Sealing { private_key_file: file.display().to_string(), ..Sealing::default() };
    assert_eq!(sealing.private_key().unwrap().unwrap().as_str(), "from a file");
    assert!(Sealing::default().private_key().unwrap().is_none());
    let missing = Sealing { private_key_file: "/no/such/key".to_owned(), ..Sealing::default() };
    assert_eq!(missing.private_key().unwrap_err().to_string(), "read sealing.private_key_file /no/such/key");
}

#[test]
fn sizes_print_and_read_back() {
    for (text, bytes) in [("256KiB", 256 << 10), ("64MiB", 64 << 20), ("10MB", 10_000_000), ("1025", 1025)] {
        let settings = accepts(&format!("http.body_limit = '{text}'"));
        assert_eq!(settings.http.body_limit.bytes(), bytes);
        assert_eq!(settings.http.body_limit.to_string(), text);
    }
    assert_eq!(accepts("http.body_limit = 1_024").http.body_limit.to_string(), "1KiB");
}

mod alerts;
mod refused;
