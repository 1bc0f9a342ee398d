//! How well documents fit a query: the share of the query's words that they hold.

use std::collections::HashSet;

/// Index and score of every document, the best first; equal ones stay in their order.
pub(crate) fn ranked(query: &str, documents: &[String]) -> Vec<(usize, f64)> {
    let words = |text: &str| -> HashSet<String> { text.split_whitespace().map(str::to_lowercase).collect() };
    let wanted = words(query);
    let score = |document: &String| {
        let held = words(document).intersection(&wanted).count();
        held as f64 / wanted.len().max(1) as f64
    };
    let mut scores: Vec<_> = documents.iter().map(score).enumerate().collect();
    scores.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_comes_first() {
        let documents = ["nothing", "a red fox", "a fox", "nothing else"].map(str::to_owned);
        assert_eq!(ranked("Red fox", &documents), [(1, 1.0), (2, 0.5), (0, 0.0), (3, 0.0)]);
        assert_eq!(ranked("", &documents)[0], (0, 0.0));
    }
}
