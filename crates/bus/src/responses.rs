//! Responses that are kept, to be looked at and continued: what was asked and how it ended, one record each.
//!
//! A response in the background has its record from the moment it is accepted; any other gets it when it is answered.

use bytes::Bytes;
use domain::conversation::{Ending, Kept, Turn};
use domain::{BodyRef, Envelope, Outcome, RequestId, Workspace};
use tracing::{debug, error};

use crate::bodies::BodyError;
use crate::requests::EndError;
use crate::state::ReadError;
use crate::{Bus, Put, PutError, subject};

/// A turn as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The turn.
    pub turn: Turn,
    question: Bytes,
    answer: Bytes,
}

/// What stands where a response is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Nothing: it was never kept here, or its time is over.
    Unknown,
    /// Its caller had it deleted.
    Deleted,
    /// The response.
    Found(Box<Found>),
}

/// Most bytes of one body inside a record: two of them and what describes them fit into a message.
const MOST_INLINE: usize = 256 * 1024;

/// How often a record is written anew because somebody else was faster.
const TRIES: usize = 5;

impl Bus {
    /// What is kept of the response to a request. Sees every acknowledged write.
    pub async fn response(&self, workspace: &Workspace, request: &RequestId) -> Result<Response, ReadError> {
        Ok(match self.kept(workspace, request).await? {
            None => Response::Unknown,
            Some((_, Kept::Deleted, ..)) => Response::Deleted,
            Some((_, Kept::Turn(turn), question, answer)) => {
                Response::Found(Box::new(Found { turn: *turn, question, answer }))
            }
        })
    }

    /// The request's body of a turn.
    pub async fn question_of(&self, found: &Found) -> Result<Bytes, BodyError> {
        self.fetch_from(subject::RESPONSE_BUCKET, &found.turn.question, found.question.clone()).await
    }

    /// The answer's body of a turn; empty if it has not ended.
    pub async fn answer_of(&self, found: &Found) -> Result<Bytes, BodyError> {
        match &found.turn.ending {
            None => Ok(Bytes::new()),
            Some(ending) => {
                self.fetch_from(subject::RESPONSE_BUCKET, &ending.body, found.answer.clone()).await
            }
        }
    }

    /// Keeps what was asked, for a response in the background. A later question of the same request takes the place of
    /// an earlier one; an ending stays. Safe to repeat.
    pub async fn keep_question(&self, envelope: &Envelope, question: &Bytes) -> Result<(), EndError> {
        let turn = self.asked(envelope, question.clone()).await?;
        for _ in 0..TRIES {
            let sequence = match self.kept(&envelope.workspace, &envelope.request).await? {
                None => 0,
                Some((sequence, Kept::Turn(there), ..)) if there.ending.is_none() => sequence,
                Some(_) => return Ok(()),
            };
            match self.put_turn(turn.0.clone(), (&turn.1, &[]), sequence).await {
                Err(PutError::Conflict) => {}
                put => return Ok(put?),
            }
        }
        Err(PutError::Conflict.into())
    }

    /// Keeps how a request ended, beside what was asked. An answer stays; another ending may be followed by an answer,
    /// where an operator gave the request another chance. Safe to repeat.
    pub(crate) async fn keep_answer(
        &self,
        envelope: &Envelope,
        outcome: &Outcome,
        answer: &Bytes,
        question: Option<&Bytes>,
    ) -> Result<(), EndError> {
        let mut there = match envelope.conversation.background {
            true => self.kept(&envelope.workspace, &envelope.request).await?,
            false => None,
        };
        for _ in 0..TRIES {
            let (sequence, mut turn, asked) = match there {
                Some((sequence, Kept::Turn(turn), asked, _)) if !turn.is_answered() => {
                    (sequence, *turn, asked)
                }
                Some(_) => return Ok(()),
                None => match self.asked_at_the_end(envelope, question).await? {
                    Some((turn, asked)) => (0, turn, asked),
                    None => return Ok(()),
                },
            };
            let answer = self.fetch(&outcome.body, answer.clone()).await?;
            let (body, bytes) = self.stow_kept(&envelope.request, "answer", answer).await?;
            turn.ending = Some(Ending { body, ..Ending::of(outcome) });
            match self.put_turn(turn, (&asked, &bytes), sequence).await {
                Err(PutError::Conflict) => {
                    there = self.kept(&envelope.workspace, &envelope.request).await?;
                }
                put => return Ok(put?),
            }
        }
        Err(PutError::Conflict.into())
    }

    /// What was asked, as the request's message or its stored body says. None: nobody has it any more.
    async fn asked_at_the_end(
        &self,
        envelope: &Envelope,
        question: Option<&Bytes>,
    ) -> Result<Option<(Turn, Bytes)>, EndError> {
        let Some(inline) = question else {
            // What runs in the background has been kept before; it was forgotten since.
            debug!(request = %envelope.request, "nothing says any more what a response answers; it is not kept");
            return Ok(None);
        };
        match self.fetch(&envelope.body, inline.clone()).await {
            Ok(question) => Ok(Some(self.asked(envelope, question).await?)),
            // The body is forgotten after the record is written: it was, and has been forgotten as well.
            Err(err) if err.is_gone() => {
                error!(request = %envelope.request, %err, "a response is not kept");
                Ok(None)
            }
            Err(err) => Err(err.into()),
        }
    }

    async fn asked(&self, envelope: &Envelope, question: Bytes) -> Result<(Turn, Bytes), BodyError> {
        let (body, bytes) = self.stow_kept(&envelope.request, "question", question).await?;
        Ok((Turn { question: body, ..Turn::asked(envelope) }, bytes))
    }

    /// Forgets a response for good: nobody may write it again. Returns whether there was one.
    pub async fn delete_response(
        &self,
        workspace: &Workspace,
        request: &RequestId,
    ) -> Result<bool, EndError> {
        for _ in 0..TRIES {
            let Some((sequence, Kept::Turn(turn), ..)) = self.kept(workspace, request).await? else {
                return Ok(false);
            };
            let put = Put::new(subject::response(workspace, request), Kept::Deleted.encode(&[], &[]));
            match self.put(put.expect(sequence)).await {
                Ok(_) => {
                    self.discard_from(subject::RESPONSE_BUCKET, &turn.question).await;
                    if let Some(ending) = &turn.ending {
                        self.discard_from(subject::RESPONSE_BUCKET, &ending.body).await;
                    }
                    return Ok(true);
                }
                Err(PutError::Conflict) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Err(PutError::Conflict.into())
    }

    /// The record, its sequence, and the bytes that lie in it.
    async fn kept(
        &self,
        workspace: &Workspace,
        request: &RequestId,
    ) -> Result<Option<(u64, Kept, Bytes, Bytes)>, ReadError> {
        let subject = subject::response(workspace, request);
        let Some(message) = self.read_last(subject::RESPONSE_STREAM, &subject).await? else {
            return Ok(None);
        };
        let (kept, question, answer) =
            Kept::decode(&message.payload).map_err(|err| ReadError::new(&subject, err))?;
        Ok(Some((message.sequence, kept, question, answer)))
    }

    /// Writes the record if nothing happened since `sequence`; 0: if there is none.
    async fn put_turn(
        &self,
        turn: Turn,
        (question, answer): (&[u8], &[u8]),
        sequence: u64,
    ) -> Result<(), PutError> {
        let subject = subject::response(&turn.request.workspace(), &turn.request);
        let payload = Kept::Turn(Box::new(turn)).encode(question, answer);
        self.put(Put::new(subject, payload).expect(sequence)).await.map(|_| ())
    }

    /// Decides where a body of a record goes and puts it there.
    async fn stow_kept(
        &self,
        request: &RequestId,
        part: &str,
        body: Bytes,
    ) -> Result<(BodyRef, Bytes), BodyError> {
        if body.len() <= self.options().inline_body.min(MOST_INLINE) {
            return Ok((BodyRef::Inline { size: body.len() }, body));
        }
        self.stow_in(subject::RESPONSE_BUCKET, format!("{request}.{part}"), body).await
    }
}
