//! A model as people write it: in the file of models and in settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use domain::model::{Capability, LongPrice, ModelInfo, PicoUsd, Price, Region, Tier};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is said about a model. What is left out stays as it was known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Entry {
    /// Other names of the same model; they replace those known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<String>>,
    /// Most tokens that a prompt may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Most tokens that an answer may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// What it can do; they replace those known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<BTreeSet<Capability>>,
    /// What it costs. Each rate replaces the one known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Rates>,
    /// Who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The day on which they said so, as `2026-11-21`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
}

/// Rates in US dollars: per million tokens, or per request, image and search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Rates {
    /// Per million tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<UsdPerMillion>,
    /// Per million tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<UsdPerMillion>,
    /// Per million tokens that the provider read from its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<UsdPerMillion>,
    /// Per million tokens that the provider put into its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<UsdPerMillion>,
    /// Per million tokens that the provider put into its cache for longer than its default time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<UsdPerMillion>,
    /// Per million tokens of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<UsdPerMillion>,
    /// Per million tokens of audio in the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<UsdPerMillion>,
    /// Per million tokens of audio in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<UsdPerMillion>,
    /// Per request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Usd>,
    /// Per image drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Usd>,
    /// Per search of the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Usd>,
    /// Rates of long prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long: Option<LongRates>,
    /// Rates of service tiers, in the provider's word: `batch`, `flex`, `priority`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, TierRates>,
    /// Rates of regions; `*` stands for all that are not named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<String, RegionRates>,
}

/// Rates of a service tier, in the units of [`Rates`]. What is left out has the plain rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct TierRates {
    /// Per million tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<UsdPerMillion>,
    /// Per million tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<UsdPerMillion>,
    /// Per million tokens that the provider read from its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<UsdPerMillion>,
    /// Per million tokens that the provider put into its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<UsdPerMillion>,
    /// Per million tokens that the provider put into its cache for longer than its default time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<UsdPerMillion>,
    /// Per million tokens of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<UsdPerMillion>,
    /// Per million tokens of audio in the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<UsdPerMillion>,
    /// Per million tokens of audio in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<UsdPerMillion>,
    /// Per request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Usd>,
    /// Per image drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Usd>,
    /// Per search of the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Usd>,
    /// Rates of long prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long: Option<LongRates>,
}

/// Rates of a region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct RegionRates {
    /// What is added to the price of every token, in thousandths: 100 is a tenth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surcharge_per_mille: Option<u32>,
    /// Its own rates. What is left out has the plain rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<TierRates>,
    /// Its own rates of service tiers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, TierRates>,
}

/// Rates of prompts above a number of tokens, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct LongRates {
    /// Prompts of more than this many tokens are long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<u64>,
    /// Per million tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<UsdPerMillion>,
    /// Per million tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<UsdPerMillion>,
    /// Per million tokens that the provider read from its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<UsdPerMillion>,
    /// Per million tokens that the provider put into its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<UsdPerMillion>,
    /// Per million tokens that the provider put into its cache for longer than its default time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<UsdPerMillion>,
}

/// US dollars for so many things; kept in pico-USD for one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdFor<const COUNT: u64>(pub PicoUsd);

/// A rate per token, written per million of them, as in price lists: `2.5`.
pub type UsdPerMillion = UsdFor<1_000_000>;

/// A rate per piece: `0.005`.
pub type Usd = UsdFor<1>;

/// The largest surcharge that can be written, in thousandths: what is above it is a slip of the unit.
const MOST_SURCHARGE: u32 = 10_000;

const PICO: f64 = 1e12;

/// The largest rate that can be written: what is above it is a slip of the unit.
const MOST: f64 = 10_000.0;

impl<const COUNT: u64> UsdFor<COUNT> {
    /// Dollars for this many; none if negative, not a number, finer than a pico-USD for one, or beyond any price.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let exact = dollars * (PICO / COUNT as f64);
        let whole = exact.round();
        // A decimal fraction is rarely exact in binary: the error allowed is far below a step and far above that.
        let fits = (0.0..=MOST).contains(&dollars) && (exact - whole).abs() <= 0.001;
        fits.then_some(Self(PicoUsd(whole as u64)))
    }

    /// Dollars for this many.
    pub fn dollars(self) -> f64 {
        self.0.0 as f64 / (PICO / COUNT as f64)
    }
}

impl<const COUNT: u64> Serialize for UsdFor<COUNT> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de, const COUNT: u64> Deserialize<'de> for UsdFor<COUNT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

struct RateVisitor<const COUNT: u64>;

impl<const COUNT: u64> Visitor<'_> for RateVisitor<COUNT> {
    type Value = UsdFor<COUNT>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match COUNT {
            1 => f.write_str("US dollars, as in `0.005`"),
            _ => f.write_str("US dollars per million tokens, as in `2.5`"),
        }
    }

    fn visit_f64<E: Error>(self, dollars: f64) -> Result<UsdFor<COUNT>, E> {
        UsdFor::from_dollars(dollars).ok_or_else(|| {
            let decimals = if COUNT == 1 { 12 } else { 6 };
            E::custom(format_args!(
                "{dollars} is no price: write 0 to {MOST}, with at most {decimals} decimals"
            ))
        })
    }

    fn visit_i64<E: Error>(self, dollars: i64) -> Result<UsdFor<COUNT>, E> {
        self.visit_f64(dollars as f64)
    }

    fn visit_u64<E: Error>(self, dollars: u64) -> Result<UsdFor<COUNT>, E> {
        self.visit_f64(dollars as f64)
    }
}

impl Entry {
    /// This entry over what is known. Errors say what is missing.
    pub(super) fn over(&self, base: ModelInfo) -> Result<ModelInfo, String> {
        let price = match &self.price {
            Some(rates) => Some(rates.over(base.price.as_ref())?),
            None => base.price,
        };
        Ok(ModelInfo {
            aliases: self.aliases.clone().unwrap_or(base.aliases),
            context_window: self.context_window.or(base.context_window),
            max_output: self.max_output.or(base.max_output),
            capabilities: self.capabilities.clone().unwrap_or(base.capabilities),
            price,
            source: self.source.clone().unwrap_or(base.source),
            as_of: self.as_of.clone().unwrap_or(base.as_of),
            provider: base.provider,
            name: base.name,
        })
    }
}

fn pico<const COUNT: u64>(rate: Option<UsdFor<COUNT>>) -> Option<PicoUsd> {
    rate.map(|UsdFor(pico)| pico)
}

impl Rates {
    pub(super) fn over(&self, base: Option<&Price>) -> Result<Price, String> {
        let both = |rate: Option<UsdPerMillion>, known: Option<PicoUsd>, name: &str| {
            pico(rate).or(known).ok_or_else(|| {
                format!("`price` lacks `{name}`: write US dollars per million tokens, as in `{name} = 2.5`")
            })
        };
        let input = both(self.input, base.map(|known| known.input), "input")?;
        let output = both(self.output, base.map(|known| known.output), "output")?;
        let known = base.cloned().unwrap_or_default();
        // Long rates and those of tiers that belong to other plain rates would be worse than none; a surcharge holds.
        let known = if self.input.is_some() || self.output.is_some() { surcharged(known) } else { known };
        let long = self.long.map(|rates| rates.over(known.long, "price.long")).transpose()?.or(known.long);
        Ok(Price {
            input,
            output,
            cached_input: pico(self.cached_input).or(known.cached_input),
            cache_write: pico(self.cache_write).or(known.cache_write),
            cache_write_long: pico(self.cache_write_long).or(known.cache_write_long),
            reasoning: pico(self.reasoning).or(known.reasoning),
            audio_input: pico(self.audio_input).or(known.audio_input),
            audio_output: pico(self.audio_output).or(known.audio_output),
            request: pico(self.request).or(known.request),
            image: pico(self.image).or(known.image),
            search: pico(self.search).or(known.search),
            long,
            tiers: tiers(&self.tiers, known.tiers, "price.tiers")?,
            regions: regions(&self.regions, known.regions)?,
        })
    }
}

/// What still holds of a known price with other plain rates.
fn surcharged(known: Price) -> Price {
    let of = |(name, region): (String, Region)| {
        (name, Region { surcharge: region.surcharge, ..Region::default() })
    };
    let regions = known.regions.into_iter().map(of).collect();
    Price { long: None, tiers: BTreeMap::new(), regions, ..known }
}

/// Tiers over those known; each rate replaces the one known.
fn tiers(
    said: &BTreeMap<String, TierRates>,
    mut known: BTreeMap<String, Tier>,
    place: &str,
) -> Result<BTreeMap<String, Tier>, String> {
    for (name, rates) in said {
        let base = known.remove(name).unwrap_or_default();
        known.insert(name.clone(), rates.over(base, &format!("{place}.{name}"))?);
    }
    Ok(known)
}

fn regions(
    said: &BTreeMap<String, RegionRates>,
    mut known: BTreeMap<String, Region>,
) -> Result<BTreeMap<String, Region>, String> {
    for (name, region) in said {
        let place = format!("price.regions.{name}");
        let surcharge = region.surcharge_per_mille;
        if let Some(slip) = surcharge.filter(|surcharge| *surcharge > MOST_SURCHARGE) {
            return Err(format!(
                "`{place}.surcharge_per_mille` is {slip}: write 0 to {MOST_SURCHARGE}, as in 100 for a tenth"
            ));
        }
        let base = known.remove(name).unwrap_or_default();
        let rates = region.rates.unwrap_or_default().over(base.rates, &format!("{place}.rates"))?;
        let tiers = tiers(&region.tiers, base.tiers, &format!("{place}.tiers"))?;
        known.insert(name.clone(), Region { surcharge: surcharge.unwrap_or(base.surcharge), rates, tiers });
    }
    Ok(known)
}

impl TierRates {
    fn over(&self, known: Tier, place: &str) -> Result<Tier, String> {
        let long = self.long.map(|rates| rates.over(known.long, &format!("{place}.long"))).transpose()?;
        Ok(Tier {
            input: pico(self.input).or(known.input),
            output: pico(self.output).or(known.output),
            cached_input: pico(self.cached_input).or(known.cached_input),
            cache_write: pico(self.cache_write).or(known.cache_write),
            cache_write_long: pico(self.cache_write_long).or(known.cache_write_long),
            reasoning: pico(self.reasoning).or(known.reasoning),
            audio_input: pico(self.audio_input).or(known.audio_input),
            audio_output: pico(self.audio_output).or(known.audio_output),
            request: pico(self.request).or(known.request),
            image: pico(self.image).or(known.image),
            search: pico(self.search).or(known.search),
            long: long.or(known.long),
        })
    }
}

impl LongRates {
    fn over(&self, known: Option<LongPrice>, place: &str) -> Result<LongPrice, String> {
        let lacks = |name: &str| {
            format!(
                "`{place}` lacks `{name}`: write for example `long = {{ above = 200000, input = 5, output = 22.5 }}`"
            )
        };
        Ok(LongPrice {
            above: self.above.or(known.map(|k| k.above)).ok_or_else(|| lacks("above"))?,
            input: pico(self.input).or(known.map(|k| k.input)).ok_or_else(|| lacks("input"))?,
            output: pico(self.output).or(known.map(|k| k.output)).ok_or_else(|| lacks("output"))?,
            cached_input: pico(self.cached_input).or(known.and_then(|k| k.cached_input)),
            cache_write: pico(self.cache_write).or(known.and_then(|k| k.cache_write)),
            cache_write_long: pico(self.cache_write_long).or(known.and_then(|k| k.cache_write_long)),
        })
    }
}
