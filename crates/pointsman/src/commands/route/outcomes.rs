//! Made-up outcomes of attempts, as they are written on the command line.

use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::{Attempt, ErrorClass};

/// What one attempt brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    status: Option<u16>,
    error: Option<ErrorClass>,
    /// The provider's own code, by which some failures are told apart.
    code: Option<&'static str>,
    retry_after: Option<Duration>,
    /// How long the attempt takes.
    took: Duration,
}

/// Time that an attempt takes unless it is said.
const TOOK: Duration = Duration::from_millis(100);

/// A word beside numbers, and what a provider sends that means it.
struct Word {
    word: &'static str,
    class: ErrorClass,
    status: Option<u16>,
    code: Option<&'static str>,
}

const fn class(class: ErrorClass, status: Option<u16>) -> Word {
    Word { word: class.as_str(), class, status, code: None }
}

const fn refused(word: &'static str, code: &'static str) -> Word {
    Word { word, class: ErrorClass::BadRequest, status: Some(400), code: Some(code) }
}

const WORDS: &[Word] = &[
    class(ErrorClass::RateLimit, Some(429)),
    class(ErrorClass::BadRequest, Some(400)),
    refused("context_length", "context_length_exceeded"),
    refused("content_filter", "content_filter"),
    class(ErrorClass::Authentication, Some(401)),
    class(ErrorClass::ServerError, Some(500)),
    class(ErrorClass::Timeout, Some(408)),
    class(ErrorClass::Unreachable, None),
    class(ErrorClass::Broken, Some(200)),
    class(ErrorClass::InvalidAnswer, Some(200)),
    class(ErrorClass::Misconfigured, None),
    class(ErrorClass::QueueFull, None),
    class(ErrorClass::Shutdown, None),
    class(ErrorClass::Cancelled, None),
    class(ErrorClass::Deadline, None),
    class(ErrorClass::Lost, None),
];

/// Reads `429/retry-after=2,timeout,200/took=3s`.
pub(super) fn parse(list: &str) -> anyhow::Result<Vec<Outcome>> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(one).collect()
}

fn one(text: &str) -> anyhow::Result<Outcome> {
    let mut parts = text.split('/');
    let word = parts.next().unwrap_or_default();
    let (status, error, code) = match word.parse::<u16>() {
        Ok(status) if (200..300).contains(&status) => (Some(status), None, None),
        Ok(status) if (300..=599).contains(&status) => {
            (Some(status), Some(ErrorClass::of_status(status)), None)
        }
        Ok(status) => bail!("outcome `{text}`: {status} is no final HTTP status; write 200 to 599"),
        Err(_) => {
            let known = WORDS.iter().find(|known| known.word == word).with_context(|| {
                let words: Vec<&str> = WORDS.iter().map(|known| known.word).collect();
                format!("outcome `{word}`: write a status such as 429, or one of {}", words.join(", "))
            })?;
            (known.status, Some(known.class), known.code)
        }
    };
    let mut outcome = Outcome { status, error, code, retry_after: None, took: TOOK };
    for part in parts {
        match part.split_once('=') {
            Some(("retry-after", value)) => outcome.retry_after = Some(duration(part, value)?),
            Some(("took", value)) => outcome.took = duration(part, value)?,
            _ => bail!("outcome `{text}`: `{part}` is unknown; write `/retry-after=2` or `/took=300ms`"),
        }
    }
    Ok(outcome)
}

/// Seconds as in the header `Retry-After`, or a number with a unit.
fn duration(place: &str, text: &str) -> anyhow::Result<Duration> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(u64::from(seconds))),
        Err(_) => domain::time::parse_duration(text).with_context(|| format!("outcome `{place}`")),
    }
}

impl Outcome {
    /// How long the attempt takes.
    pub(super) fn took(&self) -> Duration {
        self.took
    }

    /// Writes the outcome into the record of an attempt.
    pub(super) fn into(self, mut attempt: Attempt) -> Attempt {
        attempt.status = self.status;
        attempt.error = self.error;
        attempt.code = self.code.map(str::to_owned);
        attempt.retry_after_ms = self.retry_after.map(domain::time::millis);
        attempt
    }
}

/// The outcome of an attempt in words.
pub(super) fn describe(attempt: &Attempt) -> String {
    let status = attempt.status.map(|status| status.to_string());
    let error = attempt.error.map(|error| error.as_str().to_owned());
    let code = attempt.code.as_ref().map(|code| format!("({code})"));
    let asked = attempt.retry_after();
    let asked = asked.map(|asked| format!("retry-after {}", domain::time::format_duration(asked)));
    [status, error, code, asked].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_statuses_or_words_with_times() {
        let seconds = Duration::from_secs;
        let outcome =
            |status, error, retry_after, took| Outcome { status, error, code: None, retry_after, took };
        assert_eq!(
            parse("429/retry-after=2, lost,200/took=3s,timeout").unwrap(),
            [
                outcome(Some(429), Some(ErrorClass::RateLimit), Some(seconds(2)), TOOK),
                outcome(None, Some(ErrorClass::Lost), None, TOOK),
                outcome(Some(200), None, None, seconds(3)),
                outcome(Some(408), Some(ErrorClass::Timeout), None, TOOK),
            ]
        );
        let long = parse("context_length").unwrap().remove(0);
        assert_eq!((long.status, long.code), (Some(400), Some("context_length_exceeded")));
        for (bad, part) in [
            ("tiemout", "one of rate_limit"),
            ("100", "200 to 599"),
            ("200/slow", "`slow` is unknown"),
            ("429/retry-after=soon", "retry-after=soon"),
        ] {
            let err = format!("{:#}", parse(bad).unwrap_err());
            assert!(err.contains(part), "{bad}: {err}");
        }
    }
}
