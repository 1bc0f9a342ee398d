//! `pointsman lint`: are these configs and documents right?

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::Lint;
use crate::commands::apply::documents::{Problem, Reader};
use crate::output::{BAD, GOOD, Output, WARN, styled};

pub(crate) fn run(lint: &Lint, output: Output, env: &BTreeMap<String, String>) -> anyhow::Result<ExitCode> {
    let found = Reader { env, workspace: None, bare_configs: true }.read(&lint.files);
    let list = |problems: &[Problem]| -> Vec<Value> {
        let one = |p: &Problem| json!({ "file": p.file, "path": p.path, "message": p.message });
        problems.iter().map(one).collect()
    };
    output.value(&json!({
        "ok": found.problems.is_empty(), "errors": list(&found.problems), "warnings": list(&found.warnings),
    }));
    for warning in &found.warnings {
        output.line(format!("{} {warning}", styled(WARN, "warning:")));
    }
    for problem in &found.problems {
        output.line(format!("{} {problem}", styled(BAD, "error:")));
    }
    if !found.problems.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let files = if found.files == 1 { "file" } else { "files" };
    output.line(format!("{} {} {files}", styled(GOOD, "ok"), found.files));
    Ok(ExitCode::SUCCESS)
}
