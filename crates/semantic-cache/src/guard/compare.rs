//! Holds two texts against each other: pairs their words, and names the first thing that keeps them apart.

use super::Difference;
use super::implied::{convert, implied, lacking, listing, meaning, say};
use super::meaning::{Meaning, Modality, Question, Tense, Term, Tie};
use super::order;
use super::stem::{agent, related};
use super::token::Kind;
use super::words::{self, Person, is_adjective};

/// The first difference between two texts, the plainest kind first.
pub(super) fn compare(a: &Meaning, b: &Meaning) -> Option<Difference> {
    let (mut a, mut b) = (a.clone(), b.clone());
    price(&mut a, &mut b);
    date(&mut a, &mut b);
    contrast(&mut a, &mut b);
    unspoken(&mut a, &b);
    unspoken(&mut b, &a);
    for text in [&mut a, &mut b] {
        say(text);
        meaning(text);
        convert(text);
    }
    listing(&mut a, &mut b);
    implied(&mut a, &b);
    implied(&mut b, &a);
    lacking(&mut a, &b);
    lacking(&mut b, &a);
    let who = a.question == Question::Who && b.question == Question::Who;
    let pairs = pair(&a.terms, &b.terms, who);
    let (left, right) =
        (unpaired(&a.terms, &pairs, |pair| pair.0), unpaired(&b.terms, &pairs, |pair| pair.1));
    if !left.is_empty() || !right.is_empty() {
        return Some(kind(&left, &right));
    }
    let rules: [(bool, Difference); 13] = [
        (homographs(&a, &b, &pairs), Difference::Entities),
        (numbers(&a) != numbers(&b), Difference::Numbers),
        (negation(&a, &b, &pairs), Difference::Negation),
        (!question(&a, &b, &pairs), Difference::Question),
        (time(&a, &b, &pairs), Difference::Time),
        (modality(&a, &b), Difference::Modality),
        (having(&a, &b), Difference::RoleSwap),
        (person(&a, &b, &pairs) || owner(&a, &b, &pairs), Difference::Person),
        (order::revoiced(&a, &b, &pairs), Difference::RoleSwap),
        (order::listed(&a, &b, &pairs), Difference::Direction),
        (stranded(&a, &b) || order::redirected(&a, &b, &pairs), Difference::Direction),
        (order::remeasured(&a, &b, &pairs), Difference::Quantifier),
        (order::swapped(&a, &b, &pairs), Difference::RoleSwap),
    ];
    rules.into_iter().find(|(differ, _)| *differ).map(|(_, difference)| difference)
}

/// "How much does it cost" and "how much is it" both ask for the price, which need not be said.
fn price(a: &mut Meaning, b: &mut Meaning) {
    let class = words::class("pric").to_owned();
    let priced = |text: &Meaning| text.terms.iter().any(|term| term.class == class && term.firm.is_none());
    let asked = |text: &Meaning| text.question == Question::HowMuch;
    if !(asked(a) || asked(b)) || !(asked(a) || priced(a)) || !(asked(b) || priced(b)) {
        return;
    }
    for text in [a, b] {
        if matches!(text.question, Question::What | Question::HowMuch) {
            text.question = Question::HowMuch;
            text.terms.retain(|term| term.class != class);
        }
    }
}

/// "The difference between a and b", "how does a differ from b" and "a vs b" ask for the same.
fn contrast(a: &mut Meaning, b: &mut Meaning) {
    let differ = words::class("differ");
    let versus = |term: &Term| matches!(term.text.as_str(), "vs" | "versus");
    let place = |text: &Meaning| {
        text.terms.iter().position(|term| !term.negated && (term.class == differ || versus(term)))
    };
    if place(a).is_none() || place(b).is_none() {
        return;
    }
    let lists = [&*a, &*b].iter().all(|text| text.terms.iter().any(|term| term.list.is_some()));
    for text in [a, b] {
        let Some(place) = place(text) else { continue };
        let mut contrast = text.terms.remove(place);
        differ.clone_into(&mut contrast.class);
        text.terms.insert(0, contrast);
        text.terms.retain(|term| term.firm != Some("between"));
        for term in &mut text.terms {
            if matches!(term.tie, Tie::From | Tie::Firm("between")) {
                term.tie = Tie::Bare;
            }
            term.list = term.list.filter(|_| lists);
        }
        if matches!(text.question, Question::How | Question::Bare) {
            text.question = Question::What;
        }
    }
}

/// "Python function to reverse a string" asks to write one, "the area of a circle" to find it.
fn unspoken(text: &mut Meaning, other: &Meaning) {
    let creates = |term: &Term| ["writ", "creat"].iter().any(|class| words::class(class) == term.class);
    let spoken = |term: &Term| other.terms.iter().any(|there| there.class == term.class);
    let asks = |term: &Term| {
        matches!(
            term.text.as_str(),
            "list"
                | "find"
                | "calculate"
                | "compute"
                | "determine"
                | "show"
                | "name"
                | "provide"
                | "give"
                | "tell"
        )
    };
    let bare = |text: &Meaning| matches!(text.question, Question::Bare | Question::Request);
    let idle = |first: &Term| {
        other.question == Question::Bare && creates(first)
            || bare(text)
                && asks(first)
                && (bare(other) || matches!(other.question, Question::What | Question::HowMuch))
    };
    if text.terms.first().is_some_and(|first| !spoken(first) && !first.negated && idle(first)) {
        text.terms.remove(0);
    }
    offer(text, other);
    define(text, other);
}

/// "Do you offer a discount" asks whether there is one.
fn offer(text: &mut Meaning, other: &Meaning) {
    let both = [&*text, other].iter().all(|text| text.question == Question::YesNo);
    if both && (other.has || other.exists) {
        text.terms.retain(|term| term.negated || !matches!(term.text.as_str(), "offer" | "available"));
    }
}

/// "What does entropy mean" and "define entropy" ask what entropy is.
fn define(text: &mut Meaning, other: &Meaning) {
    if !matches!(other.question, Question::What) || other.terms.iter().any(|term| term.class == "mean") {
        return;
    }
    if text.question == Question::What {
        text.terms
            .pop_if(|last| last.text == "mean" && !(last.direct && last.tie != Tie::Bare) && !last.negated);
    } else if matches!(text.question, Question::Bare | Question::Request)
        && text.terms.first().is_some_and(|first| first.text == "define")
    {
        text.terms.remove(0);
    }
}

/// "When is it due" and "what is the due date" both ask for the date, which need not be said.
fn date(a: &mut Meaning, b: &mut Meaning) {
    let is_date = |term: &Term| matches!(term.class.as_str(), "dat" | "tim" | "dai");
    let is_deadline = |term: &Term| term.class == "deadlin";
    let deadline = [&*a, &*b].iter().all(|text| text.terms.iter().any(is_deadline));
    let fits = |x: &Meaning, y: &Meaning| {
        x.question == Question::When
            && y.question == Question::What
            && (deadline || y.terms.iter().any(is_date))
    };
    if fits(a, b) || fits(b, a) {
        for text in [a, b] {
            text.question = Question::When;
            text.terms.retain(|term| !is_date(term));
        }
    }
}

/// Pairs each term with one of the other text: the same word before a synonym before a derived form.
/// Where both ask who, also a verb with the one who does it: "who wrote it", "who is the writer of it".
fn pair(a: &[Term], b: &[Term], who: bool) -> Vec<(usize, usize)> {
    let rules: [fn(&Term, &Term) -> bool; 5] = [
        |x, y| x.text == y.text,
        |x, y| x.stem == y.stem,
        |x, y| x.class == y.class,
        |x, y| !x.name && !y.name && (related(&x.stem, &y.stem) || related(&x.class, &y.class)),
        |x, y| !x.passive && !y.passive && (agent(&x.stem, &y.stem) || agent(&y.stem, &x.stem)),
    ];
    let mut pairs = Vec::new();
    let mut taken = vec![false; b.len()];
    for (level, rule) in rules[..if who { 5 } else { 4 }].iter().enumerate() {
        for (i, x) in a.iter().enumerate() {
            if pairs.iter().any(|pair: &(usize, usize)| pair.0 == i) {
                continue;
            }
            let fits = |y: &Term| {
                let words =
                    x.kind == Kind::Word && y.kind == Kind::Word && x.firm.is_none() && y.firm.is_none();
                x.kind == y.kind && x.firm == y.firm && (level == 0 || words) && rule(x, y)
            };
            if let Some(j) = (0..b.len()).find(|j| !taken[*j] && fits(&b[*j])) {
                taken[j] = true;
                pairs.push((i, j));
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Terms without a partner, but for those that say nothing by themselves.
fn unpaired<'a>(
    terms: &'a [Term],
    pairs: &[(usize, usize)],
    side: fn(&(usize, usize)) -> usize,
) -> Vec<&'a Term> {
    let alone = |place: &usize| !pairs.iter().any(|pair| side(pair) == *place);
    // "How do I get a refund": to get is to have. "The current president": who is president now.
    let empty = |term: &Term| {
        term.firm.is_none() && matches!(term.text.as_str(), "get" | "gets" | "getting" | "current")
    };
    (0..terms.len())
        .filter(alone)
        .map(|place| &terms[place])
        .filter(|term| !empty(term) || term.negated)
        .collect()
}

/// A name for what is on one side only.
fn kind(left: &[&Term], right: &[&Term]) -> Difference {
    let both = || left.iter().chain(right);
    let has = |test: &dyn Fn(&Term) -> bool| both().any(|term| test(term));
    let prefixed =
        left.iter().any(|x| right.iter().any(|y| opposed(&x.text, &y.text) || opposed(&y.text, &x.text)));
    if has(&|term| term.kind == Kind::Number) {
        Difference::Numbers
    } else if has(&|term| term.kind == Kind::Quoted) {
        Difference::Quoted
    } else if has(&|term| term.kind == Kind::Literal) {
        Difference::Identifier
    } else if prefixed {
        Difference::Negation
    } else if has(&|term| term.firm.is_none() && words::is_unit(&term.class)) {
        Difference::Unit
    } else if let Some(word) = both().find_map(|term| term.firm) {
        firm_kind(word)
    } else if has(&|term| term.name) {
        Difference::Entities
    } else if left.is_empty() || right.is_empty() {
        Difference::Qualifier
    } else {
        Difference::WordSwap
    }
}

fn firm_kind(word: &str) -> Difference {
    match word {
        "today" | "tomorrow" | "yesterday" | "now" | "next" | "last" | "previous" | "again" | "still"
        | "already" | "yet" | "always" | "ever" | "often" | "sometimes" | "since" | "until" => {
            Difference::Time
        }
        "all" | "both" | "most" | "many" | "few" | "more" | "less" | "least" | "enough" | "too" | "only"
        | "half" | "at least" | "at most" | "other" | "same" | "also" => Difference::Quantifier,
        "who" | "what" | "when" | "where" | "why" | "how" => Difference::Question,
        _ => Difference::Direction,
    }
}

/// Whether one word is the other with a prefix that turns it round.
fn opposed(long: &str, short: &str) -> bool {
    const PREFIXES: [&str; 10] = ["un", "in", "im", "il", "ir", "dis", "non", "de", "mis", "a"];
    PREFIXES.iter().any(|prefix| long.strip_prefix(prefix) == Some(short))
}

fn numbers(text: &Meaning) -> Vec<&str> {
    text.terms.iter().filter(|term| term.kind == Kind::Number).map(|term| term.text.as_str()).collect()
}

/// "Polish" is no "polish": a name in one text only, of a word that is also none.
fn homographs(a: &Meaning, b: &Meaning, pairs: &[(usize, usize)]) -> bool {
    pairs.iter().any(|&(i, j)| {
        let (x, y) = (&a.terms[i], &b.terms[j]);
        // At the start of a sentence a capital says nothing.
        let apart = x.name && !y.capital || y.name && !x.capital;
        a.cased && b.cased && apart && words::is_homograph(&x.text)
    })
}

/// "Looking for" is not "looking at" or "looking"; but "for what is he looking" is "what is he looking for".
fn stranded(a: &Meaning, b: &Meaning) -> bool {
    let alone = |text: &Meaning, other: &Meaning| match (&text.dangling, &text.fronted) {
        // "Is Egypt safe to travel to", "is it safe to travel to Egypt".
        // "What year was it built in", "when was it built".
        (Some(word), _) if text.question == Question::When => matches!(word.as_str(), "in" | "at" | "on"),
        (Some(_), _) => other.dummy,
        // "In what year did", "what year did"; "by whom was it", "who did".
        (None, Some(word)) => matches!(word.as_str(), "in" | "at" | "on" | "by"),
        (None, None) => true,
    };
    match (a.dangling.as_ref().or(a.fronted.as_ref()), b.dangling.as_ref().or(b.fronted.as_ref())) {
        (Some(p), Some(q)) => p != q,
        _ => !(alone(a, b) && alone(b, a)),
    }
}

fn negation(a: &Meaning, b: &Meaning, pairs: &[(usize, usize)]) -> bool {
    // "Why won't it start", "why is it not starting": the question opens with what the other says of the verb.
    let once = |x: &Meaning, y: &Meaning| {
        x.opening_not
            && !y.opening_not
            && !x.terms.iter().any(|term| term.negated)
            && !x.dangling_not
            && !y.dangling_not
            && y.terms.iter().filter(|term| term.negated).count() == 1
            && !y.terms.iter().any(|term| term.list.is_some() || matches!(term.firm, Some("but" | "or")))
    };
    if once(a, b) || once(b, a) {
        return false;
    }
    a.opening_not != b.opening_not
        || a.dangling_not != b.dangling_not
        || pairs.iter().any(|&(i, j)| a.terms[i].negated != b.terms[j].negated)
}

/// Whether both ask for the same kind of answer.
fn question(a: &Meaning, b: &Meaning, pairs: &[(usize, usize)]) -> bool {
    use Question::{Bare, How, HowMuch, HowTo, Request, Way, What, Where, Why, YesNo};
    let nominal = || {
        pairs.iter().any(|&(i, j)| {
            let (x, y) = (&a.terms[i], &b.terms[j]);
            x.stem != y.stem && (related(&x.stem, &y.stem) || x.class == y.class)
        })
    };
    match (a.question, b.question) {
        (x, y) if x == y => true,
        (Bare | Request, Bare | Request | HowTo | What) | (HowTo | What, Bare | Request) => true,
        // "How do I treat a burn", "what is the treatment for a burn".
        (HowTo, What) | (What, HowTo) => nominal(),
        (Way, Bare | Request | HowTo) | (Bare | Request | HowTo, Way) => true,
        (Way, YesNo) => b.modality == Some(Modality::May),
        // "Where can I find it", "how do I find it".
        (HowTo, Where) => looks(b),
        (Where, HowTo) => looks(a),
        // "How is theft punished", "what is the punishment for theft".
        (How, What) => nominal() && a.terms.iter().any(|term| term.passive),
        (What, How) => nominal() && b.terms.iter().any(|term| term.passive),
        // "How do you find it", "how is it found".
        (HowTo, How) => b.terms.iter().any(|term| term.passive),
        (How, HowTo) => a.terms.iter().any(|term| term.passive),
        // "What is 7 times 8", "how much is 7 times 8".
        (What, HowMuch) | (HowMuch, What) => numbers(a).len() > 1,
        // "My screen is black", "why is my screen black": who complains asks why.
        (Why, Bare) => complains(b, a),
        (Bare, Why) => complains(a, b),
        (YesNo, Way) => a.modality == Some(Modality::May),
        _ => false,
    }
}

fn looks(text: &Meaning) -> bool {
    let looks = |term: &Term| {
        matches!(term.text.as_str(), "find" | "see" | "view" | "download" | "register" | "apply" | "check")
    };
    text.modality == Some(Modality::May) && text.terms.first().is_some_and(looks)
}

fn complains(statement: &Meaning, question: &Meaning) -> bool {
    statement.tense.is_some()
        && statement.owners.contains(&Person::Me)
        && question.owners.contains(&Person::Me)
}

/// "I have a cold" is not "I am cold".
fn having(a: &Meaning, b: &Meaning) -> bool {
    let states = |text: &Meaning| text.question == Question::Bare && text.tense.is_some();
    states(a) && states(b) && a.has != b.has
}

fn time(a: &Meaning, b: &Meaning, pairs: &[(usize, usize)]) -> bool {
    // "When does it arrive", "how long will it take": what is to come may stand in the present.
    let measured = |text: &Meaning| {
        matches!(text.question, Question::When | Question::HowMuch)
            || text.question == Question::What
                && text.terms.first().is_some_and(|term| term.class == words::class("duration"))
    };
    let to_come = measured(a) && measured(b) && a.tense != Some(Tense::Past) && b.tense != Some(Tense::Past);
    // "What should I do if I lose it", "I lost it, what should I do".
    let remedy = a.remedy && b.remedy;
    if remedy {
        return false;
    }
    let tenses = !to_come && a.tense.zip(b.tense).is_some_and(|(x, y)| x != y);
    // A past form against a present one, with no auxiliary that would make up for it.
    let bare_past = |x: &Term, y: &Term, other: &Meaning| {
        x.past && !y.past && !x.passive && y.kind == Kind::Word && other.tense != Some(Tense::Past)
    };
    let forms = pairs.iter().any(|&(i, j)| {
        let (x, y) = (&a.terms[i], &b.terms[j]);
        x.stem == y.stem && (bare_past(x, y, b) || bare_past(y, x, a))
    });
    tenses || forms
}

fn modality(a: &Meaning, b: &Meaning) -> bool {
    use Modality::{May, Should, Would};
    if [a, b].iter().any(|text| matches!(text.question, Question::HowTo | Question::Way)) {
        return false;
    }
    let open = |text: &Meaning| !matches!(text.question, Question::YesNo | Question::Bare);
    // "Is it legal to own one", "can you legally own one".
    let possible = |x: &Meaning, y: &Meaning| {
        let about = |term: &Term| {
            is_adjective(&term.text) && y.terms.iter().any(|there| there.text == format!("{}ly", term.text))
        };
        x.dummy && x.modality.is_none() && y.modality == Some(May) && x.terms.first().is_some_and(about)
    };
    if possible(a, b) || possible(b, a) {
        return false;
    }
    let amount = |text: &Meaning| {
        let measured = |term: &Term| matches!(term.text.as_str(), "frequency" | "duration" | "number");
        text.question == Question::HowMuch
            || text.question == Question::What && text.terms.first().is_some_and(measured)
    };
    match (a.modality, b.modality) {
        (x, y) if x == y => false,
        // "How much should I drink", "how much do I need to drink".
        (Some(Should), Some(Modality::Must)) | (Some(Modality::Must), Some(Should)) => {
            !(amount(a) && amount(b))
        }
        // Outside yes-or-no questions, what one can or should do is what one does.
        (None, Some(May | Should | Would)) | (Some(May | Should | Would), None) => !(open(a) || open(b)),
        _ => true,
    }
}

/// "My boss likes your plan" is not "your boss likes my plan".
fn owner(a: &Meaning, b: &Meaning, pairs: &[(usize, usize)]) -> bool {
    let owners = |&(i, j): &(usize, usize)| a.terms[i].owner.zip(b.terms[j].owner);
    pairs.iter().filter_map(owners).any(|(x, y)| x != y)
}

fn person(a: &Meaning, b: &Meaning, pairs: &[(usize, usize)]) -> bool {
    let set = |persons: &[Person]| {
        let mut persons = persons.to_vec();
        persons.sort_unstable();
        persons.dedup();
        persons
    };
    let how_to = [a, b].iter().any(|text| matches!(text.question, Question::HowTo | Question::Way));
    // "Write me a poem": for whom a request is made goes without saying.
    let request = [a, b]
        .iter()
        .all(|text| matches!(text.question, Question::Bare | Question::Request | Question::HowTo))
        && [a, b].iter().any(|text| text.terms.first().is_some_and(|term| words::is_assistance(&term.text)));
    let objects = |text: &Meaning| {
        let kept = text.objects.iter().filter(|person| !request || **person != Person::Me);
        set(&kept.copied().collect::<Vec<_>>())
    };
    let third = |persons: &[Person]| -> Vec<Person> {
        persons.iter().copied().filter(|person| !matches!(person, Person::Me | Person::You)).collect()
    };
    let general = |persons: &[Person]| {
        persons.iter().all(|person| matches!(person, Person::Me | Person::We | Person::You))
    };
    // "My balance" asks for something of one's own, where "the balance" does not; "your prices" are the prices.
    let personal = |text: &Meaning| {
        use Question::{HowMuch, What, When, Where, Who};
        let own = text.owners.contains(&Person::Me);
        matches!(text.question, What | When | Where | Who | HowMuch) && own
    };
    let mine = personal(a) != personal(b) && a.question == b.question;
    // One may go unnamed if it is who asks or who is asked.
    let apart = |x: Vec<Person>, y: Vec<Person>| {
        x != y && !((x.is_empty() || y.is_empty()) && general(&x) && general(&y))
    };
    let (x, y) = (set(&a.subjects), set(&b.subjects));
    let subjects = apart(x.clone(), y.clone()) && !(how_to && general(&x) && general(&y));
    // "Am I liable for his debt", "is he liable for my debt": who asks is the subject of one text only.
    let owned = |text: &Meaning| text.terms.first().is_some_and(|term| term.owner == Some(Person::Me));
    let asker = |x: &Meaning, y: &Meaning| {
        x.subjects.contains(&Person::Me)
            && y.subjects.is_empty()
            && (y.owners.len() > x.owners.len() || owned(y) && !owned(x))
            && !y.terms.iter().any(|term| term.passive)
    };
    let asked =
        a.question == Question::YesNo && b.question == Question::YesNo && (asker(a, b) || asker(b, a));
    // "My flight was cancelled", "I cancelled my flight": what I did did not happen to me.
    let voices = pairs.iter().any(|&(i, j)| a.terms[i].passive != b.terms[j].passive);
    let done = a.remedy && b.remedy && voices && a.subjects.len() != b.subjects.len();
    mine || subjects
        || asked
        || done
        || third(&a.subjects) != third(&b.subjects)
        || objects(a) != objects(b)
        || apart(set(&a.owners), set(&b.owners))
}
