//! Percentiles, medians and ratios that stay silent, instead of wrong, when there is nothing to compute from.

use std::time::Duration;

/// Durations of one measurement.
#[derive(Debug, Default, Clone)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(super) fn append(&mut self, mut other: Samples) {
        self.0.append(&mut other.0);
    }

    /// The percentiles asked for, in milliseconds, by nearest rank: always one of the samples, never between.
    pub(super) fn percentiles_ms<const N: usize>(mut self, percents: [f64; N]) -> [Option<f64>; N] {
        self.0.sort_unstable();
        percents.map(|percent| {
            let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
            self.0.get(rank.saturating_sub(1)).map(|sample| sample.as_secs_f64() * 1000.0)
        })
    }
}

/// The middle of the values that exist; between two middles, their mean.
pub(super) fn median(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().flatten().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// `None` instead of a division by zero.
pub(super) fn ratio(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(milliseconds: impl IntoIterator<Item = u64>) -> Samples {
        Samples(milliseconds.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_nearest_ranks_of_unsorted_samples() {
        let hundred = samples((1..=100).rev());
        assert_eq!(
            hundred.percentiles_ms([0.0, 50.0, 99.0, 99.5, 100.0]),
            [Some(1.0), Some(50.0), Some(99.0), Some(100.0), Some(100.0)]
        );
        assert_eq!(samples([7]).percentiles_ms([50.0, 99.0]), [Some(7.0), Some(7.0)]);
        assert_eq!(samples([3, 1]).percentiles_ms([50.0, 51.0]), [Some(1.0), Some(3.0)]);
    }

    #[test]
    fn no_samples_have_no_percentile() {
        assert_eq!(Samples::default().percentiles_ms([50.0]), [None]);
    }

    #[test]
    fn medians_skip_what_was_not_measured() {
        assert_eq!(median([Some(9.0), None, Some(1.0), Some(2.0)]), Some(2.0));
        assert_eq!(median([Some(4.0), Some(1.0)]), Some(2.5));
        assert_eq!(median([None, None]), None);
        assert_eq!(median([]), None);
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        assert_eq!(ratio(1.0, 0.0), None);
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
    }
}
