//! Whose fault a failed attempt is: what fallback conditions, circuit breakers and health go by.

use serde::{Deserialize, Serialize};

use crate::{Attempt, ErrorClass};

/// Why an attempt brought no answer, by what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The provider asked us to slow down (429).
    RateLimit,
    /// The provider refused the credential (401, 403).
    Auth,
    /// The prompt is longer than the model can read.
    ContextLength,
    /// The provider would not answer because of what was asked or what the answer would have been.
    ContentFilter,
    /// The provider refused the request for another reason (other 4xx).
    BadRequest,
    /// No response headers, no next chunk, or no end within the time allowed.
    Timeout,
    /// The provider failed (5xx).
    ServerError,
    /// The provider could not be reached, or the connection broke.
    Connection,
    /// The answer was not what the dialect promises.
    InvalidAnswer,
    /// The caller cancelled, or its deadline passed.
    Caller,
    /// Nothing is known about the provider: a full queue, a stopped or lost worker, a call that could not be made.
    Gateway,
}

/// Codes of providers that mean: the prompt is too long.
const CONTEXT_LENGTH: &[&str] = &["context_length_exceeded", "string_above_max_length", "request_too_large"];

/// Codes of providers that mean: refused for its content.
const CONTENT_FILTER: &[&str] =
    &["content_filter", "content_policy_violation", "responsible_ai_policy_violation", "moderation_blocked"];

/// Codes that come with 401 or 403 although the credential is good: another model may be allowed.
const MODEL_ACCESS: &[&str] =
    &["model_not_found", "model_not_available", "unsupported_country_region_territory"];

impl Fault {
    /// Every fault.
    pub const ALL: &'static [Self] = &[
        Self::RateLimit,
        Self::Auth,
        Self::ContextLength,
        Self::ContentFilter,
        Self::BadRequest,
        Self::Timeout,
        Self::ServerError,
        Self::Connection,
        Self::InvalidAnswer,
        Self::Caller,
        Self::Gateway,
    ];

    /// The word used in configs, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Auth => "auth",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::BadRequest => "bad_request",
            Self::Timeout => "timeout",
            Self::ServerError => "server_error",
            Self::Connection => "connection",
            Self::InvalidAnswer => "invalid_answer",
            Self::Caller => "caller",
            Self::Gateway => "gateway",
        }
    }

    /// The fault of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.as_str() == word)
    }

    /// Whether the provider itself failed: what circuit breakers count unless they are told otherwise.
    pub fn is_providers(self) -> bool {
        matches!(self, Self::Timeout | Self::ServerError | Self::Connection | Self::InvalidAnswer)
    }

    /// Whether the provider answered, and would answer another request: the reason lies in this one.
    pub fn is_requests(self) -> bool {
        matches!(self, Self::ContextLength | Self::ContentFilter | Self::BadRequest)
    }
}

/// Whose fault an attempt's failure is. None: it did not fail.
///
/// The provider's code tells what a status alone does not: a 400 because of the prompt's length, a 403 because of its
/// content.
pub fn fault_of(attempt: &Attempt) -> Option<Fault> {
    let refused = |otherwise: Fault| match attempt.code.as_deref() {
        Some(code) if CONTEXT_LENGTH.contains(&code) => Fault::ContextLength,
        Some(code) if CONTENT_FILTER.contains(&code) => Fault::ContentFilter,
        Some(code) if MODEL_ACCESS.contains(&code) => Fault::BadRequest,
        _ => otherwise,
    };
    let fault = match attempt.error {
        None if attempt.is_success() => return None,
        None => Fault::InvalidAnswer,
        Some(ErrorClass::RateLimit) => Fault::RateLimit,
        Some(ErrorClass::BadRequest) => refused(Fault::BadRequest),
        Some(ErrorClass::Unsupported) => Fault::BadRequest,
        Some(ErrorClass::Authentication) => refused(Fault::Auth),
        Some(ErrorClass::ServerError) => refused(Fault::ServerError),
        Some(ErrorClass::Timeout) => Fault::Timeout,
        Some(ErrorClass::Unreachable | ErrorClass::Broken) => Fault::Connection,
        Some(ErrorClass::InvalidAnswer) => refused(Fault::InvalidAnswer),
        Some(ErrorClass::Cancelled | ErrorClass::Deadline) => Fault::Caller,
        Some(
            ErrorClass::Misconfigured
            | ErrorClass::Limited
            | ErrorClass::Unusable
            | ErrorClass::QueueFull
            | ErrorClass::Shutdown
            | ErrorClass::Lost,
        ) => Fault::Gateway,
    };
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[track_caller]
    fn check(status: u16, code: Option<&str>, expected: Fault) {
        let attempt = Attempt {
            status: Some(status),
            error: Some(ErrorClass::of_status(status)),
            code: code.map(str::to_owned),
            ..Attempt::new(1, "config", "p", Timestamp(0), Timestamp(1))
        };
        assert_eq!(fault_of(&attempt), Some(expected), "{status} {code:?}");
    }

    #[test]
    fn a_status_and_a_code_tell_whose_fault_it_is() {
        check(400, None, Fault::BadRequest);
        check(404, Some("model_not_found"), Fault::BadRequest);
        check(422, None, Fault::BadRequest);
        check(400, Some("context_length_exceeded"), Fault::ContextLength);
        check(413, Some("request_too_large"), Fault::ContextLength);
        check(400, Some("content_filter"), Fault::ContentFilter);
        check(403, Some("content_policy_violation"), Fault::ContentFilter);
        check(403, Some("model_not_found"), Fault::BadRequest);
        check(401, Some("invalid_api_key"), Fault::Auth);
        check(403, None, Fault::Auth);
        check(429, Some("insufficient_quota"), Fault::RateLimit);
        check(408, None, Fault::Timeout);
        check(500, Some("server_error"), Fault::ServerError);
        check(500, Some("context_length_exceeded"), Fault::ContextLength);
        check(529, None, Fault::ServerError);
    }

    #[test]
    fn every_class_has_a_fault_and_success_has_none() {
        let base = Attempt::new(1, "config", "p", Timestamp(0), Timestamp(1));
        let ok = Attempt { status: Some(200), ..base.clone() };
        assert_eq!(fault_of(&ok), None);
        for (class, expected) in [
            (ErrorClass::Lost, Fault::Gateway),
            (ErrorClass::QueueFull, Fault::Gateway),
            (ErrorClass::Shutdown, Fault::Gateway),
            (ErrorClass::Misconfigured, Fault::Gateway),
            (ErrorClass::Cancelled, Fault::Caller),
            (ErrorClass::Deadline, Fault::Caller),
            (ErrorClass::Unreachable, Fault::Connection),
            (ErrorClass::Broken, Fault::Connection),
            (ErrorClass::InvalidAnswer, Fault::InvalidAnswer),
        ] {
            assert_eq!(
                fault_of(&Attempt { error: Some(class), ..base.clone() }),
                Some(expected),
                "{class:?}"
            );
        }
    }

    #[test]
    fn words_parse_back() {
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(fault.as_str()), Some(*fault));
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.as_str());
        }
        assert_eq!(Fault::parse("rate-limit"), None);
    }
}
