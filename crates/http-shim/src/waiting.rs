//! Waiting for one answer: frames as they come, the stored result where frames leave a hole, and an end in any case.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bus::PutError;
use bus::requests::Stored;
use bus::responses::Response;
use bytes::{Bytes, BytesMut};
use domain::frame::Head;
use domain::{ApiError, BodyRef, Frame, Outcome, Record, RequestId, Timestamp, Workspace};
use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep};
use tracing::{debug, warn};

use crate::assembly::{Assembly, End, Fed, Rest};
use crate::board::{Note, Running, Seat};
use crate::errors;
use crate::gateway::Gateway;
use crate::options::OnDisconnect;

/// How often the stored result is looked at although nothing seems wrong.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long after the deadline whoever ends the request may take to say so.
const GRACE: Duration = Duration::from_millis(500);
/// First and longest wait between two looks when a result is known to be on its way.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The next piece of an answer.
#[derive(Debug)]
pub(crate) enum Step {
    /// The answer begins; bytes follow.
    Begin(Box<Head>),
    /// The next bytes.
    Bytes(Bytes),
    /// All bytes have come.
    Done(Box<Outcome>),
    /// The answer in one piece.
    Whole(Box<Outcome>, Bytes),
    /// There is no answer, or not the rest of it.
    Failed(ApiError),
}

enum Phase {
    /// Frames are expected.
    Listening,
    /// The stored result is expected.
    Reading { known: Option<Box<Outcome>>, wait: Duration },
    /// Nothing more will come.
    Over,
}

/// The broker's word that it keeps the request.
pub(crate) type Accepting = BoxFuture<'static, Result<u64, PutError>>;

/// Somebody who waits for an answer. Dropped before the end, it cancels the request (if settings say so).
pub(crate) struct Pending {
    gateway: Arc<Gateway>,
    workspace: Workspace,
    request: RequestId,
    seat: Seat,
    assembly: Assembly,
    accepting: Option<Accepting>,
    ready: VecDeque<Step>,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    give_up: Instant,
    deadline: Timestamp,
    asynchronous: bool,
    /// Nobody else wants the answer: without us the request is to be cancelled.
    cancel: bool,
}

impl Pending {
    /// Takes a seat for a request that is about to be published. None: somebody waits for that id already.
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        workspace: &Workspace,
        request: &RequestId,
        running: Running,
        asynchronous: bool,
    ) -> Option<Self> {
        let deadline = running.deadline;
        let left = deadline.since(gateway.ctx.clock().now());
        let seat = gateway.board.join(request, running)?;
        metrics::gauge!(telemetry::metric::IN_FLIGHT, "role" => crate::NAME).increment(1.0);
        let give_up = Instant::now() + left + GRACE;
        Some(Self {
            gateway: Arc::clone(gateway),
            workspace: workspace.clone(),
            request: request.clone(),
            seat,
            assembly: Assembly::default(),
            accepting: None,
            ready: VecDeque::new(),
            phase: Phase::Listening,
            timer: Box::pin(tokio::time::sleep_until(give_up.min(Instant::now() + LOOK_EVERY))),
            give_up,
            deadline,
            asynchronous,
            cancel: false,
        })
    }

    /// Publishing has begun. Its confirmation is awaited beside the frames: an answer proves it as well.
    pub(crate) fn accepting(&mut self, accepting: Accepting) {
        self.accepting = Some(accepting);
        self.cancel = !self.asynchronous && self.gateway.options.on_disconnect == OnDisconnect::Cancel;
    }

    /// The next piece. Nothing is lost when the caller stops waiting and asks again.
    pub(crate) async fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return step;
            }
            match self.phase {
                Phase::Listening => self.listen().await,
                Phase::Reading { .. } => self.read().await,
                Phase::Over => {
                    return Step::Failed(ApiError::new(500, "internal", "the answer has ended already"));
                }
            }
        }
    }

    /// The rest of an answer that has begun, in one piece.
    pub(crate) async fn collect(&mut self) -> Result<(Box<Outcome>, Bytes), ApiError> {
        let mut body = BytesMut::new();
        loop {
            match self.next().await {
                Step::Begin(_) => {}
                Step::Bytes(bytes) => body.extend_from_slice(&bytes),
                Step::Done(outcome) => return Ok((outcome, body.freeze())),
                Step::Whole(outcome, body) => return Ok((outcome, body)),
                Step::Failed(err) => return Err(err),
            }
        }
    }

    async fn listen(&mut self) {
        enum Heard {
            Note(Note),
            Accepted(Result<u64, PutError>),
            Time,
        }
        let accepting = &mut self.accepting;
        let accepted = async {
            match accepting {
                Some(accepting) => accepting.await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            biased;
            note = self.seat.next() => Heard::Note(note),
            accepted = accepted => Heard::Accepted(accepted),
            () = self.timer.as_mut() => Heard::Time,
        };
        match heard {
            Heard::Note(Note::Frame(frame)) => self.take(frame),
            Heard::Note(Note::Missed) => self.gap(None),
            Heard::Note(Note::Look) => {
                self.look().await;
            }
            Heard::Note(Note::Stop) => self.fail(errors::shutting_down()),
            Heard::Accepted(Ok(_)) => self.accepting = None,
            Heard::Accepted(Err(err)) => self.refused(&err),
            Heard::Time => self.tick().await,
        }
    }

    /// The broker did not take the request.
    fn refused(&mut self, err: &PutError) {
        self.accepting = None;
        // An unconfirmed request may have been stored all the same; every other refusal is certain.
        self.cancel &= matches!(err, PutError::Unavailable(_));
        self.fail(errors::not_accepted(err));
    }

    fn take(&mut self, frame: Bytes) {
        let frame = match Frame::decode(&frame) {
            Ok(frame) => frame,
            Err(err) => {
                warn!(request = %self.request, %err, "a malformed frame");
                return self.gap(None);
            }
        };
        // Somebody works on it, so the broker has it.
        self.accepting = None;
        let Fed { head, bytes, end } = self.assembly.feed(frame);
        if let Some(head) = head {
            self.ready.push_back(Step::Begin(Box::new(head)));
        }
        if !bytes.is_empty() {
            self.ready.push_back(Step::Bytes(bytes));
        }
        match end {
            None => {}
            Some(End::Whole(outcome, body)) => self.over(Step::Whole(outcome, body)),
            Some(End::Done(outcome)) => self.over(Step::Done(outcome)),
            Some(End::Stored(known)) => self.gap(known),
            Some(End::Foreign) => self.over(Step::Failed(errors::attempt_lost())),
            Some(End::Superseded) => {
                // The newer attempt would be paid for and thrown away.
                self.cancel = !self.asynchronous;
                self.fail(errors::attempt_lost());
            }
        }
    }

    /// Frames do not tell the rest.
    fn gap(&mut self, known: Option<Box<Outcome>>) {
        let in_store = known.as_ref().is_some_and(|outcome| matches!(outcome.body, BodyRef::Stored { .. }));
        if !in_store {
            metrics::counter!(telemetry::metric::FRAME_GAPS).increment(1);
            debug!(request = %self.request, "frames are missing; waiting for the stored result");
        }
        self.assembly.lose();
        self.phase = Phase::Reading { known: known.filter(|_| in_store), wait: Duration::ZERO };
    }

    /// The request has ended.
    fn over(&mut self, step: Step) {
        self.cancel = false;
        self.ready.push_back(step);
        self.phase = Phase::Over;
    }

    /// We stop waiting; the request may go on.
    fn fail(&mut self, err: ApiError) {
        self.ready.push_back(Step::Failed(err));
        self.phase = Phase::Over;
    }

    /// Nothing came for a while.
    async fn tick(&mut self) {
        if Instant::now() < self.give_up {
            self.look().await;
        } else if !self.look_closely().await {
            self.fail(errors::deadline_exceeded());
        }
        self.timer.as_mut().reset(self.give_up.min(Instant::now() + LOOK_EVERY));
    }

    /// Looks at the stored result, in case frames were lost.
    async fn look(&mut self) -> bool {
        if !self.gateway.ctx.bus().is_up() {
            return false;
        }
        match self.gateway.ctx.bus().result_near(&self.workspace, &self.request).await {
            Ok(Some(stored)) => self.conclude(stored).await,
            Ok(None) => false,
            Err(err) => {
                debug!(request = %self.request, %err, "could not look at the stored result");
                false
            }
        }
    }

    /// The same, by the word of the stream's leader.
    async fn look_closely(&mut self) -> bool {
        match self.gateway.ctx.bus().result(&self.workspace, &self.request).await {
            Ok(Some(stored)) => self.conclude(stored).await,
            Ok(None) => false,
            Err(err) => {
                warn!(request = %self.request, %err, "could not read the result at the deadline");
                false
            }
        }
    }

    /// Waits for the stored result.
    async fn read(&mut self) {
        let Phase::Reading { known, wait } = &mut self.phase else { return };
        let (known, pause) = (known.take(), *wait);
        *wait = (pause * 2).clamp(POLL.0, POLL.1);
        if let Some(outcome) = known {
            // The body was stored before the outcome was sent.
            match self.gateway.ctx.bus().fetch(&outcome.body, Bytes::new()).await {
                Ok(body) => return self.continue_with(outcome, body),
                Err(err) => warn!(request = %self.request, %err, "looking for the stored result instead"),
            }
        }
        let until = Instant::now() + pause;
        while Instant::now() < until {
            tokio::select! {
                note = self.seat.next() => if note == Note::Stop { return self.fail(errors::shutting_down()) },
                () = tokio::time::sleep_until(until) => {}
            }
        }
        if !self.look().await && Instant::now() >= self.give_up && !self.look_closely().await {
            self.fail(errors::deadline_exceeded());
        }
    }

    /// Uses a stored record if it is an ending.
    async fn conclude(&mut self, stored: Stored) -> bool {
        let Record::Final(outcome) = stored.record else { return false };
        if outcome.kept && !self.is_kept().await {
            // Whoever ended it is about to keep it, or another one will: who sees its end may continue it at once.
            return false;
        }
        match self.gateway.ctx.bus().fetch(&outcome.body, stored.body).await {
            Ok(body) => {
                self.continue_with(outcome, body);
                true
            }
            Err(err) => {
                warn!(request = %self.request, %err, "the request has ended, but its answer cannot be fetched");
                false
            }
        }
    }

    /// Whether what is kept of a response is there.
    async fn is_kept(&mut self) -> bool {
        let kept = self.gateway.ctx.bus().response(&self.workspace, &self.request).await;
        matches!(kept, Ok(Response::Found(_) | Response::Deleted))
    }

    /// The request has ended: passes on what the caller has not had.
    fn continue_with(&mut self, outcome: Box<Outcome>, body: Bytes) {
        match self.assembly.rest(&outcome, &body) {
            Rest::Whole => self.over(Step::Whole(outcome, body)),
            Rest::Tail(bytes) => {
                if !bytes.is_empty() {
                    self.ready.push_back(Step::Bytes(bytes));
                }
                self.over(Step::Done(outcome));
            }
            Rest::Foreign => self.over(Step::Failed(errors::attempt_lost())),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gateway.board.leave(&self.request);
        metrics::gauge!(telemetry::metric::IN_FLIGHT, "role" => crate::NAME).decrement(1.0);
        if self.cancel {
            let (ctx, request) = (self.gateway.ctx.clone(), self.request.clone());
            let keep = self.deadline.since(ctx.clock().now());
            self.gateway.ctx.job(async move {
                if let Err(err) = ctx.bus().cancel(&request, keep).await {
                    warn!(%request, %err, "could not cancel a request whose caller went away");
                }
            });
        }
    }
}
