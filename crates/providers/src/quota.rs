//! Reads what providers say in headers about the limits they set.

use domain::Timestamp;
use domain::quota::{Left, Quota};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest wait that is believed, in milliseconds: a year.
const LONGEST: u64 = 365 * 24 * 3600 * 1000;

/// What is left, by OpenAI's headers, which many have, and Anthropic's. None: they say nothing.
///
/// `get` looks a header up, `now` is when the answer came.
/// Sources: "Rate limits" in the documentation of OpenAI's API, and in that of Anthropic's.
pub fn read<'h>(get: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> Option<Quota> {
    let openai = |what: &str| {
        let header = |field: &str| get(&format!("x-ratelimit-{field}-{what}"));
        left(header("remaining"), header("limit"), header("reset"), now)
    };
    let anthropic = |what: &str| {
        let header = |field: &str| get(&format!("anthropic-ratelimit-{what}-{field}"));
        left(header("remaining"), header("limit"), header("reset"), now)
    };
    let quota = Quota {
        requests: openai("requests").or_else(|| anthropic("requests")),
        tokens: openai("tokens").or_else(|| anthropic("tokens")),
        input_tokens: anthropic("input-tokens"),
        output_tokens: anthropic("output-tokens"),
    };
    (quota != Quota::default()).then_some(quota)
}

fn left(remaining: Option<&str>, limit: Option<&str>, reset: Option<&str>, now: Timestamp) -> Option<Left> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    Some(Left {
        remaining: number(remaining?)?,
        limit: limit.and_then(number),
        reset_ms: reset.and_then(|text| wait(text.trim(), now)).filter(|ms| *ms <= LONGEST),
    })
}

/// Milliseconds of `1s`, `6m0s`, `7.66s`, `17ms`, of a number of seconds, or until a time as RFC 3339 has it.
fn wait(text: &str, now: Timestamp) -> Option<u64> {
    if text.contains('T') {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let at = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()?;
        return Some(at.saturating_sub(now.0));
    }
    let mut rest = text;
    let mut total = 0.0_f64;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "ms" => 1.0,
                "s" | "" => 1000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                _ => return None,
            };
        rest = &rest[letters..];
        if rest.is_empty() {
            return Some(total.round() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01T00:00:00Z.
    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    #[test]
    fn waits_are_durations_seconds_or_times() {
        for (text, expected) in [
            ("1s", Some(1000)),
            ("6m0s", Some(360_000)),
            ("1h2m3s", Some(3_723_000)),
            ("2m59.56s", Some(179_560)),
            ("17ms", Some(17)),
            ("1d", Some(86_400_000)),
            ("60", Some(60_000)),
            ("0.5", Some(500)),
            ("2026-01-01T00:01:00Z", Some(60_000)),
            ("2026-01-01T01:00:00.250+01:00", Some(250)),
            ("2025-12-31T23:59:00Z", Some(0)),
            ("", None),
            ("soon", None),
            ("-1s", None),
            ("1x", None),
            ("1.2.3s", None),
            ("Thu, 01 Jan 2026 00:00:00 GMT", None),
        ] {
            assert_eq!(wait(text, NOW), expected, "{text}");
        }
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Option<Quota>) {
        let get = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        assert_eq!(read(get, NOW), expected, "{headers:?}");
    }

    #[test]
    fn both_families_of_headers_are_read() {
        let left = |remaining, limit, reset_ms| Some(Left { remaining, limit, reset_ms });
        check(
            &[
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-limit-tokens", "150000"),
                ("x-ratelimit-remaining-tokens", "149984"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            Some(Quota {
                requests: left(59, Some(60), Some(1000)),
                tokens: left(149_984, Some(150_000), Some(360_000)),
                ..Quota::default()
            }),
        );
        check(
            &[
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:01Z"),
                ("anthropic-ratelimit-input-tokens-remaining", "5"),
                ("anthropic-ratelimit-input-tokens-limit", "9"),
                ("anthropic-ratelimit-output-tokens-remaining", "7"),
            ],
            Some(Quota {
                requests: left(0, None, Some(1000)),
                input_tokens: left(5, Some(9), None),
                output_tokens: left(7, None, None),
                ..Quota::default()
            }),
        );
    }

    #[test]
    fn what_is_not_said_or_not_understood_is_left_out() {
        check(&[], None);
        check(&[("x-ratelimit-limit-requests", "60")], None);
        check(&[("x-ratelimit-remaining-requests", "many")], None);
        let far = [("x-ratelimit-remaining-tokens", "1"), ("x-ratelimit-reset-tokens", "1767225600")];
        let tokens = Some(Left { remaining: 1, limit: None, reset_ms: None });
        check(&far, Some(Quota { tokens, ..Quota::default() }));
    }
}
