//! The `Prefer` header (RFC 7240): how long the caller wants to wait for the answer.

use std::time::Duration;

use domain::ApiError;
use http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long the caller wants to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preference {
    /// Answer at once; the result is read later.
    pub(crate) respond_async: bool,
    /// Wait for so long, then answer as if asynchronous.
    pub(crate) wait: Option<Duration>,
}

impl Preference {
    /// Reads the header. Preferences of others are ignored, as the standard says.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut found = Self::default();
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for word in values.flat_map(|value| value.split([',', ';'])).map(str::trim) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => found.respond_async = true,
                "wait" => found.wait = Some(seconds(value)?),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Whether the request goes on without the caller.
    pub(crate) fn is_asynchronous(self) -> bool {
        self.respond_async || self.wait.is_some()
    }

    /// What to name in `Preference-Applied`.
    pub(crate) fn applied(self, answered: bool) -> Option<String> {
        match (answered, self.wait) {
            (true, Some(wait)) => Some(format!("wait={}", wait.as_secs())),
            (true, None) => None,
            (false, _) => Some("respond-async".to_owned()),
        }
    }
}

fn seconds(value: &str) -> Result<Duration, ApiError> {
    let value = value.trim().trim_matches('"');
    let seconds = value.parse::<u32>().map_err(|_| {
        let message =
            format!("header `Prefer`: `wait={value}` is no number of seconds; write for example `wait=10`");
        ApiError::bad_request("Prefer", "invalid_header", message)
    })?;
    Ok(Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Result<Preference, ApiError> {
        let pairs = values.iter().map(|v| (PREFER, http::HeaderValue::from_static(v)));
        let mut headers = HeaderMap::new();
        headers.extend(pairs.map(|(name, value)| (Some(name), value)));
        Preference::read(&headers)
    }

    #[test]
    fn both_ways_of_not_waiting_are_understood() {
        let wait =
            |respond_async, seconds| Preference { respond_async, wait: Some(Duration::from_secs(seconds)) };
        assert_eq!(read(&[]), Ok(Preference::default()));
        assert_eq!(read(&["respond-async"]), Ok(Preference { respond_async: true, wait: None }));
        assert_eq!(read(&["Respond-Async, wait=10"]), Ok(wait(true, 10)));
        assert_eq!(read(&["return=minimal; wait = \"5\""]), Ok(wait(false, 5)));
        assert_eq!(read(&["handling=lenient"]), Ok(Preference::default()));
    }

    #[test]
    fn a_wait_that_is_no_number_is_refused() {
        let err = read(&["wait=soon"]).unwrap_err();
        assert_eq!((err.status, err.param.as_deref()), (400, Some("Prefer")));
        assert!(read(&["wait=-1"]).is_err());
    }
}
