//! Cuts a text into words, numbers and literals.

/// What a token is to the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word of a language: may be stemmed, and replaced by a synonym.
    Word,
    /// A cardinal number, in digits.
    Number,
    /// An identifier, path, version, formula or operator: compared as written.
    Literal,
    /// What stands in quotes or back-ticks: compared as written.
    Quoted,
}

/// One token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// As written, without the punctuation around it.
    pub raw: String,
    /// In lower case; numbers in digits.
    pub text: String,
    pub kind: Kind,
    /// The first of a sentence, where a capital says nothing.
    pub first: bool,
    /// Closed by a comma, semicolon, colon or the end of a sentence.
    pub closes: bool,
}

impl Token {
    pub(super) fn word(text: &str) -> Self {
        Self { raw: text.to_owned(), text: text.to_owned(), kind: Kind::Word, first: false, closes: false }
    }

    fn of(kind: Kind, raw: &str, text: String) -> Self {
        Self { raw: raw.to_owned(), text, kind, first: false, closes: false }
    }
}

/// Cuts `text` into tokens; curly quotes count as straight ones.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let straight: String = text.chars().map(straight).collect();
    let mut out = Vec::new();
    let mut rest = straight.trim_start();
    let mut first = true;
    while let Some(start) = rest.chars().next() {
        if let Some((inside, after)) = quoted(rest, start) {
            let token = Token::of(Kind::Quoted, inside, inside.trim().to_owned());
            out.push(Token { first, ..token });
            (rest, first) = (after.trim_start_matches(['.', ',', '?', '!']).trim_start(), false);
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '"' || c == '`').unwrap_or(rest.len());
        // A lone quote has no partner: it is skipped.
        let end = if end == 0 { start.len_utf8() } else { end };
        let (piece, after) = rest.split_at(end);
        let begin = out.len();
        read(piece, &mut out);
        if let Some(token) = out.get_mut(begin) {
            token.first = first;
            first = false;
        }
        if piece.ends_with(['.', '?', '!', ':']) {
            first = true;
        }
        if piece.ends_with(['.', '?', '!', ':', ',', ';'])
            && let Some(last) = out.last_mut()
        {
            last.closes = true;
        }
        rest = after.trim_start();
    }
    out
}

fn straight(c: char) -> char {
    match c {
        '‘' | '’' | 'ʼ' | '´' => '\'',
        '“' | '”' | '„' | '«' | '»' => '"',
        '–' | '—' | '‑' | '−' => '-',
        c => c,
    }
}

/// The text between the quote at the start and its partner, and what follows.
fn quoted(rest: &str, quote: char) -> Option<(&str, &str)> {
    if !matches!(quote, '"' | '`' | '\'') {
        return None;
    }
    let body = rest[1..].trim_start_matches('`');
    let fence = &rest[..rest.len() - body.len()];
    let at = body.match_indices(quote).map(|(at, _)| at).find(|at| {
        let next = body[at + 1..].chars().next();
        quote != '\'' || next.is_none_or(|c| !c.is_alphanumeric())
    })?;
    let fence = if quote == '`' { fence.len() } else { 1 };
    let after = body.get(at + fence..).unwrap_or("");
    (at > 0).then(|| (&body[..at], after))
}

/// Reads one piece of text that has no space in it.
fn read(piece: &str, out: &mut Vec<Token>) {
    let bare = piece.trim_start_matches(['(', '[', '{', ',', ';', '\'', '¿', '¡']);
    let bare = bare.trim_end_matches(['.', ',', '!', '?', ';', ':', ']', '}', '\'']);
    let bare = if bare.contains('(') { bare } else { bare.trim_end_matches(')') };
    let bare = bare.trim_end_matches(['.', ',', '!', '?']);
    if bare.is_empty() {
        if piece.chars().any(|c| !c.is_ascii_punctuation()) {
            out.push(Token::of(Kind::Literal, piece, piece.to_owned()));
        }
        return;
    }
    if number(bare, out) || hyphenated(bare, out) {
        return;
    }
    let letters = |c: char| c.is_alphabetic() || c == '\'';
    if bare.chars().all(letters) {
        contraction(bare, out);
    } else if bare.chars().all(|c| matches!(c, '-' | '.' | '…' | ',')) && bare != "-" {
        // Dashes between clauses say nothing.
    } else {
        let as_written = bare.chars().any(|c| matches!(c, '/' | '_' | '\\' | '(' | ':' | '='));
        let text = if as_written { bare.to_owned() } else { bare.to_lowercase() };
        out.push(Token::of(Kind::Literal, bare, text));
    }
}

/// Reads `1,000`, `2.5`, `$50`, `15%`, `3pm`, `10kg` and `2nd`.
fn number(bare: &str, out: &mut Vec<Token>) -> bool {
    let (before, rest) = match bare.chars().next() {
        Some('$') => ("dollar", &bare[1..]),
        Some('€') => ("euro", &bare['€'.len_utf8()..]),
        Some('£') => ("pound", &bare['£'.len_utf8()..]),
        _ => ("", bare),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(rest.len());
    let (digits, unit) = rest.split_at(end);
    let dots = digits.matches('.').count();
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || dots > 1 || digits.ends_with(['.', ',']) {
        return false;
    }
    let after = match unit {
        "" => "",
        "%" => "percent",
        "$" => "dollar",
        "€" => "euro",
        "£" => "pound",
        "st" | "nd" | "rd" | "th" => {
            out.push(Token::of(Kind::Number, bare, format!("{digits}.")));
            return true;
        }
        unit if UNITS.contains(&unit.to_lowercase().as_str()) => unit,
        _ => return false,
    };
    out.push(Token::of(Kind::Number, digits, digits.replace(',', "")));
    for unit in [before, after].into_iter().filter(|unit| !unit.is_empty()) {
        out.push(Token::of(Kind::Word, unit, unit.to_lowercase()));
    }
    true
}

/// Units that are written right behind a number.
const UNITS: [&str; 40] = [
    "am", "pm", "kg", "g", "mg", "lb", "lbs", "oz", "km", "m", "cm", "mm", "mi", "ft", "in", "l", "ml", "kb",
    "mb", "gb", "tb", "ms", "s", "sec", "min", "h", "hr", "hrs", "k", "usd", "eur", "mph", "kmh", "hz",
    "ghz", "mhz", "w", "kw", "v", "px",
];

/// Splits `two-factor`, `15-year` and `check-in`; `AX-4471` stays whole.
fn hyphenated(bare: &str, out: &mut Vec<Token>) -> bool {
    let parts: Vec<&str> = bare.split('-').collect();
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let letters = |part: &str| part.chars().all(|c| c.is_alphabetic() || c == '\'');
    let splits = parts.len() > 1
        && parts.iter().all(|part| !part.is_empty())
        && letters(parts[parts.len() - 1])
        && (letters(parts[0]) || digits(parts[0]))
        && parts[1..].iter().all(|part| letters(part));
    if splits {
        for part in parts {
            if !number(part, out) {
                contraction(part, out);
            }
        }
    }
    splits
}

/// Writes `don't`, `what's` and `I'd` out; a possessive `'s` becomes a token of its own.
fn contraction(word: &str, out: &mut Vec<Token>) {
    let text = word.to_lowercase();
    let (stem, tail): (&str, &[&str]) = match text.as_str() {
        "can't" | "cant" | "cannot" => ("can", &["not"]),
        // "It won't start" says what it does now.
        "won't" | "wont" => ("do", &["not"]),
        "let's" => ("let", &["us"]),
        "dont" => ("do", &["not"]),
        "doesnt" => ("does", &["not"]),
        "didnt" => ("did", &["not"]),
        "isnt" => ("is", &["not"]),
        "im" => ("i", &["am"]),
        "ive" => ("i", &["have"]),
        "whats" => ("what", &["is"]),
        "hows" => ("how", &["is"]),
        "wheres" => ("where", &["is"]),
        text => match text.split_once('\'') {
            Some((stem, "s")) if IS.contains(&stem) => (stem, &["is"]),
            Some((stem, "s" | "")) if !stem.is_empty() => (stem, &["'s"]),
            Some((stem, "d")) => (stem, &["would"]),
            Some((stem, "ll")) => (stem, &["will"]),
            Some((stem, "ve")) => (stem, &["have"]),
            Some((stem, "re")) => (stem, &["are"]),
            Some((stem, "m")) => (stem, &["am"]),
            Some((stem, "t")) if stem.ends_with('n') => (&stem[..stem.len() - 1], &["not"]),
            _ => (text, &[]),
        },
    };
    let raw = word.split('\'').next().unwrap_or(word);
    let raw =
        if raw.len() >= stem.len() && raw.is_char_boundary(stem.len()) { &raw[..stem.len()] } else { raw };
    out.push(Token::of(Kind::Word, raw, stem.to_owned()));
    out.extend(tail.iter().map(|tail| Token::word(tail)));
}

/// What `'s` is short for `is` after.
const IS: [&str; 14] = [
    "what", "who", "where", "when", "how", "why", "it", "that", "there", "here", "he", "she", "this", "which",
];
