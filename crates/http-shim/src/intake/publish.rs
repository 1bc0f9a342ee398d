//! The headers a request is published with.

use bus::Headers;
use domain::headers::{self, Limit, Options as Asked};
use domain::time::format_duration;
use domain::{ConfigSource, RequestId};

/// Options of the route that pass through as they came.
const PASSED: [&str; 5] = [
    "x-portkey-custom-host",
    "x-portkey-forward-headers",
    "x-portkey-request-timeout",
    "x-portkey-retry-count",
    "x-portkey-strict-open-ai-compliance",
];

/// The broker's own guard against a message that is published twice within its window.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The headers a request is published with, but for the gateway and a stored body.
pub(crate) fn headers<'a>(
    request: &RequestId,
    chosen: bool,
    limit: Limit,
    asked: &Asked,
    get: &dyn Fn(&str) -> Option<&'a str>,
) -> Headers {
    let mut out = Headers::new();
    set(&mut out, headers::REQUEST_ID, request.local());
    if chosen {
        set(&mut out, MESSAGE_ID, request.as_str());
    }
    match limit {
        Limit::Within(duration) => set(&mut out, headers::TIMEOUT, &format_duration(duration)),
        Limit::At(time) => set(&mut out, headers::DEADLINE, &time.0.to_string()),
    }
    if asked.asynchronous {
        set(&mut out, headers::ASYNC, "true");
    }
    let routing = &asked.routing;
    for (name, value) in [
        (headers::PROVIDER, &routing.provider),
        (headers::CREDENTIAL, &routing.api_key),
        (headers::FORWARD, &asked.forward),
        (headers::METADATA, &asked.metadata),
        (headers::TRACEPARENT, &asked.traceparent),
        (headers::TRACE_ID, &asked.trace_id),
        (headers::CONTENT_TYPE, &asked.content_type),
    ] {
        if let Some(value) = value {
            set(&mut out, name, value);
        }
    }
    if let Some(through) = &asked.passthrough {
        set(&mut out, headers::METHOD, &through.method);
        set(&mut out, headers::PATH, &through.path_and_query);
    }
    if !routing.provider_options.is_empty() {
        let options = serde_json::Value::Object(routing.provider_options.clone());
        set(&mut out, headers::PROVIDER_OPTIONS, &options.to_string());
    }
    if !asked.wishes.is_none() {
        set(&mut out, headers::CACHE_WISHES, &serde_json::to_string(&asked.wishes).unwrap_or_default());
    }
    match &asked.config {
        Some(ConfigSource::Inline(text)) => set(&mut out, headers::CONFIG, text),
        Some(ConfigSource::Stored { slug, version }) => {
            set(&mut out, headers::CONFIG, slug.as_str());
            if let Some(version) = version {
                set(&mut out, headers::CONFIG_VERSION, &version.to_string());
            }
        }
        None => {}
    }
    for name in PASSED {
        if let Some(value) = get(name) {
            set(&mut out, name, value);
        }
    }
    out
}

/// Sets a header. The client library takes no line breaks in values; JSON does not mind a space instead.
pub(crate) fn set(headers: &mut Headers, name: &str, value: &str) {
    match value.contains(['\r', '\n']) {
        true => headers.insert(name, value.replace(['\r', '\n'], " ")),
        false => headers.insert(name, value),
    }
}
