//! A response that continues another: the items of the earlier turns are put in front of its own, once and before
//! anything is decided, so that all that follows sees what is really asked, whoever sent it and by whichever door.

use bus::responses::{Found, Response};
use bytes::Bytes;
use domain::{ApiError, Envelope, Record, RequestId};
use providers::responses::{self, Turn};

use crate::act::{Router, Trouble};

/// Largest body with all that was said before, in bytes.
const MOST: usize = 64 * 1024 * 1024;

const PREVIOUS: &str = "previous_response_id";

impl Router {
    /// Puts the earlier turns into the body if they are kept here, and keeps what is asked in the background. Returns
    /// why the request has to be refused, if it has to.
    ///
    /// A response that is not kept here may be kept by the provider, so that its id stays where it is.
    pub(crate) async fn go_on(
        &self,
        envelope: &mut Envelope,
        body: &mut Bytes,
    ) -> Result<Option<ApiError>, Trouble> {
        if let Some(previous) = envelope.conversation.previous.clone() {
            let turn = match self.turn(envelope, &previous).await? {
                Ok(turn) => turn,
                Err(refused) => return Ok(Some(*refused)),
            };
            if let Some(turn) = turn {
                let own = self.ctx.bus().fetch(&envelope.body, body.clone()).await?;
                match expanded(&own, turn) {
                    Ok(whole) => self.replace(envelope, body, whole).await?,
                    Err(err) => return Ok(Some(err)),
                }
            }
        }
        if envelope.conversation.background {
            let question = self.ctx.bus().fetch(&envelope.body, body.clone()).await?;
            self.ctx.bus().keep_question(envelope, &question).await?;
        }
        Ok(None)
    }

    /// The turn that a request continues. None: it is not kept here.
    async fn turn(
        &self,
        envelope: &Envelope,
        previous: &str,
    ) -> Result<Result<Option<Turn>, Box<ApiError>>, Trouble> {
        let local = responses::request_id(previous).and_then(|id| RequestId::choose(id).ok());
        let Some(request) = local.map(|id| id.within(&envelope.workspace)) else { return Ok(Ok(None)) };
        let not_found = || Ok(Err(Box::new(responses::previous_not_found(previous))));
        let found = match self.ctx.bus().response(&envelope.workspace, &request).await? {
            Response::Unknown => return Ok(Ok(None)),
            Response::Deleted => return not_found(),
            Response::Found(found) => found,
        };
        match self.read(envelope, &request, &found).await {
            Ok(turn) => Ok(Ok(Some(turn))),
            Err(Trouble::Body(err)) if err.is_gone() => not_found(),
            Err(trouble) => Err(trouble),
        }
    }

    async fn read(&self, envelope: &Envelope, request: &RequestId, found: &Found) -> Result<Turn, Trouble> {
        let bus = self.ctx.bus();
        let input = bus.question_of(found).await?.to_vec();
        if found.turn.ending.is_some() {
            return Ok(Turn { input, output: output(&bus.answer_of(found).await?) });
        }
        // Its end may be known before it is kept.
        let output = match bus.result(&envelope.workspace, request).await? {
            Some(stored) => match &stored.record {
                Record::Final(outcome) => output(&bus.fetch(&outcome.body, stored.body.clone()).await?),
                Record::Fence { .. } => RUNNING.to_vec(),
            },
            None => RUNNING.to_vec(),
        };
        Ok(Turn { input, output })
    }

    async fn replace(
        &self,
        envelope: &mut Envelope,
        body: &mut Bytes,
        whole: Vec<u8>,
    ) -> Result<(), Trouble> {
        // Another name than the request's own body: a redelivery reads that again.
        let stowed = self.ctx.bus().stow(&envelope.request, "expanded", Bytes::from(whole)).await?;
        (envelope.body, *body) = stowed;
        envelope.conversation.expanded = true;
        Ok(())
    }
}

/// What stands for a response that has not ended.
const RUNNING: &[u8] = b"{\"status\":\"in_progress\"}";

/// What stands for a response without an answer: an error, a stream that broke off. What was asked is there all the
/// same.
const NOTHING: &[u8] = b"{\"output\":[]}";

fn output(answer: &[u8]) -> Vec<u8> {
    let object = responses::object_of(answer);
    object.filter(|object| responses::has_output(object)).unwrap_or_else(|| NOTHING.to_vec())
}

fn expanded(own: &Bytes, turn: Turn) -> Result<Vec<u8>, ApiError> {
    let whole = responses::continued(own, &[turn])?;
    if whole.len() <= MOST {
        return Ok(whole);
    }
    let message = format!(
        "`{PREVIOUS}`: with all that was said before the request is {} bytes long, more than {MOST}; begin a new \
         conversation, or send the items that matter in `input`",
        whole.len()
    );
    Err(ApiError::bad_request(PREVIOUS, "conversation_too_long", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_without_an_answer_is_continued_with_what_was_asked() {
        for answer in [&b"{\"error\":{\"message\":\"oops\"}}"[..], b"", b"data: {}\n\n"] {
            assert_eq!(output(answer), NOTHING);
        }
        let answer = br#"{"status":"completed","output":[{"type":"message"}]}"#;
        assert_eq!(output(answer), answer);
        let turn = Turn { input: br#"{"input":"a"}"#.to_vec(), output: NOTHING.to_vec() };
        let whole = expanded(&Bytes::from_static(br#"{"input":"b"}"#), turn).unwrap();
        let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(
            (&whole["input"][0]["content"], &whole["input"][1]["content"]),
            (&"a".into(), &"b".into())
        );
    }

    #[test]
    fn what_runs_cannot_be_continued() {
        let turn = Turn { input: b"{}".to_vec(), output: RUNNING.to_vec() };
        let err = expanded(&Bytes::from_static(b"{}"), turn).unwrap_err();
        assert_eq!(err.code.as_deref(), Some("previous_response_not_ended"));
    }
}
