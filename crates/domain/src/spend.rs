//! Questions to the ledger and its answers: what requests and attempts took and cost, grouped and filtered.

mod calendar;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::NanoUsd;
use crate::operation::{UnknownWord, words};
use crate::{Timestamp, Usage, Workspace};

pub use self::calendar::{floor, label, parse_label};

words! {
    /// A span of the calendar, in UTC. Weeks begin on Monday.
    Interval, "interval" {
        /// An hour.
        Hour = "hour",
        /// A day.
        Day = "day",
        /// A week.
        Week = "week",
        /// A month.
        Month = "month",
    }
}

words! {
    /// What rows are ordered by.
    Order, "order" {
        /// Most expensive first.
        Cost = "cost",
        /// Most requests first.
        Requests = "requests",
        /// Most attempts first.
        Attempts = "attempts",
        /// Most tokens first.
        Tokens = "tokens",
        /// By the grouped keys, upwards: time first where rows are grouped by time.
        Keys = "keys",
    }
}

/// Something that rows can be grouped by, and chosen by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Whom the request belongs to.
    Workspace,
    /// The API key that the request came with, by its id.
    ApiKey,
    /// The virtual key that the provider was called with.
    VirtualKey,
    /// The provider that was called.
    Provider,
    /// The model that answered, as the provider names it; else the one asked for.
    Model,
    /// What was asked for, as in `chat`.
    Operation,
    /// The config that the request ran on: `pc-…@3`, or a hash of its text.
    Config,
    /// The person that the request was made for.
    User,
    /// A key of the caller's metadata.
    Metadata(String),
    /// The cache's part in the answer, as in `hit` or `miss`; requests whose config does not name the cache have none.
    CacheStatus,
    /// HTTP status: of the provider's answer for attempts, of our answer for requests.
    Status,
    /// A span of time, by its beginning.
    Time(Interval),
}

/// A dimension that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "cannot group by `{0}`: use one of workspace, api_key, virtual_key, provider, model, operation, config, user, \
     cache_status, status, hour, day, week, month, or metadata.<key>"
)]
pub struct UnknownDimension(pub String);

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Workspace => "workspace",
            Self::ApiKey => "api_key",
            Self::VirtualKey => "virtual_key",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Operation => "operation",
            Self::Config => "config",
            Self::User => "user",
            Self::Metadata(key) => return write!(f, "metadata.{key}"),
            Self::CacheStatus => "cache_status",
            Self::Status => "status",
            Self::Time(interval) => interval.as_str(),
        };
        f.write_str(word)
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(text: &str) -> Result<Self, UnknownDimension> {
        if let Some(key) = text.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
            return Ok(Self::Metadata(key.to_owned()));
        }
        if let Ok(interval) = text.parse() {
            return Ok(Self::Time(interval));
        }
        Ok(match text {
            "workspace" => Self::Workspace,
            "api_key" | "key" => Self::ApiKey,
            "virtual_key" => Self::VirtualKey,
            "provider" => Self::Provider,
            "model" => Self::Model,
            "operation" => Self::Operation,
            "config" => Self::Config,
            "user" => Self::User,
            "cache_status" => Self::CacheStatus,
            "status" => Self::Status,
            _ => return Err(UnknownDimension(text.to_owned())),
        })
    }
}

impl Serialize for Dimension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dimension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which rows are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// From this moment on. None: from the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before this moment. None: up to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only this workspace. None: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// Only rows that have one of the values, for every one of these. Times are given by their beginning, as in keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<(Dimension, Vec<String>)>,
}

/// A question: sums of the rows that are meant, by group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// Which rows are meant.
    #[serde(flatten)]
    pub select: Selection,
    /// What they are grouped by. Empty: one row for all.
    pub group_by: Vec<Dimension>,
    /// Groups them by time as well, as the first key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Order of the rows.
    pub order: Order,
    /// Most rows to answer with.
    pub limit: u32,
    /// Rows to leave out at the beginning.
    pub offset: u32,
    /// Whether latencies are wanted; they take a pass of their own.
    pub latency: bool,
}

/// Rows of an answer if the question does not say.
pub const DEFAULT_LIMIT: u32 = 1000;
/// Most rows of one answer.
pub const MAX_LIMIT: u32 = 10_000;
/// Most keys that rows can be grouped by.
pub const MAX_KEYS: usize = 8;

impl Default for Query {
    fn default() -> Self {
        Self {
            select: Selection::default(),
            group_by: Vec::new(),
            interval: None,
            order: Order::Cost,
            limit: DEFAULT_LIMIT,
            offset: 0,
            latency: false,
        }
    }
}

impl Query {
    /// All that rows are grouped by, each once, time first.
    pub fn dimensions(&self) -> Vec<Dimension> {
        let mut all: Vec<Dimension> = self.interval.map(Dimension::Time).into_iter().collect();
        for dimension in &self.group_by {
            if !all.contains(dimension) {
                all.push(dimension.clone());
            }
        }
        all
    }
}

/// How long things took, in milliseconds; nearest rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Mean, rounded down.
    pub avg: u64,
    /// Half took no longer.
    pub p50: u64,
    /// Nine in ten took no longer.
    pub p90: u64,
    /// 99 in a hundred took no longer.
    pub p99: u64,
}

/// Sums of one group.
///
/// An attempt counts where it was made, a request where it ended: at its last attempt's provider and model, or at
/// those whose answer came from our cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Dimension and value of each key. None: these have no such value.
    pub keys: Vec<(String, Option<String>)>,
    /// Requests that ended.
    pub requests: u64,
    /// Tries at targets.
    pub attempts: u64,
    /// Requests that did not end with an answer of status 2xx.
    pub errors: u64,
    /// Requests that were answered although an attempt at them had failed.
    pub rescued: u64,
    /// Requests that were answered from our cache.
    pub cache_hits: u64,
    /// Tokens of prompts, of all kinds.
    pub input_tokens: u64,
    /// Tokens of answers, of all kinds.
    pub output_tokens: u64,
    /// Part of the input that providers read from their caches.
    pub cached_input_tokens: u64,
    /// Part of the input that providers put into their caches.
    pub cache_write_tokens: u64,
    /// Part of `cache_write_tokens` that is kept for longer than the default time.
    pub cache_write_long_tokens: u64,
    /// Part of the output spent on reasoning.
    pub reasoning_tokens: u64,
    /// Part of the input that was sound.
    pub audio_input_tokens: u64,
    /// Part of the output that was spoken.
    pub audio_output_tokens: u64,
    /// Images drawn.
    pub images: u64,
    /// Searches of the web that providers made.
    pub searches: u64,
    /// What the attempts cost whose price is known.
    pub cost: NanoUsd,
    /// Attempts that took tokens at a price that is not known; they are not in `cost`.
    pub unknown_cost_attempts: u64,
    /// Attempts whose tokens are our own count.
    pub estimated_attempts: u64,
    /// Attempts that may have been made without anybody having seen the answer.
    pub duplicate_possible_attempts: u64,
    /// What answers from our cache saved.
    pub saved: NanoUsd,
    /// How long requests took, from acceptance to their end, if it was asked for and there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Latency>,
}

impl Row {
    /// Adds another row's sums; keys and latency stay.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.sums_mut().into_iter().zip(other.sums()) {
            *mine = mine.saturating_add(theirs);
        }
        self.cost.0 = self.cost.0.saturating_add(other.cost.0);
        self.saved.0 = self.saved.0.saturating_add(other.saved.0);
    }

    /// Names of the counts, in the order of [`Row::sums`].
    pub const SUMS: [&'static str; 18] = [
        "requests",
        "attempts",
        "errors",
        "rescued",
        "cache_hits",
        "input_tokens",
        "output_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "cache_write_long_tokens",
        "reasoning_tokens",
        "audio_input_tokens",
        "audio_output_tokens",
        "images",
        "searches",
        "unknown_cost_attempts",
        "estimated_attempts",
        "duplicate_possible_attempts",
    ];

    /// All counts, money excepted.
    pub fn sums(&self) -> [u64; 18] {
        self.clone().sums_mut().map(|sum| *sum)
    }

    /// All counts, money excepted.
    pub fn sums_mut(&mut self) -> [&mut u64; 18] {
        [
            &mut self.requests,
            &mut self.attempts,
            &mut self.errors,
            &mut self.rescued,
            &mut self.cache_hits,
            &mut self.input_tokens,
            &mut self.output_tokens,
            &mut self.cached_input_tokens,
            &mut self.cache_write_tokens,
            &mut self.cache_write_long_tokens,
            &mut self.reasoning_tokens,
            &mut self.audio_input_tokens,
            &mut self.audio_output_tokens,
            &mut self.images,
            &mut self.searches,
            &mut self.unknown_cost_attempts,
            &mut self.estimated_attempts,
            &mut self.duplicate_possible_attempts,
        ]
    }
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The groups, in the order asked for.
    pub rows: Vec<Row>,
    /// Sums of all rows that are meant, also of those beyond the limit.
    pub total: Row,
    /// Groups there are, also beyond the limit.
    pub groups: u64,
    /// The books hold everything that was reported before.
    pub through: Timestamp,
}

/// Place of an entry in the books; pages follow it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// When it ended.
    pub at: Timestamp,
    /// Its id.
    pub id: String,
}

/// A question for single rows, as exports need them: all attempts, or all ends of requests, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntriesQuery {
    /// Which rows are meant.
    #[serde(flatten)]
    pub select: Selection,
    /// Ends of requests instead of attempts.
    pub requests: bool,
    /// Go on behind this place, [`Entries::next`] of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Place>,
    /// Most entries to answer with; 0: [`DEFAULT_LIMIT`].
    pub limit: u32,
}

/// One page of single rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entries {
    /// The rows.
    pub entries: Vec<Entry>,
    /// Where to go on. None: that was all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Place>,
    /// The books hold everything that was reported before.
    pub through: Timestamp,
}

/// One attempt, or the end of one request, as it is in the books.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The attempt's id, or the request's.
    pub id: String,
    /// The request.
    pub request: String,
    /// When it ended.
    pub at: Timestamp,
    /// Whom it belongs to.
    pub workspace: String,
    /// The API key that the request came with.
    pub api_key: Option<String>,
    /// The virtual key that the provider was called with.
    pub virtual_key: Option<String>,
    /// The provider that was called, or whose answer came from our cache.
    pub provider: Option<String>,
    /// The model that answered, else the one asked for.
    pub model: Option<String>,
    /// The model that was asked for; of attempts.
    pub model_asked: Option<String>,
    /// What was asked for.
    pub operation: String,
    /// How urgent it was.
    pub lane: String,
    /// The config it ran on.
    pub config: String,
    /// The person it was made for.
    pub user: Option<String>,
    /// HTTP status; None: lost.
    pub status: Option<u16>,
    /// Class of the attempt's failure.
    pub error: Option<String>,
    /// How the request ended; of requests, and of the attempts that ended one.
    pub outcome: Option<String>,
    /// How the answer came from our cache; of requests.
    pub cache_status: Option<String>,
    /// What the cache saved; of requests.
    pub saved: Option<NanoUsd>,
    /// Tokens; of attempts. None: none were reported.
    pub usage: Option<Usage>,
    /// What the attempt cost. None: nothing, or its price is not known.
    pub cost: Option<NanoUsd>,
    /// Version of the price that the cost was counted with.
    pub price: Option<String>,
    /// Service tier that was charged.
    pub tier: Option<String>,
    /// Region that was called.
    pub region: Option<String>,
    /// The tokens are our own count.
    pub estimated: bool,
    /// The provider may have been called although nobody saw the answer.
    pub duplicate_possible: bool,
    /// The answer came or was to come in pieces.
    pub streamed: bool,
    /// The attempt ended the request.
    #[serde(rename = "final")]
    pub last: bool,
    /// From the router's decision to the start of the call; of attempts.
    pub queued_ms: Option<u64>,
    /// From the start of the call to the first byte of the answer; of attempts.
    pub first_byte_ms: Option<u64>,
    /// From the start of the call, or the request's acceptance, to the end.
    pub duration_ms: Option<u64>,
    /// How many attempts the request took; of requests.
    pub attempts: Option<u64>,
    /// The caller's key-value pairs, JSON text.
    pub metadata: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dimensions_print_and_parse_back() {
        for word in [
            "workspace",
            "api_key",
            "virtual_key",
            "provider",
            "model",
            "operation",
            "config",
            "user",
            "metadata.team",
            "metadata.a.b",
            "cache_status",
            "status",
            "hour",
            "day",
            "week",
            "month",
        ] {
            assert_eq!(word.parse::<Dimension>().unwrap().to_string(), word);
        }
        let err = "metadata.".parse::<Dimension>().unwrap_err().to_string();
        assert!(err.contains("metadata.<key>"), "{err}");
    }

    #[test]
    fn questions_may_leave_everything_out() {
        let query: Query = serde_json::from_str("{}").unwrap();
        assert_eq!(query, Query::default());
        let query: Query = serde_json::from_str(
            r#"{"since":5,"group_by":["model","day"],"interval":"day","filters":[["provider",["openai"]]]}"#,
        )
        .unwrap();
        let day = Dimension::Time(Interval::Day);
        assert_eq!(query.dimensions(), [day, Dimension::Model]);
        assert_eq!(query.select.filters, [(Dimension::Provider, vec!["openai".to_owned()])]);
        let text = serde_json::to_string(&query).unwrap();
        assert_eq!(serde_json::from_str::<Query>(&text).unwrap(), query);
    }

    proptest! {
        #[test]
        fn rows_add_up(a in any::<[u32; 18]>(), b in any::<[u32; 18]>()) {
            let row = |counts: [u32; 18]| {
                let mut row = Row { cost: NanoUsd(u64::from(counts[0])), ..Row::default() };
                for (sum, count) in row.sums_mut().into_iter().zip(counts) {
                    *sum = u64::from(count);
                }
                row
            };
            let mut sum = row(a);
            sum.add(&row(b));
            for i in 0..18 {
                prop_assert_eq!(sum.sums()[i], u64::from(a[i]) + u64::from(b[i]));
            }
            prop_assert_eq!(sum.cost.0, u64::from(a[0]) + u64::from(b[0]));
        }
    }
}
