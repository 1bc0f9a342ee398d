//! Documents that are right, and documents that are not.

use super::*;

fn environment() -> BTreeMap<String, String> {
    BTreeMap::from([("KEY".to_owned(), "sk-secret".to_owned())])
}

fn read(files: &[(&str, &str)], bare_configs: bool) -> Found {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let env = environment();
    let mut found =
        Reader { env: &env, workspace: Some("team"), bare_configs }.read(&[dir.path().to_owned()]);
    let prefix = format!("{}/", dir.path().display());
    for problem in found.problems.iter_mut().chain(&mut found.warnings) {
        problem.file = problem.file.replace(&prefix, "");
    }
    found
}

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    read(files, false).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_folder_is_read_in_the_order_of_applying() {
    let found = read(
        &[
            ("a.toml", "kind = \"config\"\nslug = \"chat\"\nconfig = { provider = \"openai\" }\n"),
            (
                "deep/b.json",
                r#"[{"kind":"workspace","slug":"team"},
                {"kind":"virtual_key","slug":"vk","provider":"openai","key":"${KEY}","workspace":"other"}]"#,
            ),
            ("c.toml", "[[documents]]\nkind = \"api_key\"\nname = \"app\"\nkey_file = \"app.key\"\n"),
            ("notes.txt", "not read"),
        ],
        false,
    );
    assert_eq!(found.problems, []);
    let seen: Vec<(Kind, &str, Option<&str>)> =
        found.documents.iter().map(|d| (d.kind, d.id.as_str(), d.workspace.as_deref())).collect();
    assert_eq!(
        seen,
        [
            (Kind::Workspace, "team", None),
            (Kind::VirtualKey, "vk", Some("other")),
            (Kind::Config, "pc-chat", Some("team")),
            (Kind::ApiKey, "app", Some("team")),
        ]
    );
    let key = &found.documents[1];
    assert_eq!((&key.spec["key"], &key.spec["name"]), (&json!("sk-secret"), &json!("vk")));
    assert_eq!(key.hidden, ["/key"], "what came from the environment is known");
    assert!(found.documents[3].key_file.as_ref().is_some_and(|file| file.ends_with("app.key")));
}

#[test]
fn everything_that_is_wrong_is_said_with_file_field_and_fix() {
    let found = problems(&[
        (
            "a.toml",
            "kind = \"config\"\nslug = \"chat\"\nconfig = { provider = \"openai\", retry = 3 }\nisdefault = true",
        ),
        ("b.toml", "kind = \"virtual_key\"\nslug = \"v k\"\nkey = \"sk-in-clear\"\nmodels = \"gpt\""),
        ("c.json", r#"{"kind":"vrtual_key"}"#),
        ("d.json", "{"),
        (
            "e.toml",
            "kind = \"api_key\"\nname = \"app\"\nkey_file = \"k\"\nscopes = [\"confgs.read\"]\ntype = \"user\"\nexpires_at = \"soon\"",
        ),
        ("f.toml", "kind = \"virtual_key\"\nslug = \"vk\"\nprovider = \"openai\"\nkey = \"${UNSET_KEY}\""),
    ]);
    for part in [
        "a.toml: `isdefault`: is no field of kind `config`; did you mean `is_default`?",
        "a.toml: `config.retry`: is 3; write",
        "b.toml: `provider`: is missing",
        "b.toml: `models`: is another text; write a list of strings",
        "b.toml: `key`: a credential in clear; write `${NAME}`",
        "b.toml: `slug`: `v k` is not a valid id",
        "c.json: `kind`: is another text; write one of workspace, virtual_key, config, api_key",
        "d.json: is not JSON: ",
        "e.toml: `scopes[0]`: `confgs.read` is no scope",
        "e.toml: `expires_at`: is no date",
        "e.toml: `type`: `user` is no type of key",
        "f.toml: `key`: environment variable `UNSET_KEY` is not set",
    ] {
        assert!(found.iter().any(|line| line.contains(part)), "{part} is not in {found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn two_documents_of_one_name_are_refused() {
    let config = "kind = \"config\"\nslug = \"chat\"\nconfig = { provider = \"openai\" }\n";
    let found = problems(&[("a.toml", config), ("b.toml", &config.replace("\"chat\"", "\"pc-chat\""))]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`pc-chat` is described in") && found[0].contains("a.toml"), "{found:?}");
}

#[test]
fn a_credential_in_clear_is_refused_in_documents_and_pointed_out_in_configs() {
    let bare = r#"{"provider":"openai","api_key":"sk-in-clear"}"#;
    let found = read(&[("a.json", bare)], true);
    assert_eq!(found.problems, []);
    assert_eq!(found.warnings[0].path, "config.api_key");
    let whole = format!(r#"{{"kind":"config","slug":"chat","config":{bare}}}"#);
    let found = problems(&[("a.json", &whole)]);
    assert!(found[0].starts_with("a.json: `config.api_key`: a credential in clear"), "{found:?}");
    assert!(!found[0].contains("sk-in-clear"));
    let named = whole.replace("sk-in-clear", "${KEY}");
    assert_eq!(problems(&[("a.json", &named)]), [""; 0]);
}
