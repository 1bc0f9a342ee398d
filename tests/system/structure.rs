//! The rules of the repository that a compiler cannot see: dependency arrows, who names what, where files lie.
//!
//! A rule is a function from text to findings, so that each is shown here to find a bad example, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rows of the workspace: a crate may use any lower row, and nothing on its own.
const ROWS: &[(&str, u8)] = &[
    ("domain", 0),
    ("telemetry", 0),
    ("bus", 1),
    ("export", 1),
    ("providers", 1),
    ("role", 2),
    ("admin-api", 3),
    ("cost-accounting", 3),
    ("alerts", 3),
    ("http-shim", 3),
    ("mock-provider", 3),
    ("provider-worker", 3),
    ("router", 3),
    ("semantic-cache", 3),
    ("pointsman", 4),
    ("system-tests", 5),
];

/// Everything at the top level that is not ignored by version control.
const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "deploy",
    "nats",
    "rustfmt.toml",
    "tests",
];

/// Subjects outside `bus/src/subject.rs`, each with its reason: file, the string literal.
const SUBJECTS_ELSEWHERE: &[(&str, &str, &str)] = &[(
    "crates/domain/src/headers.rs",
    "llm.",
    "a producer's reply subject is refused below the prefix that the system keeps for itself",
)];

const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|err| panic!("read {}: {err}", path.display()))
}

/// Files below a folder of the repository that end in `ending`, with their path from the root.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|err| panic!("list {}: {err}", folder.display()))
        {
            let path = entry.expect("list a folder").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    open.push(path);
                }
            } else if path.to_string_lossy().ends_with(ending) {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push((name, read(&path)));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {folder}: the check would check nothing");
    found
}

/// Package names that a manifest depends on in any way: plain, for tests, for builds, for one platform, renamed.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(key).and_then(toml::Value::as_table) else { continue };
        for (name, value) in table {
            let renamed = value.get("package").and_then(toml::Value::as_str);
            found.push(renamed.unwrap_or(name).to_owned());
        }
    }
    let platforms = manifest.get("target").and_then(toml::Value::as_table);
    for platform in platforms.into_iter().flat_map(toml::Table::values) {
        found.extend(platform.as_table().map(dependencies).unwrap_or_default());
    }
    found
}

fn package(manifest: &toml::Table) -> String {
    manifest["package"]["name"].as_str().expect("a package has a name").to_owned()
}

/// Arrows of a manifest that the rows forbid.
fn forbidden_arrows(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("a manifest is TOML");
    let rows: BTreeMap<&str, u8> = ROWS.iter().copied().collect();
    let from = package(&manifest);
    let Some(row) = rows.get(from.as_str()) else {
        return vec![format!("{from} has no row: give it one in ROWS")];
    };
    let arrows = dependencies(&manifest);
    let upward =
        arrows.iter().filter_map(|to| rows.get(to.as_str()).filter(|lower| *lower >= row).map(|_| to));
    upward
        .map(|to| format!("{from} (row {row}) must not depend on {to} (row {})", rows[to.as_str()]))
        .collect()
}

/// Whether a manifest lets its crate name `library`.
fn names(manifest: &str, library: &str) -> Option<String> {
    let manifest: toml::Table = manifest.parse().expect("a manifest is TOML");
    dependencies(&manifest).iter().any(|name| name == library).then(|| package(&manifest))
}

/// Lines of Rust without those that are only comment.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The string literals of a line that begin like a subject of ours or of the broker's.
fn subject_literals(line: &str) -> Vec<&str> {
    const BEGINNINGS: &[&str] = &["llm.", "$JS", "$KV", "$O", "$SRV"];
    let opened = line.match_indices('"').map(|(at, _)| &line[at + 1..]);
    let subjects = opened.filter(|rest| BEGINNINGS.iter().any(|b| rest.starts_with(b)));
    subjects.map(|rest| rest.split('"').next().unwrap_or_default()).collect()
}

/// Subjects in a file that must not contain one. Unit tests may write examples.
fn stray_subjects(file: &str, text: &str) -> Vec<String> {
    if file == "crates/bus/src/subject.rs" || file.ends_with("/tests.rs") || file.contains("/tests/") {
        return Vec::new();
    }
    let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    for (number, line) in code_lines(product) {
        for literal in subject_literals(line) {
            let allowed =
                SUBJECTS_ELSEWHERE.iter().any(|(place, what, _)| *place == file && *what == literal);
            if !allowed {
                found.push(format!(
                    "{file}:{number}: the subject `{literal}` belongs in crates/bus/src/subject.rs"
                ));
            }
        }
    }
    found
}

/// Crates in which a provider's name would be a decision that belongs in the catalogue.
const NAMELESS: &[&str] = &["domain", "bus", "providers", "provider-worker", "router", "http-shim"];

/// Providers that a file names in its code: string literals that are a slug and not also the name of a wire format.
fn named_providers(file: &str, text: &str, slugs: &[String]) -> Vec<String> {
    if file.ends_with("/tests.rs") || file.contains("/tests/") || file.ends_with("/testing.rs") {
        return Vec::new();
    }
    let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    for (number, line) in code_lines(product) {
        for slug in slugs.iter().filter(|slug| line.contains(&format!("\"{slug}\""))) {
            found.push(format!("{file}:{number} names the provider `{slug}`: say it in catalogue.toml"));
        }
    }
    found
}

/// Names of the catalogue that are not names of formats as well.
fn slugs() -> Vec<String> {
    let catalogue: toml::Table =
        read(&root().join("crates/providers/src/catalogue.toml")).parse().expect("the catalogue is TOML");
    let formats: Vec<String> = catalogue.values().map(|entry| entry["format"].to_string()).collect();
    catalogue.keys().filter(|slug| !formats.contains(&format!("\"{slug}\""))).cloned().collect()
}

/// What is wrong with the form of a source file.
fn bad_form(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        found.push(format!(
            "{file} has {lines} lines, more than {LONGEST_FILE}: it has two subjects, so split it"
        ));
    }
    if !text.starts_with("//!") {
        found.push(format!("{file} does not open with a `//!` line that says what it is for"));
    }
    found
}

/// Entries that are missing or one too many; `ignored` are the lines of `.gitignore`.
fn unexpected_entries(entries: &[String], ignored: &str) -> Vec<String> {
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim().trim_matches('/')).collect();
    let extra = entries.iter().filter(|e| *e != ".git" && !TOP_LEVEL.contains(&e.as_str()));
    let extra = extra.filter(|e| !ignored.contains(&e.as_str())).map(|e| format!("{e} is not expected here"));
    let missing = TOP_LEVEL.iter().filter(|e| !entries.iter().any(|entry| entry == *e));
    extra.chain(missing.map(|e| format!("{e} is missing"))).collect()
}

#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// The manifests below `crates/`. Programs for fuzzing are no members of the workspace.
fn crates() -> Vec<(String, String)> {
    let mut all = files("crates", "/Cargo.toml");
    all.retain(|(path, _)| !path.ends_with("/fuzz/Cargo.toml"));
    all
}

fn manifests() -> Vec<(String, String)> {
    let mut all = crates();
    all.push(("tests/Cargo.toml".to_owned(), read(&root().join("tests/Cargo.toml"))));
    all
}

#[test]
fn no_dependency_points_sideways_or_up() {
    let found: Vec<String> = manifests().iter().flat_map(|(_, text)| forbidden_arrows(text)).collect();
    none(&found);
}

#[test]
fn every_row_has_its_crate() {
    let parse = |text: &str| text.parse::<toml::Table>().expect("a manifest is TOML");
    let mut found: Vec<String> = manifests().iter().map(|(_, text)| package(&parse(text))).collect();
    found.sort();
    let mut expected: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for (path, text) in crates() {
        assert_eq!(
            path,
            format!("crates/{}/Cargo.toml", package(&parse(&text))),
            "folder and crate have one name"
        );
    }
}

#[test]
fn only_the_bus_names_async_nats() {
    let found: Vec<String> = manifests().iter().filter_map(|(_, text)| names(text, "async-nats")).collect();
    assert_eq!(found, ["bus", "system-tests"]);
}

#[test]
fn decisions_and_formats_have_no_sockets_and_no_runtime() {
    for pure in ["domain", "providers"] {
        let manifest = read(&root().join(format!("crates/{pure}/Cargo.toml")));
        for outside in ["tokio", "tokio-util", "reqwest", "hyper", "async-nats", "rand"] {
            assert_eq!(names(&manifest, outside), None, "{pure} must do without {outside}");
        }
    }
}

#[test]
fn subjects_are_written_in_one_file() {
    let sources = files("crates", ".rs");
    none(&sources.iter().flat_map(|(file, text)| stray_subjects(file, text)).collect::<Vec<_>>());
    let subjects = read(&root().join("crates/bus/src/subject.rs"));
    assert!(
        code_lines(&subjects).any(|(_, line)| !subject_literals(line).is_empty()),
        "the one file has them"
    );
}

#[test]
fn no_code_names_a_provider() {
    let slugs = slugs();
    assert!(slugs.len() > 70 && !slugs.contains(&"openai".to_owned()), "{slugs:?}");
    let sources = NAMELESS.iter().flat_map(|name| files(&format!("crates/{name}/src"), ".rs"));
    none(&sources.flat_map(|(file, text)| named_providers(&file, &text, &slugs)).collect::<Vec<_>>());
}

#[test]
fn a_named_provider_is_found() {
    let slugs = ["groq".to_owned()];
    let file = "crates/router/src/act.rs";
    for bad in ["    \"groq\" => 1,", "if slug == \"groq\" {"] {
        assert_eq!(named_providers(file, bad, &slugs).len(), 1, "{bad}");
    }
    for good in ["// \"groq\" is one", "let s = \"as groq does\";", "\n#[cfg(test)]\nmod tests {\n\"groq\""] {
        assert_eq!(named_providers(file, good, &slugs), [""; 0], "{good}");
    }
    assert_eq!(named_providers("crates/router/src/tests.rs", "\"groq\"", &slugs), [""; 0]);
}

#[test]
fn every_exception_is_still_needed() {
    for (file, literal, reason) in SUBJECTS_ELSEWHERE {
        let text = read(&root().join(file));
        let used = code_lines(&text).any(|(_, line)| subject_literals(line).contains(literal));
        assert!(used, "{file} no longer contains `{literal}` ({reason}): take the exception away");
    }
}

#[test]
fn source_files_are_short_and_say_what_they_are_for() {
    let mut all = files("crates", ".rs");
    all.extend(files("tests", ".rs"));
    none(&all.iter().flat_map(|(file, text)| bad_form(file, text)).collect::<Vec<_>>());
}

#[test]
fn the_top_level_is_what_a_reader_expects() {
    let entries = std::fs::read_dir(root()).expect("list the repository");
    let entries: Vec<String> =
        entries.map(|e| e.expect("list the repository").file_name().to_string_lossy().into_owned()).collect();
    none(&unexpected_entries(&entries, &read(&root().join(".gitignore"))));
}

#[test]
fn a_forbidden_arrow_is_found() {
    let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
    let bad = [
        (
            "bus",
            "[dependencies]\nproviders.workspace = true",
            "bus (row 1) must not depend on providers (row 1)",
        ),
        (
            "router",
            "[dependencies]\nhttp-shim.workspace = true",
            "router (row 3) must not depend on http-shim (row 3)",
        ),
        (
            "domain",
            "[dev-dependencies]\ntelemetry.workspace = true",
            "domain (row 0) must not depend on telemetry (row 0)",
        ),
        (
            "role",
            "[build-dependencies]\nrouter.workspace = true",
            "role (row 2) must not depend on router (row 3)",
        ),
        (
            "telemetry",
            "[target.'cfg(unix)'.dependencies]\nanything = { package = \"bus\", path = \"../bus\" }",
            "telemetry (row 0) must not depend on bus (row 1)",
        ),
        ("newcomer", "", "newcomer has no row: give it one in ROWS"),
    ];
    for (name, rest, expected) in bad {
        assert_eq!(forbidden_arrows(&manifest(name, rest)), [expected]);
    }
    let good = manifest("pointsman", "[dependencies]\nrouter.workspace = true\nserde = \"1\"");
    assert_eq!(forbidden_arrows(&good), [""; 0]);
}

#[test]
fn a_second_crate_that_names_the_library_is_found() {
    let manifest = "[package]\nname = \"router\"\n[dev-dependencies]\nnats = { package = \"async-nats\", version = \"1\" }";
    assert_eq!(names(manifest, "async-nats").as_deref(), Some("router"));
    assert_eq!(names(manifest, "tokio"), None);
}

#[test]
fn a_stray_subject_is_found() {
    let file = "crates/router/src/act.rs";
    let bad = [
        "let s = \"llm.request.chat\";",
        "publish(format!(\"llm.call.{target}\"))",
        "request(\"$JS.API.INFO\")",
        "    x => \"$KV.llm_registry.>\", // why",
        "let s = r\"$O.bodies.C.1\";",
    ];
    for line in bad {
        assert_eq!(stray_subjects(file, line).len(), 1, "{line}");
    }
    let good = [
        "/// Published at \"llm.request.chat\".",
        "    // as \"$JS.API\" does",
        "let s = \"see llm.request.chat\";",
        "let stream = \"LLM_REQUEST\";",
        "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    const X: &str = \"llm.request.chat\";\n}",
    ];
    for text in good {
        assert_eq!(stray_subjects(file, text), [""; 0], "{text}");
    }
    let allowed = "value.starts_with(\"llm.\")";
    assert_eq!(stray_subjects("crates/domain/src/headers.rs", allowed), [""; 0]);
    assert_eq!(stray_subjects(file, allowed).len(), 1);
    assert_eq!(stray_subjects("crates/bus/src/subject.rs", bad[0]), [""; 0]);
}

#[test]
fn bad_form_is_found() {
    let long = format!("//! Long.\n{}", "\n".repeat(LONGEST_FILE));
    assert_eq!(bad_form("a.rs", &long).len(), 1);
    assert_eq!(bad_form("a.rs", "use std::fmt;\n").len(), 1);
    assert_eq!(bad_form("a.rs", "//! Short.\n"), [""; 0]);
}

#[test]
fn an_unexpected_entry_is_found() {
    let mut entries: Vec<String> = TOP_LEVEL.iter().map(|e| (*e).to_owned()).collect();
    entries.extend(["target".to_owned(), ".git".to_owned()]);
    assert_eq!(unexpected_entries(&entries, "/target\n"), [""; 0]);
    entries.push("notes.txt".to_owned());
    entries.retain(|e| e != "README.md");
    assert_eq!(
        unexpected_entries(&entries, "/target\n"),
        ["notes.txt is not expected here", "README.md is missing"]
    );
}
