//! Gemini's token counts.

use domain::Usage;
use serde_json::{Map, Value};

/// Searches of the web that the candidates' `groundingMetadata` names.
///
/// Models before Gemini 3 are charged by the prompt that was grounded, later ones by the query.
/// Source: "Grounding with Google Search" in the pricing of the Gemini API.
pub(super) fn searches(model: Option<&str>, extra: &Map<String, Value>) -> u64 {
    let Some(grounding) = extra.get("groundingMetadata") else { return 0 };
    let queries = |metadata: &Value| {
        let queries = metadata.get("webSearchQueries").and_then(Value::as_array);
        queries.map_or(0, |queries| queries.iter().filter(|query| query.as_str() != Some("")).count() as u64)
    };
    // Of several candidates it is kept by their index.
    let by_index = grounding.as_object().into_iter().flat_map(Map::values).map(queries).sum::<u64>();
    let count = queries(grounding).max(by_index);
    let by_prompt =
        model.is_some_and(|model| ["gemini-1.", "gemini-2."].iter().any(|old| model.starts_with(old)));
    if by_prompt { count.min(1) } else { count }
}

/// The tier in OpenAI's form, where Vertex AI says that it was not the standard one.
pub(super) fn tier(counts: &Map<String, Value>) -> Option<(String, Value)> {
    let traffic = counts.get("trafficType")?.as_str()?;
    let word = match traffic.strip_prefix("ON_DEMAND") {
        Some(rest) => rest.strip_prefix('_')?,
        None => traffic,
    };
    (word != "TRAFFIC_TYPE_UNSPECIFIED")
        .then(|| ("service_tier".to_owned(), word.to_ascii_lowercase().into()))
}

/// Brings `usageMetadata` to the algebra of [`Usage`].
///
/// Gemini counts thoughts and the results of its own tools beside prompt and answer; its total is the sum of all four.
pub(super) fn usage(counts: &Map<String, Value>) -> Usage {
    let count = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or(0);
    let sound = |name: &str| -> u64 {
        let details = counts.get(name).and_then(Value::as_array).into_iter().flatten();
        let sound = details.filter(|detail| detail.get("modality").and_then(Value::as_str) == Some("AUDIO"));
        let tokens = sound.filter_map(|detail| detail.get("tokenCount").and_then(Value::as_u64));
        tokens.fold(0, u64::saturating_add)
    };
    let thoughts = count("thoughtsTokenCount");
    let heard = sound("promptTokensDetails").saturating_add(sound("toolUsePromptTokensDetails"));
    Usage {
        input: count("promptTokenCount").saturating_add(count("toolUsePromptTokenCount")),
        output: count("candidatesTokenCount").saturating_add(thoughts),
        cached_input: count("cachedContentTokenCount"),
        // Sound that came from the cache is counted as cached, and no token twice.
        audio_input: heard.saturating_sub(sound("cacheTokensDetails")),
        reasoning: thoughts,
        audio_output: sound("candidatesTokensDetails"),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn searches_are_counted_as_they_are_charged() {
        let extra = map(
            json!({ "groundingMetadata": { "webSearchQueries": ["a", "b", ""], "searchEntryPoint": {} } }),
        );
        for (model, expected) in [(Some("gemini-3.1-pro"), 2), (Some("gemini-2.5-flash"), 1), (None, 2)] {
            assert_eq!(searches(model, &extra), expected, "{model:?}");
        }
        let many = map(json!({ "groundingMetadata": {
            "0": { "webSearchQueries": ["a"] }, "1": { "webSearchQueries": ["b", "c"] } } }));
        assert_eq!(searches(None, &many), 3);
        assert_eq!(searches(Some("gemini-2.5-pro"), &map(json!({ "groundingMetadata": {} }))), 0);
        assert_eq!(searches(None, &Map::new()), 0);
    }

    #[test]
    fn tiers_are_told_in_openais_words() {
        for (traffic, expected) in [
            ("ON_DEMAND", None),
            ("ON_DEMAND_PRIORITY", Some("priority")),
            ("ON_DEMAND_FLEX", Some("flex")),
            ("PROVISIONED_THROUGHPUT", Some("provisioned_throughput")),
            ("TRAFFIC_TYPE_UNSPECIFIED", None),
        ] {
            let found = tier(&map(json!({ "trafficType": traffic })));
            assert_eq!(found, expected.map(|word| ("service_tier".to_owned(), word.into())), "{traffic}");
        }
    }
}
