//! Names of all metrics, in one place, and the recorder that keeps them.

use anyhow::Context as _;
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

/// Requests that ended, by `operation`, `lane`, `outcome`.
pub const REQUESTS: &str = "pointsman_requests_total";
/// From acceptance to the end, in seconds, by `operation`.
pub const REQUEST_SECONDS: &str = "pointsman_request_duration_seconds";
/// Attempts that ended, by `provider`, `result` (`ok` or the error class).
pub const ATTEMPTS: &str = "pointsman_attempts_total";
/// Stages of a request in seconds, by `stage`: `queued`, `first_byte`, `call`.
pub const STAGE_SECONDS: &str = "pointsman_stage_duration_seconds";
/// Work in hand now, by `role`.
pub const IN_FLIGHT: &str = "pointsman_in_flight";
/// Messages that wait, by `stream` and `consumer`.
pub const QUEUE_DEPTH: &str = "pointsman_queue_depth";
/// Age of the oldest waiting message in seconds, by `stream`.
pub const QUEUE_AGE: &str = "pointsman_queue_age_seconds";
/// Messages put aside, by `stage`.
pub const DEAD_LETTERS: &str = "pointsman_dead_letters_total";
/// Attempts whose worker vanished: the provider may have been called for nothing.
pub const LOST_ATTEMPTS: &str = "pointsman_lost_attempts_total";
/// Tokens that providers reported, by `provider`, `kind`.
pub const TOKENS: &str = "pointsman_tokens_total";
/// HTTP answers, by `operation`, `status`.
pub const HTTP_ANSWERS: &str = "pointsman_http_answers_total";
/// Connection events of the broker client.
pub const BUS_EVENTS: &str = "pointsman_bus_events_total";
/// Answers whose frames had a gap, filled from the stored result.
pub const FRAME_GAPS: &str = "pointsman_frame_gaps_total";
/// Share of the broker's storage in use, 0 to 1.
pub const STORAGE_USED: &str = "pointsman_broker_storage_used_ratio";

/// Whether a target may be called, by `target`: 0 closed, 1 half-open, 2 open.
pub const BREAKER_STATE: &str = "pointsman_breaker_state";
/// Circuits that opened, by `target` and `reason`, as each router counts them.
pub const BREAKER_OPENED: &str = "pointsman_breaker_opened_total";
/// Mean time to the first byte lately, by `target`.
pub const TARGET_LATENCY: &str = "pointsman_target_latency_seconds";
/// Calls running now, by `target`, over all workers.
pub const TARGET_IN_FLIGHT: &str = "pointsman_target_in_flight";
/// Requests that a provider's limits are estimated to leave now, by `target`: of its models the one with the least.
pub const REQUESTS_LEFT: &str = "pointsman_target_requests_left";
/// Tokens that a provider's limits are estimated to leave now, by `target`: of its models the one with the least.
pub const TOKENS_LEFT: &str = "pointsman_target_tokens_left";

/// Events that were booked in the ledger.
pub const LEDGER_EVENTS: &str = "pointsman_ledger_events_total";
/// Events that are not in the ledger yet.
pub const LEDGER_LAG: &str = "pointsman_ledger_lag_events";
/// Age of the oldest event that is not in the ledger yet.
pub const LEDGER_LAG_SECONDS: &str = "pointsman_ledger_lag_seconds";
/// Booking one batch of events, acknowledging included.
pub const LEDGER_BATCH_SECONDS: &str = "pointsman_ledger_batch_duration_seconds";
/// Calls that went on although a limit's count could not be reached.
pub const LIMITS_UNCOUNTED: &str = "pointsman_limits_uncounted_total";
/// Calls that used more than had been set aside for them.
pub const LIMITS_UNDERESTIMATED: &str = "pointsman_limits_underestimated_total";
/// Alerts that are raised now, by `rule`, as the process says that judges them.
pub const ALERTS_FIRING: &str = "pointsman_alerts_firing";
/// Notices that were handed to channels, by `channel` and `result`: `sent`, `failed` (tried again), `given_up`.
pub const NOTICES: &str = "pointsman_notices_total";
/// Look-ups that the cache answered, by `result`: `hit`, `semantic_hit`, `miss`, `refused` (too many at once).
pub const CACHE_LOOKUPS: &str = "pointsman_cache_lookups_total";
/// Answering one look-up, in a cache node.
pub const CACHE_LOOKUP_SECONDS: &str = "pointsman_cache_lookup_duration_seconds";
/// Answers that a cache node holds.
pub const CACHE_ENTRIES: &str = "pointsman_cache_entries";
/// Of these, those that can be found by their meaning.
pub const CACHE_VECTORS: &str = "pointsman_cache_vectors";
/// Bytes of the answers that a cache node holds, with what is known of them.
pub const CACHE_BYTES: &str = "pointsman_cache_bytes";
/// Answers that had to go because a cache node held too many.
pub const CACHE_EVICTED: &str = "pointsman_cache_evicted_total";

/// What became of asking the cache: `hit`, `semantic_hit`, `miss`, `unanswered`, `skipped`, `disbelieved`.
pub const CACHE_ASKED: &str = "pointsman_cache_asked_total";
/// Time that requests waited for the cache's word.
pub const CACHE_WAIT_SECONDS: &str = "pointsman_cache_wait_seconds";
/// Requests that were the same as one on its way: `served` with its answer, or `too_many` to wait.
pub const CACHE_FOLLOWERS: &str = "pointsman_cache_followers_total";

const SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

/// Prints what has been recorded, in Prometheus' text format.
#[derive(Clone)]
pub struct Printer(metrics_exporter_prometheus::PrometheusHandle);

impl Printer {
    /// The current figures.
    pub fn print(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Installs the process's recorder.
pub fn init() -> anyhow::Result<Printer> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("install the metrics recorder")?;
    describe();
    Ok(Printer(handle))
}

fn describe() {
    describe_counter!(REQUESTS, "Requests that ended, by operation, lane and outcome.");
    describe_histogram!(REQUEST_SECONDS, "From acceptance to the end of a request.");
    describe_counter!(ATTEMPTS, "Provider attempts that ended, by provider and result.");
    describe_histogram!(STAGE_SECONDS, "Stages of a request: queued, first_byte, call.");
    describe_gauge!(IN_FLIGHT, "Work in hand, by role.");
    describe_gauge!(QUEUE_DEPTH, "Messages that wait, by stream and consumer.");
    describe_gauge!(QUEUE_AGE, "Age of the oldest message, by stream.");
    describe_counter!(DEAD_LETTERS, "Messages put aside, by stage.");
    describe_counter!(LOST_ATTEMPTS, "Attempts whose worker vanished after it had claimed them.");
    describe_counter!(TOKENS, "Tokens that providers reported, by provider and kind.");
    describe_counter!(HTTP_ANSWERS, "HTTP answers, by operation and status.");
    describe_counter!(BUS_EVENTS, "Connection events of the broker client.");
    describe_counter!(FRAME_GAPS, "Answers whose frames had a gap that the stored result filled.");
    describe_gauge!(BREAKER_STATE, "Whether a target may be called: 0 closed, 1 half-open, 2 open.");
    describe_counter!(BREAKER_OPENED, "Circuits that opened, by target and reason.");
    describe_gauge!(TARGET_LATENCY, "Mean time to the first byte lately, by target.");
    describe_gauge!(TARGET_IN_FLIGHT, "Calls running now, by target, over all workers.");
    describe_gauge!(
        REQUESTS_LEFT,
        "Requests that a provider's limits are estimated to leave now, by target."
    );
    describe_gauge!(TOKENS_LEFT, "Tokens that a provider's limits are estimated to leave now, by target.");
    describe_counter!(LEDGER_EVENTS, "Events that were booked in the ledger.");
    describe_gauge!(LEDGER_LAG, "Events that are not in the ledger yet.");
    describe_gauge!(LEDGER_LAG_SECONDS, "Age of the oldest event that is not in the ledger yet.");
    describe_histogram!(LEDGER_BATCH_SECONDS, "Booking one batch of events, acknowledging included.");
    describe_counter!(LIMITS_UNCOUNTED, "Calls that went on although a limit's count could not be reached.");
    describe_counter!(LIMITS_UNDERESTIMATED, "Calls that used more than had been set aside for them.");
    describe_gauge!(ALERTS_FIRING, "Alerts that are raised now, by rule.");
    describe_counter!(NOTICES, "Notices that were handed to channels, by channel and result.");
    describe_counter!(CACHE_ASKED, "Look-ups that the cache answered, by result.");
    describe_histogram!(CACHE_WAIT_SECONDS, "Answering one look-up, in a cache node.");
    describe_gauge!(CACHE_ENTRIES, "Answers that a cache node holds.");
    describe_gauge!(CACHE_VECTORS, "Answers that a cache node can find by their meaning.");
    describe_gauge!(CACHE_BYTES, "Bytes of the answers that a cache node holds, with what is known of them.");
    describe_counter!(CACHE_EVICTED, "Answers that had to go because a cache node held too many.");
    describe_gauge!(STORAGE_USED, "Share of the broker's storage in use, 0 to 1.");
}
