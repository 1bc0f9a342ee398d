//! What a text may leave unsaid, because its other words or its kind of question say it already.

use super::meaning::{Meaning, Question, Tie};
use super::stem::stem;
use super::token::Kind;
use super::words::is_unit;

/// Nouns that only say what sort of thing the name behind them is.
const SORTS: &str = "movie film book novel song album band series show play opera painting poem city town country \
    company command function method app website program game equation word phrase term character author actor";

/// Nouns for what is said, in front of it: "what does the word ibid mean".
const LABELS: &str = "word term acronym abbreviation expression phrase";

/// What can be high, long or large: "how high is the rate" asks what it is.
const MEASURES: &str = "rate wage salary fee price cost tax temperature level percentage period duration distance \
    limit share interest rent deposit premium";

fn has(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|known| known == word)
}

/// "How do you say bread in French" asks to translate it.
pub(super) fn say(text: &mut Meaning) {
    let spoken = text.question == Question::HowTo
        && text.terms.first().is_some_and(|term| term.text == "say" && !term.negated)
        && text.terms.last().is_some_and(|term| term.direct && term.tie == Tie::Loose("in".to_owned()));
    if !spoken {
        return;
    }
    if let Some(say) = text.terms.first_mut() {
        "translate".clone_into(&mut say.text);
        "translat".clone_into(&mut say.stem);
        "translat".clone_into(&mut say.class);
    }
    if let Some(language) = text.terms.last_mut() {
        language.tie = Tie::To;
    }
    text.question = Question::Request;
    text.subjects.clear();
}

/// "How many meters are in 3 miles", "what is 3 miles in meters" and "convert 3 miles to meters" ask for the same.
pub(super) fn convert(text: &mut Meaning) {
    let unit =
        |place: usize| text.terms.get(place).is_some_and(|term| term.firm.is_none() && is_unit(&term.class));
    let number = |place: usize| text.terms.get(place).is_some_and(|term| term.kind == Kind::Number);
    let opens = |word: &str| text.terms.first().is_some_and(|term| term.text == word && !term.negated);
    let four = text.terms.len() == 4;
    let ties = text
        .terms
        .last()
        .is_some_and(|last| last.direct && (last.tie == Tie::To || last.tie == Tie::Loose("in".to_owned())));
    let asks =
        matches!(text.question, Question::What | Question::HowMuch | Question::Bare | Question::Request);
    if asks && opens("number") && four && unit(1) && number(2) && unit(3) {
        text.terms.remove(0);
        text.terms.rotate_left(1);
    } else if asks && opens("convert") && four && number(1) && unit(2) && unit(3) && ties {
        text.terms.remove(0);
    } else if !(asks && text.terms.len() == 3 && number(0) && unit(1) && unit(2) && ties) {
        return;
    }
    for (place, term) in text.terms.iter_mut().enumerate() {
        term.tie = if place == 2 { Tie::To } else { Tie::Bare };
        term.direct = place != 1;
        term.phrase = place / 2;
        term.asked = false;
    }
    text.question = Question::Request;
}

/// "What does a warranty cover mean" asks for "the meaning of a warranty cover".
pub(super) fn meaning(text: &mut Meaning) {
    let place = text.terms.iter().position(|term| term.text == "mean" && !term.negated && !term.past);
    let Some(place) = place.filter(|place| *place > 0 && text.question == Question::What) else { return };
    let mean = text.terms.remove(place);
    let phrase = mean.phrase;
    text.terms.insert(0, mean);
    text.terms[0].tie = Tie::Bare;
    let first = &mut text.terms[1];
    if first.tie == Tie::Bare && phrase == first.phrase {
        first.tie = Tie::Loose("of".to_owned());
    }
}

/// "List all the planets", "list the planets": a list is of all, unless one text asks for some.
pub(super) fn listing(a: &mut Meaning, b: &mut Meaning) {
    if a.some || b.some {
        return;
    }
    let all = |text: &Meaning| matches!(text.terms.as_slice(), [list, all, ..] if list.text == "list" && all.firm == Some("all"));
    match (all(a), all(b)) {
        (true, false) => drop(a.terms.remove(1)),
        (false, true) => drop(b.terms.remove(1)),
        _ => {}
    }
}

/// Leaves out what goes without saying where the other text does not say it.
pub(super) fn implied(text: &mut Meaning, other: &Meaning) {
    let said = |class: &str| other.terms.iter().any(|term| term.class == class);
    // "Why does the sky look blue": why it is.
    let looks = |place: usize| {
        let term = &text.terms[place];
        let next = text.terms.get(place + 1);
        text.question == Question::Why
            && matches!(term.text.as_str(), "look" | "seem" | "appear")
            && next.is_some_and(|next| next.phrase == term.phrase && next.kind == Kind::Word)
    };
    // "The movie Alien" is "Alien".
    let sorts = |place: usize| {
        let term = &text.terms[place];
        let next = text.terms.get(place + 1);
        has(SORTS, &term.text)
            && !term.name
            && next.is_some_and(|next| {
                next.phrase == term.phrase
                    && (next.name || matches!(next.kind, Kind::Quoted | Kind::Literal))
                    && other.terms.iter().any(|there| there.text == next.text)
            })
            && !other.terms.iter().any(|there| has(SORTS, &there.text))
    };
    // "What does the word ibid mean".
    let labels = |place: usize| {
        let term = &text.terms[place];
        let defines = |term: &super::meaning::Term| matches!(term.stem.as_str(), "mean" | "stand");
        has(LABELS, &term.text)
            && text.terms.iter().any(defines)
            && text.terms.get(place + 1).is_some_and(|next| next.phrase == term.phrase && !defines(next))
    };
    // "How high is the rent" asks what it is.
    let measures = |place: usize| {
        let term = &text.terms[place];
        place == 0
            && text.question == Question::What
            && other.question == Question::What
            && text.terms.iter().skip(1).any(|measure| match term.text.as_str() {
                "duration" => matches!(measure.text.as_str(), "period" | "duration"),
                "height" | "size" => has(MEASURES, &measure.text),
                _ => false,
            })
    };
    // "Foods that contain iron" have it.
    let contains = |place: usize| {
        let term = &text.terms[place];
        other.has && !text.has && matches!(term.text.as_str(), "contain" | "contains") && !term.passive
    };
    let unsaid = |place: usize| {
        let term = &text.terms[place];
        let empty = looks(place) || sorts(place) || labels(place) || measures(place) || contains(place);
        empty && !term.negated && term.firm.is_none() && !said(&term.class)
    };
    let places: Vec<usize> = (0..text.terms.len()).filter(|place| unsaid(*place)).collect();
    for place in places.into_iter().rev() {
        text.terms.remove(place);
    }
}

/// "An eggless cake" is one "without eggs".
pub(super) fn lacking(text: &mut Meaning, other: &Meaning) {
    for term in text.terms.iter_mut().filter(|term| !term.negated && term.kind == Kind::Word && !term.name) {
        let Some(base) = term.text.strip_suffix("less").filter(|base| base.len() > 2) else { continue };
        let base = stem(base).0;
        if let Some(there) = other.terms.iter().find(|there| there.negated && there.stem == base) {
            there.text.clone_into(&mut term.text);
            there.class.clone_into(&mut term.class);
            term.stem = base;
            term.negated = true;
        }
    }
}
