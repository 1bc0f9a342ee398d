//! `${NAME}` and `${NAME:-default}` in text.

use std::collections::BTreeMap;

/// Why a text could not be completed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ExpandError {
    #[error("environment variable `{0}` is not set: set it, or give a default as in `${{{0}:-…}}`")]
    Unset(String),
    #[error("`${{` without `}}`: write `${{NAME}}`, or `$${{` for the characters themselves")]
    Open,
    #[error(
        "`{0}` is not the name of an environment variable: write `${{NAME}}`, or `$${{` for the characters themselves"
    )]
    BadName(String),
}

/// Puts values in place of names; None if there is no name in it. As in a shell, an empty variable takes the default.
pub(crate) fn expand(text: &str, env: &BTreeMap<String, String>) -> Result<Option<String>, ExpandError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("${");
            rest = from;
            continue;
        }
        let end = from.find('}').ok_or(ExpandError::Open)?;
        done.push_str(before);
        done.push_str(&value(&from[..end], env)?);
        rest = &from[end + 1..];
    }
    done.push_str(rest);
    Ok(Some(done))
}

fn value(inside: &str, env: &BTreeMap<String, String>) -> Result<String, ExpandError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(ExpandError::BadName(name.to_owned()));
    }
    match (env.get(name), default) {
        (Some(value), None) => Ok(value.clone()),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}
