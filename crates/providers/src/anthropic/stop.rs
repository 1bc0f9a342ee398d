//! Why an answer ended, in Anthropic's words.

use serde_json::Value;

use crate::chat::{Finish, Reason};

/// The reason behind a `stop_reason`. A word that is not known yet is a plain stop, and kept.
///
/// Source: "Stop reasons and fallback" on platform.claude.com.
pub(super) fn read(stop_reason: Option<&str>, stop_sequence: Option<&str>) -> Finish {
    let reason = match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => Reason::Length,
        Some("stop_sequence") => Reason::StopSequence,
        Some("tool_use") => Reason::ToolCalls,
        Some("pause_turn") => Reason::Pause,
        Some("refusal") => Reason::Refusal,
        _ => Reason::Stop,
    };
    Finish { reason, raw: stop_reason.map(str::to_owned), stop_sequence: stop_sequence.map(str::to_owned) }
}

/// The `stop_reason` for a reason. `refused`: the answer holds a refusal, whatever the provider says of its end.
pub(super) fn write(finish: &Finish, refused: bool) -> (&'static str, Value) {
    let word = match finish.reason {
        Reason::Stop if refused => "refusal",
        Reason::Stop => "end_turn",
        Reason::StopSequence => "stop_sequence",
        Reason::Length => "max_tokens",
        Reason::ToolCalls => "tool_use",
        Reason::ContentFilter | Reason::Refusal => "refusal",
        Reason::Pause => "pause_turn",
    };
    (word, finish.stop_sequence.clone().map_or(Value::Null, Value::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_back() {
        for word in ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"] {
            let finish = read(Some(word), Some("END"));
            assert_eq!(write(&finish, false), (word, Value::from("END")));
            assert_eq!(finish.raw.as_deref(), Some(word));
        }
        assert_eq!(write(&read(Some("model_context_window_exceeded"), None), false).0, "max_tokens");
        assert_eq!(read(Some("something_new"), None).reason, Reason::Stop);
        assert_eq!(write(&Finish::new(Reason::Stop, "stop"), true).0, "refusal");
        assert_eq!(write(&Finish::new(Reason::ContentFilter, "SAFETY"), false).0, "refusal");
    }
}
