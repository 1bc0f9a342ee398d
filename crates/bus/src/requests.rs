//! The life of a request on the bus: accepted, called, failed or delayed, ended.

use std::time::Duration;

use bytes::Bytes;
use domain::event::End;
use domain::operation::Class;
use domain::outcome::Kind;
use domain::{
    Attempt, Envelope, Event, Frame, Lane, Operation, Outcome, Record, ReplyTo, RequestId, Workspace,
};
use tracing::debug;

use crate::bodies::BodyError;
use crate::limits::Fence;
use crate::state::{AFTERLIFE, ReadError};
use crate::{Bus, Headers, Put, PutError, headers_of, subject};

/// What stands on a result subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its sequence.
    pub sequence: u64,
    /// The record.
    pub record: Record,
    /// The answer's bytes, unless they are stored elsewhere.
    pub body: Bytes,
}

/// What became of trying to end a request.
#[derive(Debug)]
pub enum Ended {
    /// This ending is the one.
    Won,
    /// Another one was first, or the attempt had been given up for lost.
    Late(Box<Stored>),
}

/// How a request is ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending<'a> {
    /// The attempt that ended it and has not been reported yet.
    pub reporting: Option<&'a Attempt>,
    /// The gateway has had its frames already.
    pub gateway_told: bool,
    /// The bytes of the request's body that came with the message, where the answer is to be kept beside it.
    pub question: Option<&'a Bytes>,
}

/// Why a request could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The broker did not take it.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The record that was there first could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A large body could not be kept.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl Bus {
    /// Publishes a request; after this it is kept until it has ended.
    pub async fn accept(
        &self,
        operation: Operation,
        lane: Lane,
        headers: Headers,
        body: Bytes,
    ) -> Result<u64, PutError> {
        self.put(Put::new(subject::request(operation, lane), body).headers(headers)).await
    }

    /// Hands a call to the workers of its target; behind a fence, if something was set aside for it. A conflict then
    /// says that the fence is gone.
    pub async fn call(
        &self,
        target: &str,
        class: Class,
        payload: Bytes,
        trace: Option<&str>,
        fence: Option<&Fence>,
    ) -> Result<u64, PutError> {
        let put = traced(Put::new(subject::call(target, class), payload), trace);
        self.put(match fence {
            Some(fence) => put.behind(fence),
            None => put,
        })
        .await
    }

    /// Hands a failed or lost attempt to the routers.
    pub async fn fall_back(
        &self,
        target: &str,
        payload: Bytes,
        trace: Option<&str>,
    ) -> Result<u64, PutError> {
        self.put(traced(Put::new(subject::fallback(target), payload), trace)).await
    }

    /// Hands a request to the routers after a delay; survives a restart of everything.
    pub async fn delay(
        &self,
        request: &RequestId,
        number: u32,
        target: &str,
        after: Duration,
        payload: Bytes,
    ) -> Result<u64, PutError> {
        let at = calendar(self.clock().now().plus(after))?;
        let put = Put::new(subject::schedule(request, number), payload)
            .header("Nats-Schedule", &format!("@at {at}"))
            .header("Nats-Schedule-Target", &subject::due(target));
        self.put(put).await
    }

    /// Hands waiting retries of a cancelled request to the routers now, so that they end it.
    pub async fn hasten(&self, request: &RequestId) -> Result<(), PutError> {
        let subject = subject::schedules(request);
        let waiting = match self.read_near(subject::SCHEDULE_STREAM, &subject).await {
            Ok(Some(waiting)) => waiting,
            Ok(None) => return Ok(()),
            Err(err) => return Err(PutError::Unavailable(err.to_string())),
        };
        let target =
            waiting.headers.get("Nats-Schedule-Target").map_or("", |t| subject::last_token(t.as_str()));
        self.fall_back(target, waiting.payload.clone(), None).await?;
        if let Ok(stream) = self.js.get_stream_no_info(subject::SCHEDULE_STREAM).await {
            let _ = stream.purge().filter(subject).await;
        }
        Ok(())
    }

    /// Sends a piece of an answer to the gateway that waits for it.
    pub async fn send_frame(&self, gateway: &str, request: &RequestId, frame: &Frame) {
        self.send(subject::reply(gateway, request), frame.encode()).await;
    }

    /// Reports something that happened.
    pub async fn report(&self, event: &Event) -> Result<(), PutError> {
        let payload = Bytes::from(serde_json::to_vec(event).unwrap_or_default());
        self.put(Put::new(subject::event(&event.workspace, event.kind), payload)).await.map(|_| ())
    }

    /// What is stored for a request, from the leader: sees every acknowledged write.
    pub async fn result(
        &self,
        workspace: &Workspace,
        request: &RequestId,
    ) -> Result<Option<Stored>, ReadError> {
        let subject = subject::result(workspace, request);
        let message = self.read_last(subject::RESULT_STREAM, &subject).await?;
        message.map(|m| stored(&subject, m.sequence, &m.payload)).transpose()
    }

    /// The same from whichever replica answers first: cheap, may lag.
    pub async fn result_near(
        &self,
        workspace: &Workspace,
        request: &RequestId,
    ) -> Result<Option<Stored>, ReadError> {
        let subject = subject::result(workspace, request);
        let message = self.read_near(subject::RESULT_STREAM, &subject).await?;
        message.map(|m| stored(&subject, m.sequence, &m.payload)).transpose()
    }

    /// Ends a request: stores the one outcome, keeps a response that is to be kept, reports the outcome, answers the
    /// producer, forgets the request's large body.
    /// Safe to repeat.
    pub async fn end(
        &self,
        envelope: &Envelope,
        outcome: &Outcome,
        body: &Bytes,
        how: Ending<'_>,
    ) -> Result<Ended, EndError> {
        let outcome = &outcome.clone().offered(envelope);
        let ended_by = how.reporting.map(|attempt| attempt.number);
        let record = Record::Final(Box::new(Outcome { ended_by, ..outcome.clone() }));
        let Some(stored) = self.store_outcome(envelope, outcome.asynchronous, &record, body).await? else {
            self.after_end(envelope, outcome, body, how).await?;
            return Ok(Ended::Won);
        };
        debug!(request = %envelope.request, "another ending was first");
        if how.reporting.is_none() {
            // Perhaps our own, by somebody who died before it was reported.
            self.end_again(envelope, &stored, None, how.question).await?;
        }
        Ok(Ended::Late(Box::new(stored)))
    }

    /// Reports and answers again if this is what ended the request: the attempt, or (None) an ending of its own.
    /// Whoever ended it may have died before that was done. `question`: as in [`Ending`].
    pub async fn end_again(
        &self,
        envelope: &Envelope,
        stored: &Stored,
        this: Option<u32>,
        question: Option<&Bytes>,
    ) -> Result<(), EndError> {
        let Record::Final(outcome) = &stored.record else { return Ok(()) };
        if outcome.ended_by != this {
            return Ok(());
        }
        let reporting = outcome.attempts.iter().rfind(|a| Some(a.number) == this);
        let how = Ending { reporting, gateway_told: false, question };
        self.after_end(envelope, outcome, &stored.body, how).await
    }

    /// Gives an attempt up for lost: its owner can no longer end the request. Returns the sequence that endings
    /// must expect from now on, or what ended the request meanwhile. Safe to repeat.
    pub async fn fence(&self, envelope: &Envelope, number: u32) -> Result<Result<u64, Stored>, EndError> {
        self.close_attempt(envelope, Record::Fence { attempt: number, settled: false }).await
    }

    /// Settles an attempt as failed, before anything is done about it: nobody can give it up for lost any more.
    /// Returns as [`Bus::fence`] does. Safe to repeat.
    pub async fn settle(&self, envelope: &Envelope, number: u32) -> Result<Result<u64, Stored>, EndError> {
        self.close_attempt(envelope, Record::Fence { attempt: number, settled: true }).await
    }

    async fn close_attempt(
        &self,
        envelope: &Envelope,
        record: Record,
    ) -> Result<Result<u64, Stored>, EndError> {
        let put = Put::new(subject::result(&envelope.workspace, &envelope.request), record.encode(&[]))
            .expect(envelope.result_seq)
            .ttl(self.lifetime(envelope.deadline));
        match self.put(put).await {
            Ok(sequence) => Ok(Ok(sequence)),
            Err(PutError::Conflict) => {
                let there = self.result(&envelope.workspace, &envelope.request).await?;
                match there {
                    Some(stored) if stored.record == record => Ok(Ok(stored.sequence)),
                    Some(stored) => Ok(Err(stored)),
                    None => Err(PutError::Unavailable("the record vanished".to_owned()).into()),
                }
            }
            Err(err) => Err(err.into()),
        }
    }

    async fn store_outcome(
        &self,
        envelope: &Envelope,
        asynchronous: bool,
        record: &Record,
        body: &Bytes,
    ) -> Result<Option<Stored>, EndError> {
        let options = self.options();
        let ttl = if asynchronous { options.result_ttl_async } else { options.result_ttl };
        let put = Put::new(subject::result(&envelope.workspace, &envelope.request), record.encode(body))
            .expect(envelope.result_seq)
            .ttl(ttl);
        match self.put(put).await {
            Ok(_) => Ok(None),
            Err(PutError::Conflict) => {
                let there = self.result(&envelope.workspace, &envelope.request).await?;
                match there {
                    // The echo of our own first offer.
                    Some(stored) if stored.record == *record => Ok(None),
                    Some(stored) => Ok(Some(stored)),
                    None => Err(PutError::Unavailable("the outcome vanished".to_owned()).into()),
                }
            }
            Err(err) => Err(err.into()),
        }
    }

    async fn after_end(
        &self,
        envelope: &Envelope,
        outcome: &Outcome,
        body: &Bytes,
        how: Ending<'_>,
    ) -> Result<(), EndError> {
        measure(outcome);
        if outcome.kept || envelope.conversation.background {
            // Before anybody hears of it: a response whose end is known can be looked at and continued.
            self.keep_answer(envelope, outcome, body, how.question).await?;
        }
        let end = End { outcome: outcome.kind, status: outcome.status };
        let mut event = match how.reporting {
            Some(attempt) => Event::attempt_finished(envelope, &outcome.attempts, attempt, Some(end)),
            None => {
                let told = Envelope { attempts: outcome.attempts.clone(), ..envelope.clone() };
                Event::request_finished(&told, end, outcome.finished_at)
            }
        };
        event.cache = outcome.cache.as_deref().cloned();
        let ((), reported) =
            tokio::join!(self.answer_unless(how.gateway_told, envelope, outcome, body), self.report(&event));
        reported?;
        if let Some(key) = &envelope.flight {
            self.land(key).await;
        }
        if outcome.kind == Kind::Dead {
            // Its dead letter refers to the bodies.
            return Ok(());
        }
        self.discard(&envelope.body).await;
        if let Some(failed) = envelope.failed.as_ref().filter(|f| f.body != outcome.body) {
            self.discard(&failed.body).await;
        }
        Ok(())
    }

    async fn answer_unless(&self, gateway_told: bool, envelope: &Envelope, outcome: &Outcome, body: &Bytes) {
        if !(gateway_told && matches!(envelope.reply, ReplyTo::Gateway(_))) {
            self.answer(envelope, outcome, body).await;
        }
    }

    /// Tells whoever waits how the request ended.
    pub async fn answer(&self, envelope: &Envelope, outcome: &Outcome, body: &Bytes) {
        match &envelope.reply {
            ReplyTo::Nobody => {}
            ReplyTo::Gateway(gateway) => {
                let (outcome, bytes) = (Box::new(outcome.told()), body.clone());
                let frame = Frame::End { attempt: 0, offset: 0, outcome, bytes };
                self.send_frame(gateway, &envelope.request, &frame).await;
            }
            ReplyTo::Subject(subject) => {
                self.send_with(subject.clone(), headers_of::answer(outcome), body.clone()).await;
            }
        }
    }

    /// How long a flag for this request has to be kept when its deadline is not known.
    pub fn longest_life(&self) -> Duration {
        Duration::from_secs(24 * 3600) + AFTERLIFE
    }
}

fn measure(outcome: &Outcome) {
    let operation = outcome.operation.as_str();
    let labels =
        [("operation", operation), ("lane", outcome.lane.as_str()), ("outcome", outcome.kind.as_str())];
    metrics::counter!(telemetry::metric::REQUESTS, &labels).increment(1);
    let seconds = outcome.finished_at.since(outcome.accepted_at).as_secs_f64();
    metrics::histogram!(telemetry::metric::REQUEST_SECONDS, "operation" => operation).record(seconds);
}

fn traced(put: Put, trace: Option<&str>) -> Put {
    match trace {
        Some(trace) => put.header(domain::headers::TRACEPARENT, trace),
        None => put,
    }
}

fn stored(subject: &str, sequence: u64, payload: &Bytes) -> Result<Stored, ReadError> {
    let (record, body) = Record::decode(payload).map_err(|err| ReadError::new(subject, err))?;
    Ok(Stored { sequence, record, body })
}

/// A time as the broker reads it in a schedule.
pub(crate) fn calendar(at: domain::Timestamp) -> Result<String, PutError> {
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .ok_or_else(|| PutError::Unavailable("the delay leads beyond the calendar".to_owned()))
}
