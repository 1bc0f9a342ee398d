//! Spans of the calendar: where they begin, and how they are named.

use time::OffsetDateTime;

use super::Interval;
use crate::Timestamp;

/// Begin of the span of the calendar that a moment is in, in UTC.
pub fn floor(at: Timestamp, interval: Interval) -> Timestamp {
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    match interval {
        Interval::Hour => Timestamp(at.0 - at.0 % HOUR),
        Interval::Day => Timestamp(at.0 - at.0 % DAY),
        // The first day of 1970 was a Thursday.
        Interval::Week => {
            let day = at.0 / DAY;
            Timestamp(day.saturating_sub((day + 3) % 7) * DAY)
        }
        Interval::Month => {
            let day = date(at).map_or(1, |at| u64::from(at.day()));
            Timestamp((at.0 / DAY).saturating_sub(day - 1) * DAY)
        }
    }
}

/// A moment as keys of that interval name it: `2026-11-21T21:00Z`, `2026-11-21`, `2026-11`.
pub fn label(at: Timestamp, interval: Interval) -> String {
    let Some(date) = date(at) else { return at.0.to_string() };
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    match interval {
        Interval::Hour => format!("{year:04}-{month:02}-{day:02}T{:02}:00Z", date.hour()),
        Interval::Day | Interval::Week => format!("{year:04}-{month:02}-{day:02}"),
        Interval::Month => format!("{year:04}-{month:02}"),
    }
}

/// The moment that a key of that interval names.
pub fn parse_label(text: &str, interval: Interval) -> Option<Timestamp> {
    let number = |part: Option<&str>| part.and_then(|p| p.parse::<u8>().ok());
    let (date, hour) = text.split_once('T').map_or((text, None), |(date, rest)| (date, Some(rest)));
    let mut parts = date.splitn(3, '-');
    let year: i32 = parts.next()?.parse().ok()?;
    let month = time::Month::try_from(number(parts.next())?).ok()?;
    let day = parts.next().map_or(Some(1), |day| day.parse().ok())?;
    let hour = hour.map_or(Some(0), |rest| number(rest.get(..2)))?;
    let date = time::Date::from_calendar_date(year, month, day).ok()?.with_hms(hour, 0, 0).ok()?;
    let seconds = u64::try_from(date.assume_utc().unix_timestamp()).ok()?;
    let at = Timestamp(seconds.checked_mul(1000)?);
    (floor(at, interval) == at).then_some(at)
}

fn date(at: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.0 / 1000).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_begin_where_the_calendar_says() {
        // Saturday, 2026-11-21, 21:45:12 UTC.
        let at = Timestamp(1_795_297_512_345);
        for (interval, wanted) in [
            (Interval::Hour, "2026-11-21T21:00Z"),
            (Interval::Day, "2026-11-21"),
            (Interval::Week, "2026-11-16"),
            (Interval::Month, "2026-11"),
        ] {
            assert_eq!(label(floor(at, interval), interval), wanted);
        }
        assert_eq!(parse_label("2026-11-20", Interval::Week), None);
        assert_eq!(parse_label("yesterday", Interval::Day), None);
        assert_eq!(label(floor(Timestamp(0), Interval::Week), Interval::Week), "1970-01-01");
    }

    proptest! {
        #[test]
        fn labels_parse_back(at in 1_000_000_000_000_u64..10_000_000_000_000) {
            for interval in Interval::ALL {
                let begin = floor(Timestamp(at), *interval);
                prop_assert!(begin.0 <= at);
                prop_assert_eq!(floor(begin, *interval), begin);
                prop_assert_eq!(parse_label(&label(begin, *interval), *interval), Some(begin));
            }
        }
    }
}
