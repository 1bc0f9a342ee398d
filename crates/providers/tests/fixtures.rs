//! Plays every case of `fixtures/`: a caller's request to what the provider gets, and the provider's answer to what the
//! caller gets. Streams are played whole, byte by byte, and cut in two at many places.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use domain::config::{Unsupported, params};
use domain::registry::{Format, Quirks};
use domain::{ApiError, Facts, Operation};
use providers::chat::About;
use providers::exchange::{Exchange, Stopped};
use providers::formats;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Places at which a stream is cut, at most.
const MOST_CUTS: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The page that says how the provider's side looks.
    doc: String,
    #[serde(default = "openai")]
    dialect: String,
    /// The folder's name, if left out.
    format: Option<Format>,
    provider: Option<String>,
    model: Option<String>,
    #[serde(default = "yes")]
    strict: bool,
    /// The caller wants token counts at the end of a stream; for cases without a request.
    #[serde(default)]
    include_usage: bool,
    #[serde(default)]
    dropped: Vec<String>,
    /// The request is refused with this in its message.
    error: Option<String>,
}

fn openai() -> String {
    "openai".to_owned()
}

fn yes() -> bool {
    true
}

struct Played {
    dir: PathBuf,
    case: Case,
    format: Format,
    provider: String,
    operation: Operation,
    request: Option<Bytes>,
}

#[test]
fn every_case_is_played() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut failed = Vec::new();
    let mut count = BTreeMap::new();
    for folder in folders(&root) {
        for dir in folders(&folder) {
            *count.entry(name_of(&folder)).or_insert(0) += 1;
            if let Err(problem) = play(&folder, &dir) {
                failed.push(format!("{}: {problem}", dir.strip_prefix(&root).unwrap_or(&dir).display()));
            }
        }
    }
    assert!(count.values().sum::<i32>() > 200, "the fixtures are not where they were");
    assert!(failed.is_empty(), "{} of {count:?} failed:\n{}", failed.len(), failed.join("\n"));
}

fn folders(at: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(at).expect("the folder can be read");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("its entries as well").path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn play(folder: &Path, dir: &Path) -> Result<(), String> {
    let text = fs::read_to_string(dir.join("case.toml")).map_err(|err| format!("case.toml: {err}"))?;
    let case: Case = toml::from_str(&text).map_err(|err| format!("case.toml: {err}"))?;
    if !case.doc.starts_with("https://") {
        return Err("`doc` names no page".to_owned());
    }
    let name = name_of(folder);
    let operation = match case.dialect.as_str() {
        "openai" => Operation::Chat,
        "anthropic" => Operation::Messages,
        "responses" => Operation::Responses,
        "completions" => Operation::Completions,
        other => return Err(format!("unknown dialect `{other}`")),
    };
    let format = match case.format {
        Some(format) => format,
        None => name.as_str().parse().map_err(|err: domain::operation::UnknownWord| err.to_string())?,
    };
    let provider = case.provider.clone().unwrap_or_else(|| format.to_string());
    let request = read(&dir.join("request.json"));
    let played = Played { dir: dir.to_owned(), case, format, provider, operation, request };
    let asked = played.asked()?;
    played.answered()?;
    if asked || played.received().is_some() { Ok(()) } else { Err("there is nothing to play".to_owned()) }
}

fn read(path: &Path) -> Option<Bytes> {
    fs::read(path).ok().map(Bytes::from)
}

fn json(path: &Path) -> Result<Value, String> {
    let name = name_of(path);
    let bytes = fs::read(path).map_err(|err| format!("{name}: {err}"))?;
    serde_json::from_slice(&bytes).map_err(|err| format!("{name}: {err}"))
}

impl Played {
    fn with<T>(&self, stream: bool, play: impl FnOnce(&Exchange<'_>) -> T) -> T {
        let (none, quirks) = (Map::new(), Quirks::default());
        let body: Value = self
            .request
            .as_ref()
            .map_or(Value::Null, |body| serde_json::from_slice(body).unwrap_or_default());
        let model = self.case.model.clone().or_else(|| body["model"].as_str().map(str::to_owned));
        let include_usage = self.case.include_usage || body["stream_options"]["include_usage"] == true;
        let asked = match (self.format, self.operation) {
            // What is native is not translated; these cases are about translating.
            (Format::Anthropic, _) => Operation::Messages,
            (format, operation) => {
                formats::asked(format, operation, &[Operation::Chat]).unwrap_or(Operation::Chat)
            }
        };
        let exchange = Exchange {
            operation: self.operation,
            asked,
            format: self.format,
            quirks: &quirks,
            changes: params::Changes { defaults: &none, overrides: &none, drops: &[] },
            options: &none,
            model: None,
            unsupported: Unsupported::Drop,
            content_type: None,
            stream,
            about: About {
                provider: &self.provider,
                model: model.as_deref().unwrap_or("model"),
                id: "id-1",
                now: 1_700_000_000,
                strict: self.case.strict,
                include_usage,
            },
        };
        play(&exchange)
    }

    /// The request half. Whether there is one.
    fn asked(&self) -> Result<bool, String> {
        let Some(request) = &self.request else { return Ok(false) };
        let sent = self.with(false, |exchange| {
            Facts::read(self.operation, None, request)?;
            exchange.translate(request)
        });
        if let Some(part) = &self.case.error {
            return match sent {
                Ok(_) => Err("it has to be refused".to_owned()),
                Err(err) if err.status == 400 && err.message.contains(part.as_str()) => Ok(true),
                Err(err) => Err(format!("refused with {}: {}", err.status, err.message)),
            };
        }
        if !self.dir.join("sent.json").exists() {
            return Ok(false);
        }
        let sent = sent.map_err(|err: ApiError| format!("refused: {}", err.message))?;
        let expected = json(&self.dir.join("sent.json"))?;
        let got: Value =
            serde_json::from_slice(&sent.body).map_err(|err| format!("sent is no JSON: {err}"))?;
        same("sent", &got, &expected)?;
        if sent.dropped != self.case.dropped {
            return Err(format!("dropped {:?}, not {:?}", sent.dropped, self.case.dropped));
        }
        Ok(true)
    }

    fn received(&self) -> Option<(bool, Bytes)> {
        let file = |name: &str| read(&self.dir.join(name));
        if let Some(body) = file("received.json") {
            return Some((false, body));
        }
        let hex = || {
            let text = String::from_utf8_lossy(&file("received.hex")?).into_owned();
            let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
            Some(Bytes::from_iter(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8)))
        };
        file("received.sse").or_else(|| file("received.jsonl")).or_else(hex).map(|body| (true, body))
    }

    /// The answer half.
    fn answered(&self) -> Result<(), String> {
        let Some((stream, body)) = self.received() else { return Ok(()) };
        let request = self.request.clone().unwrap_or_else(|| Bytes::from_static(b"{}"));
        if !stream {
            let (reply, _) = self.with(false, |exchange| exchange.translate_answer(&body, &request))?;
            let got: Value =
                serde_json::from_slice(&reply).map_err(|err| format!("reply is no JSON: {err}"))?;
            return same("reply", &got, &json(&self.dir.join("reply.json"))?);
        }
        let expected = fs::read(self.dir.join("reply.sse")).map_err(|err| format!("reply.sse: {err}"))?;
        let whole = self.relayed(&[&body], &request)?;
        same("reply", &events(&whole)?, &events(&expected)?)?;
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        if self.relayed(&bytes, &request)? != whole {
            return Err("byte by byte the stream is another".to_owned());
        }
        for at in (1..body.len()).step_by(body.len().div_ceil(MOST_CUTS).max(1)) {
            if self.relayed(&[&body[..at], &body[at..]], &request)? != whole {
                return Err(format!("cut at byte {at} the stream is another"));
            }
        }
        Ok(())
    }

    fn relayed(&self, pieces: &[&[u8]], request: &Bytes) -> Result<Vec<u8>, String> {
        self.with(true, |exchange| {
            let mut relay = exchange.translate_stream(request).map_err(|err| err.message)?;
            let mut out = BytesMut::new();
            let mut stopped = None;
            for piece in pieces {
                if let Err(err) = relay.push(piece, &mut out) {
                    stopped = Some(err);
                    break;
                }
            }
            let stopped = stopped.or_else(|| relay.end(&mut out).err());
            match stopped {
                None => {}
                // What the provider says is told in the caller's dialect.
                Some(Stopped::Provider(error)) => relay.tell(&error, &mut out),
                Some(stopped) => return Err(format!("the stream stopped: {stopped:?}")),
            }
            Ok(out.to_vec())
        })
    }
}

/// Events with their names and their data as JSON.
fn events(stream: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(stream).map_err(|err| err.to_string())?.replace("\r\n", "\n");
    let mut events = Vec::new();
    for event in text.split("\n\n").filter(|event| !event.trim().is_empty()) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let data = field("data:").ok_or_else(|| format!("an event without data: {event}"))?;
        let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
        events.push(serde_json::json!({ "event": field("event:"), "data": data }));
    }
    Ok(Value::from(events))
}

fn same(what: &str, got: &Value, expected: &Value) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    let mut differences = Vec::new();
    compare("", got, expected, &mut differences);
    differences.truncate(4);
    let differences: Vec<String> = differences.iter().map(|text| text.chars().take(400).collect()).collect();
    Err(format!("{what} differs: {}", differences.join("; ")))
}

fn compare(at: &str, got: &Value, expected: &Value, out: &mut Vec<String>) {
    match (got, expected) {
        (Value::Object(got), Value::Object(expected)) => {
            for (key, value) in expected {
                compare(&format!("{at}.{key}"), got.get(key).unwrap_or(&Value::from("(absent)")), value, out);
            }
            out.extend(
                got.iter()
                    .filter(|(key, _)| !expected.contains_key(*key))
                    .map(|(key, value)| format!("{at}.{key} is {value}, and should not be")),
            );
        }
        (Value::Array(got), Value::Array(expected)) if got.len() == expected.len() => {
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                compare(&format!("{at}[{i}]"), got, expected, out);
            }
        }
        (got, expected) if got == expected => {}
        (got, expected) => out.push(format!("{at} is {got}, not {expected}")),
    }
}
