//! A call that a limit leaves no room for: refused, put off, or left to the next target.

use std::time::Duration;

use bytes::Bytes;
use domain::envelope::{FailedAnswer, Waiting};
use domain::limit::LEADS_ON;
use domain::{Attempt, BodyRef, Envelope, ErrorClass, Outcome, Timestamp, outcome};

use crate::act::{Choice, Router, Step, Trouble, over};
use crate::limits::Limited;
use bus::requests::Ending;

/// Shorter waits are not worth a schedule.
const SHORTEST: Duration = Duration::from_millis(250);

impl Router {
    /// The request ends here.
    pub(crate) async fn refuse_limited(
        &self,
        envelope: &Envelope,
        limited: &Limited,
    ) -> Result<Step, Trouble> {
        let now = self.ctx.clock().now();
        let (mut outcome, body) = Outcome::error(envelope, outcome::Kind::Refused, &limited.error, now);
        outcome.headers.extend(limited.headers.clone());
        let how = Ending { reporting: None, gateway_told: false, question: None };
        Ok(over(self.ctx.bus().end(envelope, &outcome, &body, how).await?, envelope))
    }

    /// The request waits on the broker until there may be room.
    pub(crate) async fn wait_for_room(
        &self,
        mut envelope: Envelope,
        limited: Limited,
        after: Duration,
        body: &Bytes,
        failed: &Bytes,
    ) -> Result<Step, Trouble> {
        let now = self.ctx.clock().now();
        let since = envelope.waiting.as_ref().map_or(now, |waiting| waiting.since);
        envelope.waiting = Some(Waiting { bucket: limited.bucket, since, until: limited.opens_at });
        self.wait(&mut envelope, "parked", after.max(SHORTEST), body, failed).await?;
        Ok(Step::GoesOn)
    }
}

/// Notes that a limit left no room at a target: its error stands where the provider's answer would.
pub(crate) fn put_down(
    envelope: &mut Envelope,
    chosen: &Choice<'_>,
    limited: &Limited,
    leads_on: bool,
    now: Timestamp,
) -> Bytes {
    let target = chosen.target;
    let number = envelope.numbers_used + 1;
    envelope.numbers_used = number;
    envelope.call = None;
    let error = &limited.error;
    envelope.attempts.push(Attempt {
        status: Some(error.status),
        error: Some(ErrorClass::Limited),
        code: if leads_on { Some(LEADS_ON.to_owned()) } else { error.code.clone() },
        message: Some(error.message.clone()),
        why: chosen.why.to_vec(),
        ..Attempt::new(number, &target.path, &target.provider, now, now)
    });
    let body = Bytes::from(error.body_for(envelope.operation));
    let mut headers = limited.headers.clone();
    if let Some(seconds) = error.retry_after {
        headers.insert("retry-after".to_owned(), seconds.to_string());
    }
    envelope.failed = Some(FailedAnswer {
        attempt: number,
        content_type: "application/json".to_owned(),
        headers,
        kept: false,
        body: BodyRef::Inline { size: body.len() },
    });
    body
}
