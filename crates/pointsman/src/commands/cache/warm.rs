//! `pointsman cache warm`: requests of a file, sent so that their answers are in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use domain::headers::{CACHE_STATUS, REQUEST_ID};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use providers::sse::{self, Events};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ENTRIES;
use crate::api::{Api, status};
use crate::cli::{CacheWarm, Gateway};
use crate::output::{GOOD, Output, WARN, styled};
use crate::settings::Settings;

pub(crate) const HELP: &str = "\
Fill the cache: send the requests of a file to the gateway; exits with 1 if one fails

Each line of the file is the body of a request to /v1/chat/completions,
  {\"model\": \"gpt-4o\", \"messages\": [{\"role\": \"user\", \"content\": \"What is a broker?\"}]}
or says where it goes and with which headers:
  {\"path\": \"/v1/messages\", \"headers\": {\"x-portkey-config\": \"pc-faq\"}, \"body\": {…}}

What was answered before is a hit and costs nothing. An answer is kept only if the request's config
names the cache; a line whose config does not is counted as `disabled`, and the exit code is 1.";

/// Where bodies go that do not say it.
const USUAL_PATH: &str = "/v1/chat/completions";

/// Header with the routing config.
const CONFIG: &str = "x-portkey-config";

/// How long answers may take to be seen in the cache after the last came.
const STORING: Duration = Duration::from_secs(10);

/// How often it is looked whether they are there.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Ids asked for at once: they have to fit into an address.
const AT_ONCE: usize = 50;

/// A line that says where its body goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Value,
}

/// One request of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// Counted from 1.
    number: usize,
    path: String,
    headers: HeaderMap,
    body: Value,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    /// It was answered by the cache.
    Hit,
    /// The same, with the answer to other words.
    SemanticHit,
    /// It was answered by a provider; the request's id.
    Miss(Option<String>),
    /// The same, although there was an answer in the cache.
    Refreshed(Option<String>),
    /// The cache had no part in its answer.
    Disabled,
    /// It was not answered, and why.
    Failed(String),
}

/// What became of all.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: usize,
    hits: usize,
    semantic_hits: usize,
    misses: usize,
    refreshed: usize,
    disabled: usize,
    /// None: nobody can say.
    stored: Option<u64>,
    failed: usize,
    /// Lines and what is wrong with each.
    troubles: Vec<(usize, String)>,
    /// Requests whose answers may be in the cache now.
    asked: BTreeSet<String>,
}

pub(super) async fn run(
    wanted: CacheWarm,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let lines = lines(&read(&wanted.file)?, &wanted).with_context(|| wanted.file.display().to_string())?;
    let gateway = Gateway { url: wanted.url, key_file: wanted.key_file, workspace: None };
    let api = Api::new(&gateway, settings, env)?;
    let counts = send(&api, lines, wanted.concurrency, output).await;
    print(&counts, output);
    Ok(counts.code())
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

/// The requests of a file. Nothing is sent if a line cannot be read.
pub(super) fn lines(text: &str, wanted: &CacheWarm) -> anyhow::Result<Vec<Line>> {
    let config =
        wanted.config.as_ref().map(|config| header(CONFIG, config)).transpose().context("--config")?;
    let mut lines = Vec::new();
    for (at, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let number = at + 1;
        let mut line = line(number, text).with_context(|| format!("line {number}"))?;
        if let Some(config) = &config {
            line.headers.entry(CONFIG).or_insert_with(|| config.clone());
        }
        if let (Some(model), Some(body)) = (&wanted.model, line.body.as_object_mut()) {
            body.entry("model").or_insert_with(|| json!(model));
        }
        lines.push(line);
    }
    ensure!(!lines.is_empty(), "there are no requests: write one on each line, as `cache warm --help` shows");
    Ok(lines)
}

fn line(number: usize, text: &str) -> anyhow::Result<Line> {
    let value: Map<String, Value> =
        serde_json::from_str(text).context("it is no JSON object; write a request's body on one line")?;
    if !value.contains_key("body") {
        let (path, body) = (USUAL_PATH.to_owned(), Value::Object(value));
        return Ok(Line { number, path, headers: HeaderMap::new(), body });
    }
    let Wrapped { path, headers, body } = serde_json::from_value(Value::Object(value))?;
    let path = path.unwrap_or_else(|| USUAL_PATH.to_owned());
    ensure!(body.is_object(), "`body` is no JSON object; write a request's body");
    ensure!(
        path.starts_with("/v1/"),
        "`path`: `{path}` is no path of the gateway; write one as in {USUAL_PATH}"
    );
    let mut sent = HeaderMap::new();
    for (name, value) in &headers {
        let named = name.parse::<HeaderName>();
        let named = named.with_context(|| format!("`headers`: `{name}` is no name of a header"))?;
        sent.insert(named, header(name, value)?);
    }
    Ok(Line { number, path, headers: sent, body })
}

fn header(name: &str, value: &str) -> anyhow::Result<HeaderValue> {
    value
        .parse()
        .with_context(|| format!("`{name}` cannot be sent as a header; write visible letters on one line"))
}

pub(super) async fn send(api: &Api, lines: Vec<Line>, concurrency: usize, output: Output) -> Counts {
    let mut counts = Counts { requests: lines.len(), ..Counts::default() };
    let asked = futures::stream::iter(lines).map(|line| async move { (line.number, ask(api, &line).await) });
    let mut answers = std::pin::pin!(asked.buffer_unordered(concurrency));
    while let Some((number, became)) = answers.next().await {
        if let Some(trouble) = counts.add(number, became) {
            output.warn(trouble);
        }
    }
    counts.troubles.sort();
    match stored(api, &counts.asked).await {
        Ok(stored) => counts.stored = Some(stored),
        Err(err) => output.warn(format!("it is not known how many answers were stored: {err:#}")),
    }
    counts
}

async fn ask(api: &Api, line: &Line) -> Became {
    let response = match api.ask(&line.path, &line.headers, &line.body).await {
        Ok(response) => response,
        Err(err) => return Became::Failed(format!("{err:#}")),
    };
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let said = header(CACHE_STATUS[1]).map(str::to_owned);
    let id = header(REQUEST_ID).map(str::to_owned);
    let status = response.status();
    let body = match response.bytes().await.map_err(reqwest::Error::without_url) {
        Ok(body) => body,
        Err(err) => return Became::Failed(format!("the answer broke off: {err}")),
    };
    if let Some(reason) = failure(status.as_u16(), &body) {
        return Became::Failed(reason);
    }
    became(said.as_deref(), id)
}

/// Why an answer is none. Streams that have begun say it in one of their pieces.
fn failure(status: u16, body: &[u8]) -> Option<String> {
    let message = |value: &Value| value.pointer("/error/message").and_then(Value::as_str).map(str::to_owned);
    if !(200..300).contains(&status) {
        let said = serde_json::from_slice(body).ok().and_then(|value| message(&value));
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).trim().chars().take(500).collect());
        return Some(format!("{status}: {said}"));
    }
    if body.starts_with(b"{") {
        return None;
    }
    let mut events = Events::default();
    events.push(body);
    std::iter::from_fn(|| events.take())
        .find_map(|event| message(&serde_json::from_slice(sse::data(&event)?).ok()?))
        .map(|said| format!("the answer ended with an error: {said}"))
}

/// What the gateway says of the cache's part.
fn became(said: Option<&str>, id: Option<String>) -> Became {
    match said {
        Some("HIT") => Became::Hit,
        Some("SEMANTIC HIT") => Became::SemanticHit,
        Some("MISS" | "SEMANTIC MISS") => Became::Miss(id),
        Some("REFRESH") => Became::Refreshed(id),
        Some("DISABLED") => Became::Disabled,
        Some(other) => Became::Failed(format!("the answer says `{other}` of the cache, which is no status")),
        None => Became::Failed(format!("the answer has no header {}; is this a gateway?", CACHE_STATUS[1])),
    }
}

impl Counts {
    /// Counts one; returns what is wrong with it.
    fn add(&mut self, number: usize, became: Became) -> Option<String> {
        let trouble = match became {
            Became::Hit => {
                self.hits += 1;
                return None;
            }
            Became::SemanticHit => {
                self.semantic_hits += 1;
                return None;
            }
            Became::Miss(id) => {
                self.misses += 1;
                self.asked.extend(id);
                return None;
            }
            Became::Refreshed(id) => {
                self.refreshed += 1;
                self.asked.extend(id);
                return None;
            }
            Became::Disabled => {
                self.disabled += 1;
                format!(
                    "the config of line {number} does not name the cache: write `\"cache\": {{\"mode\": \"simple\"}}` \
                     into it, or give another with --config"
                )
            }
            Became::Failed(reason) => {
                self.failed += 1;
                format!("line {number}: {reason}")
            }
        };
        self.troubles.push((number, trouble.clone()));
        Some(trouble)
    }

    /// A line that the cache has no part in does not fill it, so that it counts as one that failed.
    pub(super) fn code(&self) -> ExitCode {
        if self.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn is_good(&self) -> bool {
        self.failed == 0 && self.disabled == 0
    }

    pub(super) fn json(&self) -> Value {
        let error = |(line, message): &(usize, String)| json!({ "line": line, "message": message });
        json!({
            "requests": self.requests, "hits": self.hits, "semantic_hits": self.semantic_hits, "misses": self.misses,
            "refreshed": self.refreshed, "disabled": self.disabled, "stored": self.stored, "failed": self.failed,
            "errors": self.troubles.iter().map(error).collect::<Vec<_>>(),
        })
    }
}

/// How many of the answers are in the cache: they are stored after they were given, and not all may be.
async fn stored(api: &Api, asked: &BTreeSet<String>) -> anyhow::Result<u64> {
    let ids: Vec<&str> = asked.iter().map(String::as_str).collect();
    let begun = tokio::time::Instant::now();
    let mut seen = 0;
    for some in ids.chunks(AT_ONCE) {
        seen += loop {
            let query = [("id", some.join(",")), ("page_size", "1".to_owned())];
            let answer = api.query(&ENTRIES, &query).await.map_err(explain)?;
            let Some(total) = answer["total"].as_u64() else { bail!("the gateway's answer has no total") };
            if total >= some.len() as u64 || begun.elapsed() >= STORING {
                break total;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
    }
    Ok(seen)
}

fn explain(err: anyhow::Error) -> anyhow::Error {
    match status(&err) {
        Some(403) => err.context("the API key may not look into the cache (scope `cache.view`)"),
        _ => err,
    }
}

fn print(counts: &Counts, output: Output) {
    output.value(&counts.json());
    let Counts { requests, hits, semantic_hits, misses, refreshed, disabled, failed, .. } = counts;
    let stored = counts.stored.map_or_else(|| "unknown".to_owned(), |stored| stored.to_string());
    let text = format!(
        "{requests} requests: {hits} hits, {semantic_hits} semantic hits, {misses} misses, {refreshed} refreshed, \
         {stored} stored, {disabled} without the cache, {failed} failed"
    );
    output.line(styled(if counts.is_good() { GOOD } else { WARN }, text));
    let answered = counts.asked.len() as u64;
    if let Some(left) = counts.stored.and_then(|stored| answered.checked_sub(stored)).filter(|left| *left > 0)
    {
        output.line(styled(
            WARN,
            format!(
                "{left} answers are not in the cache (yet): one is kept only if it is whole and of success, not too \
                 large, and not made at a high temperature"
            ),
        ));
    }
}
