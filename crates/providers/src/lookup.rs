//! Tables of formats that are only other names for the same things.

use serde_json::{Map, Value};

/// The value at a path such as `meta.billed_units.input_tokens`. Null: there is none.
pub(crate) fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// The first of these fields that is text; it is taken out.
pub(crate) fn take_text(fields: &mut Map<String, Value>, names: &[&str]) -> Option<String> {
    let name = names.iter().find(|name| fields.get(**name).is_some_and(Value::is_string))?;
    match fields.remove(*name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}
