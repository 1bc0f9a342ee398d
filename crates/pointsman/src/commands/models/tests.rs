//! What is listed, in which order, and that an imported list is valid settings.

use clap::Parser as _;
use domain::model::Price;

use super::*;
use crate::cli::{Cli, Command};
use crate::settings::Sources;

const LITELLM: &str = include_str!("../../../../providers/fixtures/prices/litellm.json");

fn parse(words: &[&str]) -> Models {
    let line = ["pointsman", "models"].iter().chain(words);
    match Cli::try_parse_from(line).unwrap_or_else(|err| panic!("{err}")).command {
        Command::Models(models) => models,
        other => panic!("{other:?}"),
    }
}

fn model(name: &str, price: Option<(u64, u64)>, context: u64, can: &[Capability]) -> ModelInfo {
    let (provider, name) = name.split_once('/').unwrap();
    ModelInfo {
        provider: provider.to_owned(),
        name: name.to_owned(),
        context_window: Some(context),
        capabilities: can.iter().copied().collect(),
        price: price.map(|(input, output)| Price {
            input: PicoUsd(input),
            output: PicoUsd(output),
            ..Price::default()
        }),
        ..ModelInfo::default()
    }
}

#[track_caller]
fn check(words: &[&str], expected: &[&str]) {
    let all = [
        model("a/dear", Some((9_000_000, 9_000_000)), 10, &[Capability::Chat, Capability::Tools]),
        model("a/unknown", None, 30, &[Capability::Chat, Capability::Tools, Capability::Vision]),
        model("b/cheap", Some((1_000_000, 1_500_000)), 20, &[Capability::Chat]),
        // Cheap to ask, dear to answer: 3 in and 1 out are 5.5 USD.
        model("b/mixed", Some((500_000, 4_000_000)), 40, &[Capability::Chat, Capability::Vision]),
    ];
    let found = chosen(all.iter(), &parse(words).list);
    assert_eq!(found.iter().map(|info| info.key()).collect::<Vec<_>>(), expected);
}

#[test]
fn models_are_chosen_and_sorted() {
    check(&[], &["a/dear", "a/unknown", "b/cheap", "b/mixed"]);
    check(&["--provider", "b"], &["b/cheap", "b/mixed"]);
    check(&["--requires", "chat,vision"], &["a/unknown", "b/mixed"]);
    check(&["--requires", "tools,vision", "--provider", "b"], &[]);
    check(&["--sort", "price"], &["b/cheap", "b/mixed", "a/dear", "a/unknown"]);
    check(&["--sort", "context"], &["b/mixed", "a/unknown", "b/cheap", "a/dear"]);
}

#[test]
fn an_unknown_ability_is_refused_with_the_known_ones() {
    let err = Cli::try_parse_from(["pointsman", "models", "--requires", "toolz"]).unwrap_err().to_string();
    assert!(err.contains("unknown capability `toolz`: use one of chat, responses,"), "{err}");
}

#[test]
fn rows_show_prices_as_price_lists_do() {
    let info = model("a/b", Some((37_500, 10_000_000)), 128_000, &[Capability::Chat, Capability::Tools]);
    assert_eq!(rows(&[&info])[1], ["a/b", "128000", "-", "0.0375", "10", "-", "chat tools"]);
    let unknown = model("a/c", None, 1, &[]);
    assert_eq!(rows(&[&unknown])[1], ["a/c", "1", "-", "-", "-", "-", ""]);
}

/// Imports a file of this text and returns the settings that it wrote, and their text.
async fn imported(text: &str, words: &[&str]) -> anyhow::Result<(Settings, String)> {
    let dir = tempfile::tempdir()?;
    let from = dir.path().join("list.json");
    std::fs::write(&from, text)?;
    imported_from(&from.display().to_string(), words).await
}

/// The same from a file or URL.
async fn imported_from(from: &str, words: &[&str]) -> anyhow::Result<(Settings, String)> {
    let dir = tempfile::tempdir()?;
    let to = dir.path().join("models.toml");
    let to_text = to.display().to_string();
    let words: Vec<&str> =
        ["import", from].into_iter().chain(words.iter().copied()).chain(["--output", &to_text]).collect();
    run(parse(&words), Output::new(true), &Settings::default()).await?;
    let snippet = std::fs::read_to_string(&to)?;
    let env = std::collections::BTreeMap::new();
    let settings = Settings::load(Sources { file: Some(&to), env: &env, set: &[] });
    Ok((settings.unwrap_or_else(|err| panic!("{err}")), snippet))
}

#[tokio::test]
async fn an_imported_list_is_valid_settings() {
    let (settings, text) = imported(LITELLM, &[]).await.unwrap();
    assert_eq!(settings.models.len(), 8);
    assert!(
        text.starts_with("# Models from a price list in LiteLLM's format.\n\n[models.\"cohere/order-1\"]\n"),
        "{text}"
    );
    assert!(text.contains("\nprice = { cached_input = 1.25, input = 2.5, output = 10.0 }\n"), "{text}");
    let models = register::models(&settings.models).unwrap();
    let price = models["openai/chat-1"].price.as_ref().unwrap();
    assert_eq!((price.input, price.cached_input), (PicoUsd(2_500_000), Some(PicoUsd(1_250_000))));
}

#[tokio::test]
async fn only_the_models_asked_for_are_imported() {
    let (settings, _) = imported(LITELLM, &["openai/chat-1", "openai/nothing"]).await.unwrap();
    assert_eq!(settings.models.keys().collect::<Vec<_>>(), ["openai/chat-1"]);
    let (settings, _) = imported(LITELLM, &["--provider", "google"]).await.unwrap();
    assert_eq!(settings.models.keys().collect::<Vec<_>>(), ["google/think-2"]);
}

#[tokio::test]
async fn portkeys_prices_belong_to_the_provider_named() {
    let list = include_str!("../../../../providers/fixtures/prices/portkey.json");
    let (settings, _) = imported(list, &["--provider", "mistral-ai"]).await.unwrap();
    assert_eq!(
        settings.models.keys().collect::<Vec<_>>(),
        ["mistral-ai/by-the-image", "mistral-ai/large-1", "mistral-ai/tiered-1", "mistral-ai/vectors-1"]
    );
}

#[tokio::test]
async fn a_list_of_nothing_usable_fails() {
    let err = format!("{:#}", imported(LITELLM, &["openai/nothing"]).await.unwrap_err());
    assert!(err.contains("no model of ") && err.contains("could be imported"), "{err}");
    let err = format!("{:#}", imported("{}", &[]).await.unwrap_err());
    assert!(err.starts_with("import ") && err.contains("neither LiteLLM's format"), "{err}");
}

/// A server that gives one answer, and its URL.
#[expect(clippy::disallowed_methods, reason = "a test has no context; the task ends with its runtime")]
async fn serves(status: &'static str, body: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prices/mistral-ai.json?raw=1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    });
    url
}

#[tokio::test]
async fn a_list_is_fetched_from_a_url_whose_last_part_names_the_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let list = include_str!("../../../../providers/fixtures/prices/portkey.json");
    let (settings, _) = imported_from(&serves("200 OK", list).await, &[]).await.unwrap();
    assert_eq!(
        settings.models.keys().collect::<Vec<_>>(),
        ["mistral-ai/by-the-image", "mistral-ai/large-1", "mistral-ai/tiered-1", "mistral-ai/vectors-1"]
    );
    let gone = serves("404 Not Found", "").await;
    let err = format!("{:#}", imported_from(&gone, &[]).await.unwrap_err());
    assert!(err.starts_with(&format!("fetch {gone}")) && err.contains("404"), "{err}");
}
