//! What the commands say and ask, and what they make of answers. A small gateway stands in for a real one.

use clap::Parser as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cli::{Cli, Command, Gateway};

fn parse(words: &str) -> Result<Cache, String> {
    let words = ["pointsman", "cache"].into_iter().chain(words.split_whitespace());
    match Cli::try_parse_from(words).map_err(|err| err.to_string())?.command {
        Command::Cache(cache) => Ok(cache),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_taken_out_is_what_the_options_say() {
    for (words, expected) in [
        ("--all", json!({ "all": true })),
        ("--tag red,blue --tag green", json!({ "tags": ["red", "blue", "green"] })),
        (
            "--id r-1 --key ab* --model m --provider p --namespace n",
            json!({ "ids": ["r-1"], "keys": ["ab*"], "models": ["m"], "providers": ["p"], "namespaces": ["n"] }),
        ),
        ("--older-than 7d", json!({ "older_than": "7d" })),
        ("--before 2026-11-01 --model m", json!({ "before": "2026-11-01", "models": ["m"] })),
    ] {
        let Ok(Cache::Invalidate(wanted)) = parse(&format!("invalidate {words}")) else { panic!("{words}") };
        assert_eq!(order(&wanted).unwrap(), expected, "{words}");
    }
    let Ok(Cache::Invalidate(nothing)) = parse("invalidate") else { panic!() };
    assert!(order(&nothing).unwrap_err().to_string().contains("--all for everything"));
    for words in
        ["invalidate --all --tag red", "invalidate --before 2026-11-01 --older-than 7d", "warm", "show"]
    {
        assert!(parse(words).is_err(), "{words}");
    }
    assert!(parse("warm -f x --concurrency 0").unwrap_err().contains("a number from 1"));
}

#[test]
fn a_list_is_asked_for_with_the_same_options() {
    let Ok(Cache::Ls(wanted)) = parse("ls --tag red,blue --older-than 7d --id r-1 -w acme") else { panic!() };
    let expected = [("id", "r-1"), ("tag", "red,blue"), ("older_than", "7d")];
    let expected: Vec<(&str, String)> = expected.map(|(name, value)| (name, value.to_owned())).into();
    assert_eq!(filter(&wanted.which), expected);
    assert_eq!((wanted.limit, wanted.gateway.workspace.as_deref()), (20, Some("acme")));
}

#[test]
fn an_entrys_line_has_its_age_its_rest_and_the_beginning_of_its_question() {
    let entry = json!({
        "id": "r-1", "stored_at": "2026-11-01T00:00:00Z", "expires_at": "2026-11-02T00:00:00Z", "provider": "openai",
        "model": null, "size": 2048, "namespace": null, "tags": ["red", "blue"],
        "text": format!("what\n  is {}", "ä".repeat(80)),
    });
    let now = moment(&json!("2026-11-01T03:00:00Z")).unwrap();
    let line = line(&entry, now);
    assert_eq!(line[..8], ["r-1", "3 h", "21 h", "openai", "-", "2.0 KiB", "-", "red, blue"]);
    assert_eq!((line[8].chars().count(), line[8].starts_with("what is ä")), (QUESTION + 1, true));
    for (count, expected) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")] {
        assert_eq!(bytes(Some(count)), expected);
    }
}

#[test]
fn a_nodes_line_says_how_far_it_is_behind() {
    let node = json!({
        "node": "a", "entries": 3, "vectors": 2, "bytes": 10, "disk_bytes": 2048, "lookups": 4, "hits": 1,
        "semantic_hits": 1, "hit_rate": 50.0, "guarded": 1, "evicted": 0, "lag_ms": 1500, "embedder": "ready",
    });
    let expected = ["a", "3", "2", "10 B", "2.0 KiB", "4", "1", "1", "50.0 %", "1", "0", "1.5 s", "ready"];
    assert_eq!(row(&node, "a"), expected);
    for (lag, expected) in
        [(json!({ "lag_ms": 0 }), "-"), (json!({ "lag_ms": null }), "unknown"), (json!({}), "")]
    {
        assert_eq!(behind(&lag), expected, "{lag}");
    }
    assert_eq!(row(&json!({ "hit_rate": null }), "a")[8], "-");
}

/// What a request to the small gateway said.
#[derive(Clone, Debug)]
struct Said {
    line: String,
    head: String,
    body: Value,
}

/// What the small gateway answers: status, headers and body.
type Answers = fn(&Said) -> (u16, String, String);

/// Starts a gateway that answers by a rule. Returns its address.
async fn gateway(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answers));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, answers: Answers) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let line = head.lines().next().unwrap_or_default().to_owned();
                let body = serde_json::from_str(body).unwrap_or_default();
                let (status, headers, body) = answers(&Said { line, head: head.to_owned(), body });
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                return;
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// Runs a command against an address. Returns its exit code, or what it says is wrong.
async fn finish(words: &str, address: &str) -> Result<ExitCode, String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { data_dir: dir.path().to_owned(), ..Settings::default() };
    let cache = parse(&format!("{words} --url {address}")).unwrap();
    run(cache, Output::new(true), &settings, &BTreeMap::new()).await.map_err(|err| format!("{err:#}"))
}

/// Answers by what a question says, and knows all entries that are asked for but `gone`.
fn warmed(said: &Said) -> (u16, String, String) {
    if said.line.starts_with("GET ") {
        let ids = said.line.split("id=").nth(1).unwrap().split('&').next().unwrap();
        let known = ids.split("%2C").filter(|id| *id != "gone").count();
        return (200, String::new(), json!({ "total": known, "data": [] }).to_string());
    }
    let word = said.body["messages"][0]["content"].as_str().unwrap_or_default();
    let answer = |status: u16, cache: &str| {
        let headers = format!("x-pointsman-cache-status: {cache}\r\npointsman-request-id: {word}\r\n");
        (status, headers, "{}".to_owned())
    };
    match word {
        "hit" => answer(200, "HIT"),
        "alike" => answer(200, "SEMANTIC HIT"),
        "new" | "other" => answer(200, "MISS"),
        "again" => answer(200, "REFRESH"),
        "off" => answer(200, "DISABLED"),
        "config"
            if said.head.lines().any(|line| line == "x-portkey-config: pc-a")
                && said.body["model"] == "m" =>
        {
            answer(200, "SEMANTIC MISS")
        }
        "broken" => {
            let (status, headers, _) = answer(200, "MISS");
            (
                status,
                headers,
                "data: {\"id\":1}\n\ndata: {\"error\":{\"message\":\"cut off\"}}\n\n".to_owned(),
            )
        }
        "strange" => (200, String::new(), "{}".to_owned()),
        _ => (429, String::new(), json!({ "error": { "message": "too many" } }).to_string()),
    }
}

fn request(word: &str) -> String {
    json!({ "messages": [{ "role": "user", "content": word }] }).to_string()
}

async fn warm(lines: &[String], options: &str) -> Result<(ExitCode, warm::Counts), String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Ok(Cache::Warm(wanted)) = parse(&format!("warm -f - {options}")) else { panic!("{options}") };
    let lines = warm::lines(&lines.join("\n"), &wanted).map_err(|err| format!("{err:#}"))?;
    let at = Gateway { url: Some(gateway(warmed).await), ..Gateway::default() };
    let api = Api::new(&at, &Settings::default(), &BTreeMap::new()).unwrap();
    let counts = warm::send(&api, lines, wanted.concurrency, Output::new(true)).await;
    Ok((counts.code(), counts))
}

#[tokio::test]
async fn warming_counts_what_the_gateway_says_of_the_cache() {
    let words = ["hit", "alike", "new", "other", "again"];
    let mut lines: Vec<String> = words.map(request).into();
    lines.insert(1, "  ".to_owned());
    let (code, counts) = warm(&lines, "--concurrency 2").await.unwrap();
    assert_eq!(
        counts.json(),
        json!({
            "requests": 5, "hits": 1, "semantic_hits": 1, "misses": 2, "refreshed": 1, "disabled": 0, "stored": 3,
            "failed": 0, "errors": [],
        })
    );
    assert_eq!(code, ExitCode::SUCCESS);
}

#[tokio::test]
async fn warming_names_the_lines_that_failed_and_those_without_the_cache() {
    let lines = ["hit", "off", "much", "broken", "strange"].map(request);
    let (code, counts) = warm(&lines, "").await.unwrap();
    assert_eq!(code, ExitCode::FAILURE);
    let json = counts.json();
    assert_eq!((&json["failed"], &json["disabled"], &json["stored"]), (&json!(3), &json!(1), &json!(0)));
    let errors: Vec<(u64, &str)> = json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["message"].as_str().unwrap()))
        .collect();
    for ((line, message), (number, part)) in errors.iter().zip([
        (2, "the config of line 2 does not name the cache"),
        (3, "line 3: 429: too many"),
        (4, "line 4: the answer ended with an error: cut off"),
        (5, "line 5: the answer has no header x-pointsman-cache-status"),
    ]) {
        assert_eq!(*line, number);
        assert!(message.contains(part), "{message}");
    }
    let (code, _) = warm(&[request("off")], "").await.unwrap();
    assert_eq!(code, ExitCode::FAILURE, "what the cache has no part in does not fill it");
}

#[tokio::test]
async fn options_are_for_lines_that_do_not_say_it_themselves() {
    let own = json!({
        "path": "/v1/messages", "headers": { "X-Portkey-Config": "pc-a" },
        "body": { "model": "m", "messages": [{ "role": "user", "content": "config" }] },
    });
    for (line, options, misses) in [
        (request("config"), "--config pc-a --model m", 1),
        (own.to_string(), "--config pc-b --model n", 1),
        (request("config"), "--config pc-b --model m", 0),
        (request("config"), "--config pc-a --model n", 0),
    ] {
        let (_, counts) = warm(&[line], options).await.unwrap();
        assert_eq!(counts.json()["misses"], misses, "{options}");
    }
}

#[tokio::test]
async fn nothing_is_sent_of_a_file_with_a_line_that_cannot_be_read() {
    for (line, part) in [
        ("{\"model\":", "line 2: it is no JSON object"),
        ("[]", "line 2: it is no JSON object"),
        ("{\"body\": 5}", "line 2: `body` is no JSON object"),
        ("{\"body\": {}, \"pathh\": \"/v1/x\"}", "unknown field `pathh`"),
        ("{\"body\": {}, \"path\": \"x\"}", "`x` is no path of the gateway"),
        ("{\"body\": {}, \"headers\": {\"a b\": \"x\"}}", "`a b` is no name of a header"),
        ("{\"body\": {}, \"headers\": {\"a\": \"x\\ny\"}}", "`a` cannot be sent as a header"),
    ] {
        let refused = warm(&[request("hit"), line.to_owned()], "").await.unwrap_err();
        assert!(refused.contains(part), "{line}: {refused}");
    }
    assert!(warm(&[String::new()], "").await.unwrap_err().contains("there are no requests"));
}

/// Three entries, two to a page at most, and a cache that is not there for the workspace `away`.
fn administered(said: &Said) -> (u16, String, String) {
    let number = |name: &str| said.line.split(name).nth(1)?.split(['&', ' ']).next()?.parse::<usize>().ok();
    if said.head.contains("x-pointsman-workspace: away") {
        return (503, String::new(), json!({ "error": { "message": "no cache runs" } }).to_string());
    }
    if said.line.starts_with("POST /v1/admin/cache/invalidate ") {
        assert_eq!(said.body, json!({ "tags": ["red"] }));
        return (200, String::new(), json!({ "id": "r-9", "matched": 3 }).to_string());
    }
    assert!(said.line.starts_with("GET /v1/admin/cache/entries?tag=red&page_size="), "{}", said.line);
    let (size, page) = (number("page_size=").unwrap(), number("current_page=").unwrap());
    let all = [json!({ "id": "r-3" }), json!({ "id": "r-2" }), json!({ "id": "r-1" })];
    let data: Vec<&Value> = all.iter().skip(size * page).take(size).collect();
    (200, String::new(), json!({ "total": all.len(), "data": data }).to_string())
}

#[tokio::test]
async fn entries_are_read_up_to_the_limit_and_taken_out_unless_it_is_a_trial() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = gateway(administered).await;
    let at = Gateway { url: Some(address.clone()), ..Gateway::default() };
    let api = Api::new(&at, &Settings::default(), &BTreeMap::new()).unwrap();
    let Ok(Cache::Ls(wanted)) = parse("ls --tag red") else { panic!() };
    for (limit, expected) in [(1, 1), (2, 2), (3, 3), (20, 3)] {
        let (entries, total) = read(&api, &wanted.which, limit).await.unwrap();
        assert_eq!((entries.len(), total), (expected, 3), "{limit}");
        assert_eq!(entries[0]["id"], "r-3", "{limit}");
    }
    for words in ["ls --tag red", "invalidate --tag red", "invalidate --tag red --dry-run"] {
        assert_eq!(finish(words, &address).await, Ok(ExitCode::SUCCESS), "{words}");
        let away = finish(&format!("{words} --workspace away"), &address).await;
        assert!(away.unwrap_err().contains("no cache runs"), "{words}");
    }
}
