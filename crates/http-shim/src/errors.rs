//! What callers are told when the bus does not do what was asked.

use bus::PutError;
use bus::bodies::BodyError;
use bus::requests::EndError;
use bus::state::ReadError;
use domain::ApiError;
use tracing::warn;

/// Seconds after which a caller may try again when the broker was away: longer than most elections.
const BROKER_BACK: u64 = 5;

/// A request that the broker did not take.
pub(crate) fn not_accepted(err: &PutError) -> ApiError {
    match err {
        PutError::BacklogFull => {
            let message = "too many requests wait already (`limits.lane_backlog`); try again later";
            ApiError::new(429, "backlog_full", message).with_retry_after(1)
        }
        PutError::StorageFull => storage_full(),
        PutError::TooLarge(_) => {
            let message =
                "the request's headers and body do not fit into a message; shorten the config or metadata";
            ApiError::new(413, "message_too_large", message)
        }
        PutError::Conflict | PutError::Unavailable(_) => {
            warn!(%err, "a request was not accepted");
            unavailable("the broker did not confirm the request, so it may or may not run; try again")
        }
    }
}

/// The broker's storage is nearly full; what was accepted before goes on.
pub(crate) fn storage_full() -> ApiError {
    let message = "the broker's storage is nearly full, so nothing new is accepted; try again later";
    ApiError::new(503, "storage_full", message).with_retry_after(BROKER_BACK)
}

/// A response could not be kept, or what is kept of it could not be changed.
pub(crate) fn not_kept(err: &EndError) -> ApiError {
    warn!(%err, "a kept response could not be written");
    unavailable("the broker did not confirm what is kept of the response; try again")
}

/// The broker cannot be asked.
pub(crate) fn unreadable(err: &ReadError) -> ApiError {
    warn!(%err, "could not read from the broker");
    unavailable("the broker could not be asked for this request; try again")
}

/// A large body could not be stored or fetched.
pub(crate) fn body_lost(err: &BodyError) -> ApiError {
    warn!(%err, "could not move a large body");
    unavailable("the broker could not store or fetch the body; try again")
}

/// The gateway cannot serve now.
pub(crate) fn unavailable(message: &str) -> ApiError {
    ApiError::new(503, "unavailable", message).with_retry_after(BROKER_BACK)
}

/// The process ends before the answer came.
pub(crate) fn shutting_down() -> ApiError {
    let message = "the gateway stopped before the answer was complete; send the request again";
    ApiError::new(503, "shutting_down", message).with_retry_after(1)
}

/// The deadline passed.
pub(crate) fn deadline_exceeded() -> ApiError {
    let message =
        "the request's deadline passed before it was answered; allow more time with `Pointsman-Timeout`";
    ApiError::new(504, "deadline_exceeded", message)
}

/// The worker whose answer the caller has seen the beginning of was lost.
pub(crate) fn attempt_lost() -> ApiError {
    let message = "the answer broke off: the worker that sent it was lost, and another answer cannot continue it; \
                   send the request again";
    ApiError::new(502, "attempt_lost", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_refusals_are_told_apart_and_say_when_to_try_again() {
        for (err, status, code, retry_after) in [
            (PutError::BacklogFull, 429, "backlog_full", Some(1)),
            (PutError::StorageFull, 503, "storage_full", Some(5)),
            (PutError::Unavailable("no leader".into()), 503, "unavailable", Some(5)),
            (PutError::TooLarge("headers".into()), 413, "message_too_large", None),
        ] {
            let told = not_accepted(&err);
            assert_eq!(
                (told.status, told.code.as_deref(), told.retry_after),
                (status, Some(code), retry_after)
            );
        }
    }

    #[test]
    fn the_brokers_own_words_stay_in_the_log() {
        assert!(!not_accepted(&PutError::Unavailable("10.0.0.7:4222".into())).message.contains("10.0.0.7"));
    }
}
