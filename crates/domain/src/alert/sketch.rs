//! How values are spread, in little room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of values in buckets whose width grows with the value: below 16 each value has its own, above, each power
/// of two is cut into 16. So a quantile is at most 6.25 % (1/16) too high, and never too low. Times of up to a day in
/// milliseconds need at most 384 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sketch(BTreeMap<u16, u64>);

impl Sketch {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        *self.0.entry(bucket(value)).or_default() += 1;
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// A value that `percent` % of the counted ones do not exceed, as the upper end of its bucket. None: nothing was
    /// counted.
    pub fn quantile(&self, percent: u8) -> Option<u64> {
        let wanted = (self.count() * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= wanted).then(|| upper(*bucket))
        })
    }
}

/// The bucket of a value: its power of two and the four bits after the first.
fn bucket(value: u64) -> u16 {
    if value < 16 {
        return u16::try_from(value).unwrap_or_default();
    }
    let power = value.ilog2();
    let part = (value >> (power - 4)) & 15;
    u16::try_from(u64::from(power - 3) * 16 + part).unwrap_or(u16::MAX)
}

/// The largest value of a bucket.
fn upper(bucket: u16) -> u64 {
    let (row, part) = (u32::from(bucket) / 16, u128::from(bucket) % 16);
    if row == 0 {
        return u64::from(bucket);
    }
    let shift = row - 1;
    u64::try_from(((17 + part) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_known_list() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile(95), None);
        (1..=100).for_each(|value| sketch.add(value));
        let p95 = sketch.quantile(95).unwrap();
        assert!((95..=100).contains(&p95), "{p95}");
        assert_eq!((sketch.quantile(1), sketch.quantile(100)), (Some(1), Some(103)));
    }

    proptest! {
        #[test]
        fn a_quantile_is_never_too_low_and_at_most_a_sixteenth_too_high(
            mut values in prop::collection::vec(any::<u64>().prop_map(|v| v >> (v % 60)), 1..200),
            percent in 1..=100_u8,
        ) {
            let mut sketch = Sketch::default();
            values.iter().for_each(|value| sketch.add(*value));
            values.sort_unstable();
            let rank = (values.len() * usize::from(percent)).div_ceil(100).max(1);
            let exact = values[rank - 1];
            let said = sketch.quantile(percent).unwrap();
            prop_assert!(said >= exact && said - exact <= exact / 16, "{said} for {exact}");
        }

        #[test]
        fn merging_counts_what_both_counted(a in prop::collection::vec(0..1u64 << 40, 0..50), b in prop::collection::vec(0..1u64 << 40, 0..50)) {
            let (mut left, mut right, mut both) = (Sketch::default(), Sketch::default(), Sketch::default());
            a.iter().for_each(|v| { left.add(*v); both.add(*v); });
            b.iter().for_each(|v| { right.add(*v); both.add(*v); });
            left.merge(&right);
            prop_assert_eq!(left, both);
        }
    }
}
