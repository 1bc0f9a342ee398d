//! The most that a call can use: what is set aside for it before it is made.

use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

use crate::config::params::Changes;
use crate::model::{ModelInfo, NanoUsd, Price};
use crate::price::{Charged, cost};
use crate::{Operation, Usage};

/// Tokens of an answer where neither the request nor the model's entry bounds them. The request is then sent with this
/// bound.
const USUAL_OUTPUT: u64 = 4096;

/// Most tokens of an image, a document or a recording that is not in the body itself, where the model's context does
/// not bound them. OpenAI's `gpt-4o-mini` counts up to 48,169 for the largest image, more than any other known.
const MEDIA: u64 = 50_000;

/// Most searches of the web that one call is taken to make, where it may search.
const SEARCHES: u64 = 10;

/// What a body says that bounds its cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Bytes of the body: no text has more tokens than bytes.
    pub bytes: u64,
    /// Things that the provider fetches or has already: each may have more tokens than its name has bytes.
    pub media: u64,
    /// Most tokens of one answer, where the body says so.
    pub output: Option<u64>,
    /// Answers, or images.
    pub choices: u64,
    /// A conversation that the provider keeps goes with it.
    pub continued: bool,
    /// It asks for another than the usual service tier.
    pub tiers: bool,
    /// It asks for prompts to be kept.
    pub caches: bool,
    /// Sound may be in it, or in the answer.
    pub sound: bool,
    /// The provider may search the web for it.
    pub searches: bool,
}

/// The most that a call can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of all answers.
    pub output: u64,
    /// What that costs. None: the price is not known.
    pub cost: Option<NanoUsd>,
    /// Tokens of one answer that the request has to be sent with, as nothing else bounds them.
    pub send_limit: Option<u64>,
}

/// Names under which bodies bound their answers, in the dialects that callers speak.
const LIMITS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

#[derive(Deserialize)]
struct Fields {
    max_tokens: Option<Value>,
    max_completion_tokens: Option<Value>,
    max_output_tokens: Option<Value>,
    n: Option<Value>,
    best_of: Option<Value>,
    previous_response_id: Option<Value>,
    conversation: Option<Value>,
}

impl Asked {
    /// Reads a body as it will be sent: after the target's changes.
    pub fn read(body: &[u8], changes: &Changes<'_>) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| memmem::find(body, word.as_bytes()).is_some());
        let count = |word: &str| memmem::find_iter(body, word.as_bytes()).count() as u64;
        let media = ["_url\"", "file_id\"", "\"url\"", "fileUri\"", "_uri\""].into_iter().map(count).sum();
        let fields: Option<Fields> = serde_json::from_slice(body).ok();
        let own = |name: &str| {
            let fields = fields.as_ref()?;
            match name {
                "max_tokens" => fields.max_tokens.as_ref(),
                "max_completion_tokens" => fields.max_completion_tokens.as_ref(),
                "max_output_tokens" => fields.max_output_tokens.as_ref(),
                "n" => fields.n.as_ref(),
                "best_of" => fields.best_of.as_ref(),
                _ => None,
            }
        };
        let value = |name: &str| -> Option<u64> {
            let dropped = changes.drops(|path| path.top_level() == Some(name));
            let value =
                changes.overrides.get(name).or_else(|| own(name)).or_else(|| changes.defaults.get(name));
            value.filter(|_| !dropped).and_then(Value::as_u64)
        };
        let present = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
        let added: u64 = [changes.overrides, changes.defaults]
            .into_iter()
            .filter(|added| !added.is_empty())
            .map(|added| serde_json::to_vec(added).map_or(0, |text| text.len() as u64))
            .sum();
        let changed =
            |word: &str| changes.overrides.contains_key(word) || changes.defaults.contains_key(word);
        Self {
            bytes: (body.len() as u64).saturating_add(added),
            media,
            output: LIMITS.into_iter().filter_map(value).max(),
            choices: value("n").unwrap_or(1).max(value("best_of").unwrap_or(1)).max(1),
            continued: fields.is_some_and(|f| present(&f.previous_response_id) || present(&f.conversation)),
            tiers: has(&["service_tier", "\"speed\""]) || changed("service_tier") || changed("speed"),
            caches: has(&["cache_control", "cachePoint"]),
            sound: has(&["audio"]) || changed("modalities"),
            searches: has(&["web_search", "google_search"]) || changed("tools"),
        }
    }
}

/// The most that a call can use at a model. `ceiling` is a price for models whose own is not known.
pub fn worst(operation: Operation, asked: &Asked, model: Option<&ModelInfo>, price: Option<&Price>) -> Worst {
    let window = model.and_then(|model| model.context_window);
    let unbounded = asked.media.saturating_mul(MEDIA);
    let by_bytes = asked.bytes.saturating_add(unbounded);
    let input = match window {
        Some(window) if asked.continued => window,
        Some(window) => by_bytes.min(window),
        None => by_bytes,
    };
    let of_model = model.and_then(|model| model.max_output);
    let (one, send_limit) = match (answers(operation), asked.output.or(of_model)) {
        (false, _) => (0, None),
        (true, Some(most)) => (most, None),
        (true, None) => (USUAL_OUTPUT, Some(USUAL_OUTPUT)),
    };
    let output = one.saturating_mul(asked.choices);
    let images = if draws(operation) { asked.choices } else { 0 };
    let most = Usage {
        input,
        output,
        images,
        searches: if asked.searches { SEARCHES } else { 0 },
        ..Usage::default()
    };
    Worst { input, output, cost: price.map(|price| dearest(price, &most, asked)), send_limit }
}

/// The dearest way to charge so many tokens: the sum is linear in how they are split among the kinds, so that it is
/// greatest where all are of one kind.
fn dearest(price: &Price, most: &Usage, asked: &Asked) -> NanoUsd {
    let mut inputs =
        vec![Usage { cached_input: most.input, ..*most }, Usage { cache_write: most.input, ..*most }];
    inputs.push(*most);
    if asked.caches {
        inputs.push(Usage { cache_write: most.input, cache_write_long: most.input, ..*most });
    }
    if asked.sound {
        inputs.push(Usage { audio_input: most.input, ..*most });
    }
    let tiers = std::iter::once(None).chain(price.tiers.keys().map(|tier| Some(tier.as_str())));
    let tiers: Vec<_> = if asked.tiers { tiers.collect() } else { vec![None] };
    let regions = || std::iter::once(None).chain(price.regions.keys().map(|region| Some(region.as_str())));
    let mut dearest = NanoUsd::default();
    for input in inputs {
        let spoken = if asked.sound { most.output } else { 0 };
        for usage in
            [input, Usage { reasoning: most.output, ..input }, Usage { audio_output: spoken, ..input }]
        {
            for tier in &tiers {
                for region in regions() {
                    dearest = dearest.max(cost(price, &usage, &Charged { tier: *tier, region }));
                }
            }
        }
    }
    dearest
}

/// Whether an answer to it has tokens that are charged.
fn answers(operation: Operation) -> bool {
    !matches!(
        operation,
        Operation::Embeddings
            | Operation::Rerank
            | Operation::Moderations
            | Operation::CountTokens
            | Operation::Images
            | Operation::ImageEdits
    )
}

fn draws(operation: Operation) -> bool {
    matches!(operation, Operation::Images | Operation::ImageEdits)
}
