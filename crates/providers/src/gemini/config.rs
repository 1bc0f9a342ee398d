//! `generationConfig`.

use serde_json::{Map, Value, json};

use super::request::Context;
use super::schema;
use crate::chat::{Effort, Reasoning, ResponseFormat};
use crate::schema::titled;

/// The field's name.
pub(super) const NAME: &str = "generationConfig";

/// The longest answer of Gemini 2.5 and 3, for models of which nothing is known.
const MAX_OUTPUT: u64 = 65_536;

/// The fewest tokens that Gemini 2.5 Pro thinks for.
const LEAST_OF_PRO: u64 = 128;

/// Where a schema for answers is in an OpenAI request.
const SCHEMA: &str = "response_format.json_schema.schema";

#[derive(Default)]
pub(super) struct Config {
    pub(super) fields: Map<String, Value>,
}

impl Config {
    pub(super) fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.fields.insert(name.to_owned(), value.into());
        }
    }

    pub(super) fn seed(&mut self, seed: Option<i64>, cx: &mut Context<'_>) {
        let fitting = seed.and_then(|seed| i32::try_from(seed).ok());
        cx.drop_if("seed", fitting.is_none() && seed.is_some());
        self.put("seed", fitting);
    }

    pub(super) fn logprobs(&mut self, wanted: Option<bool>, top: Option<u64>, cx: &mut Context<'_>) {
        if wanted == Some(true) {
            self.put("responseLogprobs", Some(true));
            self.put("logprobs", top.filter(|top| *top > 0));
        } else {
            cx.drop_if("top_logprobs", top.is_some_and(|top| top > 0));
        }
    }

    /// Structured answers go by `responseJsonSchema`, which Gemini 2.0 and all later models take: unlike
    /// `responseSchema` it knows `additionalProperties`, lists of types and enums of numbers.
    pub(super) fn format(&mut self, format: Option<ResponseFormat>, cx: &mut Context<'_>) {
        let json = || Some("application/json");
        match format {
            None | Some(ResponseFormat::Text) => {}
            Some(ResponseFormat::JsonObject) => self.put("responseMimeType", json()),
            // Gemini always keeps to the schema, so `strict` needs no word.
            Some(ResponseFormat::JsonSchema { name, description, schema, strict: _ }) => {
                self.put("responseMimeType", json());
                let (schema, lost) = schema::convert(&schema, SCHEMA);
                lost.into_iter().for_each(|path| cx.drop(path));
                self.put("responseJsonSchema", Some(titled(schema, name, description)));
            }
        }
    }

    /// No Gemini model answers a request with text and sound together, so `audio` alone is asked for where OpenAI's
    /// callers have to ask for both. Sound comes as PCM.
    pub(super) fn modalities(&mut self, modalities: Vec<String>, audio: Option<Value>, cx: &mut Context<'_>) {
        let spoken = modalities.iter().any(|modality| modality.eq_ignore_ascii_case("audio"));
        let kept = modalities.iter().map(|modality| modality.to_ascii_uppercase());
        let kept: Vec<String> = kept.filter(|modality| !spoken || modality != "TEXT").collect();
        if !kept.is_empty() && kept != ["TEXT"] {
            self.put("responseModalities", Some(kept));
        }
        let Some(audio) = audio.filter(|audio| !audio.is_null()) else { return };
        let Value::Object(fields) = audio else { return cx.drop("audio") };
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("voice", Value::String(voice)) => {
                    let voice = json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}});
                    self.put("speechConfig", Some(voice));
                }
                ("format", Value::String(format)) if format == "pcm16" => {}
                (name, _) => cx.drop(format!("audio.{name}")),
            }
        }
    }

    /// Gemini 3 thinks by level, its elders by budget. Thoughts are asked for wherever the caller asks for thinking.
    ///
    /// Levels and budgets of efforts are those of Google's page on OpenAI compatibility. What a model cannot do (think
    /// harder than `high`; not think at all, for Pro models and Gemini 3) becomes the nearest and is reported.
    pub(super) fn reasoning(
        &mut self,
        reasoning: Option<Reasoning>,
        max_tokens: Option<u64>,
        cx: &mut Context<'_>,
    ) {
        let Some(reasoning) = reasoning else { return };
        if reasoning.effort.is_none() && reasoning.budget_tokens.is_none() && reasoning.summary.is_none() {
            return;
        }
        let mut thinking = Map::new();
        let known = cx.target.model.and_then(|model| model.max_output);
        let most = max_tokens.or(known).unwrap_or(MAX_OUTPUT);
        if cx.traits.third {
            reasoning.lost_beside_effort().into_iter().for_each(|name| cx.drop(name));
            if let Some(effort) = reasoning.effort(most) {
                thinking.insert("thinkingLevel".to_owned(), Value::from(level(effort, cx)));
            }
        } else if let Some(budget) = budget(&reasoning, cx) {
            thinking.insert("thinkingBudget".to_owned(), Value::from(budget));
        }
        if !reasoning.is_off() {
            thinking.insert("includeThoughts".to_owned(), Value::Bool(true));
        }
        self.put("thinkingConfig", Some(thinking));
    }
}

fn level(effort: Effort, cx: &mut Context<'_>) -> &'static str {
    cx.drop_if("reasoning_effort", matches!(effort, Effort::None | Effort::XHigh));
    match effort {
        Effort::None | Effort::Minimal if cx.traits.pro => "low",
        Effort::None | Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh => "high",
    }
}

fn budget(reasoning: &Reasoning, cx: &mut Context<'_>) -> Option<u64> {
    if reasoning.is_off() {
        cx.drop_if("reasoning_effort", cx.traits.pro);
        return Some(if cx.traits.pro { LEAST_OF_PRO } else { 0 });
    }
    if reasoning.budget_tokens.is_some() {
        reasoning.lost_beside_budget().into_iter().for_each(|name| cx.drop(name));
        return reasoning.budget_tokens;
    }
    cx.drop_if("reasoning_effort", reasoning.effort == Some(Effort::XHigh));
    Some(match reasoning.effort? {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1_024,
        Effort::Medium => 8_192,
        Effort::High | Effort::XHigh => 24_576,
    })
}
