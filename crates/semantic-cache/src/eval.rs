//! How often the cache would serve what it should, and what it should not, over labelled pairs of texts.

use std::fmt::{self, Write as _};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use crate::guard::{Difference, differs, normal};

/// The least cosine of two texts that may share an answer, chosen by measurement: see the pairs in `pairs/`.
pub const DEFAULT_THRESHOLD: f32 = 0.80;

/// What a pair of texts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// One answer serves both.
    Paraphrase,
    /// Close in wording, but with another answer.
    HardNegative,
    /// About something else.
    Unrelated,
}

/// Two texts and what they are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What they are to each other.
    pub label: Label,
    /// The text that is stored.
    pub a: String,
    /// The text that is asked.
    pub b: String,
}

/// Reads lines of `P|N|U <tab> text <tab> text`; empty lines and those that start with `#` are skipped.
/// Fails on any other line, with its number, and on a file without pairs.
pub fn parse(file: &str) -> anyhow::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for (number, line) in
        file.lines().enumerate().map(|(place, line)| (place + 1, line.trim_end_matches('\r')))
    {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        pairs.push(pair(line).with_context(|| format!("line {number} is no pair of texts"))?);
    }
    ensure!(
        !pairs.is_empty(),
        "there are no pairs: write lines of P, N or U, a text and another text, tabs between"
    );
    Ok(pairs)
}

fn pair(line: &str) -> anyhow::Result<Pair> {
    let parts: Vec<&str> = line.split('\t').collect();
    let [label, a, b] = parts[..] else {
        anyhow::bail!("it has {} parts between tabs, write 3: P, N or U, a text, another text", parts.len());
    };
    let label = match label {
        "P" => Label::Paraphrase,
        "N" => Label::HardNegative,
        "U" => Label::Unrelated,
        other => anyhow::bail!(
            "`{other}` is no kind of pair, write P (paraphrase), N (hard negative) or U (unrelated)"
        ),
    };
    ensure!(!a.trim().is_empty() && !b.trim().is_empty(), "a text is empty, write two texts");
    Ok(Pair { label, a: a.to_owned(), b: b.to_owned() })
}

/// One pair as the cache would judge it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The pair.
    pub pair: Pair,
    /// Both have the same normal form, so the vectors are not asked.
    pub same: bool,
    /// Cosine of the two vectors.
    pub cosine: f32,
    /// What the guard has against it.
    pub difference: Option<Difference>,
}

impl Judged {
    /// Whether the stored answer would be served: the same wording, or close enough, and nothing that differs.
    pub fn served(&self, threshold: f32) -> bool {
        (self.same || self.cosine >= threshold) && self.difference.is_none()
    }
}

/// Makes a vector of each text, in order.
pub type Embed<'a> = dyn FnMut(&[String]) -> anyhow::Result<Vec<Vec<f32>>> + 'a;

/// Judges pairs by the vectors that `embed` makes of their texts (any length, one per text, in order).
pub fn judge(pairs: Vec<Pair>, embed: &mut Embed<'_>) -> anyhow::Result<Vec<Judged>> {
    let texts: Vec<String> = pairs.iter().flat_map(|pair| [pair.a.clone(), pair.b.clone()]).collect();
    let vectors = embed(&texts).context("embed the texts of the pairs")?;
    ensure!(vectors.len() == texts.len(), "{} texts were embedded as {} vectors", texts.len(), vectors.len());
    let judged = pairs.into_iter().zip(vectors.as_chunks::<2>().0).map(|(pair, [a, b])| Judged {
        same: normal(&pair.a) == normal(&pair.b),
        cosine: cosine(a, b),
        difference: differs(&pair.b, &pair.a),
        pair,
    });
    Ok(judged.collect())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 { dot(a, b) / length } else { 0.0 }
}

/// A share of a whole and the interval that holds the true rate in 95 of 100 cases (Wilson).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The share itself, 0 to 1; 0 of nothing.
    pub rate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The rate of `hits` in `of` with its Wilson interval at 95 %.
pub fn rate(hits: usize, of: usize) -> Rate {
    // The two-sided 95 % quantile of the normal distribution.
    const Z: f64 = 1.959_964;
    if of == 0 {
        return Rate { rate: 0.0, low: 0.0, high: 1.0 };
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of pairs in a file are far below 2^52")]
    let (hits, of) = (hits as f64, of as f64);
    let share = hits / of;
    let spread = Z * (share * (1.0 - share) / of + Z * Z / (4.0 * of * of)).sqrt();
    let (middle, scale) = (share + Z * Z / (2.0 * of), 1.0 + Z * Z / of);
    Rate {
        rate: share,
        low: ((middle - spread) / scale).max(0.0),
        high: ((middle + spread) / scale).min(1.0),
    }
}

/// What one threshold serves.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The least cosine.
    pub threshold: f64,
    /// Paraphrases that are served.
    pub true_hits: usize,
    /// All paraphrases.
    pub positives: usize,
    /// Hard negatives and unrelated pairs that are served.
    pub false_hits: usize,
    /// All hard negatives and unrelated pairs.
    pub negatives: usize,
    /// Of the false hits, those among the hard negatives.
    pub hard_false_hits: usize,
    /// All hard negatives.
    pub hard_negatives: usize,
    /// Paraphrases that the vectors alone would serve.
    pub true_hits_unguarded: usize,
    /// Hard negatives and unrelated pairs that the vectors alone would serve.
    pub false_hits_unguarded: usize,
    /// True hits among positives.
    pub true_rate: Rate,
    /// False hits among negatives.
    pub false_rate: Rate,
}

/// The figures for every threshold.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The threshold that is used when a config names none.
    pub default_threshold: f64,
    /// One row per threshold, the lowest first.
    pub rows: Vec<Row>,
    /// The pairs behind the figures.
    #[serde(skip)]
    judged: Vec<Judged>,
}

/// Counts what is served at 0.80, 0.81 … 0.99, with the default threshold among them.
pub fn report(judged: Vec<Judged>) -> Report {
    let rows = (80..100).map(|hundredths| row(&judged, hundredths)).collect();
    Report { default_threshold: f64::from(hundredths(DEFAULT_THRESHOLD)) / 100.0, rows, judged }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a threshold is between 0 and 1")]
fn hundredths(threshold: f32) -> u8 {
    (threshold * 100.0).round() as u8
}

fn row(judged: &[Judged], hundredths: u8) -> Row {
    let least = f32::from(hundredths) / 100.0;
    let of = |kinds: &[Label], test: &dyn Fn(&Judged) -> bool| {
        judged.iter().filter(|judged| kinds.contains(&judged.pair.label) && test(judged)).count()
    };
    let (positive, negative) = ([Label::Paraphrase], [Label::HardNegative, Label::Unrelated]);
    let served = |judged: &Judged| judged.served(least);
    let close = |judged: &Judged| judged.same || judged.cosine >= least;
    let (true_hits, positives) = (of(&positive, &served), of(&positive, &|_| true));
    let (false_hits, negatives) = (of(&negative, &served), of(&negative, &|_| true));
    Row {
        threshold: f64::from(hundredths) / 100.0,
        true_hits,
        positives,
        false_hits,
        negatives,
        hard_false_hits: of(&[Label::HardNegative], &served),
        hard_negatives: of(&[Label::HardNegative], &|_| true),
        true_hits_unguarded: of(&positive, &close),
        false_hits_unguarded: of(&negative, &close),
        true_rate: rate(true_hits, positives),
        false_rate: rate(false_hits, negatives),
    }
}

impl Report {
    /// The pairs behind the figures at a threshold: false hits, and true hits that the guard lost.
    pub fn explain(&self, threshold: f32) -> String {
        let mut text = String::new();
        let mut list = |title: &str, test: &dyn Fn(&Judged) -> bool| {
            let found: Vec<&Judged> = self.judged.iter().filter(|judged| test(judged)).collect();
            let _ = writeln!(text, "{title} at {threshold:.2}: {}", found.len());
            for judged in found {
                let why = judged.difference.map_or("", Difference::name);
                let _ = writeln!(
                    text,
                    "  {:.3}  {:<12}  {}  |  {}",
                    judged.cosine, why, judged.pair.a, judged.pair.b
                );
            }
        };
        let paraphrase = |judged: &Judged| judged.pair.label == Label::Paraphrase;
        list("false hits", &|judged| !paraphrase(judged) && judged.served(threshold));
        list("true hits lost to the guard", &|judged| {
            paraphrase(judged) && (judged.same || judged.cosine >= threshold) && judged.difference.is_some()
        });
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "threshold    true hits   rate (95 %)            false hits   rate (95 %)          vectors alone"
        )?;
        for row in &self.rows {
            let mark = if (row.threshold - self.default_threshold).abs() < 1e-6 { "*" } else { " " };
            let share = |rate: Rate| {
                format!("{:5.1} % ({:4.1}–{:5.1})", rate.rate * 100.0, rate.low * 100.0, rate.high * 100.0)
            };
            writeln!(
                f,
                "{:.2} {mark}   {:>5} of {:<5}  {}   {:>5} of {:<5}  {}   {:>4} / {}",
                row.threshold,
                row.true_hits,
                row.positives,
                share(row.true_rate),
                row.false_hits,
                row.negatives,
                share(row.false_rate),
                row.true_hits_unguarded,
                row.false_hits_unguarded,
            )?;
        }
        write!(f, "* the default. Vectors alone: true / false hits without the guard.")
    }
}

#[cfg(test)]
mod tests;
