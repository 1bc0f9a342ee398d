//! What came of a call.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use domain::quota::Quota;
use domain::{ApiError, Attempt, ErrorClass, Operation};
use providers::failure;
use providers::openai::Told;

/// A whole answer, good or bad.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

/// What there is to hand on.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A complete 2xx.
    Complete(Whole),
    /// The provider's own error.
    Failed(Whole),
    /// Nothing usable.
    None,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The provider's status, or the one that stands for the failure.
    pub(crate) status: u16,
    pub(crate) error: Option<ErrorClass>,
    /// The provider's word for the error.
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) retry_after_ms: Option<u64>,
    pub(crate) quota: Option<Quota>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) told: Told,
    /// What `told` says of tokens is our own count.
    pub(crate) estimated: bool,
    /// What there was of a 2xx answer that did not come to its end, in the caller's dialect. None: it had not begun.
    pub(crate) seen: Option<Bytes>,
    /// Parameters that the provider could not take.
    pub(crate) dropped: Vec<String>,
    pub(crate) answer: Answer,
    /// Bytes that the gateway has had, if it has had any.
    pub(crate) forwarded: Option<u64>,
    /// What was forwarded, when the answer broke off.
    pub(crate) sent: Bytes,
}

impl Made {
    /// A failure without an answer. The status stands for it as in Portkey's gateway: 408 for a request timeout,
    /// 503 for no connection, 500 for other trouble on the way.
    pub(crate) fn failure(status: u16, error: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            status,
            error: Some(error),
            code: None,
            message: Some(message.into()),
            retry_after_ms: None,
            quota: None,
            first_byte: None,
            told: Told::default(),
            estimated: false,
            seen: None,
            dropped: Vec::new(),
            answer: Answer::None,
            forwarded: None,
            sent: Bytes::new(),
        }
    }

    /// The error that a caller gets if this failure is the last word.
    pub(crate) fn as_error(&self, operation: Operation, attempt: &Attempt) -> Whole {
        let words = self.message.as_deref().unwrap_or("no answer");
        let body = match attempt.error {
            _ if operation.is_anthropic() => {
                let words = format!("{} error: {words}", attempt.provider);
                Bytes::from(
                    ApiError::new(self.status, self.code.as_deref().unwrap_or_default(), words)
                        .body_for(operation),
                )
            }
            Some(ErrorClass::Timeout) => failure::timed_out(words),
            class => {
                failure::no_answer(&attempt.provider, class.map_or("server_error", ErrorClass::as_str), words)
            }
        };
        Whole {
            status: self.status,
            content_type: "application/json".to_owned(),
            headers: BTreeMap::new(),
            body,
        }
    }
}

/// How long the provider asked us to wait: `retry-after-ms`, `x-ms-retry-after-ms`, then `retry-after` in whole seconds.
pub(crate) fn retry_after_ms(headers: &reqwest::header::HeaderMap) -> Option<u64> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number("retry-after-ms")
        .or_else(|| number("x-ms-retry-after-ms"))
        .or_else(|| number("retry-after").map(|seconds| seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(given: &[(&'static str, &'static str)], expected: Option<u64>) {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        assert_eq!(retry_after_ms(&HeaderMap::from_iter(given.iter().map(header))), expected, "{given:?}");
    }

    #[test]
    fn the_finer_wait_wins_and_dates_are_not_understood() {
        check(&[("retry-after", "2")], Some(2000));
        check(&[("retry-after", "2"), ("retry-after-ms", "50")], Some(50));
        check(&[("retry-after", "2"), ("x-ms-retry-after-ms", "70")], Some(70));
        check(&[("x-ms-retry-after-ms", "70"), ("retry-after-ms", "50")], Some(50));
        check(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], None);
        check(&[("retry-after", "-1")], None);
        check(&[], None);
    }
}
