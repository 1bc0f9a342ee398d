//! The answers of `fixtures/`, as callers got them.

use std::fs;
use std::path::{Path, PathBuf};

use domain::Operation;
use serde_json::Value;

use super::super::{as_stream, as_whole, gist};
use super::{seen, there_and_back};

/// The folders in a folder.
fn folders(at: &Path) -> Vec<PathBuf> {
    fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

/// What callers got in a case: in which dialect, and the bytes.
fn replies(file: &str) -> Vec<(PathBuf, Operation, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut all = Vec::new();
    for case in folders(&root).iter().flat_map(|path| folders(path)) {
        let Ok(body) = fs::read(case.join(file)) else { continue };
        let manifest: toml::Table = fs::read_to_string(case.join("case.toml")).unwrap().parse().unwrap();
        let operation = match manifest.get("dialect").and_then(toml::Value::as_str) {
            None | Some("openai") => Operation::Chat,
            Some("anthropic") => Operation::Messages,
            Some("responses") => Operation::Responses,
            Some("completions") => Operation::Completions,
            Some(other) => panic!("unknown dialect {other}"),
        };
        all.push((case, operation, body));
    }
    all.sort();
    all
}

#[test]
fn whole_answers_are_the_same_there_and_back() {
    let all = replies("reply.json");
    let mut count = 0;
    for (case, operation, body) in &all {
        let whole: Value = serde_json::from_slice(body).unwrap();
        let Some(back) = there_and_back(*operation, &whole) else {
            assert!(!whole["error"].is_null(), "{}: no stream for {whole}", case.display());
            continue;
        };
        count += 1;
        assert_eq!(seen(*operation, back), seen(*operation, whole), "{}", case.display());
        let stream = as_stream(*operation, body, false).unwrap();
        let (one, other) =
            (gist(*operation, "application/json", body), gist(*operation, "text/event-stream", &stream));
        assert!(one.is_some() && one == other, "{}: {one:?} {other:?}", case.display());
    }
    assert!(count > 80, "only {count} of {} answers were compared", all.len());
}

#[test]
fn streams_become_whole_unless_they_failed() {
    let all = replies("reply.sse");
    let mut count = 0;
    for (case, operation, stream) in &all {
        let text = String::from_utf8_lossy(stream);
        let failed = ["\"error\":{", "\"error\": {", "event: error"].iter().any(|sign| text.contains(sign));
        let Some(whole) = as_whole(*operation, stream) else {
            assert!(failed, "{}: not understood: {text}", case.display());
            continue;
        };
        assert!(!failed, "{}", case.display());
        count += 1;
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        let back = there_and_back(*operation, &whole).unwrap();
        assert_eq!(seen(*operation, back), seen(*operation, whole), "{}", case.display());
        assert!(gist(*operation, "text/event-stream; charset=utf-8", stream).is_some());
        // Whatever is missing at the end, it is no answer.
        let events: Vec<&str> = text.split_inclusive("\n\n").collect();
        for end in 0..events.len() - 1 {
            assert_eq!(as_whole(*operation, events[..end].concat().as_bytes()), None, "{}", case.display());
        }
    }
    assert!(count > 40, "only {count} of {} streams were compared", all.len());
}
