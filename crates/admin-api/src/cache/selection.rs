//! Which entries are meant: query parameters, or the fields of a body.

use domain::cache::Selection;
use domain::time::{millis, parse_duration};
use domain::{RequestId, Timestamp, Workspace};

use crate::analytics::moment;
use crate::call::Call;
use crate::refusal::Refusal;

/// Most values of all lists together: every node compares each entry with each of them.
pub(super) const MOST: usize = 1000;

/// Reads conditions of a query, as in `tag=red,blue&older_than=7d`.
pub(super) fn of_query(call: &Call<'_>) -> Result<Selection, Refusal> {
    let mut selection = Selection::default();
    for (name, text) in call.query.pairs() {
        let values =
            text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
        match name {
            "id" => selection.ids.extend(ids("id", &call.workspace, values)?),
            "key" => selection.keys.extend(values),
            "tag" => selection.tags.extend(values),
            "model" => selection.models.extend(values),
            "provider" => selection.providers.extend(values),
            "namespace" => selection.namespaces.extend(values),
            _ => {}
        }
    }
    selection.before = before(call.now, call.query.get("before"), call.query.get("older_than"))?;
    check_size(&selection)?;
    Ok(selection)
}

/// A moment before which entries were stored, given as one or as an age.
pub(super) fn before(
    now: Timestamp,
    before: Option<&str>,
    older_than: Option<&str>,
) -> Result<Option<Timestamp>, Refusal> {
    match (before, older_than) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let message = "`older_than` and `before` both say how old entries are; write one of them";
            Err(Refusal::invalid("older_than", message))
        }
        (Some(text), None) => moment("before", text, now, false).map(Some),
        (None, Some(text)) => {
            let age = parse_duration(text)
                .map_err(|err| Refusal::invalid("older_than", format!("`older_than`: {err}")))?;
            Ok(Some(Timestamp(now.0.saturating_sub(millis(age)))))
        }
    }
}

/// Reads ids as callers know them.
pub(super) fn ids(param: &str, workspace: &Workspace, texts: Vec<String>) -> Result<Vec<RequestId>, Refusal> {
    let read = |text: String| {
        id(workspace, &text).ok_or_else(|| {
            let shown: String = text.chars().take(100).collect();
            let message = format!(
                "`{param}`: `{shown}` is no id of an entry of workspace `{workspace}`; write it as the header \
                 `x-pointsman-cache-entry` or the list of entries shows it"
            );
            Refusal::invalid(param, message)
        })
    };
    texts.into_iter().map(read).collect()
}

/// An id as the workspace's callers know it, or as it travels between roles. None: no entry of theirs has it.
pub(super) fn id(workspace: &Workspace, text: &str) -> Option<RequestId> {
    let id = RequestId::parse(text).ok()?;
    match text.contains('~') {
        true => (id.workspace() == *workspace).then_some(id),
        false => Some(id.within(workspace)),
    }
}

/// Refuses more than nodes should have to compare.
pub(super) fn check_size(selection: &Selection) -> Result<(), Refusal> {
    let Selection { ids, keys, tags, models, providers, namespaces, .. } = selection;
    let lists = [keys, tags, models, providers, namespaces];
    let given = ids.len() + lists.iter().map(|list| list.len()).sum::<usize>();
    if given <= MOST {
        return Ok(());
    }
    let message = format!("{given} values are given, of at most {MOST}; ask several times");
    Err(Refusal::invalid("body", message))
}
