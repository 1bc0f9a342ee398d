//! What the guard knows of English: frames of questions, phrases, synonyms, and words that only hold a sentence together.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::stem::{finish, stem};
use super::token::{Kind, Token};

/// One word of a pattern: its alternatives, and whether it may be missing.
struct Slot {
    words: Vec<&'static str>,
    optional: bool,
}

/// A pattern over the words at one place of a text, and what it stands for.
pub(super) struct Pattern {
    slots: Vec<Slot>,
    /// Fits only where a text begins.
    anchored: bool,
    /// The kind of a frame, or the words that replace a phrase.
    pub means: &'static str,
}

impl Pattern {
    fn parse(pattern: &'static str, means: &'static str) -> Self {
        let slot = |word: &'static str| {
            let optional = word.ends_with('?');
            Slot { words: word.trim_end_matches('?').split('|').collect(), optional }
        };
        let (pattern, anchored) =
            pattern.strip_prefix('^').map_or((pattern, false), |pattern| (pattern, true));
        Self { slots: pattern.split_whitespace().map(slot).collect(), anchored, means }
    }

    /// How many tokens the pattern takes at the start of `tokens`.
    fn takes(&self, tokens: &[Token]) -> Option<usize> {
        let mut taken = 0;
        for slot in &self.slots {
            let fits = tokens
                .get(taken)
                .is_some_and(|token| token.kind == Kind::Word && slot.words.contains(&token.text.as_str()));
            if fits {
                taken += 1;
            } else if !slot.optional {
                return None;
            }
        }
        Some(taken).filter(|taken| *taken > 0)
    }
}

fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

static FRAMES: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let parts = lines(include_str!("frames.txt")).filter_map(|line| line.split_once(" : "));
    parts.map(|(kind, pattern)| Pattern::parse(pattern, kind)).collect()
});

static PHRASES: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let parts = lines(include_str!("phrases.txt")).filter_map(|line| line.split_once(" = "));
    parts.map(|(pattern, words)| Pattern::parse(pattern, words)).collect()
});

/// Stem of a word to the stem that stands for its class.
static SYNONYMS: LazyLock<HashMap<String, Class>> = LazyLock::new(|| {
    let mut map = HashMap::new();
    for line in lines(include_str!("synonyms.txt")) {
        let (words, names) = line.strip_prefix("= ").map_or((line, false), |words| (words, true));
        let mut stems = words.split_whitespace().map(|word| stem(word).0);
        let Some(stem) = stems.next() else { continue };
        let class = Class { stem: stem.clone(), names };
        map.extend(stems.map(|stem| (stem, class.clone())));
        map.insert(stem, class);
    }
    map
});

/// A class of synonyms.
#[derive(Clone)]
struct Class {
    /// The stem that stands for all.
    stem: String,
    /// Whether names may stand for one another as well.
    names: bool,
}

/// The longest frame at the start of `tokens`: its kind and how many tokens it takes.
pub(super) fn frame(tokens: &[Token]) -> Option<(&'static str, usize)> {
    longest(&FRAMES, tokens, true)
}

/// The longest phrase at the start of `tokens`, which is where the text `begins` or not: the words in its place and how many tokens it takes.
pub(super) fn phrase(tokens: &[Token], begins: bool) -> Option<(&'static str, usize)> {
    longest(&PHRASES, tokens, begins)
}

fn longest(patterns: &[Pattern], tokens: &[Token], begins: bool) -> Option<(&'static str, usize)> {
    let patterns = patterns.iter().filter(|pattern| begins || !pattern.anchored);
    let fits = patterns.filter_map(|pattern| Some((pattern.means, pattern.takes(tokens)?)));
    // The first of equals wins, so the files may be read from the top.
    fits.rev().max_by_key(|(_, taken)| *taken)
}

/// The stem that stands for a stem's class of synonyms.
pub(super) fn class(stem: &str) -> &str {
    SYNONYMS.get(stem).map_or(stem, |class| &class.stem)
}

/// As [`class`], for a name.
pub(super) fn class_of_name(stem: &str) -> &str {
    SYNONYMS.get(stem).filter(|class| class.names).map_or(stem, |class| &class.stem)
}

/// Whether the stem is in the lists, so that its text is likely English.
pub(super) fn known(stem: &str) -> bool {
    SYNONYMS.contains_key(stem)
}

/// What a word that is not content does in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Articles, demonstratives and filler: may come and go.
    Filler,
    /// `is`, `do`, `have` … in the present.
    Present,
    /// `be`, `been`, `being`.
    Be,
    /// `was`, `did`, `had`.
    Past,
    /// `will`.
    Future,
    /// `can`, `may`, …
    May,
    /// `must`, `have to`, …
    Must,
    /// `should`.
    Should,
    /// `would`.
    Would,
    /// `not`, `no`, `never`, `without`, …
    Not,
    /// A subject: `I`, `we`, `he`, …
    Subject(Person),
    /// An object: `me`, `him`, …
    Object(Person),
    /// A possessor: `my`, `his`, …
    Owner(Person),
    /// A preposition that only ties words together: `in`, `of`, `with`, …
    Loose,
    /// `to`, `into`, `onto`.
    To,
    /// `from`.
    From,
    /// A word that changes the answer when it comes, goes or moves: `before`, `off`, `only`, `all`, `more`, …
    Firm(&'static str),
    /// `and`.
    And,
}

/// Whether a participle behind the word is passive.
pub(super) fn is_be(word: &str) -> bool {
    matches!(
        word,
        "is" | "are" | "am" | "was" | "were" | "be" | "been" | "being" | "get" | "gets" | "getting" | "got"
    )
}

/// Whom a pronoun stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Person {
    Me,
    /// Only as owners: what is ours is everybody's.
    We,
    You,
    He,
    She,
    They,
}

/// What a word does, if it is not content.
pub(super) fn part(word: &str) -> Option<Part> {
    Some(match word {
        "a" | "an" | "the" | "this" | "that" | "these" | "those" | "there" | "please" | "usually"
        | "typically" | "generally" | "normally" | "commonly" | "very" | "really" | "so" | "quite"
        | "just" | "exactly" | "simply" | "actually" | "kindly" | "currently" | "some" | "any" | "ok"
        | "okay" | "thanks" | "thx" | "pls" | "plz" | "cheers" | "which" | "what" | "hi" | "hello"
        | "hey" | "if" | "whether" => Part::Filler,
        "be" | "been" | "being" => Part::Be,
        "is" | "are" | "am" | "do" | "does" | "has" | "have" | "having" | "doing" => Part::Present,
        "was" | "were" | "did" | "had" | "got" => Part::Past,
        "will" | "shall" => Part::Future,
        "can" | "could" | "may" | "might" => Part::May,
        "must" => Part::Must,
        "should" => Part::Should,
        "would" => Part::Would,
        "not" | "no" | "never" | "without" | "nor" | "neither" | "none" | "nothing" | "nobody"
        | "lacking" | "non" => Part::Not,
        "i" | "we" => Part::Subject(Person::Me),
        "you" => Part::Subject(Person::You),
        "one" | "someone" | "somebody" | "anyone" | "anybody" => Part::Filler,
        "he" => Part::Subject(Person::He),
        "she" => Part::Subject(Person::She),
        "they" => Part::Subject(Person::They),
        "it" | "its" => Part::Filler,
        "me" | "us" | "myself" | "ourselves" => Part::Object(Person::Me),
        "him" | "himself" => Part::Object(Person::He),
        "herself" | "hers" => Part::Object(Person::She),
        "them" | "themselves" => Part::Object(Person::They),
        "yourself" => Part::Object(Person::You),
        "my" | "mine" => Part::Owner(Person::Me),
        "our" | "ours" => Part::Owner(Person::We),
        "your" | "yours" => Part::Owner(Person::You),
        "his" => Part::Owner(Person::He),
        "her" => Part::Owner(Person::She),
        "their" | "theirs" => Part::Owner(Person::They),
        "of" | "'s" | "in" | "on" | "at" | "for" | "about" | "with" | "by" | "regarding" | "as" | "like"
        | "via" | "using" | "within" | "inside" | "per" => Part::Loose,
        "to" | "into" | "onto" => Part::To,
        "from" => Part::From,
        "and" => Part::And,
        word => Part::Firm(firm(word)?),
    })
}

/// Words that must be the same in both texts, as the class they stand for.
fn firm(word: &str) -> Option<&'static str> {
    Some(match word {
        "before" => "before",
        "after" => "after",
        "under" | "below" | "beneath" => "under",
        "over" | "above" => "over",
        "atleast" => "at least",
        "atmost" => "at most",
        "during" | "while" | "whilst" => "during",
        "until" | "till" => "until",
        "since" => "since",
        "between" => "between",
        "among" => "among",
        "against" => "against",
        "than" => "than",
        "instead" => "instead",
        "except" | "unless" => "except",
        "but" => "but",
        "or" | "either" => "or",
        "then" => "then",
        "through" => "through",
        "behind" => "behind",
        "across" => "across",
        "near" | "nearby" => "near",
        "outside" => "outside",
        "off" => "off",
        "out" => "out",
        "up" => "up",
        "down" => "down",
        "away" => "away",
        "back" => "back",
        "because" => "because",
        "all" | "every" | "each" => "all",
        "both" => "both",
        "most" => "most",
        "many" | "much" => "many",
        "few" | "several" => "few",
        "more" | "additional" | "another" => "more",
        "less" | "fewer" => "less",
        "least" => "least",
        "enough" | "sufficient" => "enough",
        "too" => "too",
        "only" | "solely" => "only",
        "also" => "also",
        "else" | "other" => "other",
        "same" => "same",
        "half" => "half",
        "again" => "again",
        "still" => "still",
        "already" => "already",
        "yet" => "yet",
        "always" => "always",
        "ever" => "ever",
        "often" => "often",
        "sometimes" => "sometimes",
        "today" => "today",
        "tomorrow" => "tomorrow",
        "yesterday" => "yesterday",
        "now" => "now",
        "next" => "next",
        "last" => "last",
        "previous" | "past" => "previous",
        "itself" => "itself",
        "who" | "whom" | "whose" => "who",
        "when" => "when",
        "where" => "where",
        "why" => "why",
        "how" => "how",
        _ => return None,
    })
}

/// What somebody can be asked to do with words; `can you freeze it` is no request, `can you explain it` is one.
pub(super) fn is_assistance(word: &str) -> bool {
    const VERBS: &str = "explain tell give show write recommend suggest summarize summarise help translate proofread list \
        describe find make create draft check fix convert calculate compute generate provide rewrite define compare \
        name teach walk send share solve compose review correct improve rephrase";
    VERBS.split_whitespace().any(|verb| verb == word)
}

/// The noun that a question with `how` and this adjective asks for.
pub(super) fn attribute(adjective: &str) -> Option<&'static str> {
    Some(match adjective {
        "tall" | "high" => "height",
        "long" => "duration",
        "far" => "distance",
        "old" => "age",
        "fast" => "speed",
        "heavy" => "weight",
        "deep" => "depth",
        "wide" => "width",
        "big" | "large" => "size",
        "hot" => "temperature",
        "often" | "frequently" => "frequency",
        "many" => "number",
        "expensive" => "price",
        _ => return None,
    })
}

/// Cardinal number words; scales (`hundred`) multiply what is in front of them.
pub(super) fn cardinal(word: &str) -> Option<u64> {
    const SMALL: &str = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
        sixteen seventeen eighteen nineteen twenty";
    const TENS: &str = "thirty forty fifty sixty seventy eighty ninety hundred thousand million billion";
    const VALUES: [u64; 11] = [30, 40, 50, 60, 70, 80, 90, 100, 1_000, 1_000_000, 1_000_000_000];
    let small = SMALL.split_whitespace().zip(0..).find(|(name, _)| *name == word);
    let tens = || TENS.split_whitespace().zip(VALUES).find(|(name, _)| *name == word);
    small.or_else(tens).map(|(_, value)| value)
}

/// Roman numerals in capitals, from two on: a lone letter is more often a name.
pub(super) fn roman(word: &str) -> Option<u64> {
    const NUMERALS: &str = "II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX";
    let numeral = NUMERALS.split_whitespace().zip(2..).find(|(name, _)| *name == word);
    numeral.filter(|_| word.len() > 1).map(|(_, value)| value)
}

/// Ordinal number words.
pub(super) fn ordinal(word: &str) -> Option<u64> {
    const ORDINALS: &str = "first second third fourth fifth sixth seventh eighth ninth tenth";
    ORDINALS.split_whitespace().zip(1..).find(|(name, _)| *name == word).map(|(_, value)| value)
}

/// Words that are a name when they are capitalised and something else when not.
pub(super) fn is_homograph(word: &str) -> bool {
    const WORDS: &str = "polish turkey china march may august apple windows java rust go swift nice reading mobile amazon \
        shell target gap chile jordan bath cork orange mercury earth mars ruby oracle slack teams word excel access \
        notion square stripe meta signal";
    WORDS.split_whitespace().any(|name| name == word)
}

/// Units of measure and money, as classes of synonyms: only to name a difference.
pub(super) fn is_unit(class: &str) -> bool {
    const UNITS: &str = "meter kilometer centimeter millimeter mile foot inch yard kilogram gram milligram pound ounce \
        liter milliliter gallon cup teaspoon tablespoon hour minute second day week month year celsius fahrenheit \
        kelvin c f dollar euro eur usd yen percent byte kb mb gb tb degree am pm quart pint";
    UNITS.split_whitespace().any(|unit| stem(unit).0 == class || unit == class)
}

/// Adjectives by form, and the few that questions turn around: `is shipping free`, `free shipping`.
pub(super) fn is_adjective(word: &str) -> bool {
    const ENDINGS: [&str; 11] =
        ["able", "ible", "ous", "ful", "less", "ive", "proof", "free", "ish", "ic", "ary"];
    const ADJECTIVES: &str = "free slow fast new old good bad safe legal big large small long short tall high low hot \
        cold open closed available offline online broken late early cheap expensive easy hard normal deep young great \
        strong weak rich poor close near heavy light dark warm best worst";
    let superlative = word
        .strip_suffix("est")
        .is_some_and(|base| ADJECTIVES.split_whitespace().any(|adjective| finish(adjective) == finish(base)));
    superlative
        || ENDINGS.iter().any(|ending| word.len() > ending.len() && word.ends_with(ending))
        || ADJECTIVES.split_whitespace().any(|adjective| adjective == word)
}

/// Function words of other languages that are none of English.
pub(super) fn is_foreign(word: &str) -> bool {
    const WORDS: &str = "der die das und ist nicht ein eine einen wie ich kann mein meine wo warum welche zu mit für \
        auf el la los las que es como cómo qué una por mi puedo para le les des est une comment je pas mon ma \
        quelle quel où pourquoi il di che è come posso mio sono non del della o os uma não meu minha het een van \
        ik hoe mijn niet jak co czy nie";
    WORDS.split_whitespace().any(|foreign| foreign == word)
}
