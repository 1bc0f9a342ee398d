//! A provider's stream, made into the caller's piece by piece.

use bytes::{Bytes, BytesMut};
use domain::{ApiError, Operation};
use memchr::memmem;

use super::{as_provider_error, error_event};
use crate::chat::{Broken, Event, MAX_EVENT, ProviderError, ReadEvents, WriteEvents};
use crate::openai::{StreamEvent, Told};
use crate::show::{self, Costs};
use crate::sse::Events;
use crate::translation::Observe;

/// Makes the caller's stream from the provider's.
pub struct Relay {
    operation: Operation,
    way: Way,
    /// What the caller is told that the answer cost.
    costs: Option<Costs>,
}

enum Way {
    Forward(Forward),
    Translate(Translate),
    /// Bytes as they are, whatever they say.
    Raw,
}

/// Why a stream does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The provider said so.
    Provider(Box<ProviderError>),
    /// It is not what the format promises.
    Invalid(String),
    /// It ended before the answer did.
    Cut,
}

impl Relay {
    pub(super) fn forward(operation: Operation, observer: Box<dyn Observe>, include_usage: bool) -> Self {
        let forward = Forward {
            operation,
            events: Events::default(),
            observer,
            include_usage,
            told: Told::default(),
            done: false,
            finish_reason: false,
            failure: None,
        };
        Self { operation, way: Way::Forward(forward), costs: None }
    }

    pub(super) fn translate(
        operation: Operation,
        reader: Box<dyn ReadEvents>,
        writer: Box<dyn WriteEvents>,
    ) -> Self {
        let translate = Translate { reader, writer, told: Told::default(), held: Vec::new(), done: false };
        Self { operation, way: Way::Translate(translate), costs: None }
    }

    pub(super) fn raw(operation: Operation) -> Self {
        Self { operation, way: Way::Raw, costs: None }
    }

    /// The event with the answer's counts is to say what it cost.
    pub fn show(&mut self, costs: Costs) {
        self.costs = Some(costs);
    }

    /// Takes a piece of the provider's stream and adds what it means to the caller's. What was added before an error
    /// holds.
    pub fn push(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Stopped> {
        match &mut self.way {
            Way::Forward(forward) => forward.push(piece, self.costs.as_ref(), out),
            Way::Translate(translate) => {
                let mut said = BytesMut::new();
                let pushed = translate.push(piece, &mut said);
                translate.count(&said, self.costs.as_ref(), out);
                pushed
            }
            Way::Raw => {
                out.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The provider's stream has ended.
    pub fn end(&mut self, out: &mut BytesMut) -> Result<(), Stopped> {
        match &mut self.way {
            Way::Forward(forward) if forward.done || forward.finish_reason => Ok(()),
            Way::Forward(_) => Err(Stopped::Cut),
            Way::Translate(translate) => {
                let mut said = BytesMut::new();
                let ended = translate.end(&mut said);
                translate.count(&said, self.costs.as_ref(), out);
                ended
            }
            Way::Raw => Ok(()),
        }
    }

    /// Whether the answer is complete, so that nothing more need be waited for.
    pub fn is_done(&self) -> bool {
        match &self.way {
            Way::Forward(forward) => forward.done,
            Way::Translate(translate) => translate.done,
            Way::Raw => false,
        }
    }

    /// What the stream has said about itself.
    pub fn told(&self) -> Told {
        match &self.way {
            Way::Forward(forward) => forward.told.clone(),
            Way::Translate(translate) => translate.told.clone(),
            Way::Raw => Told::default(),
        }
    }

    /// Tells the caller in his dialect that the answer breaks off here.
    pub fn break_off(&mut self, err: &ApiError, out: &mut BytesMut) {
        match &mut self.way {
            Way::Translate(_) => self.tell(&as_provider_error(err), out),
            Way::Forward(forward) => {
                let event = forward.observer.error_event(err);
                out.extend_from_slice(&event.unwrap_or_else(|| error_event(self.operation, err)));
            }
            Way::Raw => out.extend_from_slice(&error_event(self.operation, err)),
        }
    }

    /// Tells the caller in his dialect what the provider said went wrong: in its own words, where it is the same.
    pub fn tell(&mut self, error: &ProviderError, out: &mut BytesMut) {
        match &mut self.way {
            Way::Translate(translate) => {
                let mut bytes = Vec::new();
                translate.write(Event::Error(error.clone()), &mut bytes);
                out.extend_from_slice(&bytes);
            }
            Way::Forward(forward) => out.extend(forward.failure.take()),
            Way::Raw => {}
        }
    }
}

/// Bytes as they are, looked at event by event.
struct Forward {
    operation: Operation,
    events: Events,
    observer: Box<dyn Observe>,
    include_usage: bool,
    told: Told,
    done: bool,
    finish_reason: bool,
    /// The event that says what went wrong. It is not passed on before it is known that nobody else answers.
    failure: Option<Bytes>,
}

impl Forward {
    fn push(&mut self, piece: &[u8], costs: Option<&Costs>, out: &mut BytesMut) -> Result<(), Stopped> {
        self.events.push(piece);
        while let Some(event) = self.events.take() {
            let (mut counted, mut alone) = (true, false);
            match self.observer.look(&event) {
                StreamEvent::Piece => counted = false,
                StreamEvent::PieceWithUsage(told) => self.told = told,
                StreamEvent::UsageOnly(told) => {
                    (self.told, alone) = (told, true);
                    // We asked for it; a caller who did not does not get it.
                    if !self.include_usage {
                        continue;
                    }
                }
                StreamEvent::Done => (self.done, counted) = (true, false),
                StreamEvent::DoneWithUsage(told) => (self.told, self.done) = (told, true),
                StreamEvent::Error(code) => {
                    let error = ProviderError { code: Some(code), ..ProviderError::default() };
                    self.failure = Some(event);
                    return Err(Stopped::Provider(Box::new(error)));
                }
                StreamEvent::Malformed(place) => {
                    return Err(Stopped::Invalid(format!("malformed event: {place}")));
                }
            }
            self.finish_reason |= memmem::find(&event, b"\"finish_reason\":\"").is_some();
            // Some providers count from the first piece on; only the last of their counts is what is charged.
            let in_pieces = matches!(self.operation, Operation::Chat | Operation::Completions);
            let last = counted && (alone || !in_pieces || self.finish_reason);
            let cost = costs.filter(|_| last).and_then(|costs| costs(&self.told));
            match cost.and_then(|cost| show::in_event(&event, cost)) {
                Some(shown) => out.extend_from_slice(&shown),
                None => out.extend_from_slice(&event),
            }
        }
        if self.events.pending() > MAX_EVENT {
            return Err(Stopped::Invalid(Broken::TooLarge.to_string()));
        }
        Ok(())
    }
}

/// Read in one dialect, written in another.
struct Translate {
    reader: Box<dyn ReadEvents>,
    writer: Box<dyn WriteEvents>,
    told: Told,
    /// What comes before an answer's first part. As long as the caller has seen nothing, another provider can answer.
    held: Vec<Event>,
    done: bool,
}

impl Translate {
    fn push(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), Stopped> {
        let mut events = Vec::new();
        let read = self.reader.read(piece, &mut events);
        self.say(events, out)?;
        read.map_err(stopped)
    }

    fn end(&mut self, out: &mut BytesMut) -> Result<(), Stopped> {
        if self.done {
            return Ok(());
        }
        let mut events = Vec::new();
        let read = self.reader.end(&mut events);
        self.say(events, out)?;
        read.map_err(stopped)
    }

    /// Adds what was said, with the cost beside the counts: a stream that we write has them once, at its end.
    fn count(&self, said: &[u8], costs: Option<&Costs>, out: &mut BytesMut) {
        let counted = costs.filter(|_| memmem::find(said, b"\"usage\":{").is_some());
        let cost = counted.and_then(|costs| costs(&self.told));
        match cost.and_then(|cost| show::in_answer(said, cost)) {
            Some(shown) => out.extend_from_slice(&shown),
            None => out.extend_from_slice(said),
        }
    }

    fn say(&mut self, events: Vec<Event>, out: &mut BytesMut) -> Result<(), Stopped> {
        let mut bytes = Vec::new();
        let mut error = None;
        for event in events {
            match &event {
                Event::Start(start) => self.told.model.clone_from(&start.model),
                Event::Usage(usage) => self.told.usage = Some(*usage),
                Event::Extra(extra) => self.told.note(extra),
                Event::End => self.done = true,
                Event::Error(err) => {
                    error = Some(err.clone());
                    break;
                }
                _ => {}
            }
            match event {
                // The caller has seen something if nothing is held.
                event @ Event::Start(_) => self.held.push(event),
                event @ (Event::Usage(_) | Event::Extra(_)) if !self.held.is_empty() => self.held.push(event),
                event => self.write(event, &mut bytes),
            }
        }
        out.extend_from_slice(&bytes);
        error.map_or(Ok(()), |error| Err(Stopped::Provider(Box::new(error))))
    }

    fn write(&mut self, event: Event, bytes: &mut Vec<u8>) {
        for event in self.held.drain(..).chain([event]) {
            self.writer.write(&event, bytes);
        }
    }
}

fn stopped(broken: Broken) -> Stopped {
    match broken {
        Broken::Cut => Stopped::Cut,
        broken => Stopped::Invalid(broken.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use domain::Usage;
    use domain::model::NanoUsd;

    use super::*;
    use crate::chat::About;
    use crate::{responses, translation};

    fn relay() -> Relay {
        Relay::forward(Operation::Responses, Box::new(responses::observer()), true)
    }

    const CREATED: &[u8] = b"event: response.created\n\
        data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"model\":\"m\",\"usage\":null}}\n\n";

    #[test]
    fn a_forwarded_response_tells_its_counts_in_its_last_event() {
        let last =
            b"event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":1,\
            \"response\":{\"model\":\"m\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n";
        let (mut relay, mut out) = (relay(), BytesMut::new());
        relay.push(CREATED, &mut out).unwrap();
        assert_eq!((relay.is_done(), relay.told().usage), (false, None));
        relay.push(last, &mut out).unwrap();
        assert!(relay.is_done());
        let usage = Usage { input: 3, output: 2, ..Usage::default() };
        assert_eq!(relay.told(), Told { model: Some("m".into()), usage: Some(usage), ..Told::default() });
        assert_eq!(relay.end(&mut out), Ok(()));
        assert_eq!(&out[..], [CREATED, last].concat());
    }

    #[test]
    fn what_comes_before_an_error_at_once_is_held_back() {
        let translated = || {
            let about = About {
                provider: "anthropic",
                model: "claude",
                id: "id-1",
                now: 0,
                strict: true,
                include_usage: false,
            };
            let reader = Box::new(crate::anthropic::Reader::default());
            Relay::translate(Operation::Chat, reader, Box::new(crate::openai::Writer::new(&about)))
        };
        let start = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\
            \"model\":\"claude\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n";
        let error = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
            \"message\":\"Overloaded\"}}\n\n";
        let (mut relay, mut out) = (translated(), BytesMut::new());
        relay.push(start, &mut out).unwrap();
        let Err(Stopped::Provider(said)) = relay.push(error, &mut out) else { panic!("it goes on") };
        assert!(out.is_empty(), "{out:?}");
        assert_eq!((said.status, said.message.as_str()), (Some(529), "Overloaded"));
        relay.tell(&said, &mut out);
        let told = std::str::from_utf8(&out).unwrap();
        assert!(told.contains("msg_1") && told.contains("anthropic error: Overloaded"), "{told}");

        let (mut relay, mut out) = (translated(), BytesMut::new());
        relay.push(start, &mut out).unwrap();
        let block = b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
            \"content_block\":{\"type\":\"text\",\"text\":\"Hi\"}}\n\n";
        relay.push(block, &mut out).unwrap();
        let told = std::str::from_utf8(&out).unwrap();
        assert!(told.contains("\"role\":\"assistant\"") && told.contains("Hi"), "{told}");
    }

    #[test]
    fn a_providers_error_event_is_passed_on_when_it_is_told() {
        let observer = translation::dialect(Operation::Messages).map(|dialect| (dialect.observer)());
        let mut relay = Relay::forward(Operation::Messages, observer.unwrap(), true);
        let event = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
            \"message\":\"Overloaded\",\"details\":null}}\n\n";
        let mut out = BytesMut::new();
        let Err(Stopped::Provider(error)) = relay.push(event, &mut out) else { panic!("it goes on") };
        assert!(out.is_empty(), "{out:?}");
        relay.tell(&error, &mut out);
        assert_eq!(&out[..], event);
    }

    #[test]
    fn an_error_in_a_forwarded_response_follows_its_events() {
        let (mut relay, mut out) = (relay(), BytesMut::new());
        relay.push(CREATED, &mut out).unwrap();
        assert_eq!(relay.end(&mut out), Err(Stopped::Cut));
        relay.break_off(&ApiError::new(502, "broken", "the answer broke off"), &mut out);
        let event = std::str::from_utf8(&out[CREATED.len()..]).unwrap();
        assert!(event.starts_with("event: error\n") && event.contains("\"sequence_number\":1,"), "{event}");
    }

    #[test]
    fn a_cost_is_shown_beside_the_last_counts_of_every_dialect() {
        let costs = || -> Costs { Box::new(|told| told.usage.map(|usage| NanoUsd(usage.total() * 1000))) };
        let forwarded = |operation, stream: &[u8]| {
            let observer = translation::dialect(operation).map(|dialect| (dialect.observer)()).unwrap();
            let mut relay = Relay::forward(operation, observer, true);
            relay.show(costs());
            let mut out = BytesMut::new();
            relay.push(stream, &mut out).unwrap();
            String::from_utf8(out.to_vec()).unwrap()
        };
        let chat = b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
            data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
        let shown = forwarded(Operation::Chat, chat);
        assert!(
            shown.contains("\"completion_tokens\":2,\"estimated_cost\":0.000005}}\n\ndata: [DONE]"),
            "{shown}"
        );
        let messages = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n\
            event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":2}}\n\n";
        let shown = forwarded(Operation::Messages, messages);
        assert!(
            shown.contains("{\"input_tokens\":3}}}") && shown.contains("2,\"estimated_cost\":0.000005}"),
            "{shown}"
        );
        let response = b"event: response.completed\ndata: {\"type\":\"response.completed\",\
            \"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n";
        let shown = forwarded(Operation::Responses, response);
        assert!(shown.contains("\"output_tokens\":2,\"estimated_cost\":0.000005}}}"), "{shown}");

        let about = About {
            provider: "anthropic",
            model: "claude",
            id: "1",
            now: 0,
            strict: true,
            include_usage: true,
        };
        let reader = Box::new(crate::anthropic::Reader::default());
        let mut relay =
            Relay::translate(Operation::Chat, reader, Box::new(crate::openai::Writer::new(&about)));
        relay.show(costs());
        let mut out = BytesMut::new();
        relay.push(messages, &mut out).unwrap();
        let stop = b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
            \"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        relay.push(stop, &mut out).unwrap();
        let shown = std::str::from_utf8(&out).unwrap();
        assert_eq!(shown.matches("\"estimated_cost\":0.000005}").count(), 1, "{shown}");
    }
}
