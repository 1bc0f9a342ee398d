//! What tests of formats share: streams cut anywhere, chats of any parts.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::chat::{
    About, Broken, Cache, Dialect, Event, Message, Part, PartKind, ReadEvents, Request, Role, Source, Target,
    Written,
};

#[path = "../tests/decoders/promises.rs"]
pub(crate) mod promises;

/// What a reader makes of a stream: the events, and how it ended.
pub(crate) type Read = (Vec<Event>, Result<(), Broken>);

/// Reads a stream in these pieces.
fn read<R: ReadEvents + Default>(pieces: &[&[u8]]) -> Read {
    let (mut reader, mut out) = (R::default(), Vec::new());
    for piece in pieces {
        if let Err(broken) = reader.read(piece, &mut out) {
            return (out, Err(broken));
        }
    }
    let end = reader.end(&mut out);
    (out, end)
}

/// Reads a stream, cut at every offset and into single bytes: always the same, and always as [`Event`] promises.
#[track_caller]
pub(crate) fn read_cut_anywhere<R: ReadEvents + Default>(stream: &[u8]) -> Read {
    let whole = read::<R>(&[stream]);
    for at in 1..stream.len() {
        assert_eq!(read::<R>(&[&stream[..at], &stream[at..]]), whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read::<R>(&bytes), whole, "byte by byte");
    promises::check(&whole.0, &whole.1);
    whole
}

/// Streams of these pieces in any order, with anything between them.
pub(crate) fn streams(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// JSON documents made of these, with any field of any kind: what providers might answer.
pub(crate) fn documents(fields: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        prop::sample::select(fields).prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        let object =
            prop::collection::vec((prop::sample::select(fields), inner.clone()), 0..6).prop_map(|fields| {
                let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(fields.collect::<Map<_, _>>())
            });
        prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::from), object]
    })
}

/// An answer to write.
pub(crate) const ABOUT: About<'static> = About {
    provider: "acme",
    model: "asked",
    id: "id-1",
    now: 1_700_000_000,
    strict: true,
    include_usage: false,
};

/// Someone to write for.
pub(crate) fn target(options: &Map<String, Value>) -> Target<'_> {
    Target { provider: "acme", model: None, options }
}

/// What is written, as JSON, and what is not.
#[track_caller]
pub(crate) fn body(written: Result<Written, domain::ApiError>) -> (Value, Vec<String>) {
    let written = written.unwrap();
    (serde_json::from_slice(&written.body).unwrap(), written.dropped)
}

/// An image of one byte.
pub(crate) fn image() -> Source {
    Source::Base64 { media_type: "image/png".into(), data: "AA==".into() }
}

fn content() -> BoxedStrategy<PartKind> {
    let text = any::<bool>().prop_map(|cited| PartKind::Text {
        text: "MARK".into(),
        citations: if cited { vec![json!({ "url": "MARK" })] } else { Vec::new() },
    });
    prop_oneof![
        9 => text,
        2 => Just(PartKind::Image { source: image(), detail: Some("low".into()) }),
        1 => Just(PartKind::Image { source: Source::Url("https://MARK".into()), detail: None }),
        2 => Just(PartKind::Document { source: Source::Text("MARK".into()), name: Some("MARK".into()) }),
        1 => Just(PartKind::Document { source: image(), name: None }),
        1 => Just(PartKind::Audio { source: image() }),
        2 => Just(PartKind::Refusal("MARK".into())),
        2 => Just(PartKind::Native { dialect: Dialect::Gemini, value: json!({ "MARK": 1 }) }),
    ]
    .boxed()
}

/// Parts that mostly belong to that role.
fn part(role: Role) -> BoxedStrategy<PartKind> {
    let said = prop_oneof![
        any::<bool>().prop_map(|sealed| PartKind::Thinking {
            text: "MARK".into(),
            signature: sealed.then(|| "seal".into()),
        }),
        Just(PartKind::RedactedThinking { data: "MARK".into() }),
        prop::sample::select(&["", "{\"a\":\"MARK\"}", "MARK", "[]"][..]).prop_map(|arguments| {
            PartKind::ToolCall {
                id: "MARK".into(),
                name: "MARK".into(),
                arguments: arguments.into(),
                signature: None,
            }
        }),
    ];
    let result = (prop::collection::vec(content(), 0..3), any::<bool>()).prop_map(|(parts, is_error)| {
        let parts = parts.into_iter().map(Part::new).collect();
        PartKind::ToolResult { id: "MARK".into(), name: None, parts, is_error }
    });
    match role {
        Role::Assistant => prop_oneof![12 => content(), 12 => said, 1 => result].boxed(),
        Role::Tool => prop_oneof![1 => content(), 1 => said, 12 => result].boxed(),
        _ => prop_oneof![20 => content(), 1 => said, 1 => result].boxed(),
    }
}

/// Chats of any parts in any order.
pub(crate) fn chats() -> impl Strategy<Value = Request> {
    let role =
        prop::sample::select(&[Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool][..]);
    let message = role.prop_flat_map(|role| {
        let parts = (part(role), prop::bool::weighted(0.1))
            .prop_map(|(kind, cached)| Part { kind, cache: cached.then(Cache::default) });
        (prop::collection::vec(parts, 0..4), prop::option::weighted(0.1, Just("MARK".to_owned())))
            .prop_map(move |(parts, name)| Message { role, name, parts })
    });
    prop::collection::vec(message, 0..5).prop_map(|messages| Request {
        model: "m".into(),
        messages,
        ..Request::default()
    })
}

/// Numbers every mark, so that each can be looked for, and says in which part each is.
fn numbered(request: &Request) -> (Request, Vec<(String, String)>) {
    let mut request = request.clone();
    let mut marks = Vec::new();
    for (i, message) in request.messages.iter_mut().enumerate() {
        for (j, part) in message.parts.iter_mut().enumerate() {
            number(part, &format!("messages[{i}].content[{j}]"), &mut marks);
        }
    }
    (request, marks)
}

fn number(part: &mut Part, path: &str, marks: &mut Vec<(String, String)>) {
    let mut number = |text: &mut String| {
        if text.contains("MARK") {
            let mark = format!("mark-{}-", marks.len());
            *text = text.replace("MARK", &mark);
            marks.push((path.to_owned(), mark));
        }
    };
    match &mut part.kind {
        PartKind::Text { text, .. }
        | PartKind::Refusal(text)
        | PartKind::Thinking { text, .. }
        | PartKind::RedactedThinking { data: text }
        | PartKind::Image { source: Source::Url(text), .. } => number(text),
        PartKind::Document { source: Source::Text(text), name } => {
            number(text);
            name.iter_mut().for_each(number);
        }
        PartKind::ToolCall { id, name, arguments, .. } => [id, name, arguments].into_iter().for_each(number),
        PartKind::Native { value, .. } => {
            let mut text = value.to_string();
            number(&mut text);
            *value = serde_json::from_str(&text).unwrap();
        }
        PartKind::ToolResult { id, parts, .. } => {
            number(id);
            for (k, part) in parts.iter_mut().enumerate() {
                self::number(part, &format!("{path}.content[{k}]"), marks);
            }
        }
        _ => {}
    }
}

/// Checks that a writer says every word of a chat, and reports or refuses what it does not.
#[track_caller]
pub(crate) fn check_nothing_is_lost(
    request: &Request,
    write: impl FnOnce(Request, &Target<'_>) -> Result<Written, domain::ApiError>,
) {
    let (numbered, marks) = numbered(request);
    let options = Map::new();
    match write(numbered.clone(), &target(&options)) {
        Ok(written) => {
            let text = String::from_utf8(written.body).unwrap();
            let body: Value = serde_json::from_str(&text).unwrap();
            assert!(body["messages"].is_array(), "{text}");
            let is_reported = |path: &str| written.dropped.iter().any(|dropped| path.starts_with(dropped));
            for (path, mark) in marks {
                let is_said = text.contains(&mark);
                assert!(is_said != is_reported(&path), "{mark}, said: {is_said}, of {numbered:?} in {text}");
            }
            for (i, message) in request.messages.iter().enumerate() {
                for (j, part) in message.parts.iter().enumerate() {
                    check_extras(part, &format!("messages[{i}].content[{j}]"), is_reported);
                }
            }
        }
        Err(err) => {
            assert_eq!(err.status, 400);
            assert!(err.message.contains(err.param.as_deref().unwrap()), "{err}");
        }
    }
}

/// Checks that what none of the formats can say of a part is reported.
#[track_caller]
fn check_extras(part: &Part, path: &str, is_reported: impl Fn(&str) -> bool) {
    let extra = match &part.kind {
        PartKind::Thinking { signature: Some(_), .. } => Some("signature"),
        PartKind::Text { citations, .. } if !citations.is_empty() => Some("citations"),
        PartKind::ToolResult { is_error: true, .. } => Some("is_error"),
        _ => None,
    };
    for extra in extra.into_iter().chain(part.cache.as_ref().map(|_| "cache_control")) {
        assert!(is_reported(&format!("{path}.{extra}")), "{extra} of {path} is reported");
    }
}
