//! Token counts in Anthropic's split: what came from the cache and what went into it is beside the input, not in it.

use domain::Usage;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Counts as they are told; in a stream each telling replaces those that it names.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Counts {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    /// The same by how long it is kept.
    #[serde(default)]
    cache_creation: Option<Creation>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
    #[serde(default)]
    server_tool_use: Option<ServerTools>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Creation {
    #[serde(default)]
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct ServerTools {
    #[serde(default)]
    web_search_requests: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Option<u64>,
}

impl Counts {
    /// Reads a `usage` object; one that is none counts nothing.
    pub(super) fn of(usage: &Value) -> Self {
        Self::deserialize(usage).unwrap_or_default()
    }

    /// Takes over what a later telling names.
    pub(super) fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
        self.cache_creation = later.cache_creation.or(self.cache_creation);
        self.server_tool_use = later.server_tool_use.or(self.server_tool_use);
    }
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let written = counts.cache_creation_input_tokens.unwrap_or(0);
        let cached = counts.cache_read_input_tokens.unwrap_or(0);
        let uncached = counts.input_tokens.unwrap_or(0);
        Self {
            input: uncached.saturating_add(written).saturating_add(cached),
            output: counts.output_tokens.unwrap_or(0),
            cached_input: cached,
            cache_write: written,
            cache_write_long: counts.cache_creation.and_then(|by| by.ephemeral_1h_input_tokens).unwrap_or(0),
            searches: counts.server_tool_use.and_then(|tools| tools.web_search_requests).unwrap_or(0),
            reasoning: counts.output_tokens_details.and_then(|details| details.thinking_tokens).unwrap_or(0),
            ..Self::default()
        }
    }
}

/// The `usage` object for counts.
pub(super) fn write(usage: &Usage) -> Map<String, Value> {
    let beside = usage.cached_input.saturating_add(usage.cache_write);
    let mut written = Map::new();
    written.insert("input_tokens".to_owned(), usage.input.saturating_sub(beside).into());
    written.insert("cache_creation_input_tokens".to_owned(), usage.cache_write.into());
    written.insert("cache_read_input_tokens".to_owned(), usage.cached_input.into());
    written.insert("output_tokens".to_owned(), usage.output.into());
    if usage.cache_write_long > 0 {
        let short = usage.cache_write.saturating_sub(usage.cache_write_long);
        let by_time = json!({
            "ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": usage.cache_write_long,
        });
        written.insert("cache_creation".to_owned(), by_time);
    }
    if usage.searches > 0 {
        written.insert("server_tool_use".to_owned(), json!({ "web_search_requests": usage.searches }));
    }
    if usage.reasoning > 0 {
        written.insert("output_tokens_details".to_owned(), json!({"thinking_tokens": usage.reasoning}));
    }
    written
}

/// Tiers of service: Anthropic's word, and OpenAI's for the same.
const TIERS: [(&str, &str); 3] = [("standard", "default"), ("priority", "priority"), ("batch", "batch")];

/// The tier that a `usage` object names, in OpenAI's form.
pub(super) fn read_tier(usage: &Value) -> Option<(String, Value)> {
    let tier = usage.get("service_tier")?.as_str()?;
    let word = TIERS.iter().find(|(ours, _)| *ours == tier).map_or(tier, |(_, openai)| openai);
    Some(("service_tier".to_owned(), word.into()))
}

/// Where the model ran, if a `usage` object says that it was one place: `us`.
pub(super) fn read_geo(usage: &Value) -> Option<(String, Value)> {
    let geo = usage.get("inference_geo")?;
    let one = geo.as_str().is_some_and(|geo| !matches!(geo, "" | "global" | "not_available"));
    one.then(|| ("inference_geo".to_owned(), geo.clone()))
}

/// The tier for a `usage` object, if Anthropic has a word for it.
pub(super) fn write_tier(extra: &Map<String, Value>) -> Option<(String, Value)> {
    let tier = extra.get("service_tier")?.as_str()?;
    let (word, _) = TIERS.iter().find(|(_, openai)| *openai == tier)?;
    Some(("service_tier".to_owned(), (*word).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_beside_the_input() {
        let told = json!({
            "input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
            "output_tokens": 40, "output_tokens_details": {"thinking_tokens": 5},
            "cache_creation": {"ephemeral_5m_input_tokens": 12, "ephemeral_1h_input_tokens": 8},
            "server_tool_use": {"web_search_requests": 3},
        });
        let usage = Usage::from(Counts::of(&told));
        let expected = Usage {
            input: 60,
            output: 40,
            cached_input: 30,
            cache_write: 20,
            cache_write_long: 8,
            searches: 3,
            reasoning: 5,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
        assert_eq!(Value::Object(write(&usage)), told);
    }

    #[test]
    fn tiers_have_a_word_in_both_dialects() {
        for (anthropic, openai) in TIERS {
            let extra = Map::from_iter(read_tier(&json!({ "service_tier": anthropic })));
            assert_eq!(extra["service_tier"], openai);
            assert_eq!(write_tier(&extra), Some(("service_tier".to_owned(), anthropic.into())));
        }
        assert_eq!(read_tier(&json!({ "service_tier": null })), None);
        assert_eq!(write_tier(&Map::from_iter([("service_tier".to_owned(), json!("flex"))])), None);
    }

    #[test]
    fn later_counts_replace_those_that_they_name() {
        let mut counts =
            Counts::of(&json!({"input_tokens": 10, "cache_read_input_tokens": 3, "output_tokens": 1}));
        counts.update(Counts::of(&json!({"output_tokens": 7, "input_tokens": null})));
        let usage = Usage::from(counts);
        assert_eq!((usage.input, usage.cached_input, usage.output), (13, 3, 7));
        assert_eq!(Usage::from(Counts::of(&json!("many"))), Usage::default());
        let most = Counts::of(&json!({"input_tokens": u64::MAX, "cache_read_input_tokens": 1}));
        assert_eq!(Usage::from(most).input, u64::MAX);
    }
}
