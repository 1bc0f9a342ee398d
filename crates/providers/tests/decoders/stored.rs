//! Stored answers, whole or streams, in the other form.

use bytes::Bytes;
use domain::Operation;
use domain::model::NanoUsd;
use providers::sse::{self, Events};
use providers::stored::{as_stream, as_whole, gist, question, with_cost_shown};
use serde_json::{Map, Value};

use super::CHATS;

/// Whatever is stored, the other form is in the caller's dialect or there is none.
pub(super) fn answer(bytes: &[u8]) {
    let request: Option<Map<String, Value>> = serde_json::from_slice(bytes).ok();
    for operation in CHATS {
        for include_usage in [true, false] {
            if let Some(stream) = as_stream(operation, bytes, include_usage) {
                told(&stream);
                // What is a stream is never taken for a whole answer.
                assert!(as_stream(operation, &stream, include_usage).is_none());
            }
        }
        if let Some(whole) = as_whole(operation, bytes) {
            serde_json::from_slice::<Map<String, Value>>(&whole).expect("an answer is an object");
            assert_eq!(
                gist(operation, "text/event-stream", bytes),
                gist(operation, "application/json", &whole),
                "the gist is that of the answer"
            );
        }
        let asked = request.as_ref().and_then(|request| question(operation, request));
        assert!(asked.is_none_or(|question| !question.text.trim().is_empty()));
    }
    for operation in Operation::ALL {
        let _ = gist(*operation, "application/json", bytes);
    }
    let body = Bytes::copy_from_slice(bytes);
    let shown = with_cost_shown(&body, NanoUsd(0));
    assert_eq!(with_cost_shown(&shown, NanoUsd(0)), shown, "once is enough");
}

/// A stream is whole events of JSON, but for the one that ends it.
fn told(stream: &[u8]) {
    let mut events = Events::default();
    events.push(stream);
    while let Some(event) = events.take() {
        let data = sse::data(&event).expect("every event has data");
        if data != b"[DONE]" {
            serde_json::from_slice::<Map<String, Value>>(data).expect("data is JSON");
        }
    }
    assert_eq!(events.pending(), 0, "every event ends");
}
