//! Puts the parts of a sentence into the order in which they are read: the question first, then what it is about.

use super::token::{Kind, Token};
use super::words::{self, Part};

/// How many words may stand in front of a question and still be its circumstance: `in the latest version of Python`.
const LONGEST_LEAD: usize = 14;

/// Drops dashes between clauses, and moves the question in front of what it is about.
pub(super) fn arrange(tokens: Vec<Token>) -> Vec<Token> {
    remedy(lead(last(dashes(tokens))))
}

/// Takes off the quotes of words that the other text says without any: `what does "net" mean`.
pub(super) fn unquote(tokens: Vec<Token>, other: &[Token]) -> Vec<Token> {
    if other.iter().any(|token| token.kind == Kind::Quoted) {
        return tokens;
    }
    let said = |inside: &[Token]| {
        let same = |(x, y): (&Token, &Token)| x.kind == Kind::Word && x.text == y.text;
        !inside.is_empty() && other.windows(inside.len()).any(|there| there.iter().zip(inside).all(same))
    };
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens {
        let inside = if token.kind == Kind::Quoted { super::token::tokens(&token.text) } else { Vec::new() };
        if said(&inside) {
            let closes = token.closes;
            out.extend(inside.into_iter().map(|word| Token { first: false, closes: false, ..word }));
            if let Some(word) = out.last_mut() {
                word.closes = closes;
            }
        } else {
            out.push(token);
        }
    }
    out
}

/// "Renewing a visa - what do I need": a dash between words closes what is in front of it.
fn dashes(tokens: Vec<Token>) -> Vec<Token> {
    let word =
        |token: Option<&Token>| token.is_some_and(|token| token.kind == Kind::Word && token.text.len() > 1);
    let dash = |place: usize| {
        tokens[place].text == "-" && place > 0 && word(tokens.get(place - 1)) && word(tokens.get(place + 1))
    };
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    for (place, token) in tokens.iter().enumerate() {
        if dash(place) {
            if let Some(last) = out.last_mut() {
                last.closes = true;
            }
        } else {
            out.push(token.clone());
        }
    }
    out
}

fn asks(token: &Token) -> bool {
    token.kind == Kind::Word
        && matches!(token.text.as_str(), "who" | "whom" | "what" | "which" | "when" | "where" | "why" | "how")
}

fn ties(token: &Token) -> bool {
    let part = words::part(&token.text);
    token.kind == Kind::Word
        && matches!(part, Some(Part::Loose | Part::From | Part::To))
        && token.text != "'s"
}

/// Turns the tokens so that those from `place` on come first.
fn turn(mut tokens: Vec<Token>, place: usize) -> Vec<Token> {
    if let Some(end) = tokens.last_mut() {
        end.closes = true;
    }
    tokens.rotate_left(place);
    if let Some(end) = tokens.last_mut() {
        end.closes = false;
    }
    tokens
}

/// "It was painted by whom?" is "by whom it was painted".
fn last(tokens: Vec<Token>) -> Vec<Token> {
    let [first, .., before, end] = tokens.as_slice() else { return tokens };
    // Where the text opens as a question or a request, its last word asks nothing: "explain why".
    let open = words::frame(&tokens).is_some_and(|(kind, _)| kind != "filler");
    if open || asks(first) || !asks(end) || asks(before) || words::is_assistance(&first.text) {
        return tokens;
    }
    let place = tokens.len() - if ties(before) { 2 } else { 1 };
    turn(tokens, place)
}

/// "In Python, how do I sort", "after surgery, can I drive": what comes before the question may come behind it.
fn lead(tokens: Vec<Token>) -> Vec<Token> {
    let Some(first) = tokens.first() else { return tokens };
    let governs = matches!(
        first.text.as_str(),
        "if" | "when" | "before" | "after" | "during" | "without" | "under" | "between" | "until" | "since"
    );
    if first.kind != Kind::Word || !(governs || ties(first)) || tokens.get(1).is_none_or(asks) {
        return tokens;
    }
    let opens = |place: usize| {
        let closed = tokens[place - 1].closes;
        let kind = words::frame(&tokens[place..]).map(|(kind, _)| kind);
        let question = kind.is_some_and(|kind| !matches!(kind, "filler" | "ask"));
        // Without a comma only a word that asks shows where the question begins: "in Python how do I".
        question && (closed || ties(first) && asks(&tokens[place]) && !ties(&tokens[place - 1]))
    };
    let place = (2..tokens.len().min(LONGEST_LEAD)).find(|place| opens(*place));
    match place {
        Some(place) => turn(tokens, place),
        None => tokens,
    }
}

/// "My card was stolen, what should I do": the question is asked first.
fn remedy(tokens: Vec<Token>) -> Vec<Token> {
    let place = tokens.len().saturating_sub(4);
    if place > 1 && tokens[place - 1].closes && is_remedy(&tokens[place..]) {
        return turn(tokens, place);
    }
    tokens
}

/// Whether the tokens begin with `what should I do`.
pub(super) fn is_remedy(tokens: &[Token]) -> bool {
    let [what, should, subject, act, ..] = tokens else { return false };
    what.text == "what"
        && matches!(should.text.as_str(), "do" | "should")
        && matches!(subject.text.as_str(), "i" | "we" | "you")
        && act.text == "do"
}
