//! Reading of pairs, the arithmetic of rates, and the project's own pairs.

use super::*;

const PAIRS: &str = "# kind, text, text\nP\tWhat is Rust?\twhat is rust\nP\tHow do I buy a car?\tHow can I purchase a car?\n\
    P\tWhat is snow?\tWhy do we have snow?\nN\tIs it cold in Oslo?\tIs it cold in Rome?\nN\tBuy a car\tPurchase a car\n\
    U\tWhat is snow?\tHow do I buy a car?\n";

/// Cosines of the pairs in turn: 0.5, 0.9, 0.95, 0.99, 0.85, 0.
fn vectors(texts: &[String]) -> anyhow::Result<Vec<Vec<f32>>> {
    let cosines = [0.5f32, 0.9, 0.95, 0.99, 0.85, 0.0];
    assert_eq!(texts.len(), 2 * cosines.len());
    // Of any length: the second is twice as long as the first.
    Ok(cosines.iter().flat_map(|c| [vec![1.0, 0.0], vec![2.0 * c, 2.0 * (1.0 - c * c).sqrt()]]).collect())
}

fn judged() -> Vec<Judged> {
    judge(parse(PAIRS).unwrap(), &mut vectors).unwrap()
}

#[test]
fn a_pair_is_served_when_it_is_the_same_wording_or_close_and_the_guard_agrees() {
    let served: Vec<bool> = judged().iter().map(|judged| judged.served(0.9)).collect();
    assert_eq!(served, [true, true, false, false, false, false]);
    assert!(judged()[4].served(0.8));
}

#[test]
fn rows_count_what_every_threshold_serves() {
    let report = report(judged());
    assert_eq!(report.rows.len(), 20);
    let at =
        |threshold: f64| report.rows.iter().find(|row| (row.threshold - threshold).abs() < 1e-9).unwrap();
    let counts = |row: &Row| (row.true_hits, row.positives, row.false_hits, row.negatives);
    assert_eq!(counts(at(0.80)), (2, 3, 1, 3));
    assert_eq!(counts(at(0.86)), (2, 3, 0, 3));
    assert_eq!(counts(at(0.91)), (1, 3, 0, 3));
    assert_eq!((at(0.80).hard_false_hits, at(0.80).hard_negatives), (1, 2));
    assert_eq!((at(0.80).true_hits_unguarded, at(0.80).false_hits_unguarded), (3, 2));
}

#[test]
fn json_has_the_default_threshold_and_the_rows() {
    let json = serde_json::to_value(report(judged())).unwrap();
    assert_eq!(json["default_threshold"], serde_json::json!(0.8));
    let row = &json["rows"][0];
    for (field, value) in [("true_hits", 2), ("positives", 3), ("false_hits", 1), ("negatives", 3)] {
        assert_eq!(row[field], value, "{field}");
    }
    assert_eq!(row["threshold"], serde_json::json!(0.8));
    assert!(json.get("judged").is_none());
}

#[test]
fn the_explanation_lists_false_hits_and_lost_true_hits() {
    let report = report(judged());
    let text = report.explain(0.8);
    assert!(text.contains("false hits at 0.80: 1"), "{text}");
    assert!(text.contains("Buy a car  |  Purchase a car"), "{text}");
    assert!(text.contains("lost to the guard at 0.80: 1"), "{text}");
    assert!(text.contains("What is snow?  |  Why do we have snow?"), "{text}");
    assert!(report.to_string().contains("0.80 *       2 of 3"), "{report}");
}

#[test]
fn wilson_intervals_are_those_of_the_tables() {
    let close =
        |rate: Rate, low: f64, high: f64| (rate.low - low).abs() < 5e-4 && (rate.high - high).abs() < 5e-4;
    // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    assert!(close(rate(81, 263), 0.2553, 0.3662), "{:?}", rate(81, 263));
    assert!(close(rate(15, 148), 0.0624, 0.1605), "{:?}", rate(15, 148));
    assert!(close(rate(0, 20), 0.0, 0.1611), "{:?}", rate(0, 20));
    assert!(close(rate(1, 29), 0.0061, 0.1718), "{:?}", rate(1, 29));
    assert_eq!(rate(0, 0).rate, 0.0);
}

#[test]
fn a_bad_line_is_named_with_what_to_write() {
    let fails = |file: &str| format!("{:#}", parse(file).unwrap_err());
    assert_eq!(
        fails("P\ta\tb\nX\ta\tb"),
        "line 2 is no pair of texts: `X` is no kind of pair, write P (paraphrase), N (hard negative) or U (unrelated)"
    );
    assert!(fails("P\ta").contains("line 1 is no pair of texts: it has 2 parts between tabs, write 3"));
    assert!(fails("P\ta\t ").contains("a text is empty"));
    assert!(fails("# nothing\n").contains("there are no pairs"));
}

#[test]
fn an_embedder_that_fails_or_drops_texts_fails_the_evaluation() {
    let fails = |embed: &mut Embed<'_>| format!("{:#}", judge(parse(PAIRS).unwrap(), embed).unwrap_err());
    assert_eq!(fails(&mut |_| anyhow::bail!("no model")), "embed the texts of the pairs: no model");
    assert_eq!(fails(&mut |_| Ok(vec![])), "12 texts were embedded as 0 vectors");
}
