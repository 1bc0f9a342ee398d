//! Gemini's token counts.

use domain::Usage;
use serde_json::{Map, Value};

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
