//! Reads a text from left to right: its opening tells the kind of question, function words tell how content words are
//! tied together.

use super::arrange::{arrange, is_remedy, unquote};
use super::meaning::{Meaning, Modality, Question, Tense, Term, Tie};
use super::stem::stem;
use super::token::{Kind, Token, tokens};
use super::words::{self, Part, Person};

/// Reads a text; `other` tells which of its quotes say no more than the words in them.
pub(super) fn read(text: &str, other: &str) -> Meaning {
    let tokens = arrange(phrases(unquote(tokens(text), &tokens(other))));
    let english = english(text, &tokens);
    let mut reader = Reader::new(&tokens);
    let rest = reader.frames(&tokens);
    for place in 0..rest.len() {
        reader.token(rest, place);
    }
    reader.finish(&tokens, english)
}

/// Replaces groups of words that mean one thing.
fn phrases(tokens: Vec<Token>) -> Vec<Token> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some(token) = rest.first() {
        match words::phrase(rest, out.is_empty()) {
            Some((with, taken)) => {
                let closes = rest[taken - 1].closes;
                let begin = out.len();
                out.extend(with.split_whitespace().map(Token::word));
                if let Some(first) = out.get_mut(begin) {
                    first.first = token.first;
                }
                if let Some(last) = out.last_mut() {
                    last.closes = closes;
                }
                rest = &rest[taken..];
            }
            None => {
                out.push(token.clone());
                rest = &rest[1..];
            }
        }
    }
    // "Explain it to me", "write it for me": whom the answer is for goes without saying.
    let explains = out.iter().any(|token| matches!(token.text.as_str(), "explain" | "describe"));
    if let [.., a, b] = out.as_slice()
        && (a.text == "for" || a.text == "to" && explains)
        && matches!(b.text.as_str(), "me" | "us")
    {
        out.truncate(out.len() - 2);
    }
    out
}

/// Whether the rules for English may be used.
fn english(text: &str, tokens: &[Token]) -> bool {
    // Latin ends at U+024F; letters beyond it belong to other scripts.
    if text.chars().any(|c| c.is_alphabetic() && c > '\u{24F}') {
        return false;
    }
    let words: Vec<&Token> = tokens.iter().filter(|token| token.kind == Kind::Word).collect();
    let count = |test: &dyn Fn(&str) -> bool| words.iter().filter(|word| test(&word.text)).count();
    let foreign = count(&words::is_foreign);
    let known = count(&|word| words::part(word).is_some() || words::known(&stem(word).0));
    foreign < 2.max(known) && (known > 0 || (text.is_ascii() && words.len() < 7))
}

/// "Docker installation instructions" asks how to install it.
const GUIDES: [&str; 5] = ["instruction", "step", "guid", "tutorial", "walkthrough"];

/// What is known while a text is read from left to right.
struct Reader {
    question: Question,
    past: bool,
    present: bool,
    future: bool,
    modality: Option<Modality>,
    subjects: Vec<Person>,
    objects: Vec<Person>,
    object_ties: Vec<Tie>,
    owners: Vec<Person>,
    owner: Option<Person>,
    terms: Vec<Term>,
    negate: bool,
    opening_not: bool,
    fronted: Option<String>,
    exists: bool,
    has: bool,
    dummy: bool,
    /// A form of `be` waits for its participle.
    passive: bool,
    /// A subject pronoun stands right before what comes.
    pronoun: Option<Person>,
    tie: Tie,
    direct: bool,
    phrase: usize,
    lists: usize,
    joins: bool,
    asked: bool,
    /// Capitals tell names from words in this text.
    capitals: bool,
    lower: bool,
}

impl Reader {
    fn new(tokens: &[Token]) -> Self {
        let words =
            || tokens.iter().filter(|token| token.kind == Kind::Word && !token.first && token.raw.len() > 3);
        let capital = words().filter(|token| token.raw.starts_with(char::is_uppercase)).count();
        let title = capital > 2 && capital * 10 > words().count() * 7;
        Self {
            question: Question::Bare,
            past: false,
            present: false,
            future: false,
            modality: None,
            subjects: Vec::new(),
            objects: Vec::new(),
            object_ties: Vec::new(),
            owners: Vec::new(),
            owner: None,
            terms: Vec::new(),
            negate: false,
            opening_not: false,
            fronted: None,
            exists: false,
            has: false,
            dummy: false,
            passive: false,
            pronoun: None,
            tie: Tie::Bare,
            direct: false,
            phrase: 0,
            lists: 0,
            joins: false,
            asked: false,
            capitals: !title,
            lower: tokens.iter().any(|token| token.raw.starts_with(char::is_lowercase)),
        }
    }

    /// Takes the opening of the text off; what is left is its content.
    fn frames<'a>(&mut self, tokens: &'a [Token]) -> &'a [Token] {
        let mut rest = tokens;
        while let Some((kind, taken)) = words::frame(rest) {
            let (frame, after) = rest.split_at(taken);
            let plain = frame.last().is_some_and(|last| last.text == "you" || last.text == "please");
            let asks = after.first().is_some_and(|next| words::is_assistance(&next.text));
            let kind = if kind == "ask" && plain && !asks { "yesno" } else { kind };
            // A lone `find` or `so` is content when nothing follows it.
            if after.is_empty() || self.is_name(&frame[0]) {
                break;
            }
            let question = match kind {
                "filler" => self.question,
                "ask" if self.question == Question::Bare => Question::Request,
                "ask" => self.question,
                "howto" => Question::HowTo,
                "way" => Question::Way,
                "what" => Question::What,
                "why" => Question::Why,
                "when" => Question::When,
                "where" => Question::Where,
                "who" => Question::Who,
                "how" => Question::How,
                "howmuch" => Question::HowMuch,
                _ => Question::YesNo,
            };
            self.question = question;
            rest = after;
            if !matches!(kind, "filler" | "ask") {
                self.opening(frame);
            }
            let explains =
                kind == "what" && frame.iter().all(|token| !matches!(token.text.as_str(), "what" | "which"));
            if !matches!(kind, "filler" | "ask") && !explains {
                self.asked = frame
                    .last()
                    .is_some_and(|token| matches!(token.text.as_str(), "what" | "which" | "much"));
                return self.attribute(rest);
            }
        }
        rest
    }

    /// Keeps what the opening says about time, possibility and persons.
    fn opening(&mut self, frame: &[Token]) {
        let before =
            |token: &&Token| matches!(words::part(&token.text), Some(Part::Loose | Part::To | Part::From));
        self.fronted = frame.first().filter(before).map(|token| token.text.clone());
        for token in frame {
            match words::part(&token.text) {
                Some(Part::Subject(person)) => self.subjects.push(person),
                Some(part) => self.auxiliary(part, &token.text),
                None => {}
            }
        }
    }

    /// Reads `how tall is` as `what is the height of`.
    fn attribute<'a>(&mut self, rest: &'a [Token]) -> &'a [Token] {
        let Some((first, after)) = rest.split_first().filter(|_| self.question == Question::How) else {
            return rest;
        };
        let Some(noun) = words::attribute(&first.text) else { return rest };
        self.question = Question::What;
        self.content(&Token::word(noun));
        self.phrase += 1;
        self.asked = first.text == "many";
        after
    }

    fn is_name(&self, token: &Token) -> bool {
        let letters = token.raw.chars().filter(|c| c.is_alphabetic()).count();
        let capitals = token.raw.chars().filter(|c| c.is_uppercase()).count();
        let shouted = self.lower && capitals > 1 && capitals == letters;
        let capitalised = self.capitals && !token.first && token.raw.starts_with(char::is_uppercase);
        token.kind == Kind::Word && token.text != "i" && (shouted || capitalised)
    }

    /// Function words that are names when they are written like one: `US`, `May`, `vitamin A`.
    fn is_named(&self, token: &Token) -> bool {
        let shouted = token.raw.len() < 2 || token.raw.chars().all(char::is_uppercase);
        self.is_name(token) && (shouted || matches!(token.text.as_str(), "may" | "will"))
    }

    fn token(&mut self, rest: &[Token], place: usize) {
        let token = &rest[place];
        let next = rest.get(place + 1);
        // An article with nothing to belong to is a name: "divide a by b".
        let lone = token.text == "a"
            && next.is_none_or(|next| words::part(&next.text).is_some_and(|part| part != Part::Filler));
        // "At 9 am" is no "I am".
        let hour = token.text == "am" && self.terms.last().is_some_and(|last| last.kind == Kind::Number);
        if let Some(value) = words::roman(&token.raw).filter(|_| token.kind == Kind::Word) {
            self.content(&Token { text: value.to_string(), kind: Kind::Number, ..token.clone() });
        } else if token.kind != Kind::Word || self.is_named(token) || lone || hour {
            self.content(token);
        } else if matches!(token.text.as_str(), "keep" | "keeps")
            && next.is_some_and(|next| next.text.ends_with("ing"))
        {
            // "It keeps crashing": it crashes.
        } else if let Some(number) = self.number(token, next) {
            self.content(&number);
        } else if let Some(part) = words::part(&token.text) {
            self.function(part, token);
        } else {
            self.content(token);
        }
        if token.closes {
            // "Java: remove spaces": a label belongs to what follows.
            let label = self.question == Question::Bare && self.terms.len() == 1;
            if !label {
                self.phrase += 1;
            }
            if next.is_some() {
                self.tie = Tie::Bare;
            }
        }
    }

    /// A number word, put together with the one before it: `two hundred`, `twenty five`.
    fn number(&mut self, token: &Token, next: Option<&Token>) -> Option<Token> {
        let number = |text: String| Token { text, kind: Kind::Number, ..token.clone() };
        if let Some(ordinal) = words::ordinal(&token.text) {
            return Some(number(format!("{ordinal}.")));
        }
        let value = words::cardinal(&token.text)?;
        // "One" counts something, or only stands for it.
        if value == 1 && next.is_none_or(|next| next.kind != Kind::Word || words::part(&next.text).is_some())
        {
            return None;
        }
        let phrase = self.phrase;
        let before = self.terms.last().filter(|term| term.kind == Kind::Number && term.phrase == phrase);
        let Some(before) = before.and_then(|term| term.text.parse::<u64>().ok()) else {
            return Some(number(value.to_string()));
        };
        let whole = match value {
            100.. => before.saturating_mul(value),
            1..=9 if before >= 20 && before % 10 == 0 => before + value,
            _ => return Some(number(value.to_string())),
        };
        self.terms.pop();
        Some(number(whole.to_string()))
    }

    fn function(&mut self, part: Part, token: &Token) {
        let genitive = token.text == "'s";
        if !genitive {
            self.phrase += 1;
        }
        let owner = matches!(part, Part::Owner(_) | Part::Filler);
        let tie = self.tie.clone();
        if !genitive {
            self.close_asked(part);
        }
        if !owner && !genitive && part != Part::And {
            self.tie = Tie::Bare;
            self.direct = true;
        }
        if !matches!(part, Part::And | Part::Filler | Part::Owner(_)) {
            self.joins = false;
        }
        self.exists |= token.text == "there";
        self.has |= matches!(token.text.as_str(), "have" | "has" | "had");
        self.dummy |= token.text == "it" && self.terms.is_empty();
        match part {
            Part::Not if self.terms.is_empty() && token.text == "not" && self.question != Question::Bare => {
                self.opening_not = true;
            }
            Part::Not => self.negate = true,
            Part::Subject(person) => {
                self.subjects.push(person);
                self.pronoun = Some(person);
            }
            Part::Object(person) => {
                self.objects.push(person);
                self.object_ties.push(tie);
            }
            Part::Owner(person) => {
                self.owners.push(person);
                self.owner = Some(person);
            }
            Part::Loose if !genitive => self.tie = Tie::Loose(token.text.clone()),
            Part::To => self.tie = Tie::To,
            Part::From => self.tie = Tie::From,
            Part::And => self.joins = true,
            Part::Firm(class) => {
                self.term(token, Some(class));
                // As with `and`, what governs the first alternative governs the second.
                self.joins = class == "or";
                self.direct = !self.joins;
                self.tie = if self.joins { tie } else { Tie::Firm(class) };
            }
            part => self.auxiliary(part, &token.text),
        }
    }

    /// What `which` asks for ends before an auxiliary or subject; before anything else it may be the subject itself.
    fn close_asked(&mut self, part: Part) {
        if !self.terms.iter().any(|term| term.asked) {
            return;
        }
        let apart = matches!(
            part,
            Part::Present
                | Part::Past
                | Part::Future
                | Part::May
                | Part::Must
                | Part::Should
                | Part::Would
                | Part::Subject(_)
        );
        if self.asked && !apart {
            self.terms.iter_mut().for_each(|term| term.asked = false);
        }
        self.asked = false;
    }

    fn auxiliary(&mut self, part: Part, word: &str) {
        match part {
            Part::Present => self.present = true,
            Part::Past => self.past = true,
            Part::Future => self.future = true,
            Part::May => self.modality = self.modality.or(Some(Modality::May)),
            Part::Must => self.modality = Some(Modality::Must),
            Part::Should => self.modality = Some(Modality::Should),
            Part::Would => self.modality = self.modality.or(Some(Modality::Would)),
            _ => {}
        }
        self.passive |= words::is_be(word);
    }

    fn content(&mut self, token: &Token) {
        self.passive |= words::is_be(&token.text);
        self.term(token, None);
        self.direct = false;
    }

    fn term(&mut self, token: &Token, firm: Option<&'static str>) {
        let word = token.kind == Kind::Word;
        let name = self.is_name(token);
        let (stem, past) = if word { stem(&token.text) } else { (token.text.clone(), false) };
        let class = if !word {
            stem.clone()
        } else if name {
            words::class_of_name(&stem).to_owned()
        } else {
            words::class(&stem).to_owned()
        };
        let content = firm.is_none();
        let list = self.list(content);
        let passive = content && past && self.passive;
        if passive {
            self.passive = false;
            // "I was paid": whoever it happens to is the object.
            if let Some(person) = self.pronoun.take() {
                self.subjects.pop();
                self.objects.push(person);
            }
        }
        if content {
            self.pronoun = None;
        }
        self.terms.push(Term {
            text: firm.map_or_else(|| token.text.clone(), str::to_owned),
            stem,
            class: firm.map_or(class, str::to_owned),
            kind: token.kind,
            firm,
            name,
            capital: token.raw.starts_with(char::is_uppercase),
            past,
            passive,
            negated: content && std::mem::take(&mut self.negate),
            tie: self.tie.clone(),
            direct: self.direct,
            phrase: self.phrase,
            list,
            owner: if content { self.owner.take() } else { None },
            gerund: word && token.text.ends_with("ing"),
            asked: self.asked,
        });
    }

    /// The enumeration that a term joins, with the term before it.
    fn list(&mut self, content: bool) -> Option<usize> {
        if !content || !std::mem::take(&mut self.joins) {
            return None;
        }
        let before = self.terms.iter_mut().rev().find(|term| term.firm.is_none())?;
        let list = before.list.unwrap_or(self.lists);
        before.list = Some(list);
        self.lists = self.lists.max(list + 1);
        Some(list)
    }

    fn finish(mut self, tokens: &[Token], english: bool) -> Meaning {
        if self.asked {
            self.terms.iter_mut().for_each(|term| term.asked = false);
        }
        let dangling = match (&self.tie, self.direct) {
            (Tie::Loose(word), true) => Some(word.clone()),
            (Tie::To, true) => Some("to".to_owned()),
            (Tie::From, true) => Some("from".to_owned()),
            _ => None,
        };
        let like = tokens.iter().any(|token| token.text == "like");
        if self.question == Question::What && like {
            self.question = Question::How;
        }
        if self.question == Question::Bare
            && self.terms.last().is_some_and(|term| GUIDES.contains(&term.class.as_str()))
        {
            self.terms.pop();
            self.question = Question::HowTo;
        }
        // What is needed must be: the word and the auxiliary say the same.
        let need = words::class("need").to_owned();
        let mut terms = self.terms;
        if self.question != Question::HowTo
            && let Some(place) = terms.iter().position(|term| term.class == need && !term.negated)
        {
            terms.remove(place);
            self.modality = Some(Modality::Must);
        }
        // "Is smoking allowed": may one smoke.
        let allow = |term: &Term| term.class == words::class("allow") && term.passive && !term.negated;
        if self.question == Question::YesNo
            && let Some(place) = terms.iter().position(allow)
        {
            terms.remove(place);
            self.modality = Some(Modality::May);
        }
        let tense = match (self.past, self.future, self.present) {
            (true, _, _) => Some(Tense::Past),
            (_, true, _) => Some(Tense::Future),
            (_, _, true) => Some(Tense::Present),
            _ => None,
        };
        Meaning {
            question: self.question,
            tense,
            modality: self.modality,
            subjects: self.subjects,
            objects: self.objects,
            object_ties: self.object_ties,
            owners: self.owners,
            terms,
            dangling_not: self.negate,
            cased: tokens.iter().any(|token| token.raw.contains(char::is_uppercase)),
            opening_not: self.opening_not,
            dangling,
            fronted: self.fronted,
            exists: self.exists,
            has: self.has,
            dummy: self.dummy,
            remedy: is_remedy(tokens),
            some: tokens.iter().any(|token| token.text == "some"),
            english,
        }
    }
}
