//! Forwarding a streamed answer while it comes.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::work::Delivery;
use bytes::{Bytes, BytesMut};
use domain::{ErrorClass, Frame, ReplyTo, frame};
use providers::openai::{self, StreamEvent, Told};
use providers::sse::Events;
use tokio::time::Instant;

use crate::answer::{Answer, Made, Whole};
use crate::call::{text, unreachable_or_broken};
use crate::handle::{Task, Worker};

/// Largest single event that is taken, in bytes.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// The way of an answer's pieces to the gateway.
pub(crate) struct Forward<'a> {
    worker: &'a Worker,
    delivery: &'a Delivery,
    task: &'a Task,
    /// What the caller gets, all of it.
    sent: BytesMut,
    /// Collected for the next frame.
    pending: BytesMut,
    /// Whether the gateway has had the head.
    begun: bool,
    told: Told,
    first_byte: Option<Duration>,
    /// When ownership of the attempt was last certain.
    certain: Instant,
}

impl<'a> Forward<'a> {
    pub(crate) fn new(worker: &'a Worker, delivery: &'a Delivery, task: &'a Task) -> Self {
        Self {
            worker,
            delivery,
            task,
            sent: BytesMut::new(),
            pending: BytesMut::new(),
            begun: false,
            told: Told::default(),
            first_byte: None,
            certain: Instant::now(),
        }
    }

    /// Reads the stream to its end.
    pub(crate) async fn stream(
        &mut self,
        mut response: reqwest::Response,
        status: u16,
        headers: BTreeMap<String, String>,
        begun: Instant,
    ) -> Made {
        let (idle, first) = (self.task.call.timeouts.idle, self.task.call.timeouts.first_byte);
        let mut events = Events::default();
        let mut reading = Reading::default();
        while !reading.done {
            let patience =
                if self.first_byte.is_none() { first.saturating_sub(begun.elapsed()) } else { idle };
            let piece = match tokio::time::timeout(patience, response.chunk()).await {
                Err(_) => {
                    return self
                        .broken(408, ErrorClass::Timeout, format!("no piece within {}", text(patience)))
                        .await;
                }
                Ok(Err(err)) => return self.break_off(unreachable_or_broken(&err)).await,
                Ok(Ok(None)) => break,
                Ok(Ok(Some(piece))) => piece,
            };
            self.first_byte.get_or_insert_with(|| begun.elapsed());
            events.push(&piece);
            while let Some(event) = events.take() {
                if let Err(made) = self.take(&event, &mut reading) {
                    self.flush(status, &headers).await;
                    return self.break_off(*made).await;
                }
            }
            if events.pending() > MAX_EVENT {
                return self.broken(502, ErrorClass::InvalidAnswer, "an event is too large".to_owned()).await;
            }
            self.flush(status, &headers).await;
        }
        if !reading.done && !reading.finish_reason {
            let message = "the stream ended before the answer did".to_owned();
            return self.broken(502, ErrorClass::Broken, message).await;
        }
        self.complete(status, headers)
    }

    /// Takes one event; the error ends the stream.
    fn take(&mut self, event: &Bytes, reading: &mut Reading) -> Result<(), Box<Made>> {
        match openai::read_event(event) {
            StreamEvent::Piece => {}
            StreamEvent::PieceWithUsage(told) => self.told = told,
            StreamEvent::UsageOnly(told) => {
                self.told = told;
                // We asked for it; a caller who did not does not get it.
                if !self.task.envelope.include_usage {
                    return Ok(());
                }
            }
            StreamEvent::Done => reading.done = true,
            StreamEvent::Error(message) => {
                let message = format!("error in the stream: {message}");
                return Err(Box::new(Made::failure(502, ErrorClass::ServerError, message)));
            }
            StreamEvent::Malformed(message) => {
                let message = format!("malformed event: {message}");
                return Err(Box::new(Made::failure(502, ErrorClass::InvalidAnswer, message)));
            }
        }
        reading.finish_reason |= memchr::memmem::find(event, b"\"finish_reason\":\"").is_some();
        self.pending.extend_from_slice(event);
        Ok(())
    }

    /// Sends what was collected, if this attempt may still answer.
    async fn flush(&mut self, status: u16, headers: &BTreeMap<String, String>) {
        let pending = self.pending.split().freeze();
        if pending.is_empty() {
            return;
        }
        let offset = self.sent.len();
        self.sent.extend_from_slice(&pending);
        let ReplyTo::Gateway(gateway) = &self.task.envelope.reply else { return };
        if !self.task.call.success_is_final || !self.still_ours().await {
            return;
        }
        let (bus, request, attempt) =
            (self.worker.ctx.bus(), &self.task.envelope.request, self.task.call.number);
        if !self.begun {
            self.begun = true;
            let head = frame::Head {
                status,
                content_type: "text/event-stream".to_owned(),
                headers: headers.clone(),
                path: self.task.call.path.clone(),
                provider: self.task.call.provider.clone(),
                retry_count: self.task.call.retry_count,
            };
            bus.send_frame(gateway, request, &Frame::Head { attempt, head }).await;
        }
        let mut at = offset as u64;
        for start in (0..pending.len()).step_by(frame::MAX_CHUNK) {
            let bytes = pending.slice(start..pending.len().min(start + frame::MAX_CHUNK));
            let length = bytes.len() as u64;
            bus.send_frame(gateway, request, &Frame::Chunk { attempt, offset: at, bytes }).await;
            at += length;
        }
    }

    /// A process that was paused for longer than the acknowledgement wait may have been given up for lost.
    async fn still_ours(&mut self) -> bool {
        let bus = self.worker.ctx.bus();
        if self.certain.elapsed() < bus.options().ack_wait / 2 {
            return true;
        }
        self.delivery.progress().await;
        let ours = self.worker.owns(&self.task.envelope).await;
        if ours {
            self.certain = Instant::now();
        }
        ours
    }

    async fn broken(&mut self, status: u16, error: ErrorClass, message: String) -> Made {
        self.break_off(Made::failure(status, error, message)).await
    }

    /// The stream ends here. A caller who has seen its beginning is told.
    pub(crate) async fn break_off(&mut self, made: Made) -> Made {
        let made = Made { first_byte: self.first_byte, told: self.told.clone(), ..made };
        if !self.begun {
            return made;
        }
        let message = made.message.clone().unwrap_or_default();
        let message = format!("the answer broke off: {message}");
        let event =
            openai::error_event(&message, "server_error", made.error.map_or("broken", ErrorClass::as_str));
        let offset = self.sent.len() as u64;
        self.sent.extend_from_slice(&event);
        if let ReplyTo::Gateway(gateway) = &self.task.envelope.reply {
            let chunk = Frame::Chunk { attempt: self.task.call.number, offset, bytes: event };
            self.worker.ctx.bus().send_frame(gateway, &self.task.envelope.request, &chunk).await;
        }
        let sent = self.sent.split().freeze();
        Made { status: 200, forwarded: Some(sent.len() as u64), sent, ..made }
    }

    fn complete(&mut self, status: u16, headers: BTreeMap<String, String>) -> Made {
        let body = self.sent.split().freeze();
        Made {
            status,
            error: None,
            code: None,
            message: None,
            retry_after_ms: None,
            first_byte: self.first_byte,
            told: self.told.clone(),
            forwarded: self.begun.then_some(body.len() as u64),
            sent: Bytes::new(),
            answer: Answer::Complete(Whole {
                status,
                content_type: "text/event-stream".to_owned(),
                headers,
                body,
            }),
        }
    }
}

#[derive(Default)]
struct Reading {
    done: bool,
    finish_reason: bool,
}
