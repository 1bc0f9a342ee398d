//! Changes to the fields of a request body: defaults under it, overrides over it, then what is dropped.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A place in a JSON document, as in `tools[*].function.strict`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Never empty, and begins with a key.
    steps: Vec<Step>,
}

/// One step on the way into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A field of an object.
    Key(String),
    /// An element of an array, counted from 0.
    Index(usize),
    /// Every element of an array.
    All,
}

/// Changes to a request body, in the order in which they are made.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// Fields for a body that lacks them.
    pub defaults: &'a Map<String, Value>,
    /// Fields that replace the body's.
    pub overrides: &'a Map<String, Value>,
    /// What is taken out in the end.
    pub drops: &'a [Path],
}

impl Changes<'_> {
    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.defaults.is_empty() && self.overrides.is_empty() && self.drops.is_empty()
    }

    /// The model that a body will name which names this one now.
    pub fn model(&self, named: Option<&str>) -> Option<String> {
        if self.drops(|path| path.top_level() == Some("model")) {
            return None;
        }
        let text =
            |params: &Map<String, Value>| params.get("model").and_then(Value::as_str).map(str::to_owned);
        text(self.overrides).or_else(|| named.map(str::to_owned)).or_else(|| text(self.defaults))
    }

    /// Whether one of the paths that are taken out is like that.
    pub fn drops(&self, like: impl Fn(&Path) -> bool) -> bool {
        self.drops.iter().any(like)
    }
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no path into the body: write for example `store`, `tools[0].type` or `tools[*].function.strict`"
)]
pub struct InvalidPath(String);

impl Path {
    /// The field of the body, if the path is no longer than that.
    pub fn top_level(&self) -> Option<&str> {
        match self.steps.as_slice() {
            [Step::Key(key)] => Some(key),
            _ => None,
        }
    }

    /// The field of the body that the path leads into.
    pub fn field(&self) -> &str {
        match self.steps.first() {
            Some(Step::Key(key)) => key,
            _ => "",
        }
    }

    /// Takes what is there out of a body; nothing happens where nothing is. Elements of arrays that are taken out
    /// make the following ones move up.
    pub fn remove_from(&self, body: &mut Map<String, Value>) {
        let [Step::Key(key), rest @ ..] = self.steps.as_slice() else { return };
        if rest.is_empty() {
            body.shift_remove(key);
        } else if let Some(value) = body.get_mut(key) {
            remove(value, rest);
        }
    }
}

fn remove(value: &mut Value, steps: &[Step]) {
    let Some((step, rest)) = steps.split_first() else { return };
    match (step, value) {
        (Step::Key(key), Value::Object(map)) if rest.is_empty() => {
            map.shift_remove(key);
        }
        (Step::Key(key), Value::Object(map)) => {
            if let Some(inner) = map.get_mut(key) {
                remove(inner, rest);
            }
        }
        (Step::Index(i), Value::Array(items)) if *i < items.len() => {
            if rest.is_empty() {
                items.remove(*i);
            } else {
                remove(&mut items[*i], rest);
            }
        }
        (Step::All, Value::Array(items)) if rest.is_empty() => items.clear(),
        (Step::All, Value::Array(items)) => items.iter_mut().for_each(|item| remove(item, rest)),
        _ => {}
    }
}

/// Takes one segment between dots apart: `tools[0][*]` is a key, an index and every element.
pub(super) fn steps_of(segment: &str) -> Option<Vec<Step>> {
    let (key, mut rest) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
    if key.is_empty() || key.contains(']') {
        return None;
    }
    let mut steps = vec![Step::Key(key.to_owned())];
    while !rest.is_empty() {
        let (inner, after) = rest.strip_prefix('[')?.split_once(']')?;
        steps.push(if inner == "*" { Step::All } else { Step::Index(inner.parse().ok()?) });
        rest = after;
    }
    Some(steps)
}

impl FromStr for Path {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let steps: Option<Vec<Vec<Step>>> = text.split('.').map(steps_of).collect();
        let steps = steps.ok_or_else(|| InvalidPath(text.chars().take(80).collect()))?;
        Ok(Self { steps: steps.concat() })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) => write!(f, "{}{key}", if i == 0 { "" } else { "." })?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::All => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, body: Value, expected: Value) {
        let Value::Object(mut map) = body else { panic!("not an object") };
        path.parse::<Path>().unwrap().remove_from(&mut map);
        assert_eq!(Value::Object(map), expected, "{path}");
    }

    #[test]
    fn what_a_path_names_is_taken_out_and_nothing_else() {
        use serde_json::json;
        check("store", json!({"store": true, "n": 1}), json!({"n": 1}));
        check("a.b", json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 2}}));
        check("a[1]", json!({"a": [1, 2, 3]}), json!({"a": [1, 3]}));
        check("a[*]", json!({"a": [1, 2]}), json!({"a": []}));
        check("a[0][1].x", json!({"a": [[0, {"x": 1}]]}), json!({"a": [[0, {}]]}));
        check(
            "tools[*].function.strict",
            json!({"tools": [{"function": {"strict": true, "name": "f"}}, {"type": "x"}, 7]}),
            json!({"tools": [{"function": {"name": "f"}}, {"type": "x"}, 7]}),
        );
        for (path, body) in
            [("a.b", json!({"a": 1})), ("a[9]", json!({"a": []})), ("a[0]", json!({"a": {"0": 1}}))]
        {
            check(path, body.clone(), body);
        }
    }

    #[test]
    fn paths_print_and_parse_back_and_others_are_refused() {
        for text in ["store", "tools[*].function.strict", "a[0][12].b-c.$d"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
        for bad in ["", ".", "a.", "a..b", "[0]", "a[", "a[]", "a[x]", "a[0]b", "a]", "a[-1]"] {
            assert!(bad.parse::<Path>().is_err(), "{bad}");
        }
        assert_eq!("a".parse::<Path>().unwrap().top_level(), Some("a"));
        assert_eq!("a[0]".parse::<Path>().unwrap().top_level(), None);
    }
}
