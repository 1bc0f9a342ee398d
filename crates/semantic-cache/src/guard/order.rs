//! Who does what to whom: whether words that changed places still have the same parts to play.

use std::ops::Range;

use super::meaning::{Meaning, Question, Tense, Term, Tie};
use super::stem::related;
use super::token::Kind;
use super::words::is_adjective;

/// Terms of one text, by index, and what they are called in the other.
pub(super) type Pairs = [(usize, usize)];

/// Whether a preposition that gives a direction stands before another term than in the other text.
pub(super) fn redirected(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    pairs.iter().any(|&(i, j)| {
        let (x, y) = (&a.terms[i], &b.terms[j]);
        let firm = x.firm.is_none() && y.firm.is_none();
        // "Dollars to euros" is "from dollars to euros".
        let next_is_to =
            |text: &Meaning, at: usize| text.terms.get(at + 1).is_some_and(|term| term.tie == Tie::To);
        let to = next_is_to(a, i) && next_is_to(b, j) && (x.tie == Tie::Bare || y.tie == Tie::Bare);
        firm && (x.direct || y.direct) && !agree(x, y) && !to && !governed(a, b, pairs, (i, j))
    }) || crossed(a, b, pairs)
        || promoted(a, b, pairs)
        || objects(a, b)
}

/// "Bad for dogs", "harmful to dogs": each of two synonyms has its own preposition.
fn governed(a: &Meaning, b: &Meaning, pairs: &Pairs, (i, j): (usize, usize)) -> bool {
    let own = |tie: &Tie| matches!(tie, Tie::Loose(word) if word == "for") || *tie == Tie::To;
    let before = i.checked_sub(1).zip(j.checked_sub(1)).filter(|before| pairs.contains(before));
    let synonyms = |(i, j): (usize, usize)| {
        is_adjective(&a.terms[i].text) && is_adjective(&b.terms[j].text) && a.terms[i].stem != b.terms[j].stem
    };
    own(&a.terms[i].tie) && own(&b.terms[j].tie) && before.is_some_and(synonyms)
}

/// "How do I clean silver" is not "how do I clean with silver".
fn promoted(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    let adverbial = |tie: &Tie| matches!(tie, Tie::Loose(word) if ["for", "with", "about", "by", "as", "like"].contains(&word.as_str()));
    pairs.iter().any(|&(i, j)| {
        let (x, y) = (&a.terms[i], &b.terms[j]);
        let one = x.direct && adverbial(&x.tie) && y.tie == Tie::Bare
            || y.direct && adverbial(&y.tie) && x.tie == Tie::Bare;
        one && i > 0
            && j > 0
            && pairs.contains(&(i - 1, j - 1))
            // "Treat a burn", "the treatment for a burn".
            && !noun_of(&a.terms[i - 1], &b.terms[j - 1])
    })
}

/// "Tasks assigned to me" are not "tasks assigned by me".
fn objects(a: &Meaning, b: &Meaning) -> bool {
    let apart = |(p, q): (&Tie, &Tie)| match (p, q) {
        (Tie::Loose(p), Tie::Loose(q)) => !exchangeable(p, q),
        (Tie::Bare, _) | (_, Tie::Bare) => false,
        (p, q) => p != q,
    };
    a.object_ties.iter().zip(&b.object_ties).any(apart)
}

/// "The impact of a on b", "the impact on a of b": each of two prepositions went to the other's word.
fn crossed(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    let changed = |&(i, j): &(usize, usize)| {
        let (x, y) = (&a.terms[i], &b.terms[j]);
        (x.direct && y.direct && x.tie != y.tie).then_some((&x.tie, &y.tie))
    };
    let changes: Vec<(&Tie, &Tie)> = pairs.iter().filter_map(changed).collect();
    changes.iter().any(|(p, q)| changes.contains(&(*q, *p)))
}

/// Whether a word is part of an enumeration in one text only: `Python in Excel`, `Python and Excel`.
pub(super) fn listed(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    pairs.iter().any(|&(i, j)| a.terms[i].list.is_some() != b.terms[j].list.is_some())
}

fn agree(x: &Term, y: &Term) -> bool {
    let firm =
        |tie: &Tie| matches!(tie, Tie::From) || matches!(tie, Tie::Firm(word) if GOVERNS.contains(word));
    match (&x.tie, &y.tie) {
        (x, y) if firm(x) || firm(y) => x == y,
        (Tie::Loose(p), Tie::Loose(q)) if x.direct && y.direct => exchangeable(p, q),
        // "Steps to cancel", "steps for cancelling"; but not "a letter to him", "a letter for him".
        (Tie::To, Tie::Loose(p)) if x.direct && y.direct => matches!(p.as_str(), "for" | "of") && y.gerund,
        (Tie::Loose(p), Tie::To) if x.direct && y.direct => matches!(p.as_str(), "for" | "of") && x.gerund,
        _ => true,
    }
}

/// Whether two prepositions tie the same words together: `size of`, `size in`; but not `for`, `about`, `by`.
pub(super) fn exchangeable(p: &str, q: &str) -> bool {
    const PAIRS: [(&str, &str); 22] = [
        ("of", "in"),
        ("of", "for"),
        ("of", "on"),
        ("of", "at"),
        ("of", "about"),
        ("of", "with"),
        ("in", "on"),
        ("in", "at"),
        ("in", "within"),
        ("in", "inside"),
        ("in", "with"),
        ("in", "for"),
        ("in", "using"),
        ("on", "at"),
        ("on", "about"),
        ("on", "regarding"),
        ("on", "for"),
        ("about", "regarding"),
        ("with", "using"),
        ("with", "via"),
        ("by", "using"),
        ("by", "via"),
    ];
    p == q || PAIRS.contains(&(p, q)) || PAIRS.contains(&(q, p))
}

/// Firm words that are prepositions.
const GOVERNS: [&str; 19] = [
    "before", "after", "under", "over", "at least", "at most", "during", "until", "since", "between",
    "among", "against", "than", "instead", "except", "through", "behind", "across", "outside",
];

/// Firm words that say how much of the next or the last word is meant.
const MEASURES: [&str; 14] = [
    "only", "all", "most", "many", "few", "more", "less", "least", "enough", "too", "both", "half", "same",
    "other",
];

/// Whether a quantifier belongs to another word than in the other text.
pub(super) fn remeasured(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    let partner = |i: usize| pairs.iter().find(|pair| pair.0 == i).map(|pair| pair.1);
    pairs.iter().any(|&(i, j)| {
        let measures = a.terms[i].firm.is_some_and(|word| MEASURES.contains(&word));
        let next = i + 1 < a.terms.len() && partner(i + 1) == Some(j + 1);
        let last = i > 0 && j > 0 && partner(i - 1) == Some(j - 1);
        let alone = a.terms.len() == i + 1 && b.terms.len() == j + 1;
        measures && !next && !last && !alone
    })
}

/// Whether two terms changed places and no rule tells why both orders mean the same.
pub(super) fn swapped(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    let content: Vec<(usize, usize)> =
        pairs.iter().copied().filter(|&(i, _)| a.terms[i].firm.is_none()).collect();
    if turned(a, b, &content) || turned(b, a, &flipped(&content)) {
        return false;
    }
    let shifts = voices(a, b, &content);
    content.iter().any(|&(i1, j1)| {
        content
            .iter()
            .any(|&(i2, j2)| i1 < i2 && j1 > j2 && !explained(&Swap { a, b, i1, i2, j1, j2 }, &shifts))
    })
}

fn flipped(pairs: &Pairs) -> Vec<(usize, usize)> {
    let mut flipped: Vec<(usize, usize)> = pairs.iter().map(|&(i, j)| (j, i)).collect();
    flipped.sort_unstable();
    flipped
}

/// "Is it safe to eat eggs", "are eggs safe to eat": the adjective and its verb follow what they are said of.
fn turned(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    let whole = pairs.len() == a.terms.len() && pairs.len() == b.terms.len() && pairs.len() > 2;
    whole
        && a.dummy
        && !b.dummy
        && is_adjective(&a.terms[0].text)
        && a.terms[1].tie == Tie::To
        && a.terms[2..].iter().all(|term| term.phrase == a.terms[2].phrase)
        && pairs.iter().all(|&(i, j)| j == (i + pairs.len() - 2) % pairs.len())
}

/// Whether a verb is passive in one text only while what stands before it stayed there.
pub(super) fn revoiced(a: &Meaning, b: &Meaning, pairs: &Pairs) -> bool {
    voices(a, b, pairs).iter().any(|&(i, j)| {
        let passive_first = a.terms[i].passive;
        let (passive, at) = if passive_first { (a, i) } else { (b, j) };
        let active_at = if passive_first { j } else { i };
        let stays = |k: usize, after: bool| {
            let other = pairs.iter().find(|pair| k == if passive_first { pair.0 } else { pair.1 });
            other.is_some_and(|pair| (if passive_first { pair.1 } else { pair.0 } > active_at) == after)
        };
        let by = |term: &Term| term.tie == Tie::Loose("by".to_owned());
        if (at + 1..passive.terms.len()).any(|k| by(&passive.terms[k]) && stays(k, true)) {
            return true;
        }
        let Some(subject) = (0..at).rev().find(|k| passive.terms[*k].firm.is_none()) else {
            let active = if passive_first { b } else { a };
            return passive.objects != active.objects;
        };
        stays(subject, false)
    })
}

/// Pairs of one verb that is passive in one text and active in the other.
fn voices(a: &Meaning, b: &Meaning, pairs: &Pairs) -> Vec<(usize, usize)> {
    let shifts = |&&(i, j): &&(usize, usize)| {
        let (x, y) = (&a.terms[i], &b.terms[j]);
        x.passive != y.passive && !related(&x.stem, &y.stem)
    };
    pairs.iter().filter(shifts).copied().collect()
}

/// Two terms that stand one way round in `a` (`i1`, `i2`) and the other in `b` (`j2`, `j1`).
struct Swap<'a> {
    a: &'a Meaning,
    b: &'a Meaning,
    i1: usize,
    i2: usize,
    j1: usize,
    j2: usize,
}

impl Swap<'_> {
    /// Whether both texts only name things and ask for no act: in "does Rome send grain to Egypt" somebody acts.
    fn names(&self) -> bool {
        let asks =
            |text: &Meaning| matches!(text.question, Question::What | Question::Bare | Question::HowMuch);
        asks(self.a) && asks(self.b) && self.a.tense != Some(Tense::Past) && self.b.tense != Some(Tense::Past)
    }
}

/// Why two terms may have changed places: each line is one rule of English.
fn explained(swap: &Swap<'_>, shifts: &[(usize, usize)]) -> bool {
    let &Swap { a, b, i1, i2, j1, j2 } = swap;
    let (x1, x2) = (&a.terms[i1], &a.terms[i2]);
    let (y1, y2) = (&b.terms[j1], &b.terms[j2]);
    // "salt and pepper": the order of an enumeration says nothing.
    let listed = x1.list.is_some() && x1.list == x2.list && y1.list.is_some() && y1.list == y2.list;
    // "in Paris today", "today in Paris": a phrase with its preposition moves as a whole.
    // Two phrases with the same preposition may have changed parts instead.
    // In a comparison it would belong to the other thing: "is tea with milk better than coffee".
    // "More than" is read as "over", which compares unless a number follows.
    let amount = |at: usize| a.terms.get(at + 1).is_some_and(|next| next.kind == Kind::Number);
    let compares = a.terms.iter().enumerate().any(|(at, term)| match term.firm {
        Some("than") => true,
        Some("over" | "under") => !amount(at),
        _ => false,
    });
    let moved = !compares && (adjunct(x1, y1) || adjunct(x2, y2)) && (x1.tie != x2.tie || y1.tie != y2.tie);
    // "what temperature do I", "at what temperature do I".
    let asked = x1.asked && y1.asked || x2.asked && y2.asked;
    // "the cache in my browser", "my browser cache".
    let compound = genitive(&a.terms, i1, i2) && together(&b.terms, j2..j1)
        || genitive(&b.terms, j2, j1) && together(&a.terms, i1..i2);
    // "delete my account", "account deletion".
    let nominal =
        (noun_of(x1, y1) || noun_of(x2, y2)) && (together(&a.terms, i1..i2) || together(&b.terms, j2..j1));
    // "who discovered penicillin", "by whom was penicillin discovered".
    let voice = shifts.iter().any(|&(i, j)| (i1..=i2).contains(&i) && (j2..=j1).contains(&j));
    // "is shipping free", "free shipping".
    let subject = if is_adjective(&x1.text) { (x2, y2) } else { (x1, y1) };
    let predicate = is_adjective(&x1.text) != is_adjective(&x2.text)
        && subject.0.tie == Tie::Bare
        && subject.1.tie == Tie::Bare
        && i2 - i1 < 4
        && j1 - j2 < 4
        && (together(&a.terms, i1..i2) || together(&b.terms, j2..j1));
    // "does the gym have a sauna", "is there a sauna in the gym".
    let loose = |term: &Term| matches!(term.tie, Tie::Loose(_));
    let existence = a.has && b.exists && loose(y1) || b.has && a.exists && loose(x2);
    // "Java: remove spaces from a string", "remove spaces from a string in Java": the topic may come first.
    // "the dollar to euro rate", "the rate from dollar to euro": a route moves as a whole.
    let route = |i: usize, j: usize| {
        let leads = |text: &Meaning, at: usize| {
            text.terms.get(at + 1).is_some_and(|next| next.direct && next.tie == Tie::To)
        };
        leads(a, i) && leads(b, j) || i > 0 && j > 0 && leads(a, i - 1) && leads(b, j - 1)
    };
    let route = route(i1, j1) != route(i2, j2) && swap.names();
    // "filing taxes", "tax filing".
    let next = i2 == i1 + 1 && j1 == j2 + 1 && together(&a.terms, i1..i2) && together(&b.terms, j2..j1);
    let object = next && (x1.gerund && y1.gerund || x2.gerund && y2.gerund);
    let topic = heads(b, j2) && loose(x2) || heads(a, i1) && loose(y1);
    existence
        || topic
        || route
        || object
        || listed
        || moved
        || asked
        || compound
        || nominal
        || voice
        || predicate
}

/// Whether a bare phrase begins with the term as its topic.
fn heads(text: &Meaning, at: usize) -> bool {
    let next = text.terms.get(1).is_some_and(|next| next.phrase == text.terms[0].phrase);
    text.question == Question::Bare && at == 0 && next
}

fn adjunct(x: &Term, y: &Term) -> bool {
    x.tie == y.tie && !matches!(x.tie, Tie::Bare)
}

/// Whether `late` is tied to what is before it by a loose preposition: `plot of Hamlet`, `bread without salt`.
fn genitive(terms: &[Term], early: usize, late: usize) -> bool {
    let tied = matches!(terms[late].tie, Tie::Loose(_)) || terms[late].negated;
    early < late && terms[early].phrase != terms[late].phrase && tied
}

/// Whether all terms from one to the other follow each other without a function word.
fn together(terms: &[Term], range: Range<usize>) -> bool {
    terms[range.start..=range.end].iter().all(|term| term.phrase == terms[range.start].phrase)
}

fn noun_of(x: &Term, y: &Term) -> bool {
    x.stem != y.stem && (related(&x.stem, &y.stem) || x.class == y.class)
}
