//! OpenAI's dialect: bytes go through as they are; only what must change is spliced.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use domain::Usage;
use domain::config::params::{Changes, Path};
use memchr::memmem;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::usage::{Counts, Told, tier};
use crate::sse;

/// Fields of a JSON object in order, values untouched.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((Cow::Owned(name), value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The body to send: defaults for fields that it lacks, overrides for those it has, then what is to be dropped; and a
/// stream is asked for its token counts, unless just that is to be dropped.
///
/// Unchanged bodies are returned as they are. Otherwise all fields keep their bytes and their order but the changed
/// ones, which come last, and those that something is dropped out of, which are written anew (a number such as `1.50`
/// may come out as `1.5`).
pub fn request_body(
    body: &Bytes,
    changes: &Changes<'_>,
    ask_for_usage: bool,
) -> Result<Bytes, serde_json::Error> {
    let refused =
        |path: &Path| ["stream_options", "stream_options.include_usage"].contains(&&*path.to_string());
    let ask_for_usage = ask_for_usage && !changes.drops(refused);
    if changes.is_empty() && !ask_for_usage {
        return Ok(body.clone());
    }
    let Fields(fields) = serde_json::from_slice(body)?;
    let lacking: Vec<(&String, &Value)> =
        changes.defaults.iter().filter(|(name, _)| !fields.iter().any(|(given, _)| given == *name)).collect();
    let kept = fields.into_iter().filter(|(name, _)| !changes.overrides.contains_key(name.as_ref()));
    let kept = kept.map(|(name, value)| (name, Cow::Borrowed(value.get().as_bytes())));
    let lacking = lacking.into_iter().filter(|(name, _)| !changes.overrides.contains_key(*name));
    let added = lacking
        .chain(changes.overrides)
        .map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Owned(value.to_string().into_bytes())));
    let mut out = Vec::with_capacity(body.len() + 128);
    let mut put = |name: &str, value: &[u8]| -> Result<(), serde_json::Error> {
        out.push(if out.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut out, name)?;
        out.push(b':');
        out.extend_from_slice(value);
        Ok(())
    };
    let mut stream_options = None;
    for (name, value) in kept.chain(added) {
        let Some(value) = without_dropped(&name, value, changes.drops)? else { continue };
        if ask_for_usage && name == "stream_options" {
            stream_options = Some(value);
        } else {
            put(&name, &value)?;
        }
    }
    if ask_for_usage {
        let given =
            stream_options.and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
        let mut options = given.unwrap_or_default();
        options.insert("include_usage".to_owned(), Value::Bool(true));
        put("stream_options", &serde_json::to_vec(&options)?)?;
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(Bytes::from(out))
}

/// A field's bytes without what is to be dropped out of it. None: it is to be dropped as a whole.
fn without_dropped<'b>(
    name: &str,
    value: Cow<'b, [u8]>,
    drops: &[Path],
) -> Result<Option<Cow<'b, [u8]>>, serde_json::Error> {
    let mut concerned = drops.iter().filter(|path| path.field() == name).peekable();
    if concerned.peek().is_none() {
        return Ok(Some(value));
    }
    let mut field = Map::new();
    field.insert(name.to_owned(), serde_json::from_slice(&value)?);
    concerned.for_each(|path| path.remove_from(&mut field));
    Ok(field.get(name).map(|left| Cow::Owned(left.to_string().into_bytes())))
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    service_tier: Option<Value>,
    #[serde(default, borrow)]
    choices: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// Reads of a whole 2xx answer what is recorded. The error says why it is no answer: not JSON, or an error in disguise.
pub fn told(body: &[u8]) -> Result<Told, String> {
    let answer: Answer<'_> = serde_json::from_slice(body)
        .map_err(|err| format!("the answer is not a JSON object: {}", place(&err)))?;
    if let Some(error) = answer.error.filter(|e| e.get() != "null") {
        let code = error_code(body).unwrap_or_else(|| format!("{} bytes", error.get().len()));
        return Err(format!("the answer has status 200 but holds an error: {code}"));
    }
    let tier = answer.service_tier.as_ref().and_then(tier);
    Ok(Told { model: answer.model, usage: answer.usage.map(Usage::from), tier, region: None })
}

/// Where a text stops being what it should be. Not the parser's own words, which quote the text.
fn place(err: &serde_json::Error) -> String {
    format!("line {}, column {}", err.line(), err.column())
}

/// The code, else the type, of an error answer: a word, never a sentence.
pub fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Failed {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: Option<Value>,
        #[serde(default, rename = "type")]
        kind: Option<Value>,
    }
    let is_word = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.')
    };
    let Failed { error } = serde_json::from_slice(body).ok()?;
    let words = [error.code, error.kind];
    words.iter().flatten().filter_map(Value::as_str).find(is_word).map(str::to_owned)
}

/// What one event of a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// A piece of the answer, to be passed on.
    Piece,
    /// Token counts and nothing else; passed on only to callers who asked.
    UsageOnly(Told),
    /// A piece that has token counts as well.
    PieceWithUsage(Told),
    /// The end of the answer.
    Done,
    /// The end of the answer, which has token counts as well.
    DoneWithUsage(Told),
    /// An error in the middle of the stream, with its code.
    Error(String),
    /// Not JSON where JSON is promised.
    Malformed(String),
}

/// Looks at one event of a stream. Only events that may matter are parsed.
pub fn read_event(event: &[u8]) -> StreamEvent {
    let Some(data) = sse::data(event) else { return StreamEvent::Piece };
    if data == b"[DONE]" {
        return StreamEvent::Done;
    }
    let mentions = |word: &[u8]| memmem::find(data, word).is_some();
    let whole = data.first() == Some(&b'{') && data.last() == Some(&b'}');
    let usage = mentions(b"\"usage\"") && !mentions(b"\"usage\":null");
    if whole && !usage && !mentions(b"\"error\"") {
        return StreamEvent::Piece;
    }
    let answer: Answer<'_> = match serde_json::from_slice(data) {
        Ok(answer) => answer,
        Err(err) => return StreamEvent::Malformed(place(&err)),
    };
    if let Some(error) = answer.error.filter(|e| e.get() != "null") {
        return StreamEvent::Error(
            error_code(data).unwrap_or_else(|| format!("{} bytes", error.get().len())),
        );
    }
    let empty =
        answer.choices.is_none_or(|c| c.get().bytes().filter(|b| !b.is_ascii_whitespace()).eq(*b"[]"));
    let Some(counts) = answer.usage else { return StreamEvent::Piece };
    let tier = answer.service_tier.as_ref().and_then(tier);
    let told = Told { model: answer.model, usage: Some(counts.into()), tier, region: None };
    if empty { StreamEvent::UsageOnly(told) } else { StreamEvent::PieceWithUsage(told) }
}

/// Looks at the events of a stream that is forwarded as it is.
#[derive(Debug, Default)]
pub struct Observer;

/// A look at a stream of this dialect that goes to callers as it is.
pub fn observer() -> Observer {
    Observer
}

impl Observer {
    /// Looks at the next event.
    pub fn look(&mut self, event: &[u8]) -> StreamEvent {
        read_event(event)
    }
}

/// The event that tells a caller that the answer broke off.
pub fn error_event(message: &str, kind: &str, code: &str) -> Bytes {
    let error = serde_json::json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    Bytes::from(format!("data: {error}\n\n"))
}

/// Beginnings of the names of headers that are about the provider's connection and site, or that we set.
const KEPT_BACK: [&str; 11] = [
    "access-control-",
    "alt-svc",
    "connection",
    "content-",
    "keep-alive",
    "pointsman-",
    "proxy-",
    "set-cookie",
    "strict-transport-security",
    "x-pointsman-",
    "x-portkey-",
];

/// Whether a header of a provider's answer is passed on to the caller.
pub fn passes_on(header: &str) -> bool {
    let ours = matches!(
        header,
        "date"
            | "location"
            | "server"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "vary"
            | "x-request-id"
    );
    !ours && !KEPT_BACK.iter().any(|beginning| header.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(body: &str, defaults: Value, overrides: Value, drops: &[&str], usage: bool) -> String {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let (defaults, overrides) = (map(defaults), map(overrides));
        let drops: Vec<Path> = drops.iter().map(|path| path.parse().unwrap()).collect();
        let changes = Changes { defaults: &defaults, overrides: &overrides, drops: &drops };
        let out = request_body(&Bytes::copy_from_slice(body.as_bytes()), &changes, usage).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn spliced(body: &str, overrides: &str, usage: bool) -> String {
        changed(body, json!({}), serde_json::from_str(overrides).unwrap(), &[], usage)
    }

    #[test]
    fn an_unchanged_body_keeps_its_bytes() {
        let body = "{ \"model\" : \"m\", \"x\":1.50 }";
        assert_eq!(spliced(body, "{}", false), body);
    }

    #[test]
    fn overrides_replace_fields_and_leave_the_others_alone() {
        let out = spliced(
            "{\"model\":\"m\",\"x\":1.50,\"n\":{\"a\" : 1e3}}",
            "{\"model\":\"o\",\"y\":true}",
            false,
        );
        assert_eq!(out, "{\"x\":1.50,\"n\":{\"a\" : 1e3},\"model\":\"o\",\"y\":true}");
    }

    #[test]
    fn defaults_come_first_then_overrides_and_then_drops() {
        let body = r#"{"a":1,"b":null,"c":1.50}"#;
        let defaults = json!({"a": 9, "b": 9, "d": 9, "e": 9});
        assert_eq!(
            changed(body, defaults.clone(), json!({}), &[], false),
            r#"{"a":1,"b":null,"c":1.50,"d":9,"e":9}"#
        );
        let overrides = json!({"a": 2, "e": 3});
        assert_eq!(
            changed(body, defaults, overrides, &["a", "b", "d", "nothing.here"], false),
            r#"{"c":1.50,"e":3}"#
        );
        assert_eq!(changed(r#"{"a":1}"#, json!({}), json!({}), &["a"], false), "{}");
        assert_eq!(
            changed("{}", json!({}), json!({"a": {"b": 1, "c": 2}}), &["a.b"], false),
            r#"{"a":{"c":2}}"#
        );
    }

    #[test]
    fn what_is_dropped_deep_inside_leaves_the_other_fields_alone() {
        let body =
            r#"{"x" : 1.50,"tools":[{"function":{"name":"f","strict":true}},{"function":{}}],"y":[1.50]}"#;
        assert_eq!(
            changed(body, json!({}), json!({}), &["tools[*].function.strict"], false),
            r#"{"x":1.50,"tools":[{"function":{"name":"f"}},{"function":{}}],"y":[1.50]}"#
        );
    }

    #[test]
    fn streams_are_asked_for_usage_and_keep_other_options() {
        assert_eq!(spliced("{}", "{}", true), "{\"stream_options\":{\"include_usage\":true}}");
        let out = spliced("{\"stream_options\":{\"include_usage\":false,\"x\":1}}", "{}", true);
        assert_eq!(out, "{\"stream_options\":{\"include_usage\":true,\"x\":1}}");
        let body = r#"{"stream_options":{"include_usage":true,"x":1}}"#;
        assert_eq!(changed(body, json!({}), json!({}), &["stream_options"], true), "{}");
        assert_eq!(
            changed(body, json!({}), json!({}), &["stream_options.include_usage"], true),
            r#"{"stream_options":{"x":1}}"#
        );
    }

    #[test]
    fn answers_tell_their_model_and_usage() {
        let body = br#"{"model":"m-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,
            "prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":4}}}"#;
        let usage = Usage { input: 3, output: 5, cached_input: 2, reasoning: 4, ..Usage::default() };
        assert_eq!(told(body), Ok(Told { model: Some("m-1".into()), usage: Some(usage), ..Told::default() }));
    }

    #[test]
    fn errors_in_disguise_are_no_answers() {
        assert!(told(br#"{"error":{"code":"overloaded"}}"#).unwrap_err().contains("overloaded"));
        assert!(told(b"<html>").unwrap_err().contains("not a JSON object"));
        assert!(told(br#"{"error":null,"choices":[]}"#).is_ok());
    }

    #[test]
    fn error_codes_are_words_and_nothing_else() {
        let code = |body: &str| error_code(body.as_bytes());
        assert_eq!(
            code(r#"{"error":{"code":"invalid_api_key","message":"sk-1"}}"#).as_deref(),
            Some("invalid_api_key")
        );
        assert_eq!(code(r#"{"error":{"code":null,"type":"server_error"}}"#).as_deref(), Some("server_error"));
        assert_eq!(code(r#"{"error":{"code":"key sk-1 is wrong"}}"#), None);
        assert_eq!(code(r#"{"error":{"code":"sk-Ab1"}}"#), None);
        assert_eq!(code("<html>"), None);
    }

    #[test]
    fn stream_events_are_told_apart() {
        let usage =
            Told { usage: Some(Usage { input: 1, output: 2, ..Usage::default() }), ..Told::default() };
        for (event, expected) in [
            ("data: {\"choices\":[{\"delta\":{}}]}\n\n", StreamEvent::Piece),
            ("data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n", StreamEvent::Piece),
            (": keep-alive\n\n", StreamEvent::Piece),
            ("data: [DONE]\n\n", StreamEvent::Done),
            (
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
                StreamEvent::UsageOnly(usage.clone()),
            ),
            (
                "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
                StreamEvent::PieceWithUsage(usage),
            ),
            ("data: {\"error\":{\"code\":\"gone\"}}\n\n", StreamEvent::Error("gone".into())),
        ] {
            assert_eq!(read_event(event.as_bytes()), expected, "{event}");
        }
        assert!(matches!(read_event(b"data: {\"choices\":[\n\n"), StreamEvent::Malformed(_)));
    }

    #[test]
    fn a_word_in_the_text_is_not_an_error() {
        let event =
            b"data: {\"choices\":[{\"delta\":{\"content\":\"the \\\"error\\\" of \\\"usage\\\"\"}}]}\n\n";
        assert_eq!(read_event(event), StreamEvent::Piece);
    }
}
