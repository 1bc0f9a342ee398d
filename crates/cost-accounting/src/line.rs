//! Events as lines of the books. Pure.

use domain::event::Kind;
use domain::outcome;
use domain::spend::{Interval, floor};
use domain::{Attempt, Event, Usage};
use serde_json::Value as Json;

/// Most that one line counts of anything, so that sums of a million lines fit into 63 bits.
const MOST: u64 = 1 << 42;

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::from(Some(number))
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        Self::Number(number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Number(Some(i64::from(flag)))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::from(Some(text))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        // PostgreSQL takes no NUL in texts, and one line must not keep all others from being booked.
        Self::Text(text.map(|text| text.replace('\0', "\u{fffd}")))
    }
}

/// One line of a table.
pub(crate) type Line = Vec<Value>;

/// What one event puts into the books.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Booking {
    pub(crate) attempt: Option<Line>,
    pub(crate) request: Option<Line>,
    pub(crate) metadata: Vec<Line>,
}

/// The caller's key-value pairs.
pub(crate) const METADATA: &[&str] = &["request", "name", "value"];

macro_rules! table {
    ($(#[$doc:meta])* $columns:ident, $values:ident($($arg:ident: $ty:ty),*) { $($name:ident: $value:expr,)+ }) => {
        $(#[$doc])*
        pub(crate) const $columns: &[&str] = &[$(stringify!($name)),+];

        fn $values($($arg: $ty),*) -> Line {
            vec![$(Value::from($value)),+]
        }
    };
}

table! {
    /// Columns of the attempts.
    ATTEMPTS, attempt_line(event: &Event, attempt: &Attempt, id: &str, usage: Usage, sequence: u64) {
        id: id,
        sequence: sequence,
        request: event.request.as_str(),
        number: u64::from(attempt.number),
        ended_at: event.at.0,
        month_at: floor(event.at, Interval::Month).0,
        workspace: event.workspace.as_str(),
        api_key: event.key.as_ref().map(|key| key.as_str()),
        virtual_key: attempt.virtual_key.as_ref().map(|key| key.slug.as_str()),
        provider: attempt.provider.as_str(),
        model: attempt.model_answered.as_deref().or(attempt.model.as_deref()),
        model_asked: attempt.model.as_deref(),
        operation: event.operation.as_str(),
        lane: event.lane.as_str(),
        config: event.config.as_str(),
        user_name: event.user.as_deref(),
        path: attempt.path.as_str(),
        status: attempt.status.map(u64::from),
        error: attempt.error.map(|error| error.as_str()),
        outcome: event.outcome.map(|outcome| outcome.as_str()),
        cache_status: event.cache.as_ref().map(|cache| cache.status.as_str()),
        counted: attempt.usage.is_some(),
        input: usage.input.min(MOST),
        output: usage.output.min(MOST),
        cached_input: usage.cached_input.min(MOST),
        cache_write: usage.cache_write.min(MOST),
        cache_write_long: usage.cache_write_long.min(MOST),
        reasoning: usage.reasoning.min(MOST),
        audio_input: usage.audio_input.min(MOST),
        audio_output: usage.audio_output.min(MOST),
        images: usage.images.min(MOST),
        searches: usage.searches.min(MOST),
        cost_nano: attempt.cost.map(|cost| cost.0.min(MOST)),
        price: attempt.price.as_deref(),
        repriced: false,
        tier: attempt.tier.as_deref(),
        region: attempt.region.as_deref(),
        estimated: attempt.estimated,
        duplicate_possible: attempt.duplicate_possible,
        streamed: event.streamed,
        ended_request: event.last,
        queued_ms: attempt.queued_ms.min(MOST),
        first_byte_ms: attempt.first_byte_ms.map(|ms| ms.min(MOST)),
        duration_ms: domain::time::millis(attempt.finished_at.since(attempt.started_at)).min(MOST),
        metadata: event.metadata.as_deref(),
    }
}

/// Where a request is counted: at its last attempt, or at what had filled the cache.
#[derive(Default)]
struct Where<'a> {
    virtual_key: Option<&'a str>,
    provider: Option<&'a str>,
    model: Option<&'a str>,
}

table! {
    /// Columns of the requests.
    REQUESTS, request_line(event: &Event, place: &Where<'_>, sequence: u64) {
        id: event.request.as_str(),
        event: event.id.as_str(),
        sequence: sequence,
        ended_at: event.at.0,
        month_at: floor(event.at, Interval::Month).0,
        workspace: event.workspace.as_str(),
        api_key: event.key.as_ref().map(|key| key.as_str()),
        virtual_key: place.virtual_key,
        provider: place.provider,
        model: place.model,
        operation: event.operation.as_str(),
        lane: event.lane.as_str(),
        config: event.config.as_str(),
        user_name: event.user.as_deref(),
        status: event.status.map(u64::from),
        outcome: event.outcome.map(|outcome| outcome.as_str()),
        attempts: event.decisions.len() as u64,
        cache_status: event.cache.as_ref().map(|cache| cache.status.as_str()),
        saved_input: event.cache.as_ref().map_or(0, |cache| cache.usage.input.min(MOST)),
        saved_output: event.cache.as_ref().map_or(0, |cache| cache.usage.output.min(MOST)),
        saved_nano: event.cache.as_ref().and_then(|cache| cache.saved).map(|saved| saved.0.min(MOST)),
        streamed: event.streamed,
        total_ms: event.total_ms.unwrap_or(0).min(MOST),
        overhead_ms: event.overhead_ms.unwrap_or(0).min(MOST),
        metadata: event.metadata.as_deref(),
    }
}

/// How the books say that a request was answered.
pub(crate) fn answered() -> &'static str {
    outcome::Kind::Answered.as_str()
}

/// What an event puts into the books. `sequence` is its position in the stream.
pub(crate) fn book(event: &Event, sequence: u64) -> Booking {
    let mut booking = Booking::default();
    if let (Kind::AttemptFinished, Some(attempt)) = (event.kind, &event.attempt) {
        let named = event.attempt_id.as_ref().map(ToString::to_string);
        let id = named.unwrap_or_else(|| format!("{}.{}", event.request, attempt.number));
        let usage = attempt.usage.unwrap_or_default();
        booking.attempt = Some(attempt_line(event, attempt, &id, usage, sequence));
    }
    if event.last {
        booking.request = Some(request_line(event, &place(event), sequence));
    }
    if booking != Booking::default() {
        booking.metadata = metadata(event);
    }
    booking
}

fn place(event: &Event) -> Where<'_> {
    match (event.cache.as_ref().filter(|cache| cache.status.is_hit()), &event.attempt) {
        (Some(cache), _) => {
            Where { virtual_key: None, provider: Some(&cache.provider), model: cache.model.as_deref() }
        }
        (None, Some(attempt)) => Where {
            virtual_key: attempt.virtual_key.as_ref().map(|key| key.slug.as_str()),
            provider: Some(&attempt.provider),
            model: attempt.model_answered.as_deref().or(attempt.model.as_deref()),
        },
        (None, None) => Where::default(),
    }
}

/// The pairs of a JSON object; what is not a text is written as JSON. Anything else has none.
fn metadata(event: &Event) -> Vec<Line> {
    let text = event.metadata.as_deref().unwrap_or_default();
    let Ok(Json::Object(pairs)) = serde_json::from_str(text) else { return Vec::new() };
    let line = |(name, value): (&String, &Json)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![Value::from(event.request.as_str()), Value::from(name.as_str()), Value::from(value.as_str())]
    };
    pairs.iter().map(line).collect()
}
