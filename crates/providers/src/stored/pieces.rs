//! Text in pieces, and pieces to text.

use serde_json::{Map, Value};

/// Characters of a piece of text: a few events for a page, and no event that takes long to arrive.
const PIECE: usize = 256;

/// Members whose pieces follow one another; of other texts a later one takes the place of an earlier one.
const CONTINUED: [&str; 13] = [
    "arguments",
    "content",
    "data",
    "input",
    "reasoning",
    "reasoning_content",
    "refusal",
    "signature",
    "summary",
    "text",
    "thinking",
    "thought_signature",
    "transcript",
];

/// Whether pieces of the member of this name follow one another.
pub(super) fn is_continued(name: &str) -> bool {
    CONTINUED.contains(&name)
}

/// A text in pieces of whole characters. An empty text has none.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(PIECE).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// A text in pieces, each with the probabilities of its tokens. Where the tokens do not make up the text (a character
/// may be of several), the first piece has all of them.
pub(super) fn with_tokens<'a>(text: &'a str, tokens: &'a [Value]) -> Vec<(&'a str, &'a [Value])> {
    if let Some(pieces) = token_by_token(text, tokens) {
        return pieces;
    }
    let mut all: Vec<(&str, &[Value])> = pieces(text).map(|piece| (piece, &[][..])).collect();
    match all.first_mut() {
        Some(first) => first.1 = tokens,
        None if tokens.is_empty() => {}
        None => all.push(("", tokens)),
    }
    all
}

fn token_by_token<'a>(text: &'a str, tokens: &'a [Value]) -> Option<Vec<(&'a str, &'a [Value])>> {
    let mut all = Vec::new();
    let (mut start, mut end, mut first) = (0, 0, 0);
    for (number, token) in tokens.iter().enumerate() {
        let token = token.get("token")?.as_str()?;
        if !text[end..].starts_with(token) {
            return None;
        }
        end += token.len();
        if end - start >= PIECE {
            all.push((&text[start..end], &tokens[first..=number]));
            (start, first) = (end, number + 1);
        }
    }
    if end != text.len() {
        return None;
    }
    if first < tokens.len() {
        all.push((&text[start..], &tokens[first..]));
    }
    Some(all)
}

/// Adds a later piece of a member to what there is of it.
pub(super) fn merge(name: &str, so_far: &mut Value, more: Value) {
    match (so_far, more) {
        (_, Value::Null) => {}
        (Value::String(text), Value::String(more)) if is_continued(name) => text.push_str(&more),
        // Some repeat a name as an empty one.
        (Value::String(text), Value::String(more)) if more.is_empty() && !text.is_empty() => {}
        (Value::Array(items), Value::Array(more)) => more.into_iter().for_each(|item| add(items, item)),
        (Value::Object(fields), Value::Object(more)) => merge_all(fields, more),
        (so_far, more) => *so_far = more,
    }
}

/// Adds later pieces of members.
pub(super) fn merge_all(fields: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match fields.get_mut(&name) {
            Some(so_far) => merge(&name, so_far, value),
            None => drop(fields.insert(name, value)),
        }
    }
}

/// Adds an element, or a piece of the one that has the same index, and neither another type nor another id: some number
/// all calls alike.
fn add(items: &mut Vec<Value>, item: Value) {
    let differs = |name: &str, other: &Value| {
        let named = |value: &Value| value.get(name).filter(|value| value.as_str() != Some("")).cloned();
        named(&item).zip(named(other)).is_some_and(|(one, other)| one != other)
    };
    let is_piece = item.get("index").is_some_and(Value::is_u64);
    let under_way = items.iter().rposition(|other| {
        is_piece
            && other.get("index") == item.get("index")
            && !differs("type", other)
            && !differs("id", other)
    });
    match (under_way.and_then(|at| items.get_mut(at)), item) {
        (Some(Value::Object(fields)), Value::Object(more)) => merge_all(fields, more),
        (_, item) => items.push(item),
    }
}
