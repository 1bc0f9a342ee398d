//! `GET /v1/admin/analytics/export`: every attempt of a time as a file.

use domain::spend::EntriesQuery;
use export::{Format, Order};

use super::{filters, range};
use crate::answer::Answer;
use crate::call::Call;
use crate::refusal::Refusal;

/// Says what is to be exported; whoever brings the answer reads it from the ledger, page by page.
pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let mut select = range::select(call, ["start_date", "end_date"], None)?;
    filters::by_dimension(call, &mut select);
    let format = match call.query.get("format") {
        None => Format::Csv,
        Some(text) => text.parse().map_err(|err| Refusal::invalid("format", format!("`format`: {err}")))?,
    };
    // What ends while it is read does not make it longer.
    select.until.get_or_insert(call.now);
    let query = EntriesQuery { select, requests: false, after: None, limit: 0 };
    Ok(Answer::Export(Box::new(Order { format, query })))
}
