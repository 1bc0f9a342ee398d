//! The columns of an export, in order. Their names are a promise: new ones come at the end.

use domain::model::NanoUsd;
use domain::spend::Entry;
use domain::{Timestamp, Usage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What stands in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'e> {
    /// A text. None: there is none.
    Text(Option<&'e str>),
    /// A number. None: not known.
    Count(Option<u64>),
    /// US dollars; a decimal text, in Parquet DECIMAL(18, 9). None: not known, or nothing was to be paid.
    Money(Option<NanoUsd>),
    /// A moment; RFC 3339 in UTC, in Parquet TIMESTAMP in milliseconds.
    Time(Timestamp),
    /// True or false.
    Flag(bool),
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What a line has there.
    pub cell: fn(&Entry) -> Cell<'_>,
}

fn usage(entry: &Entry, read: fn(&Usage) -> u64) -> Cell<'_> {
    Cell::Count(entry.usage.as_ref().map(read))
}

/// A moment as text.
pub(crate) fn moment(at: Timestamp) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok())
}

macro_rules! columns {
    ($($name:literal: |$entry:ident| $cell:expr;)+) => {
        /// All columns; one line is one attempt.
        pub const COLUMNS: &[Column] = &[$(Column { name: $name, cell: |$entry| $cell }),+];
    };
}

columns! {
    "attempt_id": |entry| Cell::Text(Some(&entry.id));
    "request_id": |entry| Cell::Text(Some(&entry.request));
    "ended_at": |entry| Cell::Time(entry.at);
    "workspace": |entry| Cell::Text(Some(&entry.workspace));
    "api_key": |entry| Cell::Text(entry.api_key.as_deref());
    "virtual_key": |entry| Cell::Text(entry.virtual_key.as_deref());
    "provider": |entry| Cell::Text(entry.provider.as_deref());
    "model": |entry| Cell::Text(entry.model.as_deref());
    "model_asked": |entry| Cell::Text(entry.model_asked.as_deref());
    "operation": |entry| Cell::Text(Some(&entry.operation));
    "lane": |entry| Cell::Text(Some(&entry.lane));
    "config": |entry| Cell::Text(Some(&entry.config));
    "user": |entry| Cell::Text(entry.user.as_deref());
    "status": |entry| Cell::Count(entry.status.map(u64::from));
    "error": |entry| Cell::Text(entry.error.as_deref());
    "outcome": |entry| Cell::Text(entry.outcome.as_deref());
    "input_tokens": |entry| usage(entry, |usage| usage.input);
    "output_tokens": |entry| usage(entry, |usage| usage.output);
    "cached_input_tokens": |entry| usage(entry, |usage| usage.cached_input);
    "cache_write_tokens": |entry| usage(entry, |usage| usage.cache_write);
    "cache_write_long_tokens": |entry| usage(entry, |usage| usage.cache_write_long);
    "reasoning_tokens": |entry| usage(entry, |usage| usage.reasoning);
    "audio_input_tokens": |entry| usage(entry, |usage| usage.audio_input);
    "audio_output_tokens": |entry| usage(entry, |usage| usage.audio_output);
    "images": |entry| usage(entry, |usage| usage.images);
    "searches": |entry| usage(entry, |usage| usage.searches);
    "cost_usd": |entry| Cell::Money(entry.cost);
    "price": |entry| Cell::Text(entry.price.as_deref());
    "tier": |entry| Cell::Text(entry.tier.as_deref());
    "region": |entry| Cell::Text(entry.region.as_deref());
    "estimated": |entry| Cell::Flag(entry.estimated);
    "duplicate_possible": |entry| Cell::Flag(entry.duplicate_possible);
    "streamed": |entry| Cell::Flag(entry.streamed);
    "final": |entry| Cell::Flag(entry.last);
    "queued_ms": |entry| Cell::Count(entry.queued_ms);
    "first_byte_ms": |entry| Cell::Count(entry.first_byte_ms);
    "duration_ms": |entry| Cell::Count(entry.duration_ms);
    "metadata": |entry| Cell::Text(entry.metadata.as_deref());
}
