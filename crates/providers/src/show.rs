//! What an answer cost, put into its `usage` for callers who want to see it: all other bytes stay as they are.

use domain::model::NanoUsd;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::Told;
use crate::sse::{self, Events};

/// What an answer cost that told this of itself. None: the price is not known.
pub type Costs = Box<dyn Fn(&Told) -> Option<NanoUsd> + Send>;

/// The name of the field, in US dollars.
const FIELD: &str = "estimated_cost";

/// What is in a body that has the field already.
const SHOWN: &[u8] = b"\"estimated_cost\":";

#[derive(Deserialize)]
struct Counted<'a> {
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
    /// Events of the Responses API have the response in them.
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
}

/// The body of an answer with its cost: a JSON object, or events of which the last with counts gets it. None: there are
/// no counts to put it beside, or it is there.
pub fn in_answer(body: &[u8], cost: NanoUsd) -> Option<Vec<u8>> {
    if memmem::find(body, SHOWN).is_some() {
        return None;
    }
    if body.first() == Some(&b'{') {
        return in_json(body, cost);
    }
    let mut events = Events::default();
    events.push(body);
    let all: Vec<_> = std::iter::from_fn(|| events.take()).collect();
    let (at, counted) =
        all.iter().enumerate().rev().find_map(|(at, event)| Some((at, in_event(event, cost)?)))?;
    let mut out = Vec::with_capacity(body.len() + 48);
    all[..at].iter().for_each(|event| out.extend_from_slice(event));
    out.extend_from_slice(&counted);
    all[at + 1..].iter().for_each(|event| out.extend_from_slice(event));
    out.extend_from_slice(&events.rest());
    Some(out)
}

/// One event of a stream with the cost. None: it has no counts.
pub fn in_event(event: &[u8], cost: NanoUsd) -> Option<Vec<u8>> {
    let data = sse::data(event)?;
    let start = offset(event, data)?;
    let counted = in_json(data, cost)?;
    Some([&event[..start], &counted, &event[start + data.len()..]].concat())
}

fn in_json(json: &[u8], cost: NanoUsd) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(json).ok()?;
    let counted: Counted<'_> = serde_json::from_str(text).ok()?;
    let usage = match (counted.usage, counted.response) {
        (Some(usage), _) => usage,
        (None, Some(response)) => serde_json::from_str::<Counted<'_>>(response.get()).ok()?.usage?,
        (None, None) => return None,
    };
    let fields = usage.get().strip_prefix('{')?.strip_suffix('}')?;
    // The object's own last byte is the brace that closes it.
    let end = offset(json, usage.get().as_bytes())? + usage.get().len() - 1;
    let comma = if fields.trim().is_empty() { "" } else { "," };
    let field = format!("{comma}\"{FIELD}\":{}", cost.dollars());
    Some([&json[..end], field.as_bytes(), &json[end..]].concat())
}

/// Where a part of a text begins in it.
fn offset(whole: &[u8], part: &[u8]) -> Option<usize> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (start + part.len() <= whole.len()).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: NanoUsd = NanoUsd(3_500_000);

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        let shown = in_answer(body.as_bytes(), COST).map(|body| String::from_utf8(body).unwrap());
        assert_eq!(shown.as_deref(), expected, "{body}");
    }

    #[test]
    fn whole_answers_get_it_beside_their_counts() {
        check(
            r#"{ "id": "x", "usage": { "prompt_tokens": 1.50 }, "n": 1e2 }"#,
            Some(r#"{ "id": "x", "usage": { "prompt_tokens": 1.50 ,"estimated_cost":0.0035}, "n": 1e2 }"#),
        );
        check(r#"{"usage":{},"a":"{}"}"#, Some(r#"{"usage":{"estimated_cost":0.0035},"a":"{}"}"#));
        check(r#"{"text":"\"usage\":{}"}"#, None);
        check(r#"{"usage":null}"#, None);
        check(r#"{"usage":{"estimated_cost":1}}"#, None);
        check("[]", None);
        check("plain", None);
    }

    #[test]
    fn streams_get_it_in_the_last_event_with_counts() {
        check(
            "data: {\"choices\":[1]}\n\ndata: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\ndata: [DONE]\n\n",
            Some(
                "data: {\"choices\":[1]}\n\n\
                 data: {\"choices\":[],\"usage\":{\"total_tokens\":3,\"estimated_cost\":0.0035}}\n\ndata: [DONE]\n\n",
            ),
        );
        // Anthropic's first event counts the prompt, in its message.
        let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\n\n";
        check(
            &format!(
                "{start}event: message_delta\ndata: {{\"delta\":{{}},\"usage\":{{\"output_tokens\":1}}}}\n\n"
            ),
            Some(&format!(
                "{start}event: message_delta\ndata: {{\"delta\":{{}},\"usage\":{{\"output_tokens\":1,\"estimated_cost\":0.0035}}}}\n\n"
            )),
        );
        check(start, None);
        check(
            "event: response.completed\ndata: {\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":1}}}\n\n",
            Some(
                "event: response.completed\ndata: {\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":1,\"estimated_cost\":0.0035}}}\n\n",
            ),
        );
        check("data: {\"response\":{\"usage\":null}}\n\n", None);
    }
}
