//! Where a call goes: from templates, options and the model to a URL.
//!
//! A template holds placeholders: `{name}` is an option with all that is special in a URL escaped, `{+name}` the same
//! with `/`, `:` and `@` left as they are (as in RFC 6570), `{a|b}` the first of the two that is there. `model` is the
//! model's name.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    /// Options; the first map that has a name counts.
    pub(crate) options: [&'a Map<String, Value>; 3],
    pub(crate) model: Option<&'a str>,
}

/// Why a template cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfilled {
    /// No option of that name, or none of those names, is there.
    Missing(String),
    /// Its value is none that a URL may hold there.
    Unfit(String),
}

impl<'a> Values<'a> {
    /// The option as text; numbers count as text.
    pub(crate) fn get(&self, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        if name == "model" {
            return self.model.map(Into::into);
        }
        let found =
            self.options.iter().find_map(|options| options.get(name).filter(|value| !value.is_null()))?;
        match found {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.as_str().into()),
            Value::Number(number) => Some(number.to_string().into()),
            _ => None,
        }
    }
}

/// Fills a template.
pub(crate) fn fill(template: &str, values: &Values<'_>) -> Result<String, Unfilled> {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((names, after)) = after.split_once('}') else {
            return Err(Unfilled::Unfit(template.to_owned()));
        };
        let (names, reserved) = names.strip_prefix('+').map_or((names, false), |names| (names, true));
        let value = names.split('|').find_map(|name| values.get(name));
        let value =
            value.ok_or_else(|| Unfilled::Missing(names.split('|').next().unwrap_or(names).to_owned()))?;
        // A sealed secret has no place in a URL.
        if value.starts_with("sealed:") {
            return Err(Unfilled::Unfit(names.to_owned()));
        }
        // Where a host is made up, it must stay the host that the template means.
        if in_host(&out) && !reserved && !is_label(&value) {
            return Err(Unfilled::Unfit(names.to_owned()));
        }
        // A URL at the beginning may end in a slash, as people write it.
        let value = if out.is_empty() && reserved { value.trim_end_matches('/') } else { &value };
        escape(value, reserved, &mut out);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether what follows belongs to the host.
fn in_host(begun: &str) -> bool {
    begun.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'))
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn escape(text: &str, reserved: bool, out: &mut String) {
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || (reserved && matches!(byte, b'/' | b':' | b'@'));
        if plain {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(template: &str, options: Value, expected: Result<&str, Unfilled>) {
        let (options, none) = (options.as_object().cloned().unwrap(), Map::new());
        let values = Values { options: [&options, &none, &none], model: Some("a.b/c:1 ") };
        assert_eq!(fill(template, &values), expected.map(str::to_owned), "{template}");
    }

    #[test]
    fn placeholders_are_filled_and_escaped() {
        check("/plain", json!({}), Ok("/plain"));
        check("/m/{model}/x", json!({}), Ok("/m/a.b%2Fc%3A1%20/x"));
        check("/m/{+model}:go", json!({}), Ok("/m/a.b/c:1%20:go"));
        check("/d/{id|model}", json!({ "id": "x?y" }), Ok("/d/x%3Fy"));
        check("/d/{id|model}", json!({ "id": "" }), Ok("/d/a.b%2Fc%3A1%20"));
        check("?v={v}", json!({ "v": 2 }), Ok("?v=2"));
        check("{+url}/v1", json!({ "url": "http://localhost:80/a/" }), Ok("http://localhost:80/a/v1"));
        check("https://{region}.x.com/{region}", json!({ "region": "eu-1" }), Ok("https://eu-1.x.com/eu-1"));
    }

    #[test]
    fn what_is_missing_or_unfit_is_named() {
        let missing = |name: &str| Err(Unfilled::Missing(name.to_owned()));
        let unfit = |name: &str| Err(Unfilled::Unfit(name.to_owned()));
        check("/d/{id|name}", json!({}), missing("id"));
        check("/d/{id}", json!({ "id": null }), missing("id"));
        for host in ["evil.com/", "a@evil", "evil.com#", "a.b", "", "x y"] {
            let expected = if host.is_empty() { missing("r") } else { unfit("r") };
            check("https://{r}.x.com", json!({ "r": host }), expected);
        }
        check("/d/{key}", json!({ "key": "sealed:abc" }), unfit("key"));
        check("/d/{key", json!({ "key": "a" }), unfit("/d/{key"));
    }
}
