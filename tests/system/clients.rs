//! Real clients, unmodified, against `pointsman up`: the official SDKs of OpenAI, Anthropic and Portkey, LangChain, the
//! Vercel AI SDK, the `llm` tool, and nats-py.

use std::path::Path;

use system_tests::harness::{Node, Pointsman, Python};

/// Runs scripts of `tests/clients` against a gateway of their own, one after the other.
async fn run(scripts: &[&str]) {
    let python = Python::ready().await;
    let dir = tempfile::tempdir().expect("a folder");
    let gateway = crate::gateway(dir.path());
    for script in scripts {
        python.run(script, &places(&gateway, gateway.mock())).await;
    }
}

fn places(gateway: &Pointsman, mock: String) -> [(&'static str, String); 3] {
    [("POINTSMAN_HTTP", gateway.http()), ("POINTSMAN_NATS", gateway.nats()), ("POINTSMAN_MOCK", mock)]
}

/// A gateway, and one mock provider under the names of several (`tests/clients/providers.toml`).
struct Providers {
    // Stopped in this order.
    gateway: Pointsman,
    mock: Pointsman,
}

impl Providers {
    fn start(dir: &Path) -> Self {
        let mock = crate::pointsman(dir, &["mock"]).ready();
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/providers.toml");
        let gateway = crate::up(dir).env("MOCK", mock.mock().trim_end_matches("/v1")).arg("--settings");
        Self { gateway: gateway.arg(settings.display().to_string()).ready(), mock }
    }

    fn places(&self) -> [(&'static str, String); 3] {
        places(&self.gateway, self.mock.mock())
    }
}

/// Runs a script of `tests/clients` against providers of every format.
async fn run_with_providers(script: &str) {
    let python = Python::ready().await;
    let dir = tempfile::tempdir().expect("a folder");
    let providers = Providers::start(dir.path());
    python.run(script, &providers.places()).await;
}

/// The same for a script of `tests/clients/node`.
async fn run_node_with_providers(script: &str) {
    let node = Node::ready().await;
    let dir = tempfile::tempdir().expect("a folder");
    let providers = Providers::start(dir.path());
    node.run(script, &providers.places()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anthropic_sdk_talks_to_providers_of_every_format() {
    run_with_providers("anthropic_messages.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anthropic_sdk_for_node_talks_to_providers_of_every_format() {
    run_node_with_providers("anthropic_messages.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_talks_to_providers_of_every_format() {
    run_with_providers("openai_formats.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_and_portkey_sdks_for_node_talk_to_providers_of_every_format() {
    run_node_with_providers("openai_formats.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_sends_and_gets_sounds_images_and_forms() {
    run_with_providers("openai_media.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_by_the_openai_sdk_and_gpt_by_anthropics_fall_back_to_each_other() {
    run_with_providers("outage.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn langchain_talks_to_providers_of_every_format() {
    run_with_providers("langchain_chat.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ai_sdk_talks_to_providers_of_every_format() {
    run_node_with_providers("ai_sdk.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_llm_tool_talks_to_providers_of_every_format() {
    run_with_providers("llm_tool.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_gets_answers_of_every_kind() {
    run(&["openai_sync.py", "openai_async.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_raises_the_right_error() {
    run(&["openai_errors.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_py_publishes_requests_and_asks_questions() {
    run(&["nats_producer.py", "nats_ask.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portkey_sdk_routes_streams_and_raises() {
    run(&["portkey_sdk.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portkey_sdk_for_node_routes_streams_and_throws() {
    let node = Node::ready().await;
    let dir = tempfile::tempdir().expect("a folder");
    let gateway = crate::gateway(dir.path());
    node.run("portkey_sdk.mjs", &places(&gateway, gateway.mock())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portkey_sdk_administers() {
    run(&["portkey_admin.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portkey_sdk_for_node_administers() {
    let node = Node::ready().await;
    let dir = tempfile::tempdir().expect("a folder");
    let gateway = crate::gateway(dir.path());
    node.run("portkey_admin.mjs", &places(&gateway, gateway.mock())).await;
}
