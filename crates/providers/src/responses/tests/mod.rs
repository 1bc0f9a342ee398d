//! The dialect as callers see it.

mod answers;
mod laws;
mod meaning;
mod observed;
mod requests;
mod streams;
mod turns;

use serde_json::Value;

use crate::chat::{About, Event, WriteEvents};

/// What is known of the answer to a request that asks for strict answers or not.
fn about(strict: bool) -> About<'static> {
    About { provider: "anthropic", model: "m", id: "id-1", now: 1_700_000_000, strict, include_usage: true }
}

/// The events of a stream in the dialect, each with its name checked against its type.
fn written(events: &[Event], strict: bool, request: &str) -> Vec<Value> {
    let mut writer = super::Writer::new(&about(strict), request.as_bytes());
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.write(event, &mut out));
    parsed(&out)
}

fn parsed(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    let events = text.split_terminator("\n\n").enumerate().map(|(number, event)| {
        let (name, data) = event.split_once('\n').unwrap();
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), event["type"].as_str());
        assert_eq!(event["sequence_number"], number);
        event
    });
    events.collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}
