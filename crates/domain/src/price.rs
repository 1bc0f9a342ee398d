//! What an answer costs: amounts of money, price lists of models, and the sum over what was used.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Usage;

/// An amount in millionths of a millionth of a US dollar: fine enough for the price of one token.
///
/// One pico-USD per token is one micro-USD per million tokens: 2.50 USD per million tokens are 2,500,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(pub u64);

/// An amount in billionths of a US dollar: what costs and budgets are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

impl NanoUsd {
    /// The same in dollars, as a decimal number that is exact and no longer than needed: `0.0035`.
    pub fn dollars(self) -> String {
        let text = format!("{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} USD", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// What a model costs: per token, and per request, image or search where the provider charges for these.
///
/// What is absent is charged as the plain kind: cached, written and spoken tokens as `input`, tokens written for long
/// as `cache_write`, reasoning and spoken answers as `output`; requests, images and searches are free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Per token of the prompt.
    pub input: PicoUsd,
    /// Per token of the answer.
    pub output: PicoUsd,
    /// Per token of the prompt that the provider read from its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<PicoUsd>,
    /// Per token of the prompt that the provider put into its cache, for its default time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<PicoUsd>,
    /// Per token of the prompt that the provider put into its cache for longer: an hour at Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<PicoUsd>,
    /// Per token of reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<PicoUsd>,
    /// Per token of audio in the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<PicoUsd>,
    /// Per token of audio in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<PicoUsd>,
    /// Per request, on top of its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<PicoUsd>,
    /// Per image drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PicoUsd>,
    /// Per search of the web that the provider makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<PicoUsd>,
    /// Other rates for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPrice>,
    /// Other rates by service tier, in the provider's word: `batch`, `flex`, `priority`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, Tier>,
    /// Other rates by region; `*` stands for every region that is not named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<String, Region>,
}

/// The rates of a request whose prompt is longer than a threshold; they hold for all its tokens. What is absent keeps
/// its plain rate.
///
/// Source: the price lists of Google's Gemini and OpenAI's GPT-5.4, which raise all rates of such a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongPrice {
    /// Prompts of more than this many tokens are long.
    pub above: u64,
    /// Per token of the prompt.
    pub input: PicoUsd,
    /// Per token of the answer.
    pub output: PicoUsd,
    /// Per token of the prompt that the provider read from its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<PicoUsd>,
    /// Per token of the prompt that the provider put into its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<PicoUsd>,
    /// Per token of the prompt that the provider put into its cache for longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<PicoUsd>,
}

/// The rates of a service tier. What is absent has the plain rate.
///
/// A tier that has its own `input` or `output` but no `long` charges long prompts at the dearer of its own and the
/// plain long rate: too much rather than too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tier {
    /// As [`Price::input`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<PicoUsd>,
    /// As [`Price::output`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PicoUsd>,
    /// As [`Price::cached_input`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<PicoUsd>,
    /// As [`Price::cache_write`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<PicoUsd>,
    /// As [`Price::cache_write_long`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<PicoUsd>,
    /// As [`Price::reasoning`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<PicoUsd>,
    /// As [`Price::audio_input`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<PicoUsd>,
    /// As [`Price::audio_output`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<PicoUsd>,
    /// As [`Price::request`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<PicoUsd>,
    /// As [`Price::image`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PicoUsd>,
    /// As [`Price::search`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<PicoUsd>,
    /// As [`Price::long`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPrice>,
}

/// The rates of a region: its own, its own by tier, and a surcharge on all tokens.
///
/// Sources: OpenAI's and Anthropic's price lists raise all token rates by a tenth for data that stays in a region, and
/// so does Google's Vertex AI for everything but its global endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Region {
    /// What is added to the price of every token, in thousandths: 100 is a tenth.
    #[serde(skip_serializing_if = "is_zero")]
    pub surcharge: u32,
    /// Its own rates. What is absent has the plain rate.
    #[serde(skip_serializing_if = "Tier::is_empty")]
    pub rates: Tier,
    /// Its own rates by service tier, over those of [`Price::tiers`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, Tier>,
}

impl Tier {
    /// It says nothing of its own.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Under what conditions a provider served a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charged<'a> {
    /// Service tier, in the provider's word. None: the standard one.
    pub tier: Option<&'a str>,
    /// Region that was called. None: the provider has only one, or it does not matter.
    pub region: Option<&'a str>,
}

/// What an answer costs that used so much and was served so.
///
/// Every token is charged once, whatever kinds it belongs to, even if the report contradicts itself: a part that is
/// larger than the whole counts as the whole. Exact in pico-USD, then rounded once to the nearest nano-USD, halves up.
/// More than the type can hold is its maximum.
pub fn cost(price: &Price, usage: &Usage, how: &Charged<'_>) -> NanoUsd {
    let region = how.region.and_then(|name| price.regions.get(name).or_else(|| price.regions.get("*")));
    let rates = Rates::of(price, region, how.tier, usage.input);
    let surcharge = region.map_or(0, |region| region.surcharge);
    // The sum of two products of 64-bit numbers can need 129 bits. Thousandths of pico-USD, for the surcharge.
    let tokens = rates.tokens(usage).saturating_mul(1000 + u128::from(surcharge));
    let exact = tokens.saturating_add(rates.pieces(usage).saturating_mul(1000));
    let nano = exact / 1_000_000 + u128::from(exact % 1_000_000 >= 500_000);
    NanoUsd(u64::try_from(nano).unwrap_or(u64::MAX))
}

/// What a request with so many tokens costs, uncached, without reasoning, in text, at the standard tier.
pub fn estimate(price: &Price, input_tokens: u64, output_tokens: u64) -> NanoUsd {
    let usage = Usage { input: input_tokens, output: output_tokens, ..Usage::default() };
    cost(price, &usage, &Charged::default())
}

/// Short name of a price's content: the same for the same rates, everywhere and always.
pub fn version(price: &Price) -> String {
    // Numbers and text keys always have a form in JSON; maps are sorted.
    crate::event::content_hash(&serde_json::to_string(price).unwrap_or_default())
}

/// The rates of one request.
struct Rates {
    sheet: Tier,
    /// `input` or `output` were replaced after `long` was said.
    stale_long: bool,
}

impl Rates {
    fn of(price: &Price, region: Option<&Region>, tier: Option<&str>, prompt: u64) -> Self {
        let mut rates = Self { sheet: price.plain(), stale_long: false };
        if let Some(region) = region {
            rates.lay(&region.rates);
        }
        if let Some(tier) = tier {
            let of_region = region.and_then(|region| region.tiers.get(tier));
            for layer in [price.tiers.get(tier), of_region].into_iter().flatten() {
                rates.lay(layer);
            }
        }
        match rates.sheet.long {
            Some(long) if prompt > long.above => rates.lengthen(&long),
            _ => {}
        }
        rates
    }

    /// Puts rates over those known so far.
    fn lay(&mut self, over: &Tier) {
        let sheet = self.sheet;
        self.stale_long = match over.long {
            Some(_) => false,
            None => self.stale_long || over.input.is_some() || over.output.is_some(),
        };
        self.sheet = Tier {
            input: over.input.or(sheet.input),
            output: over.output.or(sheet.output),
            cached_input: over.cached_input.or(sheet.cached_input),
            cache_write: over.cache_write.or(sheet.cache_write),
            cache_write_long: over.cache_write_long.or(sheet.cache_write_long),
            reasoning: over.reasoning.or(sheet.reasoning),
            audio_input: over.audio_input.or(sheet.audio_input),
            audio_output: over.audio_output.or(sheet.audio_output),
            request: over.request.or(sheet.request),
            image: over.image.or(sheet.image),
            search: over.search.or(sheet.search),
            long: over.long.or(sheet.long),
        };
    }

    /// Puts the rates of long prompts over the others.
    fn lengthen(&mut self, long: &LongPrice) {
        let stale = self.stale_long;
        let over = |known: Option<PicoUsd>, long: Option<PicoUsd>| match long {
            // None is less than any rate.
            Some(_) if stale => known.max(long),
            Some(_) => long,
            None => known,
        };
        let sheet = &mut self.sheet;
        sheet.input = over(sheet.input, Some(long.input));
        sheet.output = over(sheet.output, Some(long.output));
        sheet.cached_input = over(sheet.cached_input, long.cached_input);
        sheet.cache_write = over(sheet.cache_write, long.cache_write);
        sheet.cache_write_long = over(sheet.cache_write_long, long.cache_write_long);
    }

    fn tokens(&self, usage: &Usage) -> u128 {
        let sheet = &self.sheet;
        let (input, output) = (sheet.input.unwrap_or_default(), sheet.output.unwrap_or_default());
        let write = sheet.cache_write.unwrap_or(input);
        let mut sum = 0_u128;
        let mut prompt = Rest(usage.input);
        let cached = prompt.take(usage.cached_input);
        let mut written = Rest(prompt.take(usage.cache_write));
        let written_long = written.take(usage.cache_write_long);
        let heard = prompt.take(usage.audio_input);
        let mut answer = Rest(usage.output);
        let thought = answer.take(usage.reasoning);
        let spoken = answer.take(usage.audio_output);
        for (rate, count) in [
            (input, prompt.0),
            (sheet.cached_input.unwrap_or(input), cached),
            (write, written.0),
            (sheet.cache_write_long.unwrap_or(write), written_long),
            (sheet.audio_input.unwrap_or(input), heard),
            (output, answer.0),
            (sheet.reasoning.unwrap_or(output), thought),
            (sheet.audio_output.unwrap_or(output), spoken),
        ] {
            sum = sum.saturating_add(product(rate, count));
        }
        sum
    }

    fn pieces(&self, usage: &Usage) -> u128 {
        let sheet = &self.sheet;
        product(sheet.request.unwrap_or_default(), 1)
            .saturating_add(product(sheet.image.unwrap_or_default(), usage.images))
            .saturating_add(product(sheet.search.unwrap_or_default(), usage.searches))
    }
}

impl Price {
    /// The rates of the standard tier.
    fn plain(&self) -> Tier {
        Tier {
            input: Some(self.input),
            output: Some(self.output),
            cached_input: self.cached_input,
            cache_write: self.cache_write,
            cache_write_long: self.cache_write_long,
            reasoning: self.reasoning,
            audio_input: self.audio_input,
            audio_output: self.audio_output,
            request: self.request,
            image: self.image,
            search: self.search,
            long: self.long,
        }
    }
}

/// Tokens that are not yet charged.
struct Rest(u64);

impl Rest {
    fn take(&mut self, part: u64) -> u64 {
        let taken = part.min(self.0);
        self.0 -= taken;
        taken
    }
}

fn product(rate: PicoUsd, count: u64) -> u128 {
    u128::from(rate.0) * u128::from(count)
}

#[cfg(test)]
mod tests;
