//! What a response object repeats of its request.
//!
//! Source: "The Response object" in OpenAI's API reference.

use super::raw::RawFields;

/// Fields that are repeated as they came, and what stands there where the request says nothing: OpenAI's defaults.
const REPEATED: [(&str, &str); 17] = [
    ("background", "false"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt_cache_key", "null"),
    ("safety_identifier", "null"),
    ("store", "true"),
    ("temperature", "1.0"),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

/// Objects that are repeated with what their request left open.
const COMPLETED: [(&str, &[(&str, &str)]); 2] = [
    ("reasoning", &[("effort", "null"), ("summary", "null")]),
    ("text", &[("format", "{\"type\":\"text\"}")]),
];

/// The members of the response object, as JSON text in one line without the braces around them. A body that is no
/// JSON object says nothing.
pub(super) fn members(request_body: &[u8]) -> String {
    let request: RawFields<'_> = serde_json::from_slice(request_body).unwrap_or_default();
    let mut out = String::new();
    for (name, default) in REPEATED {
        put(&mut out, name, request.get(name).map_or(default, |value| value.get()));
    }
    for (name, defaults) in COMPLETED {
        let given: RawFields<'_> = request.read(name).unwrap_or_default();
        let mut object = String::new();
        for (name, value) in given.0.iter().filter(|(_, value)| value.get() != "null") {
            put(&mut object, name, value.get());
        }
        for (name, default) in defaults.iter().filter(|(name, _)| given.get(name).is_none()) {
            put(&mut object, name, default);
        }
        put(&mut out, name, &format!("{{{object}}}"));
    }
    out
}

/// Whether the response object gets a member of that name from its request.
pub(super) fn repeats(name: &str) -> bool {
    REPEATED.iter().any(|(known, _)| *known == name) || COMPLETED.iter().any(|(known, _)| *known == name)
}

/// Adds one member. JSON text has line ends only between its tokens, where they mean nothing; events are cut at them.
fn put(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(&serde_json::Value::from(name).to_string());
    out.push(':');
    out.extend(value.chars().filter(|c| !matches!(c, '\n' | '\r')));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(members: &str) -> Value {
        serde_json::from_str(&format!("{{{members}}}")).unwrap()
    }

    #[test]
    fn a_request_is_repeated_and_completed() {
        let body = "{\n \"tools\": [\r\n {\"type\": \"function\"}\n ], \"temperature\": 0.50,\n \"user\": null,\
                    \"text\": {\"verbosity\": \"low\", \"format\": null}, \"reasoning\": {\"effort\": \"high\"}}";
        let members = members(body.as_bytes());
        assert!(!members.contains(['\n', '\r']), "{members}");
        assert!(members.contains("0.50"), "numbers stay as they were written: {members}");
        let echo = read(&members);
        assert_eq!(echo["tools"], json!([{ "type": "function" }]));
        assert_eq!(echo["text"], json!({ "verbosity": "low", "format": { "type": "text" } }));
        assert_eq!(echo["reasoning"], json!({ "effort": "high", "summary": null }));
        assert_eq!((&echo["user"], &echo["top_p"]), (&Value::Null, &json!(1.0)));
    }

    #[test]
    fn a_body_that_is_none_gives_the_defaults() {
        let defaults = read(&members(b"{}"));
        for body in [&b""[..], b"[]", b"{\"tools\":", b"\xff"] {
            assert_eq!(read(&members(body)), defaults);
        }
        assert!(defaults.as_object().unwrap().keys().all(|name| repeats(name)));
        assert!(!repeats("output"));
    }
}
