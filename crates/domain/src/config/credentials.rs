//! Credentials inside a routing document.

use serde_json::Value;

use super::read::snake_case;

/// What sealed text begins with.
const SEALED: &str = "sealed:";

/// Keys whose contents are the caller's data: nothing in there is a credential of ours.
const USER_DATA: &[&str] =
    &["override_params", "default_params", "params", "metadata", "conditions", "checks"];

/// Keys that look like a credential's and hold a name.
const NAMES: &[&str] = &["virtual_key", "aws_s3_object_key"];

/// Credentials by their whole name.
const WHOLE: &[&str] = &[
    "apikey",
    "auth",
    "authorization",
    "aws_access_key_id",
    "bearer",
    "connection_string",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "key",
    "oracle_fingerprint",
    "private_key_id",
    "pwd",
    "sas",
    "token",
];

/// What names of credentials end in.
const ENDS: &[&str] = &["_apikey", "_key", "_token", "_credential", "_credentials", "service_account_json"];

/// What names of credentials contain.
const PARTS: &[&str] = &["secret", "password", "passphrase", "private_key"];

/// A credential is known by its key in any spelling: a key that is refused later must not have travelled in clear.
fn is_credential(key: &str) -> bool {
    let key = snake_case(key);
    !NAMES.contains(&key.as_str())
        && (WHOLE.contains(&key.as_str())
            || ENDS.iter().any(|end| key.ends_with(end))
            || PARTS.iter().any(|part| key.contains(part)))
}

/// The text to seal. None: there is nothing secret in the value, or it is sealed.
fn in_clear(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(_) => None,
        Value::String(text) => (!text.is_empty() && !text.starts_with(SEALED)).then(|| text.clone()),
        other => Some(other.to_string()),
    }
}

/// Replaces every credential by what `seal` makes of it. Returns how many were replaced.
pub fn seal_credentials(config: &mut Value, seal: &mut dyn FnMut(&str) -> String) -> usize {
    match config {
        Value::Array(items) => items.iter_mut().map(|item| seal_credentials(item, seal)).sum(),
        Value::Object(map) => {
            let mut replaced = 0;
            for (key, value) in map.iter_mut() {
                if USER_DATA.contains(&key.as_str()) {
                    continue;
                }
                if !is_credential(key) {
                    replaced += seal_credentials(value, seal);
                } else if let Some(clear) = in_clear(value) {
                    *value = Value::String(seal(&clear));
                    replaced += 1;
                }
            }
            replaced
        }
        _ => 0,
    }
}

/// The place of a credential that is in clear, if there is one.
pub fn clear_credential(config: &Value) -> Option<String> {
    find(config, "config")
}

fn find(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(i, item)| find(item, &format!("{path}[{i}]")))
        }
        Value::Object(map) => {
            map.iter().filter(|(key, _)| !USER_DATA.contains(&key.as_str())).find_map(|(key, value)| {
                let place = format!("{path}.{key}");
                if is_credential(key) { in_clear(value).map(|_| place) } else { find(value, &place) }
            })
        }
        _ => None,
    }
}
