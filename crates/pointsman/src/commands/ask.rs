//! `pointsman ask`: one question, the answer as it comes.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use providers::sse::{self, Events};
use serde_json::{Value, json};

use crate::api;
use crate::cli::Ask;
use crate::output::Output;
use crate::ready::Ready;
use crate::settings::Settings;

pub(crate) async fn run(
    ask: Ask,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let base = match &ask.url {
        Some(url) => url.trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        None => Ready::find(&settings.data_dir).and_then(|r| r.http).with_context(|| {
            let place = settings.data_dir.display();
            format!("no gateway runs in {place}: start one with `pointsman up`, or name one with `--url`")
        })?,
    };
    let body = json!({
        "model": ask.model,
        "stream": !output.is_json(),
        "messages": [{ "role": "user", "content": ask.question.join(" ") }],
    });
    let client = reqwest::Client::builder().no_proxy().build().context("set up an HTTP client")?;
    let mut request = client.post(format!("{base}/v1/chat/completions")).json(&body);
    // Another gateway is not shown the key of the one that runs here.
    let local = ask.url.is_none() || ask.key_file.is_some() || env.contains_key(api::KEY_VARIABLE);
    if let Some(key) = api::key(ask.key_file.as_deref(), settings, env)?.filter(|_| local) {
        request = request.bearer_auth(key.as_str());
    }
    if let Some(config) = &ask.config {
        request = request.header("x-portkey-config", config);
    }
    let response = request.send().await.with_context(|| format!("ask the gateway at {base}"))?;
    if !response.status().is_success() {
        bail!("{}", error_text(response).await);
    }
    if output.is_json() {
        output.always(&response.json::<Value>().await.context("read the answer")?);
        return Ok(ExitCode::SUCCESS);
    }
    print_stream(output, response).await?;
    Ok(ExitCode::SUCCESS)
}

async fn print_stream(output: Output, response: reqwest::Response) -> anyhow::Result<()> {
    let mut events = Events::default();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        events.push(&piece.context("read the answer")?);
        while let Some(event) = events.take() {
            let Some(data) = sse::data(&event).filter(|d| *d != b"[DONE]") else { continue };
            let value: Value = serde_json::from_slice(data).context("read a piece of the answer")?;
            if let Some(message) = value["error"]["message"].as_str() {
                bail!("{message}");
            }
            if let Some(text) = value["choices"][0]["delta"]["content"].as_str() {
                output.piece(text);
            }
        }
    }
    output.piece("\n");
    Ok(())
}

pub(crate) async fn error_text(response: reqwest::Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let message = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|v| v["error"]["message"].as_str().map(str::to_owned));
    format!("{status}: {}", message.unwrap_or(text))
}
