//! Forwarding a streamed answer while it comes.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::work::Delivery;
use bytes::{Bytes, BytesMut};
use domain::{ApiError, ErrorClass, Frame, ReplyTo, cache, frame};
use providers::chat::ProviderError;
use providers::exchange::{Relay, Stopped};
use providers::openai::Told;
use tokio::time::Instant;

use crate::answer::{Answer, Made, Whole};
use crate::call::{text, unreachable_or_broken};
use crate::handle::{Task, Worker};

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
    /// What makes the caller's stream of the provider's, once there is one.
    relay: Option<Relay>,
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
            relay: None,
            first_byte: None,
            certain: Instant::now(),
        }
    }

    /// Reads the stream to its end.
    pub(crate) async fn stream(
        &mut self,
        relay: Relay,
        mut response: reqwest::Response,
        status: u16,
        headers: BTreeMap<String, String>,
        begun: Instant,
    ) -> Made {
        let (idle, first) = (self.task.call.timeouts.idle, self.task.call.timeouts.first_byte);
        self.relay = Some(relay);
        while !self.is_done() {
            let patience =
                if self.first_byte.is_none() { first.saturating_sub(begun.elapsed()) } else { idle };
            let piece = match tokio::time::timeout(patience, response.chunk()).await {
                Err(_) => {
                    return self
                        .broken(408, ErrorClass::Timeout, format!("no piece within {}", text(patience)))
                        .await;
                }
                Ok(Err(err)) => return self.break_off(unreachable_or_broken(&err)).await,
                Ok(Ok(piece)) => piece,
            };
            let last = piece.is_none();
            self.first_byte.get_or_insert_with(|| begun.elapsed());
            let taken = self.take(piece);
            // Whoever sees the end of a response that is kept may continue it at once: the end waits for the record.
            if !(taken.is_ok() && self.is_done() && self.task.keeps()) {
                self.flush(status, &headers).await;
            }
            if let Err(stopped) = taken {
                let error = match &stopped {
                    Stopped::Provider(error) => Some(error.clone()),
                    Stopped::Invalid(_) | Stopped::Cut => None,
                };
                return self.end_early(failed(stopped), error.as_deref()).await;
            }
            if last {
                break;
            }
        }
        self.complete(status, headers)
    }

    fn is_done(&self) -> bool {
        self.relay.as_ref().is_some_and(Relay::is_done)
    }

    /// Takes a piece, or the end.
    fn take(&mut self, piece: Option<Bytes>) -> Result<(), Stopped> {
        let Some(relay) = &mut self.relay else { return Ok(()) };
        match piece {
            Some(piece) => relay.push(&piece, &mut self.pending),
            None => relay.end(&mut self.pending),
        }
    }

    fn told(&self) -> Told {
        self.relay.as_ref().map(Relay::told).unwrap_or_default()
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
                cache: self.task.envelope.cache.as_ref().map(|asked| Box::new(cache::Use::of(asked))),
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
        self.end_early(made, None).await
    }

    /// The same; what the provider itself says of it is what the caller is told.
    async fn end_early(&mut self, made: Made, error: Option<&ProviderError>) -> Made {
        let seen = self.first_byte.map(|_| Bytes::copy_from_slice(&self.sent));
        let made = Made { first_byte: self.first_byte, told: self.told(), seen, ..made };
        if !self.begun {
            return made;
        }
        let message = made.message.clone().unwrap_or_default();
        let code = made.error.map_or("broken", ErrorClass::as_str);
        let err = ApiError::new(made.status, code, format!("the answer broke off: {message}"));
        let err = ApiError { kind: "server_error".to_owned(), ..err };
        let mut event = BytesMut::new();
        if let Some(relay) = &mut self.relay {
            if let Some(error) = error {
                relay.tell(error, &mut event);
            }
            if event.is_empty() {
                relay.break_off(&err, &mut event);
            }
        }
        let event = event.freeze();
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
        self.sent.extend_from_slice(&self.pending.split());
        let body = self.sent.split().freeze();
        Made {
            status,
            error: None,
            message: None,
            first_byte: self.first_byte,
            told: self.told(),
            forwarded: self.begun.then_some(body.len() as u64),
            answer: Answer::Complete(Whole {
                status,
                content_type: "text/event-stream".to_owned(),
                headers,
                body,
            }),
            ..Made::failure(status, ErrorClass::Broken, "")
        }
    }
}

/// What became of an answer that stopped.
fn failed(stopped: Stopped) -> Made {
    match stopped {
        Stopped::Provider(error) => {
            let word = error.code.or(error.kind).unwrap_or_else(|| "without a code".to_owned());
            let message = format!("error in the stream: {word}");
            let status = error.status.filter(|status| (400..600).contains(status)).unwrap_or(502);
            Made { code: Some(word), ..Made::failure(status, ErrorClass::ServerError, message) }
        }
        Stopped::Invalid(message) => Made::failure(502, ErrorClass::InvalidAnswer, message),
        Stopped::Cut => Made::failure(502, ErrorClass::Broken, "the stream ended before the answer did"),
    }
}
