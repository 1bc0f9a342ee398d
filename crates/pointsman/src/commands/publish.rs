//! `pointsman publish`: a request straight to the broker.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::{Bus, Headers};
use bytes::Bytes;
use domain::policy::{ApiKey, Key};
use domain::{Facts, Lane, Operation, RequestId, Workspace, headers};
use serde_json::{Value, json};

use crate::api::KEY_VARIABLE;
use crate::cli::Publish;
use crate::link;
use crate::output::Output;
use crate::settings::Settings;

pub(crate) async fn run(
    publish: Publish,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let operation: Operation = publish.operation.parse()?;
    let lane: Lane = publish.lane.parse()?;
    let body = read_body(&publish.body)?;
    Facts::read(operation, None, &body)?;
    let mut message_headers = Headers::new();
    for header in &publish.headers {
        let (name, value) =
            header.split_once('=').with_context(|| format!("`--header {header}`: write NAME=VALUE"))?;
        message_headers.insert(name.trim(), value.trim());
    }
    // Only a key that is named for it: an administrator's should not lie in a queue.
    if let Some(key) = env.get(KEY_VARIABLE)
        && bus::header(Some(&message_headers), headers::KEY).is_none()
    {
        message_headers.insert(headers::KEY, key.trim());
    }
    let bus = link::connect(settings).await?;
    let request = match bus::header(Some(&message_headers), headers::REQUEST_ID) {
        Some(id) => RequestId::parse(id)?,
        None => RequestId::fresh(bus.clock().now().0, rand::random()),
    };
    message_headers.insert(headers::REQUEST_ID, request.as_str());
    let inbox = format!("_INBOX.pointsman.{request}");
    let mut answers = None;
    if publish.wait {
        message_headers.insert(headers::REPLY_TO, inbox.as_str());
        answers = Some(bus.subscribe(inbox).await?);
    } else {
        message_headers.insert(headers::ASYNC, "true");
    }
    let owned = request.clone().within(&workspace(&bus, &message_headers).await?);
    let (reference, inline) = bus.stow(&owned, "request", body).await?;
    if let domain::BodyRef::Stored { object, size } = reference {
        message_headers.insert(headers::BODY, format!("{object};{size}").as_str());
    }
    bus.accept(operation, lane, message_headers, inline).await.context("publish the request")?;
    let Some(mut answers) = answers else {
        output.line(&request);
        output.value(&json!({ "id": request }));
        return Ok(ExitCode::SUCCESS);
    };
    let patience = settings.deadlines.interactive + Duration::from_secs(5);
    let answer =
        tokio::time::timeout(patience, answers.next()).await.context("no answer within the deadline")?;
    let Some(answer) = answer else { bail!("the connection was closed") };
    let status: u16 = answer.header(headers::STATUS).and_then(|s| s.parse().ok()).unwrap_or(0);
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    let parsed: Value = serde_json::from_str(&text).unwrap_or(Value::String(text.clone()));
    output.value(&json!({ "id": request, "status": status, "answer": parsed }));
    output.line(text);
    Ok(if (200..300).contains(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The workspace that a request with these headers belongs to.
async fn workspace(bus: &Bus, message_headers: &Headers) -> anyhow::Result<Workspace> {
    let shown = bus::header(Some(message_headers), headers::KEY);
    let Some((id, _)) = shown.and_then(ApiKey::take_apart) else { return Ok(Workspace::default()) };
    let record = bus.policy_record(&Key::ApiKey(id)).await.context("look the API key up")?;
    let key = record.and_then(|record| serde_json::from_slice::<ApiKey>(&record.payload).ok());
    Ok(key.map(|key| key.workspace).unwrap_or_default())
}

fn read_body(argument: &str) -> anyhow::Result<Bytes> {
    if argument == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("read standard input")?;
        return Ok(bytes.into());
    }
    match argument.strip_prefix('@') {
        Some(file) => Ok(std::fs::read(file).with_context(|| format!("read {file}"))?.into()),
        None => Ok(Bytes::copy_from_slice(argument.as_bytes())),
    }
}
