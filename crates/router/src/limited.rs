//! A call that is not made: nothing was left of a limit, or the target cannot serve the request.

use std::collections::BTreeMap;

use bus::requests::Ending;
use bytes::Bytes;
use domain::config::Target;
use domain::envelope::{FailedAnswer, Waiting};
use domain::limit::LEADS_ON;
use domain::{ApiError, Attempt, BodyRef, Envelope, ErrorClass, Outcome, Timestamp, outcome};
use providers::resolve::Resolved;
use serde_json::{Map, Value};

use crate::act::{Choice, NotCalled, Router, Step, Trouble, over};
use crate::limits::{Limited, Reserved};

impl Router {
    /// Sets aside what limits need of a call, and says which fields a body gets that lacks them: the target's, and a
    /// bound of the answer where nothing else bounds it.
    pub(crate) async fn set_aside(
        &self,
        envelope: &Envelope,
        target: &Target,
        resolved: &Resolved,
        body: &Bytes,
    ) -> Result<(Option<Reserved>, Map<String, Value>), NotCalled> {
        let needs = self.needs(envelope, target, resolved, body).await?;
        let reserved = self.limits.reserve(envelope, envelope.numbers_used + 1, &needs.wants).await;
        let reserved = reserved.map_err(|refused| {
            NotCalled::Limited(Box::new(Limited::of(&refused, envelope, self.ctx.clock().now())))
        })?;
        let mut fields = target.default_params.clone();
        if let Some((field, bound)) = needs.bound(envelope.operation) {
            fields.insert(field.to_owned(), bound);
        }
        Ok((reserved, fields))
    }

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
}

impl Limited {
    /// What a request waits for that lies on the broker until there may be room.
    pub(crate) fn waiting(&self, envelope: &Envelope, now: Timestamp) -> Waiting {
        let since = envelope.waiting.as_ref().map_or(now, |waiting| waiting.since);
        Waiting { bucket: self.bucket.clone(), since, until: self.opens_at }
    }

    /// The same as an answer of the target.
    pub(crate) fn stopped(self, leads_on: bool) -> Stopped {
        let Self { error, mut headers, .. } = self;
        if let Some(seconds) = error.retry_after {
            headers.insert("retry-after".to_owned(), seconds.to_string());
        }
        let code = if leads_on { Some(LEADS_ON.to_owned()) } else { error.code.clone() };
        Stopped { error, class: ErrorClass::Limited, code, headers }
    }
}

/// An attempt that ended before a call.
pub(crate) struct Stopped {
    error: ApiError,
    class: ErrorClass,
    code: Option<String>,
    headers: BTreeMap<String, String>,
}

impl Stopped {
    /// The target cannot serve the request.
    pub(crate) fn unusable(error: ApiError) -> Self {
        let unsupported = error.code.as_deref() == Some("unsupported_operation");
        let class = if unsupported { ErrorClass::Unsupported } else { ErrorClass::Unusable };
        Self { error, class, code: None, headers: BTreeMap::new() }
    }

    /// Notes it: the error stands where a provider's answer would. Returns its body.
    pub(crate) fn note(self, envelope: &mut Envelope, chosen: &Choice<'_>, now: Timestamp) -> Bytes {
        let Self { error, class, code, headers } = self;
        let target = chosen.target;
        let number = envelope.numbers_used + 1;
        envelope.numbers_used = number;
        envelope.call = None;
        let body = Bytes::from(error.body_for(envelope.operation));
        envelope.attempts.push(Attempt {
            status: Some(error.status),
            error: Some(class),
            code,
            message: Some(error.message),
            why: chosen.why.to_vec(),
            ..Attempt::new(number, &target.path, &target.provider, now, now)
        });
        envelope.failed = Some(FailedAnswer {
            attempt: number,
            content_type: "application/json".to_owned(),
            headers,
            kept: false,
            body: BodyRef::Inline { size: body.len() },
        });
        body
    }
}
