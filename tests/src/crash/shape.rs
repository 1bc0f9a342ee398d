//! What is asked: kinds of requests, with what their plans allow.

use serde_json::{Value, json};

/// One kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// For people.
    pub name: &'static str,
    /// The model with the provider's script.
    pub model: &'static str,
    /// Routing document; empty: the default route.
    pub config: &'static str,
    /// The answer comes in pieces.
    pub stream: bool,
    /// Calls that the plan allows.
    pub most: usize,
    /// Status of the answer when nothing of ours is in the way.
    pub status: u16,
}

/// A plain request, a slow one, retries, fallbacks, streams and a refusal.
pub const SHAPES: &[Shape] = &[
    Shape { name: "plain", model: "mock?delay=50ms", config: "", stream: false, most: 1, status: 200 },
    Shape { name: "slow", model: "mock?delay=300ms", config: "", stream: false, most: 1, status: 200 },
    Shape {
        name: "retried",
        model: "mock?status=500,200&delay=50ms",
        config: r#"{"provider":"double","retry":{"attempts":2}}"#,
        stream: false,
        most: 3,
        status: 200,
    },
    Shape {
        name: "retried twice",
        model: "mock?status=500,500,200",
        config: r#"{"provider":"double","retry":{"attempts":2}}"#,
        stream: false,
        most: 3,
        status: 200,
    },
    // The second call outlasts the acknowledgement wait of the first one.
    Shape {
        name: "slow fallback",
        model: "mock",
        config: r#"{"strategy":{"mode":"fallback"},"targets":[
            {"provider":"double","override_params":{"model":"mock?status=500"}},
            {"provider":"double","override_params":{"model":"mock?delay=3s"}}]}"#,
        stream: false,
        most: 2,
        status: 200,
    },
    Shape {
        name: "fallback",
        model: "mock",
        config: r#"{"strategy":{"mode":"fallback"},"targets":[
            {"provider":"double","override_params":{"model":"mock?status=503&delay=20ms"}},
            {"provider":"double","override_params":{"model":"mock?delay=100ms"}}]}"#,
        stream: false,
        most: 2,
        status: 200,
    },
    Shape {
        name: "streamed",
        model: "mock?chunks=8&gap=20ms",
        config: "",
        stream: true,
        most: 1,
        status: 200,
    },
    Shape {
        name: "streamed fallback",
        model: "mock",
        config: r#"{"strategy":{"mode":"fallback"},"targets":[
            {"provider":"double","override_params":{"model":"mock?status=429"}},
            {"provider":"double","override_params":{"model":"mock?chunks=5&gap=30ms"}}]}"#,
        stream: true,
        most: 2,
        status: 200,
    },
    Shape { name: "refused", model: "mock?status=400", config: "", stream: false, most: 1, status: 400 },
];

impl Shape {
    /// The request body.
    pub fn body(&self, text: &str) -> Value {
        let mut body = json!({ "model": self.model, "messages": [{ "role": "user", "content": text }] });
        if self.stream {
            body["stream"] = true.into();
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    }

    /// The routing document on one line, as headers need it.
    pub fn config_header(&self) -> Option<String> {
        (!self.config.is_empty()).then(|| self.config.lines().map(str::trim).collect())
    }
}
