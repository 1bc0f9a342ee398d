//! Shapes of JSON: which keys there are, and what is behind each.

use serde_json::{Value, json};

/// Fails unless `value` has the shape of `template`: the same keys in each object and the same type behind each.
///
/// A type is a string: `string`, `number`, `bool`, `any`, or several as in `string|null`; other strings stand for
/// themselves. A key with `?` may be missing. `[template]` is a list whose elements all have that shape.
#[track_caller]
pub(super) fn check(value: &Value, template: &Value) {
    let mut differences = Vec::new();
    compare("", value, template, &mut differences);
    assert!(differences.is_empty(), "{}\nin {value:#}", differences.join("\n"));
}

fn compare(place: &str, value: &Value, template: &Value, differences: &mut Vec<String>) {
    match (template, value) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (key, template) in wanted {
                let name = key.trim_end_matches('?');
                match found.get(name) {
                    Some(value) => compare(&format!("{place}.{name}"), value, template, differences),
                    None if key.ends_with('?') => {}
                    None => differences.push(format!("{place}.{name} is missing")),
                }
            }
            let known = |name: &str| wanted.keys().any(|key| key.trim_end_matches('?') == name);
            let extra = found.keys().filter(|name| !known(name));
            differences.extend(extra.map(|name| format!("{place}.{name} is new: add it here and keep it")));
        }
        (Value::Array(wanted), Value::Array(found)) => {
            let [template] = wanted.as_slice() else { panic!("a list's template has one element") };
            for (index, value) in found.iter().enumerate() {
                compare(&format!("{place}[{index}]"), value, template, differences);
            }
        }
        (Value::String(types), value) if types.split('|').any(|t| is(value, t)) => {}
        (template, value) if template == value => {}
        (template, value) => differences.push(format!("{place} is {value}, not {template}")),
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "any" => true,
        "string" => value.is_string(),
        "number" => value.is_number(),
        "bool" => value.is_boolean(),
        "null" => value.is_null(),
        literal => value.as_str() == Some(literal),
    }
}

#[test]
fn a_difference_is_found() {
    let template = json!({ "a": "string", "b?": "number|null", "c": [{ "d": "on|off" }] });
    check(&json!({ "a": "x", "b": null, "c": [{ "d": "on" }, { "d": "off" }] }), &template);
    check(&json!({ "a": "x", "c": [] }), &template);
    for bad in [
        json!({ "c": [] }),
        json!({ "a": 1, "c": [] }),
        json!({ "a": "x", "b": "1", "c": [] }),
        json!({ "a": "x", "c": [{ "d": "maybe" }] }),
        json!({ "a": "x", "c": [{}] }),
        json!({ "a": "x", "c": {} }),
        json!({ "a": "x", "c": [], "e": 1 }),
    ] {
        let mut differences = Vec::new();
        compare("", &bad, &template, &mut differences);
        assert_eq!(differences.len(), 1, "{bad}: {differences:?}");
    }
}
