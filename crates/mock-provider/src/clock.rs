//! The time of day, for what expires.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the mock runs outside any role and stands for somebody else's clock"
)]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads `20231114T221320Z` as seconds since 1970.
pub(crate) fn from_amz_date(text: &str) -> Option<u64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str| text.len() == text.bytes().filter(u8::is_ascii_digit).count();
    if day.len() != 8 || time.len() != 6 || !digits(day) || !digits(time) {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, month, date) = (number(&day[..4])?, number(&day[4..6])?, number(&day[6..])?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&date) {
        return None;
    }
    // Years begin in March here, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date - 1 - 719_468;
    let seconds = number(&time[..2])? * 3600 + number(&time[2..4])? * 60 + number(&time[4..])?;
    Some(days * 86_400 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds() {
        assert_eq!(from_amz_date("20231114T221320Z"), Some(1_700_000_000));
        assert_eq!(from_amz_date("19700101T000000Z"), Some(0));
        assert_eq!(from_amz_date("20240229T235959Z"), Some(1_709_251_199));
        for bad in ["", "20231114T221320", "2023-11-14T22:13:20Z", "20231314T221320Z", "2023111éT221320Z"] {
            assert_eq!(from_amz_date(bad), None, "{bad}");
        }
    }
}
