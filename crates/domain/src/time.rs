//! Points in time as the broker counts them, and durations as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z on the broker's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time `after` this one; saturates at the end of time.
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(millis(after)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Whole milliseconds of a duration; saturates.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as RFC 3339 writes it, in UTC and to the millisecond.
pub fn rfc3339(at: Timestamp) -> String {
    let format = &::time::format_description::well_known::Rfc3339;
    let time = ::time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).ok();
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| format!("{} ms", at.0))
}

/// Why a duration was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a duration: write a number with a unit, as in `500ms`, `20s`, `5m`, `24h` or `7d`")]
pub struct InvalidDuration(pub String);

/// Reads `500ms`, `20s`, `1.5m`, `24h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.chars().take(40).collect());
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(invalid)?;
    let (number, unit) = trimmed.split_at(split);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(invalid()),
    };
    let number: f64 = number.trim().parse().map_err(|_| invalid())?;
    if !(0.0..=1e9).contains(&number) {
        return Err(invalid());
    }
    // Rounded to whole milliseconds, so that what is printed parses back.
    Ok(Duration::from_millis((number * seconds_per_unit * 1000.0).round() as u64))
}

/// Prints a duration in the largest unit that keeps it whole.
pub fn format_duration(duration: Duration) -> String {
    let ms = millis(duration);
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms >= size && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

/// Serde for settings: a duration is written as text.
pub mod text {
    use super::*;

    /// Writes `20s`.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }

    /// Reads `20s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

/// Serde for messages: a duration is a whole number of milliseconds.
pub mod ms {
    use super::*;

    /// Writes milliseconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(millis(*duration))
    }

    /// Reads milliseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// The same for a duration that may be missing.
pub mod optional_ms {
    use super::*;

    /// Writes milliseconds, or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(millis).serialize(serializer)
    }

    /// Reads milliseconds, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, ms) in [("500ms", 500), ("20s", 20_000), ("1.5m", 90_000), ("24h", 86_400_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "20", "s", "-1s", "1 week", "NaNs", "1e99s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_parses_back() {
        for ms in [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
