//! What is refused, and in which words.

use super::*;

#[test]
fn unknown_keys() {
    refuses(
        "\n[http]\n  lisen = '127.0.0.1:1'\n",
        &["pointsman.toml:3:3: unknown key `http.lisen`; did you mean `listen`?"],
    );
    refuses(
        "[htpp]\nlisten = 1\nport = 2",
        &["pointsman.toml:1:2: unknown key `htpp`; did you mean `http`?"],
    );
    refuses("[mock]\nx = 1", &["pointsman.toml:2:1: unknown key `mock.x`; known here: enabled, listen"]);
    refuses(
        "[providers.openai]\napikey = 'x'",
        &["pointsman.toml:2:1: unknown key `providers.openai.apikey`; did you mean `api_key`?"],
    );
    refuses_all(
        "",
        &[("POINTSMAN_HTTP__LISEN", "x")],
        &["log.levl=debug", "hello", "http=1"],
        &[
            "--set: write `--set section.key=value`",
            "--set http: `http`: expected a table, found integer `1`",
            "--set log.levl: unknown key `log.levl`; did you mean `level`?",
            "POINTSMAN_HTTP__LISEN: unknown key `http.lisen`; did you mean `listen`?",
        ],
    );
}

#[test]
fn wrong_types_all_at_once() {
    let text = r#"data_dir = 1
http = { listen = "localhost:1", reuse_port = "yes", body_limit = "64 megs", on_disconnect = "cancle" }

[nats]
replicas = "three"
port = 70000
sync_interval = "often"

[limits]
storage_percent = 300
lane_backlog = 1.5

[work]
ack_wait = 30
progress = "10 parsecs"
on_lost = "retyr"
worker_slots = -1

[log]
level = ["info"]
"#;
    refuses(
        text,
        &[
            "pointsman.toml:1:12: `data_dir`: expected a path in quotes, found integer `1`",
            "pointsman.toml:2:19: `http.listen`: `localhost:1` is not an IP address and port: \
             write `127.0.0.1:8787` or `[::1]:0`",
            "pointsman.toml:2:47: `http.reuse_port`: expected `true` or `false`, found string \"yes\"",
            "pointsman.toml:2:67: `http.body_limit`: `64 megs` is not a size: \
             write `256KiB`, `64MiB` or a number of bytes",
            "pointsman.toml:2:94: `http.on_disconnect`: unknown value `cancle`; did you mean `cancel`?",
            "pointsman.toml:5:12: `nats.replicas`: expected a whole number that is not negative, \
             found string \"three\"",
            "pointsman.toml:6:8: `nats.port`: expected a whole number from 0 to 65535, found integer `70000`",
            "pointsman.toml:7:17: `nats.sync_interval`: `often` is neither `always` nor a duration, as in `2m`",
            "pointsman.toml:10:19: `limits.storage_percent`: expected a whole number from 0 to 255, \
             found integer `300`",
            "pointsman.toml:11:16: `limits.lane_backlog`: expected a whole number, found floating point `1.5`",
            "pointsman.toml:14:12: `work.ack_wait`: expected a duration, as in `500ms`, `30s`, `10m` or `24h`, \
             found integer `30`",
            "pointsman.toml:15:12: `work.progress`: `10 parsecs` is not a duration: \
             write a number with a unit, as in `500ms`, `20s`, `5m`, `24h` or `7d`",
            "pointsman.toml:16:11: `work.on_lost`: unknown value `retyr`; did you mean `retry`?",
            "pointsman.toml:17:16: `work.worker_slots`: expected a whole number that is not negative, \
             found integer `-1`",
            "pointsman.toml:20:9: `log.level`: expected text in quotes, found sequence",
        ],
    );
}

#[test]
fn text_that_is_no_toml() {
    let errors = read("[http]\nlisten = \n[log]\nlevel = 'a'\nlevel = 'b'\n", &env(&[]), &[]).unwrap_err();
    let places: Vec<String> = errors.iter().map(|err| err.place.to_string()).collect();
    assert_eq!(places, ["pointsman.toml:2:10", "pointsman.toml:5:1"], "{errors}");
}

#[test]
fn variables_without_a_value() {
    refuses(
        "[http]\nlisten = '${LISTEN}'\n[providers.openai]\napi_key = \"${KEY}\"\nmodels = ['a', '${MODEL', '${A B}']",
        &[
            "pointsman.toml:2:10: environment variable `LISTEN` is not set: set it, or give a default as in \
             `${LISTEN:-…}`",
            "pointsman.toml:4:11: environment variable `KEY` is not set: set it, or give a default as in `${KEY:-…}`",
            "pointsman.toml:5:16: `${` without `}`: write `${NAME}`, or `$${` for the characters themselves",
            "pointsman.toml:5:27: `A B` is not the name of an environment variable: write `${NAME}`, \
             or `$${` for the characters themselves",
        ],
    );
}

#[test]
fn impossible_values() {
    let text = r#"
[http]
listen = "0.0.0.0:80"
body_limit = 0
[nats]
url = "localhost:4222"
replicas = 2
max_store = "1MiB"
sync_interval = "0s"
[limits]
inline_body = "1MiB"
lane_backlog = 0
call_backlog = 0
storage_percent = 101
result_ttl = "500ms"
[deadlines]
interactive = "0s"
asynchronous = "8d"
[work]
ack_wait = "20s"
sweep = "0s"
router_in_flight = 0
worker_slots = 0
"#;
    refuses(
        text,
        &[
            "pointsman.toml:3:10: `http.listen` is open to other machines, and anybody there could use your \
             providers: write `127.0.0.1`, or set `auth.mode = \"on\"` and give callers API keys",
            "pointsman.toml:4:14: `http.body_limit` of 0 would refuse every request: write for example `64MiB`",
            "pointsman.toml:6:7: `nats.url` has to be addresses like `nats://127.0.0.1:4222`, separated by commas",
            "pointsman.toml:7:12: `nats.replicas` has to be 1, 3 or 5, not 2: only odd numbers agree after a failure",
            "pointsman.toml:8:13: `nats.max_store` has to be `64MiB` or more",
            "pointsman.toml:9:17: `nats.sync_interval` cannot be 0: write `always` to flush before every \
             acknowledgement",
            "pointsman.toml:11:15: `limits.inline_body` can be `512KiB` at most: the broker takes messages of up to \
             1 MiB",
            "pointsman.toml:12:16: `limits.lane_backlog` has to be 1 or more",
            "pointsman.toml:13:16: `limits.call_backlog` has to be 1 or more",
            "pointsman.toml:14:19: `limits.storage_percent` has to be from 1 to 100, not 101",
            "pointsman.toml:15:14: `limits.result_ttl` has to be `1s` or more: the broker counts in seconds",
            "pointsman.toml:17:15: `deadlines.interactive` has to be longer than `0s`",
            "pointsman.toml:18:16: `deadlines.asynchronous` is longer than `deadlines.maximum`",
            "pointsman.toml:20:12: `work.ack_wait` has to be at least three times `work.progress`: \
             else one late sign of life hands a running call to another worker",
            "pointsman.toml:21:9: `work.sweep` has to be longer than `0s`",
            "pointsman.toml:22:20: `work.router_in_flight` has to be 1 or more",
            "pointsman.toml:23:16: `work.worker_slots` has to be 1 or more",
        ],
    );
    refuses(
        "nats.replicas = 3",
        &["pointsman.toml:1:17: `nats.replicas = 3` needs a cluster: name it in `nats.url`, or write 1"],
    );
}

#[test]
fn impossible_providers() {
    let text = r#"[providers.Open-AI]
base_url = "api.openai.com"
[providers.grok]
api_key = "x"
[providers.openai]
format = "soap"
auth_header = "two words"
concurrency = 0
connect_timeout = "0s"
first_byte_timeout = "11m"
[providers.openai.headers]
X-API-Key = "x"
x-bad = "a\nb"
"#;
    refuses(
        text,
        &[
            "pointsman.toml:1:1: `Open-AI` cannot name a provider: use lower-case letters, digits and hyphens",
            "pointsman.toml:2:12: `providers.Open-AI.base_url` has to be a URL like `https://api.example.com/v1`",
            "pointsman.toml:3:12: `grok` is not in the catalogue: add its base_url (did you mean `groq`?)",
            "pointsman.toml:5:1: with more than one provider, say which one answers: \
             add for example `route = { provider = \"groq\" }`",
            "pointsman.toml:6:10: `providers.openai.format`: unknown value `soap`; known here: openai, anthropic, \
             gemini, bedrock, cohere, ollama, workers-ai",
            "pointsman.toml:7:15: `providers.openai.auth_header` is not the name of a header",
            "pointsman.toml:8:15: `providers.openai.concurrency` has to be 1 or more",
            "pointsman.toml:9:19: `providers.openai.connect_timeout` has to be longer than `0s`",
            "pointsman.toml:10:22: `providers.openai.first_byte_timeout` is longer than \
             `providers.openai.total_timeout`",
            "pointsman.toml:12:13: `X-API-Key` carries a credential, but headers are published in clear: \
             write it as `api_key`, with `auth_header = \"X-API-Key\"`",
            "pointsman.toml:13:9: `x-bad` or its value cannot be sent as a header",
        ],
    );
    refuses_all(
        "[providers.openai]\nfirst_byte_timeout = '2m'\ntotal_timeout = '1m'",
        &[("POINTSMAN_PROVIDERS__OPENAI__BASE_URL", "nowhere")],
        &["work.progress=11s"],
        &[
            "pointsman.toml:2:22: `providers.openai.first_byte_timeout` is longer than \
             `providers.openai.total_timeout`",
            "--set work.progress: `work.ack_wait` has to be at least three times `work.progress`: \
             else one late sign of life hands a running call to another worker",
            "POINTSMAN_PROVIDERS__OPENAI__BASE_URL: `providers.openai.base_url` has to be a URL like \
             `https://api.example.com/v1`",
        ],
    );
}

#[test]
fn an_impossible_price_of_a_provider() {
    refuses_all(
        "[providers.openai]\nprice = { input = 1 }",
        &[],
        &[],
        &[
            "pointsman.toml:2:9: `providers.openai`: `price` lacks `output`: write US dollars per million tokens, as in \
           `output = 2.5`",
        ],
    );
}

#[test]
fn impossible_models() {
    let text = r#"[models.gpt]
context_window = 1
[models."local/llama"]
price.input = 1
[models."openai/gpt-4.1"]
price.input = -1
price.outptu = 1
capabilities = ["chat", "visoin"]
max_output = "many"
"#;
    refuses(
        text,
        &[
            "pointsman.toml:1:1: `models.\"gpt\"`: `gpt` cannot name a model: write `provider/model`, \
             as in `openai/gpt-4o`",
            "pointsman.toml:4:1: `models.\"local/llama\"`: `price` lacks `output`: \
             write US dollars per million tokens, as in `output = 2.5`",
            "pointsman.toml:6:15: `models.\"openai/gpt-4.1\".price.input`: -1 is no price: \
             write 0 to 10000, with at most 6 decimals",
            "pointsman.toml:7:7: unknown key `models.\"openai/gpt-4.1\".price.outptu`; did you mean `output`?",
            "pointsman.toml:8:25: `models.\"openai/gpt-4.1\".capabilities`: unknown value `visoin`; \
             did you mean `vision`?",
            "pointsman.toml:9:14: `models.\"openai/gpt-4.1\".max_output`: \
             expected a whole number that is not negative, found string \"many\"",
        ],
    );
    let many: String = (0..1001).map(|n| format!("[models.'a/{n}']\n")).collect();
    let message = "pointsman.toml:1:2: 1001 models are configured, but at most 1000 can be: \
                   leave out those that you do not call";
    refuses(&many, &[message]);
}

#[test]
fn impossible_routes_and_keys() {
    refuses(
        "route = 'openai'",
        &["pointsman.toml:1:9: `route` has to be a table, as in `route = { provider = \"groq\" }`"],
    );
    refuses(
        "[route]\ntargets = [{ provider = 'openai', api_key = 'sk-1' }]",
        &[
            "pointsman.toml:1:1: `route` is published in clear, but has `api_key` in it: put the credential into \
         `[providers.<slug>]` and name the provider",
        ],
    );
    refuses(
        "[sealing]\nprivate_key = 'short'\nprivate_key_file = 'a'",
        &[
            "pointsman.toml:2:15: `sealing.private_key` has to be 32 bytes in base64, as `openssl rand -base64 32` prints \
         them",
            "pointsman.toml:3:20: `sealing.private_key` and `sealing.private_key_file` exclude each other: leave one empty",
        ],
    );
}

#[test]
fn cooldowns_that_would_be_none() {
    let message = "`health.shortest_cooldown` has to be from `100ms` to `24h`: a config may not ask for less";
    for value in ["0s", "99ms", "25h"] {
        refuses(
            &format!("[health]\nshortest_cooldown = '{value}'"),
            &[&format!("pointsman.toml:2:21: {message}")],
        );
    }
}
