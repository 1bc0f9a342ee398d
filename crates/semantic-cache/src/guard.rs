//! May an answer that was stored for one wording be served for another?
//!
//! Vectors cannot tell: "Alice paid Bob" and "Bob paid Alice" are closer than most paraphrases. So nothing may differ
//! but what is known to be harmless: filler and politeness, how a question is opened, articles, forms of a word, general
//! synonyms, and word order where a rule of English says that the parts played stay the same. Everything else,
//! above all a word that only one text has, is a difference. The rules are for English; other languages must be equal
//! but for case, spaces and the last punctuation.

mod arrange;
mod compare;
mod implied;
mod meaning;
mod order;
mod read;
mod stem;
#[cfg(test)]
mod tests;
mod token;
mod words;

use std::fmt;

/// Texts longer than this are compared letter by letter; the rules are made for questions, not for documents.
const LONGEST: usize = 2_000;

/// What keeps an answer to one text from being served for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Difference {
    /// Numbers, ordinals or their order.
    Numbers,
    /// Units of measure or money.
    Unit,
    /// Identifiers, versions, paths, formulas or operators.
    Identifier,
    /// Text in quotes or back-ticks.
    Quoted,
    /// Names: capitalised words inside a sentence.
    Entities,
    /// `not`, `without`, `un-`, and what they belong to.
    Negation,
    /// Past, present, future, or a word for a time.
    Time,
    /// `can`, `must`, `should`.
    Modality,
    /// `my`, `his`, `her`; who is spoken of.
    Person,
    /// `all`, `some`, `only`, `at least`, `more`, and what they belong to.
    Quantifier,
    /// `from`, `to`, `before`, `after`, `over`, `off`, and what they belong to.
    Direction,
    /// `how many` against `which`, `when` against `where`.
    Question,
    /// The same words with other parts to play.
    RoleSwap,
    /// One content word in the place of another.
    WordSwap,
    /// A word that only one of the texts has.
    Qualifier,
    /// Not English, or too long for the rules, and not the same letters.
    Wording,
}

impl Difference {
    /// The word for people and for labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Numbers => "numbers",
            Self::Unit => "unit",
            Self::Identifier => "identifier",
            Self::Quoted => "quoted text",
            Self::Entities => "entities",
            Self::Negation => "negation",
            Self::Time => "time",
            Self::Modality => "modality",
            Self::Person => "person",
            Self::Quantifier => "quantifier",
            Self::Direction => "direction",
            Self::Question => "question",
            Self::RoleSwap => "role swap",
            Self::WordSwap => "word swapped",
            Self::Qualifier => "qualifier",
            Self::Wording => "wording",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What keeps the answer to `stored` from being served for `asked`; `None` if nothing does.
/// The same both ways round.
pub fn differs(asked: &str, stored: &str) -> Option<Difference> {
    // A fixed order, so that pairing words greedily cannot make the answer depend on the side.
    let (a, b) = if asked <= stored { (asked, stored) } else { (stored, asked) };
    if a == b {
        return None;
    }
    let same_letters = || normal(a) == normal(b);
    if a.len().max(b.len()) > LONGEST {
        return (!same_letters()).then_some(Difference::Wording);
    }
    let (a_read, b_read) = (read::read(a, b), read::read(b, a));
    if !(a_read.english && b_read.english) {
        return (!same_letters()).then_some(Difference::Wording);
    }
    compare::compare(&a_read, &b_read)
}

/// The form in which two texts count as the same wording: trimmed, single spaces, lower case, no `?`, `!` or `.` at
/// the end. The guard still has to agree: "us" is not "US".
pub fn normal(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let joined = words.join(" ");
    joined.trim_end_matches(|c: char| c == '?' || c == '!' || c == '.' || c.is_whitespace()).to_owned()
}
