//! Streams and consumers: declared as data under `nats/`, created or updated when a process starts.

use std::collections::HashMap;

use async_nats::jetstream::consumer::{self, AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use domain::Lane;
use domain::operation::Class;
use tracing::info;

use crate::{Bus, subject};

/// Stream definitions in the broker's own JSON form. Order matters: a stream comes after those it sources.
const STREAMS: &[&str] = &[
    include_str!("../../../nats/streams/LLM_REQUEST.json"),
    include_str!("../../../nats/streams/LLM_CALL.json"),
    include_str!("../../../nats/streams/LLM_SCHEDULE.json"),
    include_str!("../../../nats/streams/LLM_FALLBACK.json"),
    include_str!("../../../nats/streams/LLM_LIMIT.json"),
    include_str!("../../../nats/streams/LLM_STATE.json"),
    include_str!("../../../nats/streams/LLM_RESULT.json"),
    include_str!("../../../nats/streams/LLM_RESPONSE.json"),
    include_str!("../../../nats/streams/LLM_EVENT.json"),
    include_str!("../../../nats/streams/LLM_CACHE.json"),
    include_str!("../../../nats/streams/LLM_DEAD.json"),
    include_str!("../../../nats/streams/LLM_ALERT.json"),
    include_str!("../../../nats/streams/LLM_NOTICE.json"),
    include_str!("../../../nats/streams/KV_llm_registry.json"),
    include_str!("../../../nats/streams/KV_llm_health.json"),
    include_str!("../../../nats/streams/KV_llm_policy.json"),
    include_str!("../../../nats/streams/OBJ_llm_bodies.json"),
    include_str!("../../../nats/streams/OBJ_llm_responses.json"),
];

/// Why the broker's streams are not what this program needs.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// A stream of this name exists and cannot be changed into ours without losing data.
    #[error(
        "stream {stream} exists with {what} `{found}` but `{wanted}` is needed; \
         drain and delete it (`nats stream rm {stream}`), or point this gateway to another account"
    )]
    Incompatible {
        /// The stream.
        stream: String,
        /// The setting that differs.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// The broker refused.
    #[error("could not set up {what}: {reason}")]
    Refused {
        /// The stream or consumer.
        what: String,
        /// The broker's words.
        reason: String,
    },
}

fn refused(what: &str, reason: impl std::fmt::Display) -> TopologyError {
    TopologyError::Refused { what: what.to_owned(), reason: reason.to_string() }
}

/// Most messages handed to routers and not yet acknowledged, per lane.
const ROUTER_ACK_PENDING: i64 = 20_000;

/// A consumer of provider calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallConsumer {
    /// Its name on the broker.
    pub name: String,
    /// The target's token.
    pub target: String,
    /// Calls it lets run at once, over all workers.
    pub limit: usize,
}

impl Bus {
    /// The stream definitions with this process's settings filled in.
    pub fn stream_configs(&self) -> Vec<Config> {
        STREAMS.iter().map(|text| self.stream_config(text)).collect()
    }

    fn stream_config(&self, text: &str) -> Config {
        let mut config: Config =
            serde_json::from_str(text).expect("stream definitions are checked by a test");
        let options = self.options();
        config.num_replicas = options.replicas;
        if options.memory {
            config.storage = StorageType::Memory;
        }
        match config.name.as_str() {
            subject::REQUEST_STREAM => {
                config.max_messages_per_subject = options.lane_backlog;
                config.max_bytes = options.request_bytes.unwrap_or(-1);
            }
            subject::CACHE_STREAM => config.max_bytes = options.cache_bytes.unwrap_or(config.max_bytes),
            subject::CALL_STREAM => config.max_messages_per_subject = options.call_backlog,
            subject::RESPONSE_STREAM | subject::RESPONSE_BUCKET_STREAM => {
                config.max_age = options.responses_ttl;
                // The broker takes no window that is longer than the stream's memory.
                config.duplicate_window = config.duplicate_window.min(options.responses_ttl);
            }
            _ => {}
        }
        config
    }

    /// Creates what is missing and updates what differs. Never destroys data.
    pub async fn ensure_streams(&self) -> Result<(), TopologyError> {
        for config in self.stream_configs() {
            self.ensure_stream(config).await?;
        }
        for lane in Lane::ALL {
            self.ensure_consumer(subject::REQUEST_STREAM, self.router_consumer(*lane)).await?;
        }
        let notices =
            self.consumer(NOTICE_CONSUMER, vec![subject::NOTICE_ALL.to_owned()], NOTICES_ACK_PENDING);
        self.ensure_consumer(subject::NOTICE_STREAM, notices).await?;
        self.ensure_consumer(subject::FALLBACK_STREAM, self.fallback_consumer()).await
    }

    async fn ensure_stream(&self, config: Config) -> Result<(), TopologyError> {
        let name = config.name.clone();
        match self.js.get_stream(&name).await {
            Ok(existing) => {
                let found = &existing.cached_info().config;
                compatible(found, &config)?;
                if differs(found, &config) {
                    info!(stream = name, "updating the stream's settings");
                    self.js.update_stream(&config).await.map_err(|err| refused(&name, err))?;
                }
            }
            Err(_) => {
                self.js.create_or_update_stream(config.clone()).await.map_err(|err| refused(&name, err))?;
            }
        }
        Ok(())
    }

    pub(crate) async fn ensure_consumer(
        &self,
        stream: &str,
        config: pull::Config,
    ) -> Result<(), TopologyError> {
        let what = config.durable_name.clone().unwrap_or_default();
        let created = self.js.create_consumer_on_stream(config, stream).await;
        created.map(|_| ()).map_err(|err| refused(&format!("consumer {what} of {stream}"), err))
    }

    pub(crate) fn consumer(&self, name: &str, filters: Vec<String>, ack_pending: i64) -> pull::Config {
        pull::Config {
            durable_name: Some(name.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.options().ack_wait,
            // Dead letters are written by the roles before this could matter; see `work::MAX_DELIVERIES`.
            max_deliver: -1,
            max_ack_pending: ack_pending,
            max_waiting: 10_000,
            filter_subjects: filters,
            ..Default::default()
        }
    }

    fn router_consumer(&self, lane: Lane) -> pull::Config {
        self.consumer(&router_consumer_name(lane), subject::request_filters(lane), ROUTER_ACK_PENDING)
    }

    fn fallback_consumer(&self) -> pull::Config {
        self.consumer(FALLBACK_CONSUMER, vec![subject::FALLBACK_ALL.to_owned()], ROUTER_ACK_PENDING)
    }

    /// Makes sure that calls to a target find a consumer. Foreground gets 80 % of the target's limit,
    /// bulk the rest; below 5 one consumer takes all.
    pub async fn ensure_target(&self, target: &str, limit: usize) -> Result<(), TopologyError> {
        let shares = shares(target, limit);
        let keep: Vec<String> = shares.iter().map(|s| s.name.clone()).collect();
        for stale in ["foreground", "bulk", "all"].map(|class| format!("{target}_{class}")) {
            if !keep.contains(&stale) {
                // Filters of a work queue must not overlap, so the other way of splitting has to go first.
                let _ = self.js.delete_consumer_from_stream(&stale, subject::CALL_STREAM).await;
            }
        }
        for share in shares {
            let filter = match share.name.rsplit_once('_') {
                Some((_, "foreground")) => subject::call(target, Class::Foreground),
                Some((_, "bulk")) => subject::call(target, Class::Bulk),
                _ => subject::call_all(target),
            };
            let limit = i64::try_from(share.limit).unwrap_or(i64::MAX);
            let mut config = self.consumer(&share.name, vec![filter], limit);
            config.metadata = HashMap::from([("pointsman.target".to_owned(), target.to_owned())]);
            self.ensure_consumer(subject::CALL_STREAM, config).await?;
        }
        Ok(())
    }

    /// Forgets a target's consumers, unless it still has messages.
    pub async fn drop_target(&self, target: &str) -> Result<(), TopologyError> {
        for class in ["foreground", "bulk", "all"] {
            let _ =
                self.js.delete_consumer_from_stream(&format!("{target}_{class}"), subject::CALL_STREAM).await;
        }
        Ok(())
    }

    /// All consumers of provider calls.
    pub async fn call_consumers(&self) -> anyhow::Result<Vec<CallConsumer>> {
        use futures::TryStreamExt as _;
        let stream = self.js.get_stream_no_info(subject::CALL_STREAM).await?;
        let consumers: Vec<consumer::Info> = stream.consumers().try_collect().await?;
        let named = |info: consumer::Info| {
            let target = info.config.metadata.get("pointsman.target")?.clone();
            let limit = usize::try_from(info.config.max_ack_pending).unwrap_or(1);
            Some(CallConsumer { name: info.name, target, limit })
        };
        Ok(consumers.into_iter().filter_map(named).collect())
    }
}

/// Durable name of the routers' consumer of a lane.
pub(crate) fn router_consumer_name(lane: Lane) -> String {
    format!("router_{lane}")
}

/// Durable name of the routers' consumer of failures.
pub(crate) const FALLBACK_CONSUMER: &str = "router_fallback";

/// Durable name of the consumer of notices on their way.
pub(crate) const NOTICE_CONSUMER: &str = "alerts";

/// Most notices that are being sent at once, over all processes.
const NOTICES_ACK_PENDING: i64 = 100;

fn shares(target: &str, limit: usize) -> Vec<CallConsumer> {
    let limit = limit.max(1);
    let share = |class: &str, limit: usize| CallConsumer {
        name: format!("{target}_{class}"),
        target: target.to_owned(),
        limit,
    };
    if limit < 5 {
        return vec![share("all", limit)];
    }
    let bulk = (limit / 5).max(1);
    vec![share("foreground", limit - bulk), share("bulk", bulk)]
}

fn compatible(found: &Config, wanted: &Config) -> Result<(), TopologyError> {
    let retention = |config: &Config| match config.retention {
        RetentionPolicy::WorkQueue => "workqueue",
        RetentionPolicy::Interest => "interest",
        RetentionPolicy::Limits => "limits",
    };
    let storage = |config: &Config| if config.storage == StorageType::Memory { "memory" } else { "file" };
    for (what, found, wanted_word) in
        [("retention", retention(found), retention(wanted)), ("storage", storage(found), storage(wanted))]
    {
        if found != wanted_word {
            return Err(TopologyError::Incompatible {
                stream: wanted.name.clone(),
                what,
                found: found.to_owned(),
                wanted: wanted_word.to_owned(),
            });
        }
    }
    Ok(())
}

/// Whether an update is needed; only what our definitions set is compared.
fn differs(found: &Config, wanted: &Config) -> bool {
    found.subjects != wanted.subjects
        || found.max_messages_per_subject != wanted.max_messages_per_subject
        || (wanted.max_bytes > 0 && found.max_bytes != wanted.max_bytes)
        || found.max_age != wanted.max_age
        || found.max_consumers != wanted.max_consumers
        || found.num_replicas != wanted.num_replicas
        || found.discard != wanted.discard
        || found.discard_new_per_subject != wanted.discard_new_per_subject
        || found.allow_atomic_publish != wanted.allow_atomic_publish
        || found.allow_message_ttl != wanted.allow_message_ttl
        || found.allow_message_schedules != wanted.allow_message_schedules
        || found.republish != wanted.republish
        || found.sources.as_ref().map_or(0, Vec::len) != wanted.sources.as_ref().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_definitions_are_well_formed() {
        let names: Vec<String> =
            STREAMS.iter().map(|text| serde_json::from_str::<Config>(text).unwrap().name).collect();
        for name in [
            subject::REQUEST_STREAM,
            subject::CALL_STREAM,
            subject::RESULT_STREAM,
            subject::RESPONSE_STREAM,
            subject::RESPONSE_BUCKET_STREAM,
            subject::DEAD_STREAM,
            subject::ALERT_STREAM,
            subject::NOTICE_STREAM,
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
    }

    #[test]
    fn a_limit_is_split_so_that_its_parts_add_up() {
        for limit in [1, 4, 5, 10, 512, 1000] {
            let shares = shares("t", limit);
            assert_eq!(shares.iter().map(|s| s.limit).sum::<usize>(), limit);
            assert_eq!(shares.len(), if limit < 5 { 1 } else { 2 });
        }
    }
}
