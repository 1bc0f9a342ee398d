//! What the guard makes of one text: the kind of question, and its content words with what governs them.

use super::token::Kind;
use super::words::Person;

/// What kind of answer a text asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// A bare phrase or statement.
    Bare,
    /// `give me`, `write`, `could you`.
    Request,
    HowTo,
    What,
    Why,
    When,
    Where,
    Who,
    How,
    HowMuch,
    YesNo,
    /// `is there a way to`: how, or whether at all.
    Way,
}

/// When a text speaks of, as its auxiliaries tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tense {
    Past,
    Present,
    Future,
}

/// What may, must or should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modality {
    May,
    Must,
    Should,
    Would,
}

/// What ties a term to the words before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tie {
    Bare,
    /// `in`, `of`, `with` …: the word itself.
    Loose(String),
    To,
    From,
    /// `before`, `under` …: the class of the word.
    Firm(&'static str),
}

/// One word, number or literal that must be found again in the other text.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub text: String,
    pub stem: String,
    /// The stem that stands for all synonyms; the stem itself for a name.
    pub class: String,
    pub kind: Kind,
    /// A function word that must not differ, by its class.
    pub firm: Option<&'static str>,
    /// Capitalised inside a sentence.
    pub name: bool,
    /// Capitalised, wherever it stands.
    pub capital: bool,
    /// A past form or participle.
    pub past: bool,
    /// A participle behind a form of `be`.
    pub passive: bool,
    pub negated: bool,
    pub tie: Tie,
    /// Right behind the word that ties it, not only in the same phrase.
    pub direct: bool,
    /// Terms with the same number follow one another without a function word between them.
    pub phrase: usize,
    /// Terms of one enumeration (`a and b`).
    pub list: Option<usize>,
    /// Whose it is: `my`, `his`.
    pub owner: Option<Person>,
    /// A form in `-ing`.
    pub gerund: bool,
    /// In the phrase that `what`, `which` or `how many` asks for.
    pub asked: bool,
}

/// A text as the guard compares it.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    pub question: Question,
    pub tense: Option<Tense>,
    pub modality: Option<Modality>,
    pub subjects: Vec<Person>,
    pub objects: Vec<Person>,
    /// What ties each object to the words before it, as far as it is a pronoun.
    pub object_ties: Vec<Tie>,
    pub owners: Vec<Person>,
    pub terms: Vec<Term>,
    /// A negation with no term behind it.
    pub dangling_not: bool,
    /// Capitals are used at all, so that a small letter says something.
    pub cased: bool,
    /// The question opens with a negation: `isn't it`, `why doesn't it`.
    pub opening_not: bool,
    /// A preposition with no term behind it: `what is he looking for`.
    pub dangling: Option<String>,
    /// A preposition in front of the question word: `for what is he looking`.
    pub fronted: Option<String>,
    /// `there is`.
    pub exists: bool,
    /// `to have`.
    pub has: bool,
    /// `it` opens the question: `is it safe to`.
    pub dummy: bool,
    /// `what should I do if`.
    pub remedy: bool,
    /// `some`.
    pub some: bool,
    pub english: bool,
}
