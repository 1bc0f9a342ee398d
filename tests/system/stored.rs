//! Stored answers in the other form, as the official SDKs read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use domain::Operation;
use providers::stored::{as_stream, as_whole};
use serde_json::Value;
use system_tests::harness::Python;

#[tokio::test]
async fn the_official_sdks_see_the_same_answer_whole_and_as_a_stream() {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, operation, whole) in answers().into_iter().chain(replies()) {
        // Errors have no other form.
        let Some(stream) = as_stream(operation, &whole, true) else { continue };
        let place = dir.path().join(format!("{name}.{operation}"));
        fs::write(place.with_added_extension("json"), &whole).expect("the folder takes files");
        fs::write(place.with_added_extension("sse"), &stream).expect("the folder takes files");
    }
    let python = Python::ready().await;
    let place = dir.path().display().to_string();
    python.run("stored_forms.py", &[("POINTSMAN_STORED_FORMS", place)]).await;
}

/// Answers with everything that the dialects have.
fn answers() -> Vec<(String, Operation, Vec<u8>)> {
    let text = include_str!("../clients/stored_answers.json");
    let answers: BTreeMap<Operation, Vec<Value>> = serde_json::from_str(text).expect("answers by operation");
    let named = |operation| {
        move |(number, answer): (usize, Value)| {
            (format!("answer-{number}"), operation, answer.to_string().into_bytes())
        }
    };
    answers
        .into_iter()
        .flat_map(|(operation, answers)| answers.into_iter().enumerate().map(named(operation)))
        .collect()
}

/// What callers get in the cases of the formats; of a stream the whole answer that it tells.
fn replies() -> Vec<(String, Operation, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/providers/fixtures");
    let cases = folders(&root).into_iter().flat_map(|format| folders(&format));
    cases
        .flat_map(|case| {
            let manifest = fs::read_to_string(case.join("case.toml")).expect("every case says what it is");
            let manifest: toml::Table = manifest.parse().expect("in TOML");
            let operation = match manifest.get("dialect").and_then(toml::Value::as_str) {
                Some("anthropic") => Operation::Messages,
                Some("responses") => Operation::Responses,
                Some("completions") => Operation::Completions,
                _ => Operation::Chat,
            };
            let name = case.strip_prefix(&root).unwrap_or(&case).display().to_string().replace('/', "-");
            let whole = fs::read(case.join("reply.json")).ok();
            let told = fs::read(case.join("reply.sse")).ok().and_then(|sse| as_whole(operation, &sse));
            let told = told.map(|told| (format!("{name}-stream"), operation, told.to_vec()));
            whole.map(|whole| (name, operation, whole)).into_iter().chain(told)
        })
        .collect()
}

fn folders(at: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(at).expect("the folder can be read");
    entries.map(|entry| entry.expect("its entries as well").path()).filter(|path| path.is_dir()).collect()
}
