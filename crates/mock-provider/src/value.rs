//! Values of script parameters: durations, sizes, rates.

use std::time::Duration;

/// The largest body a script may ask for.
pub(crate) const MAX_SIZE: usize = 256 * 1024 * 1024;

/// Calls per period, as in `10/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) calls: u32,
    pub(crate) per: Duration,
}

/// Calls per window, as in `10/2s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wall {
    pub(crate) calls: u32,
    pub(crate) window: Duration,
}

/// How long a refused caller is told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    /// Said in `retry-after` only.
    Seconds(u64),
    /// Said in `retry-after-ms`, and rounded up in `retry-after`.
    Exact(Duration),
}

impl RetryAfter {
    /// The wait in milliseconds, rounded up.
    pub(crate) fn millis(self) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds.saturating_mul(1000),
            Self::Exact(wait) => u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX),
        }
    }

    /// The wait in seconds, rounded up.
    pub(crate) fn seconds(self) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds,
            exact @ Self::Exact(_) => exact.millis().div_ceil(1000),
        }
    }
}

/// Reads `200ms`, `2s` or `5m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

/// Reads `5MB`, `64KiB` or plain bytes.
pub(crate) fn size(text: &str) -> Option<usize> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KB" | "kB" => 1000,
        "KiB" => 1024,
        "MB" => 1000 * 1000,
        "MiB" => 1024 * 1024,
        _ => return None,
    };
    usize::try_from(number.checked_mul(factor)?).ok().filter(|bytes| *bytes <= MAX_SIZE)
}

/// Reads `10/s` or `100/m`.
pub(crate) fn rate(text: &str) -> Option<Rate> {
    let (calls, per) = text.split_once('/')?;
    let per = match per {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        _ => return None,
    };
    let calls = unsigned(calls)?.try_into().ok().filter(|calls| (1..=1_000_000).contains(calls))?;
    Some(Rate { calls, per })
}

/// Reads `10/2s`.
pub(crate) fn wall(text: &str) -> Option<Wall> {
    let (calls, window) = text.split_once('/')?;
    let calls = unsigned(calls)?.try_into().ok().filter(|calls| (1..=1_000_000).contains(calls))?;
    let window = duration(window).filter(|window| !window.is_zero())?;
    Some(Wall { calls, window })
}

/// Reads `2` (seconds) or a duration.
pub(crate) fn retry_after(text: &str) -> Option<RetryAfter> {
    unsigned(text).map(RetryAfter::Seconds).or_else(|| duration(text).map(RetryAfter::Exact))
}

/// Reads a whole number within bounds.
pub(crate) fn count(text: &str, min: usize, max: usize) -> Option<usize> {
    usize::try_from(unsigned(text)?).ok().filter(|n| (min..=max).contains(n))
}

/// Digits only: `parse` alone would also take a sign.
fn unsigned(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(duration("3m"), Some(Duration::from_secs(180)));
        for bad in
            ["", "2", "ms", "-2s", "+2s", "1.5s", "2 s", "2h", "18446744073709551616s", "400000000000000000m"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_know_decimal_and_binary_units() {
        for (text, bytes) in
            [("7", 7), ("7B", 7), ("5MB", 5_000_000), ("64KiB", 65_536), ("2KB", 2000), ("1MiB", 1_048_576)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "MB", "5GB", "5 MB", "1.5MB", "257MiB", "-1"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn rates_are_calls_per_second_or_minute() {
        assert_eq!(rate("10/s"), Some(Rate { calls: 10, per: Duration::from_secs(1) }));
        assert_eq!(rate("3/m"), Some(Rate { calls: 3, per: Duration::from_secs(60) }));
        for bad in ["", "10", "0/s", "10/h", "/s", "-1/s", "+1/s"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn walls_are_calls_per_window() {
        assert_eq!(wall("10/2s"), Some(Wall { calls: 10, window: Duration::from_secs(2) }));
        for bad in ["", "10", "0/2s", "10/s", "10/0s", "/2s"] {
            assert_eq!(wall(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bare_wait_is_in_seconds() {
        assert_eq!(retry_after("2"), Some(RetryAfter::Seconds(2)));
        assert_eq!(retry_after("500ms"), Some(RetryAfter::Exact(Duration::from_millis(500))));
        for bad in ["", "-1", "+1", "soon"] {
            assert_eq!(retry_after(bad), None, "{bad}");
        }
    }
}
