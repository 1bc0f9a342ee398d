//! Models from published price lists: LiteLLM's one file for all providers, and Portkey's one file for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use domain::model::Capability;
use serde_json::{Map, Value};

use crate::models::entry::{Entry, LongRates, Rates, RegionRates, TierRates, UsdFor, UsdPerMillion};

/// What a price list says.
#[derive(Debug, Default, PartialEq)]
pub struct Imported {
    /// Whose format the list has.
    pub format: &'static str,
    /// Models by provider and name.
    pub models: BTreeMap<String, Entry>,
    /// Entries that were left out: name and reason.
    pub problems: Vec<(String, String)>,
}

/// Our slugs of LiteLLM's providers that have another name here.
static LITELLM_SLUGS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    toml::from_str(include_str!("litellm.toml")).expect("the names of providers are checked by a test")
});

/// Reads a price list. `provider` is whom the prices of a list without providers belong to, else the only one taken.
///
/// Malformed entries are reported, not fatal. Fails if the text is not JSON or neither of the formats.
pub fn read(text: &str, provider: &str, only: Option<&str>) -> Result<Imported, String> {
    let list: Map<String, Value> = serde_json::from_str(text)
        .map_err(|err| format!("the price list is not a JSON object of models: {err}"))?;
    if list.values().any(|entry| entry.get("litellm_provider").is_some()) {
        let mut imported = Imported { format: "LiteLLM", ..Imported::default() };
        // An entry that shows the fields, not a model.
        for (name, entry) in list.iter().filter(|(name, _)| *name != "sample_spec") {
            imported.take(name, litellm(name, entry), only);
        }
        return Ok(imported);
    }
    if list.values().any(|entry| entry.get("pricing_config").is_some()) {
        let mut imported = Imported { format: "Portkey", ..Imported::default() };
        // What is common to all models, not a model.
        for (name, entry) in list.iter().filter(|(name, _)| *name != "default") {
            imported.take(name, portkey(entry).map(|entry| Some((super::key(provider, name), entry))), only);
        }
        return Ok(imported);
    }
    Err("the price list has neither LiteLLM's format (entries with `litellm_provider`) nor Portkey's (entries with \
         `pricing_config`)"
        .to_owned())
}

impl Imported {
    fn take(&mut self, name: &str, read: Result<Option<(String, Entry)>, String>, only: Option<&str>) {
        match read {
            Ok(Some((key, entry))) => {
                if only.is_none_or(|slug| key.split_once('/').is_some_and(|(provider, _)| provider == slug)) {
                    self.models.insert(key, entry);
                }
            }
            Ok(None) => {}
            Err(problem) => self.problems.push((name.to_owned(), problem)),
        }
    }
}

/// What LiteLLM calls a capability.
const LITELLM_FLAGS: &[(&str, Capability)] = &[
    ("supports_function_calling", Capability::Tools),
    ("supports_response_schema", Capability::JsonSchema),
    ("supports_reasoning", Capability::Reasoning),
    ("supports_vision", Capability::Vision),
    ("supports_pdf_input", Capability::Pdf),
    ("supports_audio_input", Capability::Audio),
    ("supports_video_input", Capability::Video),
    ("supports_audio_output", Capability::AudioOutput),
    ("supports_prompt_caching", Capability::PromptCaching),
    ("supports_web_search", Capability::WebSearch),
    ("supports_computer_use", Capability::ComputerUse),
];

/// What LiteLLM calls the purpose of a model; others have no operation here.
const LITELLM_MODES: &[(&str, Capability)] = &[
    ("chat", Capability::Chat),
    ("responses", Capability::Responses),
    ("completion", Capability::Completions),
    ("embedding", Capability::Embeddings),
    ("rerank", Capability::Rerank),
    ("image_generation", Capability::ImageOutput),
];

/// An entry of LiteLLM's list with its key; none if it is for something that has no name here.
fn litellm(name: &str, value: &Value) -> Result<Option<(String, Entry)>, String> {
    let fields = Fields::of(value)?;
    let provider = fields.text("litellm_provider")?.ok_or("`litellm_provider` is missing")?;
    let mode = fields.text("mode")?.ok_or("`mode` is missing")?;
    let Some((_, purpose)) = LITELLM_MODES.iter().find(|(word, _)| *word == mode) else { return Ok(None) };
    let mut capabilities = BTreeSet::from([*purpose]);
    if matches!(purpose, Capability::Chat | Capability::Responses | Capability::Completions)
        && fields.flag("supports_native_streaming")? != Some(false)
    {
        capabilities.insert(Capability::Streaming);
    }
    for (flag, capability) in LITELLM_FLAGS {
        if fields.flag(flag)? == Some(true) {
            capabilities.insert(*capability);
        }
    }
    let entry = Entry {
        context_window: fields.count("max_input_tokens")?,
        max_output: fields.count("max_output_tokens")?,
        capabilities: Some(capabilities),
        price: litellm_price(&fields)?,
        source: Some("LiteLLM".to_owned()),
        ..Entry::default()
    };
    let slug = LITELLM_SLUGS.get(provider).cloned().unwrap_or_else(|| provider.replace('_', "-"));
    // Most names begin with the provider, which may be the first part of a longer word: `vertex_ai-language-models`.
    let first = provider.split('-').next().unwrap_or(provider);
    let bare = [provider, first].iter().find_map(|word| name.strip_prefix(*word)?.strip_prefix('/'));
    Ok(Some((super::key(&slug, bare.unwrap_or(name)), entry)))
}

fn litellm_price(fields: &Fields<'_>) -> Result<Option<Rates>, String> {
    // Dollars for one token: the same number for a million is a million times as much.
    let rate = |name: &str| fields.rate::<1_000_000>(name, 1e6);
    Ok(known(Rates {
        input: rate("input_cost_per_token")?,
        output: rate("output_cost_per_token")?,
        cached_input: rate("cache_read_input_token_cost")?,
        cache_write: rate("cache_creation_input_token_cost")?,
        reasoning: rate("output_cost_per_reasoning_token")?,
        audio_input: rate("input_cost_per_audio_token")?,
        audio_output: rate("output_cost_per_audio_token")?,
        request: fields.rate("input_cost_per_query", 1.0)?,
        image: fields.rate("output_cost_per_image", 1.0)?,
        cache_write_long: rate("cache_creation_input_token_cost_above_1hr")?,
        search: litellm_search(fields)?,
        long: litellm_long(fields, "")?,
        tiers: litellm_tiers(fields)?,
        regions: litellm_regions(fields)?,
    }))
}

/// Service tiers, and what LiteLLM adds to the name of a rate for them.
const LITELLM_TIERS: &[(&str, &str)] = &[
    ("balanced", "_balanced"),
    ("batch", "_batches"),
    ("flex", "_flex"),
    ("priority", "_priority"),
    ("ultrafast", "_ultrafast"),
];

fn litellm_tiers(fields: &Fields<'_>) -> Result<BTreeMap<String, TierRates>, String> {
    let mut tiers = BTreeMap::new();
    for (tier, suffix) in LITELLM_TIERS {
        let rate = |name: &str| {
            let rate = fields.rate::<1_000_000>(&format!("{name}{suffix}"), 1e6);
            rate.map(|rate| rate.filter(|rate| rate.0.0 > 0))
        };
        let rates = TierRates {
            input: rate("input_cost_per_token")?,
            output: rate("output_cost_per_token")?,
            cached_input: rate("cache_read_input_token_cost")?,
            cache_write: rate("cache_creation_input_token_cost")?,
            audio_input: rate("input_cost_per_audio_token")?,
            audio_output: rate("output_cost_per_audio_token")?,
            ..TierRates::default()
        };
        if rates != TierRates::default() {
            let long = litellm_long(fields, suffix)?;
            tiers.insert((*tier).to_owned(), TierRates { long, ..rates });
        }
    }
    Ok(tiers)
}

/// LiteLLM multiplies: by 1.1 for a tenth more.
fn litellm_regions(fields: &Fields<'_>) -> Result<BTreeMap<String, RegionRates>, String> {
    let surcharge = |fields: &Fields<'_>, name: &str| {
        let per_mille = |value: &Value| {
            let more = (value.as_f64()? - 1.0) * 1000.0;
            (-0.5..=10_000.0).contains(&more).then_some(more.round() as u32)
        };
        fields.get(name, "a factor of 1 or more", per_mille).map(|found| found.filter(|more| *more > 0))
    };
    let said = |more: u32| RegionRates { surcharge_per_mille: Some(more), ..RegionRates::default() };
    let mut regions = BTreeMap::new();
    for region in ["eu", "us"] {
        let mut more = surcharge(fields, &format!("regional_processing_uplift_multiplier_{region}"))?;
        if let Some(own) = fields.0.get("provider_specific_entry").and_then(Value::as_object) {
            more = more.or(surcharge(&Fields(own), region)?);
        }
        more.map(|more| regions.insert(region.to_owned(), said(more)));
    }
    // Vertex AI: all regions but the global endpoint.
    if let Some(more) = surcharge(fields, "regional_endpoint_uplift_multiplier")? {
        regions.insert("*".to_owned(), said(more));
        regions.insert("global".to_owned(), RegionRates::default());
    }
    Ok(regions)
}

/// A search with the medium context, which is the default where there are sizes.
fn litellm_search(fields: &Fields<'_>) -> Result<Option<UsdFor<1>>, String> {
    let Some(sizes) = fields.0.get("search_context_cost_per_query").and_then(Value::as_object) else {
        return Ok(None);
    };
    Fields(sizes).rate("search_context_size_medium", 1.0)
}

/// The rates above the lowest threshold that there is, for the tier whose rates end with `suffix`.
fn litellm_long(fields: &Fields<'_>, suffix: &str) -> Result<Option<LongRates>, String> {
    let thousands = |name: &String| {
        let number = name.strip_prefix("input_cost_per_token_above_")?.strip_suffix("k_tokens")?;
        number.parse::<u64>().ok()
    };
    let Some(above) = fields.0.keys().filter_map(thousands).min() else { return Ok(None) };
    let long_rate = |name: &str| {
        let rate = fields.rate::<1_000_000>(&format!("{name}_above_{above}k_tokens{suffix}"), 1e6);
        rate.map(|rate| rate.filter(|rate| rate.0.0 > 0))
    };
    let rate = |name: &str| match long_rate(name)? {
        Some(rate) => Ok(Some(rate)),
        None => fields.rate(&format!("{name}{suffix}"), 1e6),
    };
    if long_rate("input_cost_per_token")?.is_none() || rate("output_cost_per_token")?.is_none() {
        return Ok(None);
    }
    Ok(Some(LongRates {
        above: Some(above * 1000),
        input: rate("input_cost_per_token")?,
        output: rate("output_cost_per_token")?,
        cached_input: rate("cache_read_input_token_cost")?,
        cache_write: rate("cache_creation_input_token_cost")?,
        cache_write_long: long_rate("cache_creation_input_token_cost_above_1hr")?,
    }))
}

/// An entry of Portkey's list: prices only, in cents.
fn portkey(value: &Value) -> Result<Entry, String> {
    let config = value.get("pricing_config").ok_or("`pricing_config` is missing")?;
    let currency = config.get("currency").and_then(Value::as_str).unwrap_or("USD");
    if currency != "USD" {
        return Err(format!("`pricing_config.currency` is {currency}, but prices are in USD here"));
    }
    let units = config.get("pay_as_you_go").ok_or("`pricing_config.pay_as_you_go` is missing")?;
    let plain = portkey_rates(units)?;
    let mut tiers = BTreeMap::new();
    if let Some(batch) = config.get("batch_config") {
        tiers.insert("batch".to_owned(), portkey_rates(batch)?);
    }
    let mut regions = BTreeMap::new();
    let custom = value.pointer("/custom_pricing/regions").and_then(Value::as_object);
    for (name, region) in custom.into_iter().flatten() {
        let mut own = portkey_region(region)?;
        if name == "default" {
            // What holds everywhere; the standard rates are those beside it.
            tiers.append(&mut own.tiers);
        } else if own != RegionRates::default() {
            regions.insert(name.clone(), own);
        }
    }
    tiers.retain(|_, rates| *rates != TierRates::default());
    let price = known(Rates {
        input: plain.input,
        output: plain.output,
        cached_input: plain.cached_input,
        cache_write: plain.cache_write,
        cache_write_long: plain.cache_write_long,
        reasoning: plain.reasoning,
        audio_input: plain.audio_input,
        audio_output: plain.audio_output,
        request: None,
        image: plain.image,
        search: plain.search,
        long: None,
        tiers,
        regions,
    });
    let price = price.ok_or("it has no price per token or image")?;
    Ok(Entry { price: Some(price), source: Some("Portkey".to_owned()), ..Entry::default() })
}

fn portkey_region(region: &Value) -> Result<RegionRates, String> {
    let mut own = RegionRates::default();
    let modes = region.get("execution_modes").and_then(Value::as_object);
    for (mode, value) in modes.into_iter().flatten() {
        let config = value.get("pricing_config").unwrap_or(value);
        let rates = portkey_rates(config.get("pay_as_you_go").unwrap_or(config))?;
        if rates == TierRates::default() {
            continue;
        }
        match mode.as_str() {
            "standard" => own.rates = Some(rates),
            _ => drop(own.tiers.insert(mode.clone(), rates)),
        }
    }
    Ok(own)
}

fn portkey_rates(units: &Value) -> Result<TierRates, String> {
    let fields = Fields::of(units)?;
    let empty = Map::new();
    let additional = match units.get("additional_units") {
        Some(units) => Fields::of(units)?,
        None => Fields(&empty),
    };
    // Cents for one token are ten thousand dollars for a million.
    let rate = |fields: &Fields<'_>, name: &str| -> Result<Option<UsdPerMillion>, String> {
        Ok(fields.nested(name, 1e4)?.filter(|rate: &UsdPerMillion| rate.0.0 > 0))
    };
    let search: Option<UsdFor<1>> = additional.nested("web_search", 1e-2)?;
    Ok(TierRates {
        input: rate(&fields, "request_token")?,
        output: rate(&fields, "response_token")?,
        cached_input: rate(&fields, "cache_read_input_token")?,
        cache_write: rate(&fields, "cache_write_input_token")?,
        cache_write_long: rate(&additional, "cache_write_1h")?,
        reasoning: rate(&additional, "thinking_token")?,
        audio_input: rate(&fields, "request_audio_token")?,
        audio_output: rate(&fields, "response_audio_token")?,
        request: None,
        image: portkey_image(units)?,
        search: search.filter(|rate| rate.0.0 > 0),
        long: None,
    })
}

/// The price of an image, by quality and size: the default one, or that of all; several are none.
fn portkey_image(units: &Value) -> Result<Option<UsdFor<1>>, String> {
    let Some(qualities) = units.get("image").and_then(Value::as_object) else { return Ok(None) };
    let sizes = |quality: &'_ Value| quality.as_object().cloned().unwrap_or_default();
    let mut rates = BTreeSet::new();
    for (quality, prices) in qualities {
        let prices = sizes(prices);
        for size in prices.keys() {
            let rate: Option<UsdFor<1>> = Fields(&prices).nested(size, 1e-2)?;
            let Some(rate) = rate.filter(|rate| rate.0.0 > 0) else { continue };
            if quality == "default" && size == "default" {
                return Ok(Some(rate));
            }
            rates.insert(rate);
        }
    }
    Ok(rates.pop_first().filter(|_| rates.is_empty()))
}

/// Both lists write 0 for what is not charged for on its own and for what they do not know.
fn known(rates: Rates) -> Option<Rates> {
    let some = |rate: Option<UsdFor<1_000_000>>| rate.filter(|rate| rate.0.0 > 0);
    let piece = |rate: Option<UsdFor<1>>| rate.filter(|rate| rate.0.0 > 0);
    let rates = Rates {
        cached_input: some(rates.cached_input),
        cache_write: some(rates.cache_write),
        cache_write_long: some(rates.cache_write_long),
        reasoning: some(rates.reasoning),
        audio_input: some(rates.audio_input),
        audio_output: some(rates.audio_output),
        request: piece(rates.request),
        image: piece(rates.image),
        search: piece(rates.search),
        tiers: rates.tiers,
        regions: rates.regions,
        input: Some(rates.input.unwrap_or_default()),
        output: Some(rates.output.unwrap_or_default()),
        long: rates.long.map(|long| LongRates {
            cached_input: some(long.cached_input),
            cache_write: some(long.cache_write),
            cache_write_long: some(long.cache_write_long),
            ..long
        }),
    };
    let charged = some(rates.input).or(some(rates.output)).is_some();
    (charged || rates.request.is_some() || rates.image.is_some()).then_some(rates)
}

/// The fields of one entry; errors name the field.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Result<Self, String> {
        value.as_object().map(Self).ok_or_else(|| "it is not an object".to_owned())
    }

    fn get<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| format!("`{name}` is {value}, not {what}")),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        self.get(name, "text", Value::as_str)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        self.get(name, "true or false", Value::as_bool)
    }

    /// A whole number, which the lists also write as `131072.0`; 0 stands for unknown.
    fn count(&self, name: &str) -> Result<Option<u64>, String> {
        let whole =
            |number: f64| (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64);
        let count = self.get(name, "a number of tokens", |value| value.as_f64().and_then(whole))?;
        Ok(count.filter(|count| *count > 0))
    }

    fn rate<const COUNT: u64>(&self, name: &str, scale: f64) -> Result<Option<UsdFor<COUNT>>, String> {
        self.get(name, "a price", |value| rounded(value.as_f64()? * scale))
    }

    fn nested<const COUNT: u64>(&self, name: &str, scale: f64) -> Result<Option<UsdFor<COUNT>>, String> {
        self.get(name, "a price", |value| match value.get("price") {
            Some(price) => rounded(price.as_f64()? * scale),
            None => None,
        })
    }
}

/// Dollars to the nearest that can be written: lists have prices such as a third of a cent.
fn rounded<const COUNT: u64>(dollars: f64) -> Option<UsdFor<COUNT>> {
    let steps = 1e12 / COUNT as f64;
    UsdFor::from_dollars((dollars * steps).round() / steps)
}

#[cfg(test)]
mod tests;
