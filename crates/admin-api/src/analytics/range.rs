//! The time that is asked for.

use domain::Timestamp;
use domain::spend::{Interval, Selection, parse_label};
use domain::time::{millis, parse_duration};

use crate::body::parse_when;
use crate::call::Call;
use crate::refusal::Refusal;

const DAY: u64 = 86_400_000;

/// Reads a beginning and an end into a selection. Without an end it is everything up to now, and `usual_ms` says how
/// long a time is meant without a beginning; None: all of it.
pub(super) fn select(
    call: &Call<'_>,
    [from, to]: [&str; 2],
    usual_ms: Option<u64>,
) -> Result<Selection, Refusal> {
    let until = call.query.get(to).map(|text| moment(to, text, call.now, true)).transpose()?;
    let since = call.query.get(from).map(|text| moment(from, text, call.now, false)).transpose()?;
    let end = until.unwrap_or(call.now);
    if let Some(since) = since.filter(|since| *since >= end) {
        let end = if until.is_some() { format!("`{to}`") } else { "now".to_owned() };
        let message = format!(
            "`{from}` ({}) is not before {end}: nothing is in between; is it the wrong way round?",
            shown(since)
        );
        return Err(Refusal::invalid(from, message));
    }
    let since = since.or(usual_ms.map(|ms| Timestamp(end.0.saturating_sub(ms))));
    let everywhere = call.caller.is_administrator() && !call.names_workspace;
    let workspace = (!everywhere).then(|| call.workspace.clone());
    Ok(Selection { since, until, workspace, filters: Vec::new() })
}

/// A date, a moment, or so long ago. A date as an end is meant with the whole day.
pub(crate) fn moment(name: &str, text: &str, now: Timestamp, end: bool) -> Result<Timestamp, Refusal> {
    // A `+` that was not written as `%2B` comes as a blank.
    let text = text.trim().replace(' ', "+");
    if text.len() == "2026-11-01".len()
        && let Some(day) = parse_label(&text, Interval::Day)
    {
        return Ok(Timestamp(if end { day.0 + DAY } else { day.0 }));
    }
    if let Some(at) = parse_when(&text) {
        return Ok(at);
    }
    if let Ok(ago) = parse_duration(&text) {
        return Ok(Timestamp(now.0.saturating_sub(millis(ago))));
    }
    let message = format!(
        "`{name}`: `{text}` is no time: write a date, as in 2026-11-01, a moment, as in 2026-11-01T12:00:00Z, or so \
         long ago, as in 7d"
    );
    Err(Refusal::invalid(name, message))
}

fn shown(at: Timestamp) -> String {
    crate::answer::date(at).as_str().unwrap_or_default().to_owned()
}
