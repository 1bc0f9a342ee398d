//! Real clients, unmodified, against `pointsman up`: the official OpenAI SDK and nats-py.

use system_tests::harness::Python;

/// Runs scripts of `tests/clients` against a gateway of their own, one after the other.
async fn run(scripts: &[&str]) {
    let python = Python::ready().await;
    let dir = tempfile::tempdir().expect("a folder");
    let gateway = crate::gateway(dir.path());
    let places = [
        ("POINTSMAN_HTTP", gateway.http()),
        ("POINTSMAN_NATS", gateway.nats()),
        ("POINTSMAN_MOCK", gateway.mock()),
    ];
    for script in scripts {
        python.run(script, &places).await;
    }
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
