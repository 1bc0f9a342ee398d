//! Forms of one word: light stemming for English, and which stems are one word in another part of speech.

/// Irregular forms: the base, then its other forms. A `*` marks one that is past or a participle.
const IRREGULAR: &[&[&str]] = &[
    &["write", "wrote*", "written*"],
    &["buy", "bought*"],
    &["pay", "paid*"],
    &["send", "sent*"],
    &["lose", "lost*"],
    &["forget", "forgot*", "forgotten*"],
    &["break", "broke*"],
    &["build", "built*"],
    &["choose", "chose*", "chosen*"],
    &["come", "came*"],
    &["cut"],
    &["drive", "drove*", "driven*"],
    &["eat", "ate*", "eaten*"],
    &["fall", "fell*", "fallen*"],
    &["find"],
    &["fly", "flew*", "flown*"],
    &["freeze", "froze*", "frozen*"],
    &["give", "gave*", "given*"],
    &["go", "went*", "gone*"],
    &["grow", "grew*", "grown*"],
    &["get", "got*", "gotten*"],
    &["hear", "heard*"],
    &["hold", "held*"],
    &["keep", "kept*"],
    &["know", "knew*", "known*"],
    &["leave", "left*"],
    &["lead", "led*"],
    &["lend", "lent*"],
    &["make", "made*"],
    &["meet", "met*"],
    &["begin", "began*", "begun*"],
    &["bring", "brought*"],
    &["catch", "caught*"],
    &["draw", "drew*", "drawn*"],
    &["drink", "drank*", "drunk*"],
    &["feel", "felt*"],
    &["fight", "fought*"],
    &["ring", "rang*", "rung*"],
    &["rise", "rose*", "risen*"],
    &["run", "ran*"],
    &["say", "said*"],
    &["see", "saw*", "seen*"],
    &["sell", "sold*"],
    &["show", "shown*"],
    &["sing", "sang*", "sung*"],
    &["sink", "sank*", "sunk*"],
    &["sleep", "slept*"],
    &["speak", "spoke*", "spoken*"],
    &["spend", "spent*"],
    &["steal", "stole*", "stolen*"],
    &["swim", "swam*", "swum*"],
    &["take", "took*", "taken*"],
    &["teach", "taught*"],
    &["tell", "told*"],
    &["think", "thought*"],
    &["understand", "understood*"],
    &["wear", "wore*", "worn*"],
    &["win", "won*"],
    &["withdraw", "withdrew*", "withdrawn*"],
    &["hide", "hid*", "hidden*"],
    &["sue", "suing"],
    &["die", "dying"],
    &["lie", "lying"],
    &["tie", "tying"],
    &["child", "children"],
    &["person", "people", "persons"],
    &["man", "men"],
    &["woman", "women"],
    &["foot", "feet"],
    &["tooth", "teeth"],
    &["mouse", "mice"],
    &["goose", "geese"],
    &["leaf", "leaves"],
    &["knife", "knives"],
    &["life", "lives"],
    &["wife", "wives"],
    &["half", "halves"],
    &["shelf", "shelves"],
    &["index", "indices", "indexes"],
    &["matrix", "matrices"],
    &["vertex", "vertices"],
    &["analysis", "analyses"],
    &["criterion", "criteria"],
    &["phenomenon", "phenomena"],
    &["news"],
    &["always"],
    &["perhaps"],
    &["lens", "lenses"],
    &["gas", "gases"],
    &["bus", "buses"],
    &["business", "businesses"],
];

/// The stem of a word in lower case, and whether the form is past or a participle.
pub(super) fn stem(word: &str) -> (String, bool) {
    for row in IRREGULAR {
        for (place, form) in row.iter().enumerate() {
            let (form, past) = form.strip_suffix('*').map_or((*form, false), |form| (form, true));
            if form == word {
                return (finish(row[0]), past && place > 0);
            }
        }
    }
    if !word.is_ascii() || word.len() <= 3 {
        return (finish(word), false);
    }
    if let Some(base) = cut(word, "ed").filter(|_| !word.ends_with("eed")) {
        return (finish(&base), true);
    }
    if let Some(base) = cut(word, "ing") {
        return (finish(&base), false);
    }
    (finish(&singular(word)), false)
}

/// Cuts a suffix where a syllable is left in front of it.
fn cut(word: &str, suffix: &str) -> Option<String> {
    let base = word.strip_suffix(suffix)?;
    let syllable = base.len() >= 2 && base.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    (syllable && base.len() + suffix.len() >= 4).then(|| base.to_owned())
}

fn singular(word: &str) -> String {
    if let Some(base) = word.strip_suffix("ies").filter(|base| base.len() > 1) {
        return format!("{base}y");
    }
    for (ending, cut) in [("sses", 2), ("shes", 2), ("ches", 2), ("xes", 2), ("zzes", 2)] {
        if word.ends_with(ending) {
            return word[..word.len() - cut].to_owned();
        }
    }
    if word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us") && !word.ends_with("is") {
        return word[..word.len() - 1].to_owned();
    }
    word.to_owned()
}

/// Drops a last `e`, writes a last `y` as `i`, a last double consonant once, and `-ise` as `-ize`.
pub(super) fn finish(base: &str) -> String {
    let mut stem = base.to_owned();
    if stem.len() > 2 && stem.ends_with('e') {
        stem.pop();
    }
    if stem.len() > 2 && stem.ends_with('y') {
        stem.pop();
        stem.push('i');
    }
    let tail: Vec<char> = stem.chars().rev().take(2).collect();
    if stem.len() > 3 && tail.len() == 2 && tail[0] == tail[1] && tail[0].is_ascii_alphabetic() {
        stem.pop();
    }
    if stem.len() > 5 && stem.ends_with("is") {
        stem.truncate(stem.len() - 1);
        stem.push('z');
    }
    stem
}

/// Endings that turn a verb into its noun, or an adjective into its adverb, and leave what is meant.
/// `-er`, `-ee`, `-or`, `-less`, `-ful`, `-able` and `-ist` do change it, so they are not here.
const DERIVED: [&str; 11] = ["ation", "ition", "tion", "ion", "al", "anc", "enc", "li", "ur", "iz", "z"];

/// Whether `noun` is who does what `verb` says: `found`, `founder`.
pub(super) fn agent(verb: &str, noun: &str) -> bool {
    verb.len() > 2 && noun.strip_prefix(verb).is_some_and(|ending| matches!(ending, "er" | "or" | "ier"))
}

/// Whether two stems are one word as verb and noun, or as adjective and adverb: `install`, `installation`.
pub(super) fn related(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let Some(ending) = long.strip_prefix(short) else { return false };
    // `instal`, `installation`: stems end in a single consonant.
    let single = short.chars().last().and_then(|last| ending.strip_prefix(last));
    let ending = single.filter(|ending| DERIVED.contains(ending)).unwrap_or(ending);
    match ending {
        "ment" => short.len() >= 3,
        // `deliver`, `deliveri`; but not `part`, `parti`.
        "i" => short.len() >= 5 && short.ends_with("er"),
        // Short stems have lookalikes: `state` and `station`, `form` and `formal`, `near` and `nearly`.
        ending => short.len() >= 5 && DERIVED.contains(&ending),
    }
}
