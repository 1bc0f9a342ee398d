//! Real clients, unmodified, against `pointsman up`: the official SDKs of OpenAI and Portkey, and nats-py.

use system_tests::harness::{Node, Pointsman, Python};

/// Runs scripts of `tests/clients` against a gateway of their own, one after the other.
async fn run(scripts: &[&str]) {
    let python = Python::ready().await;
    let dir = tempfile::tempdir().expect("a folder");
    let gateway = crate::gateway(dir.path());
    for script in scripts {
        python.run(script, &places(&gateway)).await;
    }
}

fn places(gateway: &Pointsman) -> [(&'static str, String); 3] {
    [
        ("POINTSMAN_HTTP", gateway.http()),
        ("POINTSMAN_NATS", gateway.nats()),
        ("POINTSMAN_MOCK", gateway.mock()),
    ]
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
    node.run("portkey_sdk.mjs", &places(&gateway)).await;
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
    node.run("portkey_admin.mjs", &places(&gateway)).await;
}
