//! A whole answer as the stream that a caller asked for.

use super::{Answer, Block, Choice, Delta, Event, Part, PartKind, Start};

/// The events of an answer that came in one piece.
pub fn replay(answer: Answer) -> Vec<Event> {
    let Answer { id, model, created, choices, usage, extra } = answer;
    let mut events = vec![Event::Start(Start { id, model, created })];
    for Choice { index, parts, finish, logprobs } in choices {
        for (block, part) in (0..).zip(parts) {
            replay_part(index, block, part, &mut events);
        }
        events.extend(logprobs.map(|value| Event::Logprobs { choice: index, value }));
        events.push(Event::Finish { choice: index, finish });
    }
    if !extra.is_empty() {
        events.push(Event::Extra(extra));
    }
    events.extend(usage.map(Event::Usage));
    events.push(Event::End);
    events
}

fn replay_part(choice: u32, block: u32, Part { kind, cache: _ }: Part, events: &mut Vec<Event>) {
    let mut deltas = Vec::new();
    let what = match kind {
        PartKind::Text { text, citations } => {
            deltas.push(Delta::Text(text));
            deltas.extend(citations.into_iter().map(Delta::Citation));
            Block::Text
        }
        PartKind::Refusal(text) => {
            deltas.push(Delta::Text(text));
            Block::Refusal
        }
        PartKind::Thinking { text, signature } => {
            deltas.push(Delta::Text(text));
            deltas.extend(signature.map(Delta::Signature));
            Block::Thinking
        }
        PartKind::RedactedThinking { data } => Block::RedactedThinking { data },
        PartKind::ToolCall { id, name, arguments, signature } => {
            deltas.push(Delta::Arguments(arguments));
            Block::ToolCall { id, name, signature }
        }
        PartKind::Native { dialect, value } => Block::Native { dialect, value },
        // Streams have no form for these; a model does not say them in one.
        PartKind::Image { .. }
        | PartKind::Document { .. }
        | PartKind::Audio { .. }
        | PartKind::Video { .. }
        | PartKind::ToolResult { .. } => return,
    };
    events.push(Event::Open { choice, block, what });
    events.extend(deltas.into_iter().map(|delta| Event::Delta { choice, block, delta }));
    events.push(Event::Close { choice, block });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Finish, Reason};

    #[test]
    fn an_answer_is_told_piece_by_piece() {
        let call = PartKind::ToolCall {
            id: "c".to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
            signature: None,
        };
        let finish = Finish::new(Reason::ToolCalls, "tool_calls");
        let choice = Choice {
            index: 0,
            parts: vec![Part::text("a"), Part::new(call)],
            finish: finish.clone(),
            logprobs: None,
        };
        let events = replay(Answer { choices: vec![choice], ..Answer::default() });
        let open = |block, what| Event::Open { choice: 0, block, what };
        let delta = |block, delta| Event::Delta { choice: 0, block, delta };
        let called = Block::ToolCall { id: "c".to_owned(), name: "f".to_owned(), signature: None };
        let expected = [
            Event::Start(Start::default()),
            open(0, Block::Text),
            delta(0, Delta::Text("a".to_owned())),
            Event::Close { choice: 0, block: 0 },
            open(1, called),
            delta(1, Delta::Arguments("{}".to_owned())),
            Event::Close { choice: 0, block: 1 },
            Event::Finish { choice: 0, finish },
            Event::End,
        ];
        assert_eq!(events, expected);
    }
}
