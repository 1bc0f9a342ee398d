//! From events to the items of `output`, telling of each step.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::item::{Content, Item, ItemStatus, What, native, summary};
use super::object::{Object, Status};
use super::seal::Seal;
use super::sink::Sink;
use crate::chat::{Block, Delta, Finish, Reason};

/// The items so far.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// In the order in which they began.
    items: Vec<Item>,
    /// Where the parts of a choice go, by the choice and the part's number.
    places: BTreeMap<(u32, u32), Place>,
    finishes: Vec<(u32, Finish)>,
    /// Probabilities that came before the text they are about, by choice.
    logprobs: BTreeMap<u32, Vec<Value>>,
    /// Pieces of text wait for their probabilities, which come next.
    awaits_logprobs: bool,
    waiting: Option<Waiting>,
}

/// A piece of text that is not told yet.
#[derive(Debug)]
struct Waiting {
    item: usize,
    part: usize,
    text: String,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Nothing of it has come, so nothing was told of it.
    Awaited(Flat),
    /// A part of a message.
    Content { item: usize, part: usize },
    /// An item.
    Item(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flat {
    Text,
    Refusal,
    Thinking,
}

impl Output {
    pub(super) fn new(awaits_logprobs: bool) -> Self {
        Self { awaits_logprobs, ..Self::default() }
    }

    /// Tells the piece of text that waits: no probabilities have come, or these.
    pub(super) fn flush(&mut self, logprobs: &[Value], sink: &mut Sink) -> bool {
        let Some(Waiting { item, part, text }) = self.waiting.take() else { return false };
        let Item { id, what: What::Message(parts), .. } = &mut self.items[item] else { return false };
        sink.emit("response.output_text.delta", || text_delta(id, item, part, &text, logprobs));
        if let Some(at) = parts.get_mut(part) {
            at.logprobs.extend_from_slice(logprobs);
        }
        true
    }

    pub(super) fn open(&mut self, at: (u32, u32), what: &Block, object: &Object, sink: &mut Sink) {
        let place = match what {
            Block::Text => Place::Awaited(Flat::Text),
            Block::Refusal => Place::Awaited(Flat::Refusal),
            Block::Thinking => Place::Awaited(Flat::Thinking),
            Block::RedactedThinking { data } => {
                let what = reasoning(Seal::Redacted(data.clone()));
                Place::Item(self.begin(at.0, "rs", what, object, sink))
            }
            Block::ToolCall { id, name, signature } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                let what = What::Call { id, name, arguments: String::new(), signature };
                Place::Item(self.begin(at.0, "fc", what, object, sink))
            }
            Block::Native { dialect, value } => {
                if object.strict {
                    return;
                }
                Place::Item(self.begin(at.0, "nat", What::Whole(native(*dialect, value)), object, sink))
            }
        };
        self.places.insert(at, place);
    }

    pub(super) fn delta(&mut self, at: (u32, u32), delta: &Delta, object: &Object, sink: &mut Sink) {
        let Some(place) = self.places.get(&at).copied() else { return };
        let place = match place {
            Place::Awaited(_) if matches!(delta, Delta::Text(text) if text.is_empty()) => return,
            Place::Awaited(flat) => self.arrive(at, flat, object, sink),
            place => place,
        };
        match place {
            Place::Awaited(_) => {}
            Place::Content { item, part } => self.add_content(item, part, delta, sink),
            Place::Item(item) => self.add_item(item, delta, sink),
        }
    }

    /// The first piece of a part has come: it gets its place.
    fn arrive(&mut self, at: (u32, u32), flat: Flat, object: &Object, sink: &mut Sink) -> Place {
        let place = if flat == Flat::Thinking {
            Place::Item(self.begin(at.0, "rs", reasoning(Seal::Thinking(String::new())), object, sink))
        } else {
            let item = self.message(at.0, object, sink);
            Place::Content { item, part: self.begin_content(item, flat == Flat::Refusal, object, sink) }
        };
        self.places.insert(at, place);
        place
    }

    /// The message that is under way, else a new one.
    fn message(&mut self, choice: u32, object: &Object, sink: &mut Sink) -> usize {
        let last = self.items.iter().rposition(|item| item.choice == choice);
        let open = last.filter(|item| {
            let item = &self.items[*item];
            item.status == ItemStatus::InProgress && matches!(item.what, What::Message(_))
        });
        open.unwrap_or_else(|| self.begin(choice, "msg", What::Message(Vec::new()), object, sink))
    }

    /// Begins an item; those before it are complete, but for calls whose arguments may still go on.
    fn begin(&mut self, choice: u32, prefix: &str, what: What, object: &Object, sink: &mut Sink) -> usize {
        for before in 0..self.items.len() {
            let item = &self.items[before];
            if item.choice == choice && (!matches!(item.what, What::Call { .. }) || item.is_whole_call()) {
                self.complete(before, ItemStatus::Completed, object, sink);
            }
        }
        self.add(choice, prefix, what, object.strict, object, sink)
    }

    fn add(
        &mut self,
        choice: u32,
        prefix: &str,
        what: What,
        strict: bool,
        object: &Object,
        sink: &mut Sink,
    ) -> usize {
        let index = self.items.len();
        let id = object.item_id(prefix, index);
        self.items.push(Item { id, choice, status: ItemStatus::InProgress, what });
        let item = &self.items[index];
        sink.emit(
            "response.output_item.added",
            || json!({ "output_index": index, "item": item.value(strict) }),
        );
        index
    }

    fn begin_content(&mut self, index: usize, refusal: bool, object: &Object, sink: &mut Sink) -> usize {
        let item = &mut self.items[index];
        let What::Message(parts) = &mut item.what else { return 0 };
        let part = parts.len();
        parts.push(Content::new(refusal));
        let value = parts[part].value(object.strict);
        sink.emit("response.content_part.added", || content(&item.id, index, part, ("part", value)));
        part
    }

    fn add_content(&mut self, index: usize, part: usize, delta: &Delta, sink: &mut Sink) {
        let Item { id, choice, what: What::Message(parts), .. } = &mut self.items[index] else { return };
        let Some(at) = parts.get_mut(part) else { return };
        match delta {
            Delta::Text(text) if at.refusal => {
                at.text.push_str(text);
                sink.emit("response.refusal.delta", || content(id, index, part, ("delta", json!(text))));
            }
            Delta::Text(text) => {
                at.text.push_str(text);
                let logprobs = self.logprobs.remove(choice).unwrap_or_default();
                if self.awaits_logprobs && logprobs.is_empty() {
                    self.waiting = Some(Waiting { item: index, part, text: text.clone() });
                    return;
                }
                sink.emit("response.output_text.delta", || text_delta(id, index, part, text, &logprobs));
                at.logprobs.extend(logprobs);
            }
            Delta::Citation(value) => at.citations.push(value.clone()),
            // Text has neither.
            Delta::Arguments(_) | Delta::Signature(_) => {}
        }
    }

    fn add_item(&mut self, index: usize, delta: &Delta, sink: &mut Sink) {
        let Item { id, what, .. } = &mut self.items[index];
        match (what, delta) {
            (What::Reasoning { text, .. }, Delta::Text(more)) => {
                if text.is_empty() {
                    sink.emit("response.reasoning_summary_part.added", || {
                        summarised(id, index, ("part", summary("")))
                    });
                }
                text.push_str(more);
                sink.emit("response.reasoning_summary_text.delta", || {
                    summarised(id, index, ("delta", json!(more)))
                });
            }
            (What::Reasoning { seal: Seal::Thinking(signature), .. }, Delta::Signature(more)) => {
                signature.push_str(more);
            }
            (What::Call { arguments, .. }, Delta::Arguments(more)) => {
                arguments.push_str(more);
                sink.emit(
                    "response.function_call_arguments.delta",
                    || json!({ "item_id": id, "output_index": index, "delta": more }),
                );
            }
            (What::Call { signature, .. }, Delta::Signature(more)) => {
                signature.get_or_insert_default().push_str(more);
            }
            _ => {}
        }
    }

    /// Probabilities belong to the text under way, else to the text that comes next.
    pub(super) fn add_logprobs(&mut self, choice: u32, value: &Value, sink: &mut Sink) {
        let Some(tokens) = value.get("content").and_then(Value::as_array) else { return };
        let waits = |waiting: &Waiting| self.items[waiting.item].choice == choice;
        if self.waiting.as_ref().is_some_and(waits) {
            self.flush(tokens, sink);
            return;
        }
        let last = self.items.iter().rposition(|item| item.choice == choice);
        let open = last.and_then(|index| {
            let Item { id, what: What::Message(parts), .. } = &mut self.items[index] else { return None };
            let part = parts.len().checked_sub(1)?;
            let at = parts.last_mut().filter(|at| !at.closed && !at.refusal)?;
            Some((index, part, id, at))
        });
        match open {
            Some((index, part, id, at)) => {
                sink.emit("response.output_text.delta", || text_delta(id, index, part, "", tokens));
                at.logprobs.extend_from_slice(tokens);
            }
            None => self.logprobs.entry(choice).or_default().extend_from_slice(tokens),
        }
    }

    pub(super) fn close(&mut self, at: (u32, u32), object: &Object, sink: &mut Sink) {
        match self.places.get(&at).copied() {
            Some(Place::Content { item, part }) => self.close_content(item, part, object, sink),
            Some(Place::Item(item)) if self.items[item].is_whole_call() => {
                self.complete(item, ItemStatus::Completed, object, sink);
            }
            Some(Place::Item(item)) => self.close_summary(item, sink),
            Some(Place::Awaited(_)) | None => {}
        }
    }

    fn close_content(&mut self, index: usize, part: usize, object: &Object, sink: &mut Sink) {
        let Item { id, what: What::Message(parts), .. } = &mut self.items[index] else { return };
        let Some(at) = parts.get_mut(part).filter(|at| !at.closed) else { return };
        at.closed = true;
        if at.refusal {
            sink.emit("response.refusal.done", || content(id, index, part, ("refusal", json!(at.text))));
        } else {
            for (number, annotation) in at.annotations(object.strict).into_iter().enumerate() {
                sink.emit("response.output_text.annotation.added", || {
                    let mut fields = content(id, index, part, ("annotation", annotation));
                    fields["annotation_index"] = json!(number);
                    fields
                });
            }
            sink.emit("response.output_text.done", || {
                let mut fields = content(id, index, part, ("text", json!(at.text)));
                fields["logprobs"] = json!(at.logprobs);
                fields
            });
        }
        let value = at.value(object.strict);
        sink.emit("response.content_part.done", || content(id, index, part, ("part", value)));
    }

    fn close_summary(&mut self, index: usize, sink: &mut Sink) {
        let Item { id, what: What::Reasoning { text, closed, .. }, .. } = &mut self.items[index] else {
            return;
        };
        if text.is_empty() || std::mem::replace(closed, true) {
            return;
        }
        sink.emit("response.reasoning_summary_text.done", || summarised(id, index, ("text", json!(text))));
        sink.emit("response.reasoning_summary_part.done", || summarised(id, index, ("part", summary(text))));
    }

    /// An item has ended, if it has not yet.
    fn complete(&mut self, index: usize, status: ItemStatus, object: &Object, sink: &mut Sink) {
        if self.items[index].status != ItemStatus::InProgress {
            return;
        }
        let parts = match &self.items[index].what {
            What::Message(parts) => parts.len(),
            _ => 0,
        };
        for part in 0..parts {
            self.close_content(index, part, object, sink);
        }
        self.close_summary(index, sink);
        let seal = self.complete_call(index, status, sink);
        let item = &mut self.items[index];
        item.status = status;
        sink.emit(
            "response.output_item.done",
            || json!({ "output_index": index, "item": item.value(object.strict) }),
        );
        let choice = item.choice;
        if let Some(seal) = seal {
            let index = self.add(choice, "rs", reasoning(seal), object.strict, object, sink);
            self.complete(index, ItemStatus::Completed, object, sink);
        }
    }

    /// Tells a call's arguments. Its seal travels beside it.
    fn complete_call(&mut self, index: usize, status: ItemStatus, sink: &mut Sink) -> Option<Seal> {
        let item = &mut self.items[index];
        let What::Call { id: call, name, arguments, signature } = &mut item.what else { return None };
        let id = &item.id;
        if arguments.is_empty() && status == ItemStatus::Completed {
            // Callers read JSON from it.
            arguments.push_str("{}");
            sink.emit(
                "response.function_call_arguments.delta",
                || json!({ "item_id": id, "output_index": index, "delta": arguments }),
            );
        }
        sink.emit(
            "response.function_call_arguments.done",
            || json!({ "item_id": id, "output_index": index, "name": name, "arguments": arguments }),
        );
        signature.take().map(|signature| Seal::Call { id: call.clone(), signature })
    }

    /// Adds an item that comes whole.
    pub(super) fn whole(
        &mut self,
        choice: u32,
        prefix: &str,
        fields: Map<String, Value>,
        object: &Object,
        sink: &mut Sink,
    ) {
        self.begin(choice, prefix, What::Whole(fields), object, sink);
    }

    pub(super) fn finish(&mut self, choice: u32, finish: &Finish, object: &Object, sink: &mut Sink) {
        let broke_off = self.why_incomplete(choice, finish).is_some();
        let own = |items: &[Item]| items.iter().rposition(|item| item.choice == choice);
        if own(&self.items).is_none() {
            // An answer that says nothing is still a message.
            let item = self.message(choice, object, sink);
            self.begin_content(item, false, object, sink);
        }
        let last = own(&self.items);
        for index in 0..self.items.len() {
            if self.items[index].choice != choice {
                continue;
            }
            let cut = broke_off && Some(index) == last && !self.items[index].is_whole_call();
            let status = if cut { ItemStatus::Incomplete } else { ItemStatus::Completed };
            self.complete(index, status, object, sink);
        }
        self.finishes.push((choice, finish.clone()));
    }

    /// How the response ended: if one of its answers is incomplete, so is the response.
    pub(super) fn status(&self) -> Status {
        let why = self.finishes.iter().find_map(|(choice, finish)| self.why_incomplete(*choice, finish));
        why.map_or(Status::plain("completed"), Status::incomplete)
    }

    fn why_incomplete(&self, choice: u32, finish: &Finish) -> Option<&'static str> {
        match finish.reason {
            Reason::Length => Some("max_output_tokens"),
            Reason::ContentFilter => Some("content_filter"),
            // A refusal in words is a complete answer.
            Reason::Refusal if !self.refused(choice) => Some("content_filter"),
            Reason::Refusal | Reason::Stop | Reason::StopSequence | Reason::ToolCalls | Reason::Pause => None,
        }
    }

    fn refused(&self, choice: u32) -> bool {
        self.items.iter().filter(|item| item.choice == choice).any(|item| match &item.what {
            What::Message(parts) => parts.iter().any(|part| part.refusal),
            _ => false,
        })
    }

    /// How the first answer ended.
    pub(super) fn first_finish(&self) -> Option<&Finish> {
        self.finishes.first().map(|(_, finish)| finish)
    }

    /// All items. What is under way is incomplete: nothing more comes.
    pub(super) fn take(&mut self, strict: bool) -> Vec<Value> {
        for item in &mut self.items {
            if item.status == ItemStatus::InProgress {
                item.status = ItemStatus::Incomplete;
            }
        }
        self.items.iter().map(|item| item.value(strict)).collect()
    }
}

fn reasoning(seal: Seal) -> What {
    What::Reasoning { text: String::new(), closed: false, seal }
}

/// Fields of an event about a part of a message.
fn content(id: &str, item: usize, part: usize, field: (&str, Value)) -> Value {
    json!({ "item_id": id, "output_index": item, "content_index": part, field.0: field.1 })
}

fn text_delta(id: &str, item: usize, part: usize, text: &str, logprobs: &[Value]) -> Value {
    json!({
        "item_id": id, "output_index": item, "content_index": part, "delta": text, "logprobs": logprobs,
    })
}

/// Fields of an event about a summary. Its thoughts are one part.
fn summarised(id: &str, item: usize, field: (&str, Value)) -> Value {
    json!({ "item_id": id, "output_index": item, "summary_index": 0, field.0: field.1 })
}
