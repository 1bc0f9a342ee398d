//! From formats that send bare pieces to parts that open and close.

use std::collections::BTreeMap;

use super::{Block, Delta, Event, Finish};

/// Opens and closes parts for readers whose format only sends pieces of text and of tool calls.
#[derive(Debug, Default)]
pub struct Blocks {
    choices: BTreeMap<u32, Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    next: u32,
    open: Option<(u32, Kind)>,
    /// Parts of tool calls by the format's own number of them.
    calls: BTreeMap<u64, u32>,
    finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Refusal,
    Call(u64),
    Whole,
}

impl Blocks {
    /// A piece of text.
    pub fn text(&mut self, choice: u32, text: &str, out: &mut Vec<Event>) {
        self.flat(choice, Kind::Text, Block::Text, text, out);
    }

    /// A piece of thoughts.
    pub fn thinking(&mut self, choice: u32, text: &str, out: &mut Vec<Event>) {
        self.flat(choice, Kind::Thinking, Block::Thinking, text, out);
    }

    /// A piece of a refusal.
    pub fn refusal(&mut self, choice: u32, text: &str, out: &mut Vec<Event>) {
        self.flat(choice, Kind::Refusal, Block::Refusal, text, out);
    }

    /// The seal of the thoughts or the call that are under way; opens thoughts if there are none.
    pub fn signature(&mut self, choice: u32, signature: &str, out: &mut Vec<Event>) {
        let sealed =
            self.choice(choice).open.filter(|(_, kind)| matches!(kind, Kind::Thinking | Kind::Call(_)));
        let block = match sealed {
            Some((block, _)) => block,
            None => self.open(choice, Kind::Thinking, Block::Thinking, out),
        };
        out.push(Event::Delta { choice, block, delta: Delta::Signature(signature.to_owned()) });
    }

    /// A place that the text under way comes from.
    pub fn citation(&mut self, choice: u32, value: serde_json::Value, out: &mut Vec<Event>) {
        let block = match self.choice(choice).open {
            Some((block, Kind::Text)) => block,
            _ => self.open(choice, Kind::Text, Block::Text, out),
        };
        out.push(Event::Delta { choice, block, delta: Delta::Citation(value) });
    }

    /// A part that comes whole.
    pub fn whole(&mut self, choice: u32, what: Block, out: &mut Vec<Event>) {
        self.open(choice, Kind::Whole, what, out);
        self.close(choice, out);
    }

    /// A tool call begins, or goes on if one of that number began. `number` is the format's own.
    pub fn call(
        &mut self,
        choice: u32,
        number: u64,
        call: impl FnOnce() -> Block,
        arguments: &str,
        out: &mut Vec<Event>,
    ) {
        let block = match self.choice(choice).calls.get(&number) {
            Some(block) => *block,
            None => {
                let block = self.open(choice, Kind::Call(number), call(), out);
                self.choice(choice).calls.insert(number, block);
                block
            }
        };
        if !arguments.is_empty() {
            out.push(Event::Delta { choice, block, delta: Delta::Arguments(arguments.to_owned()) });
        }
    }

    /// Whether a tool call of that number began.
    pub fn has_call(&self, choice: u32, number: u64) -> bool {
        self.choices.get(&choice).is_some_and(|choice| choice.calls.contains_key(&number))
    }

    /// Whether any tool call began.
    pub fn has_calls(&self, choice: u32) -> bool {
        self.choices.get(&choice).is_some_and(|choice| !choice.calls.is_empty())
    }

    /// An answer is complete. Said once, whatever a provider repeats.
    pub fn finish(&mut self, choice: u32, finish: Finish, out: &mut Vec<Event>) {
        self.close(choice, out);
        if !std::mem::replace(&mut self.choice(choice).finished, true) {
            out.push(Event::Finish { choice, finish });
        }
    }

    /// Whether there are answers and all are complete.
    pub fn all_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|choice| choice.finished)
    }

    fn choice(&mut self, choice: u32) -> &mut Choice {
        self.choices.entry(choice).or_default()
    }

    fn flat(&mut self, choice: u32, kind: Kind, what: Block, text: &str, out: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let block = match self.choice(choice).open {
            Some((block, open)) if open == kind => block,
            _ => self.open(choice, kind, what, out),
        };
        out.push(Event::Delta { choice, block, delta: Delta::Text(text.to_owned()) });
    }

    fn open(&mut self, choice: u32, kind: Kind, what: Block, out: &mut Vec<Event>) -> u32 {
        self.close(choice, out);
        let state = self.choice(choice);
        let block = state.next;
        state.next += 1;
        state.open = Some((block, kind));
        out.push(Event::Open { choice, block, what });
        block
    }

    fn close(&mut self, choice: u32, out: &mut Vec<Event>) {
        if let Some((block, _)) = self.choice(choice).open.take() {
            out.push(Event::Close { choice, block });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Reason;

    fn call(name: &str) -> Block {
        Block::ToolCall { id: format!("call-{name}"), name: name.to_owned(), signature: None }
    }

    #[test]
    fn parts_open_and_close_around_bare_pieces() {
        let (mut blocks, mut out) = (Blocks::default(), Vec::new());
        blocks.thinking(0, "hm", &mut out);
        blocks.text(0, "a", &mut out);
        blocks.text(0, "", &mut out);
        blocks.text(0, "b", &mut out);
        blocks.call(0, 0, || call("f"), "", &mut out);
        blocks.call(0, 0, || call("never"), "{", &mut out);
        blocks.call(0, 1, || call("g"), "{}", &mut out);
        blocks.call(0, 0, || call("never"), "}", &mut out);
        assert!(blocks.has_call(0, 1) && !blocks.has_call(0, 2) && !blocks.all_finished());
        let finish = Finish::new(Reason::ToolCalls, "tool_calls");
        blocks.finish(0, finish.clone(), &mut out);
        blocks.finish(0, finish.clone(), &mut out);
        assert!(blocks.all_finished());
        let open = |block, what| Event::Open { choice: 0, block, what };
        let close = |block| Event::Close { choice: 0, block };
        let text = |block, text: &str| Event::Delta { choice: 0, block, delta: Delta::Text(text.to_owned()) };
        let arguments =
            |block, text: &str| Event::Delta { choice: 0, block, delta: Delta::Arguments(text.to_owned()) };
        let expected = [
            open(0, Block::Thinking),
            text(0, "hm"),
            close(0),
            open(1, Block::Text),
            text(1, "a"),
            text(1, "b"),
            close(1),
            open(2, call("f")),
            arguments(2, "{"),
            close(2),
            open(3, call("g")),
            arguments(3, "{}"),
            // Late pieces of a closed call keep its number: whoever collects by number gets them right.
            arguments(2, "}"),
            close(3),
            Event::Finish { choice: 0, finish },
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_seal_belongs_to_thoughts_or_to_a_call() {
        let (mut blocks, mut out) = (Blocks::default(), Vec::new());
        blocks.text(1, "a", &mut out);
        blocks.signature(1, "s", &mut out);
        blocks.call(1, 0, || call("f"), "", &mut out);
        blocks.signature(1, "t", &mut out);
        let seals: Vec<_> = out
            .iter()
            .filter(|event| matches!(event, Event::Delta { delta: Delta::Signature(_), .. }))
            .collect();
        assert_eq!(
            seals,
            [
                &Event::Delta { choice: 1, block: 1, delta: Delta::Signature("s".to_owned()) },
                &Event::Delta { choice: 1, block: 2, delta: Delta::Signature("t".to_owned()) },
            ]
        );
    }
}
