//! What a request asks, apart from everything else that shapes its answer.

use domain::Operation;
use serde_json::{Map, Number, Value};

use super::{list, word};

/// Members of a request that only say how its answer is delivered.
const DELIVERY: [&str; 2] = ["stream", "stream_options"];

/// A request taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Question<'a> {
    /// The text of the last thing that the user says.
    pub text: &'a str,
    /// The request as [`same_request`] has it, with null in place of that text.
    pub rest: Value,
}

/// What a request asks.
///
/// None: it does not end with one text of the user's, be it that there are several, that the last message is not the
/// user's, or that the operation has no such text.
pub fn question(operation: Operation, body: &Map<String, Value>) -> Option<Question<'_>> {
    let (text, place) = match operation {
        Operation::Chat => said("messages", "text", body)?,
        Operation::Messages => said("messages", "text", body)?,
        Operation::Responses => match word(body, "input") {
            Some(text) => (text, Place::Member("input")),
            None => said("input", "input_text", body)?,
        },
        Operation::Completions => (word(body, "prompt")?, Place::Member("prompt")),
        _ => return None,
    };
    if text.trim().is_empty() {
        return None;
    }
    let mut rest = same_request(body);
    *place.of(&mut rest)? = Value::Null;
    Some(Question { text, rest })
}

/// Where in a request its text is.
enum Place {
    Member(&'static str),
    /// The last message in that member, as its content or as the text of one of its parts.
    Last(&'static str, Option<usize>),
}

impl Place {
    fn of(self, body: &mut Value) -> Option<&mut Value> {
        match self {
            Self::Member(name) => body.get_mut(name),
            Self::Last(name, part) => {
                let content = body.get_mut(name)?.as_array_mut()?.last_mut()?.get_mut("content")?;
                match part {
                    None => Some(content),
                    Some(part) => content.get_mut(part)?.get_mut("text"),
                }
            }
        }
    }
}

/// The text of the last message, and where it is. `part`: the type of parts that are text.
fn said<'a>(name: &'static str, part: &str, body: &'a Map<String, Value>) -> Option<(&'a str, Place)> {
    let message = list(body, name).last()?.as_object()?;
    let is_message = message.get("type").is_none_or(|kind| kind == "message");
    if !is_message || word(message, "role") != Some("user") {
        return None;
    }
    if let Some(text) = word(message, "content") {
        return Some((text, Place::Last(name, None)));
    }
    let parts = message.get("content")?.as_array()?.iter().enumerate();
    let mut texts = parts.filter(|(_, value)| value["type"] == part);
    let (number, value) = texts.next()?;
    let text = value["text"].as_str()?;
    texts.next().is_none().then_some((text, Place::Last(name, Some(number))))
}

/// A request without what only says how its answer is delivered, so that the same request is the same value: members are
/// in order, and whole numbers are written without a fraction.
pub fn same_request(body: &Map<String, Value>) -> Value {
    let members = body.iter().filter(|(name, _)| !DELIVERY.contains(&name.as_str()));
    ordered(members)
}

/// A value as text that is the same for the same value: members are in order, and 1 and 1.0 are the same number.
pub fn canonical(value: &Value) -> String {
    one_form(value).to_string()
}

fn one_form(value: &Value) -> Value {
    match value {
        Value::Object(members) => ordered(members),
        Value::Array(items) => items.iter().map(one_form).collect(),
        Value::Number(number) => Value::Number(whole_number(number)),
        other => other.clone(),
    }
}

fn ordered<'a>(members: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Value {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    Value::Object(members.into_iter().map(|(name, value)| (name.clone(), one_form(value))).collect())
}

/// A number, as a whole one if it is. Numbers beyond 64 bits stay as they are, for none of these is read as whole.
fn whole_number(number: &Number) -> Number {
    /// 2 to the power of 64, the first that no whole number of JSON's reader reaches.
    const END: f64 = 18_446_744_073_709_551_616.0;
    let fraction = number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0);
    match fraction {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
        Some(value) if (0.0..END).contains(&value) => Number::from(value as u64),
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        Some(value) if (-END / 2.0..0.0).contains(&value) => Number::from(value as i64),
        _ => number.clone(),
    }
}
