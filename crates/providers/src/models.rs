//! The models that are known by name, and those that an operator adds or corrects.

mod entry;
pub mod import;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::Registry;
use domain::model::{ModelInfo, Models, Price};
use domain::registry::{Format, Provider};
use serde::Deserialize;

pub use crate::models::entry::{Entry, LongRates, Rates, RegionRates, TierRates, Usd, UsdFor, UsdPerMillion};

/// Who says what an operator's settings say.
pub const SETTINGS: &str = "settings";

/// The file of models: who said all this and when, unless an entry says otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    source: String,
    as_of: String,
    models: BTreeMap<String, Entry>,
}

struct Catalogue {
    /// By key.
    models: BTreeMap<String, ModelInfo>,
    /// From provider and alias to the key.
    aliases: BTreeMap<String, String>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::parse(include_str!("models.toml")).expect("the catalogue of models is checked by a test")
});

impl Catalogue {
    fn parse(text: &str) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|err| err.to_string())?;
        let mut models = BTreeMap::new();
        for (key, entry) in &document.models {
            let base = blank(key, &document.source, &document.as_of)?;
            models.insert(key.clone(), entry.over(base)?);
        }
        let mut aliases = BTreeMap::new();
        for info in models.values() {
            for alias in &info.aliases {
                let alias = key(&info.provider, alias);
                let taken = models.contains_key(&alias) || aliases.contains_key(&alias);
                if taken || aliases.insert(alias.clone(), info.key()).is_some() {
                    return Err(format!("`{alias}` is the name or alias of two models"));
                }
            }
        }
        Ok(Self { models, aliases })
    }

    fn find(&self, key: &str) -> Option<&ModelInfo> {
        self.models.get(key).or_else(|| self.models.get(self.aliases.get(key)?))
    }
}

fn key(provider: &str, model: &str) -> String {
    format!("{provider}/{model}")
}

/// A model of which nothing is known but its name.
fn blank(key: &str, source: &str, as_of: &str) -> Result<ModelInfo, String> {
    let (provider, name) =
        key.split_once('/').filter(|(provider, name)| !provider.is_empty() && !name.is_empty()).ok_or_else(
            || format!("`{key}` cannot name a model: write `provider/model`, as in `openai/gpt-4o`"),
        )?;
    Ok(ModelInfo {
        provider: provider.to_owned(),
        name: name.to_owned(),
        source: source.to_owned(),
        as_of: as_of.to_owned(),
        ..ModelInfo::default()
    })
}

/// What an operator says about the model of that key, over what is known about it.
///
/// Errors say what is missing or contradicts itself.
pub fn configured(key: &str, entry: &Entry) -> Result<ModelInfo, String> {
    let base = match CATALOGUE.models.get(key) {
        // What the operator says is not what the catalogue's source said.
        Some(known) => ModelInfo { source: SETTINGS.to_owned(), as_of: String::new(), ..known.clone() },
        None => blank(key, SETTINGS, "")?,
    };
    entry.over(base)
}

/// A price as an operator writes it, whole. Errors say what is missing or contradicts itself.
pub fn price(rates: &Rates) -> Result<Price, String> {
    rates.over(None)
}

/// Geographies of Bedrock's inference profiles, which are written before the model's name: `eu.amazon.nova-pro-v1:0`.
///
/// Source: "Supported Regions and models for inference profiles" in the user guide of Amazon Bedrock.
const GEOGRAPHIES: &[&str] = &["apac", "au", "ca", "eu", "global", "jp", "us", "us-gov"];

/// The geography that the name of an inference profile begins with, and the model's name.
pub fn geography(format: Format, model: &str) -> Option<(&str, &str)> {
    let (geography, name) = model.split_once('.').filter(|_| format == Format::Bedrock)?;
    // A model's own name has its maker first, so that a second point follows: `us.meta.llama3-3-70b-instruct-v1:0`.
    (GEOGRAPHIES.contains(&geography) && name.contains('.')).then_some((geography, name))
}

/// All models: those of the registry, and those known by name that it does not replace.
#[derive(Clone, Copy)]
pub struct View<'a> {
    registered: &'a BTreeMap<String, ModelInfo>,
    providers: &'a BTreeMap<String, Provider>,
}

impl<'a> View<'a> {
    /// The models as a role with this registry sees them.
    pub fn new(registry: &'a Registry) -> Self {
        Self { registered: &registry.models, providers: &registry.providers }
    }

    /// The model of the registry that has this alias.
    fn registered_alias(&self, provider: &str, alias: &str) -> Option<&'a ModelInfo> {
        let all = key(provider, "");
        let of_provider = self.registered.range(all.clone()..).take_while(|(key, _)| key.starts_with(&all));
        of_provider.map(|(_, info)| info).find(|info| info.aliases.iter().any(|name| name == alias))
    }
}

impl<'a> View<'a> {
    fn format(&self, provider: &str) -> Option<Format> {
        let known = self.providers.get(provider).or_else(|| crate::catalogue::find(provider));
        known.map(|known| known.format)
    }

    /// The model that has exactly this name or alias.
    fn exact(&self, provider: &str, model: &str) -> Option<&'a ModelInfo> {
        let key = key(provider, model);
        let registered = || self.registered.get(&key).or_else(|| self.registered_alias(provider, model));
        // An alias that an operator took from a model does not lead to the model as it was.
        let known = || CATALOGUE.find(&key).filter(|known| !self.registered.contains_key(&known.key()));
        registered().or_else(known)
    }

    /// What an answer of a model cost, which may name the model better than the request did: a deployment's name and
    /// `auto` say nothing. What the provider charges for the unknown comes last.
    pub fn price_of_answer(
        &self,
        provider: &str,
        asked: Option<&str>,
        answered: Option<&str>,
    ) -> Option<&'a Price> {
        let of_model = |model: &str| self.model(provider, model)?.price.as_ref();
        asked.and_then(of_model).or_else(|| answered.and_then(of_model)).or_else(|| self.price_else(provider))
    }

    /// The model of this name or alias; an inference profile is the model that it leads to.
    fn model(&self, provider: &str, model: &str) -> Option<&'a ModelInfo> {
        self.exact(provider, model).or_else(|| {
            let (_, name) = geography(self.format(provider)?, model)?;
            self.exact(provider, name)
        })
    }

    fn price_else(&self, provider: &str) -> Option<&'a Price> {
        self.providers.get(provider)?.price.as_ref()
    }
}

impl Models for View<'_> {
    fn find(&self, provider: &str, model: &str) -> Option<&ModelInfo> {
        self.model(provider, model)
    }

    fn price_of(&self, provider: &str, model: &str) -> Option<&Price> {
        self.price_of_answer(provider, Some(model), None)
    }

    fn all(&self) -> Box<dyn Iterator<Item = &ModelInfo> + '_> {
        let known = CATALOGUE.models.iter().filter(|(key, _)| !self.registered.contains_key(*key));
        let mut all: Vec<&ModelInfo> = self.registered.values().chain(known.map(|(_, info)| info)).collect();
        all.sort_by(|a, b| (&a.provider, &a.name).cmp(&(&b.provider, &b.name)));
        Box::new(all.into_iter())
    }
}

#[cfg(test)]
mod tests;
