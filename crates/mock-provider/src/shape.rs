//! What a body may look like, as data: known fields, which are required, and what they hold. Providers refuse what
//! they do not know, so their doubles must.

use serde_json::{Map, Value};

/// What a value may be.
pub(crate) enum Kind {
    /// Anything at all.
    Any,
    /// True or false.
    Bool,
    /// A whole number, not below this.
    Whole(i64),
    /// A number between these.
    Number(f64, f64),
    /// A text.
    Text,
    /// A text that is not empty.
    Filled,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A list of one kind, with at least so many.
    List(usize, &'static Kind),
    /// An object with any names.
    Map,
    /// An object with any names, and one kind of values.
    Names(&'static Kind),
    /// An object with known names.
    Object(&'static [Field]),
    /// An object whose `type` (or other) field says which names are known.
    Tagged(&'static str, &'static [(&'static str, &'static [Field])]),
    /// An object with exactly one of these names.
    OneOf(&'static [Field]),
    /// The first of these whose JSON type fits.
    Either(&'static [&'static Kind]),
}

/// A name in an object.
pub(crate) struct Field {
    name: &'static str,
    required: bool,
    kind: &'static Kind,
}

/// A field that must be there.
pub(crate) const fn must(name: &'static str, kind: &'static Kind) -> Field {
    Field { name, required: true, kind }
}

/// A field that may be there, or be null.
pub(crate) const fn may(name: &'static str, kind: &'static Kind) -> Field {
    Field { name, required: false, kind }
}

/// The first thing that is wrong with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) path: Path,
    pub(crate) what: What,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A field that the provider does not know.
    Unknown,
    /// A field that must be there is not.
    Missing,
    /// The value is something else than this.
    Not(String),
}

/// Where in a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl Path {
    /// As `messages[0].content`.
    pub(crate) fn bracketed(&self) -> String {
        self.render(|index| format!("[{index}]"))
    }

    /// As `messages.0.content`.
    pub(crate) fn dotted(&self) -> String {
        self.render(|index| format!(".{index}")).trim_start_matches('.').to_owned()
    }

    /// The place around it, and its own name.
    pub(crate) fn split(mut self) -> (Self, String) {
        let last = match self.0.pop() {
            Some(Step::Name(name)) => name,
            Some(Step::Index(index)) => index.to_string(),
            None => String::new(),
        };
        (self, last)
    }

    fn render(&self, index: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for step in &self.0 {
            match step {
                Step::Name(name) => {
                    text.push_str(if text.is_empty() { "" } else { "." });
                    text.push_str(name);
                }
                Step::Index(at) => text.push_str(&index(*at)),
            }
        }
        text
    }
}

impl Kind {
    /// Looks for the first mistake.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Mistake> {
        self.look(value, &mut Path::default())
    }

    /// Renames fields that are written in snake case: protobuf's JSON takes them, too.
    pub(crate) fn in_camel_case(&self, value: &mut Value) {
        match (self, value) {
            (Self::Object(fields) | Self::OneOf(fields), Value::Object(map)) => {
                *map = std::mem::take(map)
                    .into_iter()
                    .map(|(name, value)| renamed(fields, name, value))
                    .collect();
            }
            (Self::List(_, kind), Value::Array(list)) => {
                list.iter_mut().for_each(|item| kind.in_camel_case(item))
            }
            (Self::Names(kind), Value::Object(map)) => {
                map.values_mut().for_each(|value| kind.in_camel_case(value))
            }
            (Self::Either(kinds), value) => {
                if let Some(kind) = kinds.iter().find(|kind| kind.fits(value)) {
                    kind.in_camel_case(value);
                }
            }
            _ => {}
        }
    }

    fn look(&self, value: &Value, path: &mut Path) -> Result<(), Mistake> {
        match self {
            Self::List(least, kind) => {
                let list = value.as_array().ok_or_else(|| self.refuse(path))?;
                if list.len() < *least {
                    return Err(self.refuse(path));
                }
                for (index, item) in list.iter().enumerate() {
                    within(path, Step::Index(index), |path| kind.look(item, path))?;
                }
                Ok(())
            }
            Self::Names(kind) => {
                for (name, value) in value.as_object().ok_or_else(|| self.refuse(path))? {
                    within(path, Step::Name(name.clone()), |path| kind.look(value, path))?;
                }
                Ok(())
            }
            Self::Object(fields) => object(value, fields, None, path, || self.refuse(path)),
            Self::Tagged(tag, kinds) => {
                let map = value.as_object().ok_or_else(|| self.refuse(path))?;
                let given = map.get(*tag).ok_or_else(|| mistake(path, tag, What::Missing))?;
                let known = kinds.iter().find(|(name, _)| given == name);
                let Some((_, fields)) = known else {
                    return Err(mistake(path, tag, What::Not(words(kinds.iter().map(|(name, _)| *name)))));
                };
                object(value, fields, Some(tag), path, || self.refuse(path))
            }
            Self::OneOf(fields) => {
                let map = value.as_object().filter(|map| map.len() == 1).ok_or_else(|| self.refuse(path))?;
                object(value, fields, None, path, || self.refuse(path)).and(if map.is_empty() {
                    Err(self.refuse(path))
                } else {
                    Ok(())
                })
            }
            Self::Either(kinds) => match kinds.iter().find(|kind| kind.fits(value)) {
                Some(kind) => kind.look(value, path),
                None => Err(self.refuse(path)),
            },
            _ if self.holds(value) => Ok(()),
            _ => Err(self.refuse(path)),
        }
    }

    /// Whether a value without parts is right.
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Bool => value.is_boolean(),
            Self::Whole(least) => value.as_i64().map_or(value.is_u64(), |n| n >= *least),
            Self::Number(low, high) => value.as_f64().is_some_and(|n| (*low..=*high).contains(&n)),
            Self::Text => value.is_string(),
            Self::Filled => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::Word(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Self::Map => value.is_object(),
            _ => false,
        }
    }

    /// Whether the JSON type is right.
    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Bool => value.is_boolean(),
            Self::Whole(_) | Self::Number(..) => value.is_number(),
            Self::Text | Self::Filled | Self::Word(_) => value.is_string(),
            Self::List(..) => value.is_array(),
            Self::Map | Self::Names(_) | Self::Object(_) | Self::Tagged(..) | Self::OneOf(_) => {
                value.is_object()
            }
            Self::Either(kinds) => kinds.iter().any(|kind| kind.fits(value)),
        }
    }

    fn refuse(&self, path: &Path) -> Mistake {
        Mistake { path: path.clone(), what: What::Not(self.describe()) }
    }

    fn describe(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Whole(i64::MIN) => "a whole number".to_owned(),
            Self::Whole(least) => format!("a whole number of at least {least}"),
            Self::Number(low, high) => format!("a number from {low} to {high}"),
            Self::Text => "a string".to_owned(),
            Self::Filled => "a string that is not empty".to_owned(),
            Self::Word(known) => words(known.iter().copied()),
            Self::List(0, _) => "a list".to_owned(),
            Self::List(least, _) => format!("a list of at least {least}"),
            Self::Map | Self::Names(_) | Self::Object(_) | Self::Tagged(..) => "an object".to_owned(),
            Self::OneOf(fields) => {
                format!("an object with exactly one of {}", words(fields.iter().map(|field| field.name)))
            }
            Self::Either(kinds) => kinds.iter().map(|kind| kind.describe()).collect::<Vec<_>>().join(", or "),
        }
    }
}

fn words<'w>(known: impl Iterator<Item = &'w str>) -> String {
    known.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn object(
    value: &Value,
    fields: &[Field],
    tag: Option<&str>,
    path: &Path,
    refuse: impl Fn() -> Mistake,
) -> Result<(), Mistake> {
    let map: &Map<String, Value> = value.as_object().ok_or_else(refuse)?;
    let path = &mut path.clone();
    for (name, value) in map {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            if tag == Some(name.as_str()) {
                continue;
            }
            return Err(mistake(path, name, What::Unknown));
        };
        if value.is_null() && !field.required {
            continue;
        }
        within(path, Step::Name(name.clone()), |path| field.kind.look(value, path))?;
    }
    match fields.iter().find(|field| field.required && !map.contains_key(field.name)) {
        Some(field) => Err(mistake(path, field.name, What::Missing)),
        None => Ok(()),
    }
}

fn renamed(fields: &[Field], name: String, mut value: Value) -> (String, Value) {
    let camel = camel(&name);
    let known = |name: &str| fields.iter().find(|field| field.name == name);
    let (name, field) = match known(&name) {
        None => known(&camel).map_or((name, None), |field| (camel, Some(field))),
        field => (name, field),
    };
    if let Some(field) = field {
        field.kind.in_camel_case(&mut value);
    }
    (name, value)
}

fn camel(name: &str) -> String {
    let mut upper = false;
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if std::mem::take(&mut upper) => text.extend(c.to_uppercase()),
            c => text.push(c),
        }
    }
    text
}

fn within<T>(path: &mut Path, step: Step, look: impl FnOnce(&mut Path) -> T) -> T {
    path.0.push(step);
    let found = look(path);
    path.0.pop();
    found
}

fn mistake(path: &Path, name: &str, what: What) -> Mistake {
    let mut path = path.clone();
    path.0.push(Step::Name(name.to_owned()));
    Mistake { path, what }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static PART: Kind =
        Kind::Tagged("type", &[("text", &[must("text", &Kind::Filled)]), ("list", &[may("parts", &PARTS)])]);
    static PARTS: Kind = Kind::List(1, &PART);
    static CONTENT: Kind = Kind::Either(&[&Kind::Text, &PARTS]);
    static BODY: Kind = Kind::Object(&[
        must("content", &CONTENT),
        may("n", &Kind::Whole(1)),
        may("p", &Kind::Number(0.0, 1.0)),
        may("word", &Kind::Word(&["a", "b"])),
        may("one", &Kind::OneOf(&[may("x", &Kind::Bool), may("y", &Kind::Map)])),
    ]);

    #[track_caller]
    fn wrong(body: Value, path: &str, what: &str) {
        let mistake = BODY.check(&body).expect_err("refused");
        let told = match mistake.what {
            What::Unknown => "unknown".to_owned(),
            What::Missing => "missing".to_owned(),
            What::Not(expected) => expected,
        };
        assert_eq!((mistake.path.bracketed().as_str(), told.as_str()), (path, what), "{body}");
    }

    #[test]
    fn bodies_that_fit_are_taken() {
        for body in [
            json!({"content": "a"}),
            json!({"content": "a", "n": null, "p": 0.5, "word": "b", "one": {"y": {}}}),
            json!({"content": [{"type": "list", "parts": [{"type": "text", "text": "x"}]}, {"type": "list"}]}),
        ] {
            assert_eq!(BODY.check(&body), Ok(()), "{body}");
        }
    }

    #[test]
    fn the_first_mistake_is_told_with_its_place() {
        wrong(json!([]), "", "an object");
        wrong(json!({}), "content", "missing");
        wrong(json!({"content": 1}), "content", "a string, or a list of at least 1");
        wrong(json!({"content": []}), "content", "a list of at least 1");
        wrong(json!({"content": "a", "extra": 1}), "extra", "unknown");
        wrong(json!({"content": "a", "n": 0}), "n", "a whole number of at least 1");
        wrong(json!({"content": "a", "p": 2}), "p", "a number from 0 to 1");
        wrong(json!({"content": "a", "word": "c"}), "word", "`a`, `b`");
        wrong(json!({"content": "a", "one": {}}), "one", "an object with exactly one of `x`, `y`");
        wrong(
            json!({"content": [{"type": "text", "text": ""}]}),
            "content[0].text",
            "a string that is not empty",
        );
        wrong(json!({"content": [{"type": "picture"}]}), "content[0].type", "`text`, `list`");
        wrong(json!({"content": [{"text": "a"}]}), "content[0].type", "missing");
        wrong(
            json!({"content": [{"type": "list", "parts": [{"type": "text", "text": "a", "b": 1}]}]}),
            "content[0].parts[0].b",
            "unknown",
        );
    }

    #[test]
    fn names_in_snake_case_are_known_to_protobuf() {
        static INNER: Kind = Kind::Object(&[may("mimeType", &Kind::Text), may("data", &Kind::Any)]);
        static OUTER: Kind = Kind::Object(&[
            may("inlineData", &INNER),
            may("allOfThem", &Kind::List(0, &INNER)),
            may("byName", &Kind::Names(&INNER)),
        ]);
        let mut value = json!({
            "inline_data": {"mime_type": "a", "data": {"not_touched": 1}, "un_known": 2},
            "allOfThem": [{"mime_type": "b"}],
            "by_name": {"my_name": {"mimeType": "c"}},
        });
        OUTER.in_camel_case(&mut value);
        let expected = json!({
            "inlineData": {"mimeType": "a", "data": {"not_touched": 1}, "un_known": 2},
            "allOfThem": [{"mimeType": "b"}],
            "byName": {"my_name": {"mimeType": "c"}},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn places_are_written_as_the_provider_writes_them() {
        let err = BODY.check(&json!({"content": [{"type": "text"}]})).expect_err("refused");
        assert_eq!(err.path.dotted(), "content.0.text");
        let (around, name) = err.path.split();
        assert_eq!((around.bracketed().as_str(), name.as_str()), ("content[0]", "text"));
    }
}
