//! The file of models is sound, and an operator's models lie over it.

use std::collections::BTreeSet;

use domain::model::{Capability, PicoUsd, Price};

use super::*;

/// US dollars per million tokens above which a rate is a slip of the unit.
const DEAREST: u64 = 1000;

fn entry(text: &str) -> Entry {
    toml::from_str(text).unwrap_or_else(|err| panic!("{err}"))
}

fn registry(models: &[(&str, &str)]) -> Registry {
    let whole = |(key, text): &(&str, &str)| ((*key).to_owned(), configured(key, &entry(text)).unwrap());
    Registry { models: models.iter().map(whole).collect(), ..Registry::default() }
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let err = Catalogue::parse(&format!("source = 's'\nas_of = '2026-01-01'\n{text}")).err().expect(text);
    assert!(err.contains(expected), "{err}");
}

#[test]
fn the_catalogue_is_complete_and_sane() {
    let catalogue = Catalogue::parse(include_str!("../models.toml")).unwrap_or_else(|err| panic!("{err}"));
    assert!(catalogue.models.len() >= 120, "{}", catalogue.models.len());
    for (key, info) in &catalogue.models {
        assert_eq!(*key, info.key());
        assert!(info.context_window.is_some_and(|tokens| (128..=10_000_000).contains(&tokens)), "{key}");
        let purposes = [Capability::Chat, Capability::Responses, Capability::Embeddings, Capability::Rerank];
        assert!(purposes.iter().any(|purpose| info.capabilities.contains(purpose)), "{key} is for nothing");
        let speaks = info.capabilities.contains(&Capability::Streaming);
        assert!(!speaks || info.max_output.is_some_and(|tokens| tokens >= 1024), "{key}");
        assert!(info.as_of.len() == 10 && info.as_of.starts_with("20") && !info.source.is_empty(), "{key}");
        let price = info.price.as_ref().unwrap_or_else(|| panic!("{key} has no price"));
        check_price(key, price);
    }
}

fn check_price(key: &str, price: &Price) {
    let most = PicoUsd(DEAREST * 1_000_000);
    assert!(price.input <= most && price.output <= most, "{key}");
    let charged = price.input.0 > 0 || price.request.is_some();
    assert!(charged, "{key} costs nothing");
    assert!(
        price.cached_input.is_none_or(|rate| rate <= price.input),
        "{key}: its cache costs more than none"
    );
    assert!(price.cache_write.is_none_or(|rate| rate.0 <= price.input.0 * 2), "{key}: writes to its cache");
    assert!(
        price.request.is_none_or(|rate| rate.0 <= 1_000_000_000_000),
        "{key}: a request costs over a dollar"
    );
    if let Some(long) = &price.long {
        assert!(
            long.above >= 32_000 && long.input >= price.input && long.output >= price.output,
            "{key}: long"
        );
    }
}

#[test]
fn the_catalogue_is_sorted() {
    let keys: Vec<&str> = include_str!("../models.toml")
        .lines()
        .filter_map(|line| line.strip_prefix("[models.\"")?.strip_suffix("\"]"))
        .collect();
    let mut sorted = keys.clone();
    sorted.sort_by_key(|key| key.split_once('/'));
    assert_eq!(keys, sorted);
}

#[test]
fn every_large_provider_has_models_that_chat() {
    let registry = Registry::default();
    let view = View::new(&registry);
    let chats = view.all().filter(|info| info.can(&[Capability::Chat].into()));
    let providers: BTreeSet<&str> = chats.map(|info| info.provider.as_str()).collect();
    for slug in [
        "anthropic",
        "azure-openai",
        "bedrock",
        "cerebras",
        "cohere",
        "dashscope",
        "deepseek",
        "fireworks-ai",
        "google",
        "groq",
        "minimax",
        "mistral-ai",
        "moonshot-intl",
        "openai",
        "perplexity-ai",
        "sambanova",
        "together-ai",
        "vertex-ai",
        "x-ai",
        "z-ai",
    ] {
        assert!(providers.contains(slug), "{slug}");
    }
}

#[test]
fn a_broken_catalogue_is_refused() {
    let model = "context_window = 1\nprice = { input = 1, output = 1 }";
    refused(&format!("[models.'a/b']\ncontext = 1\n{model}"), "unknown field `context`");
    refused(&format!("[models.'a/b']\ncapabilities = ['flight']\n{model}"), "unknown variant `flight`");
    refused(&format!("[models.'a/b']\n{model}\n[models.'a/b']\n{model}"), "duplicate key");
    refused(&format!("[models.b]\n{model}"), "`b` cannot name a model: write `provider/model`");
    refused("[models.'a/b']\nprice = { input = 1 }", "`price` lacks `output`");
    refused("[models.'a/b']\nprice = { input = -1, output = 1 }", "-1 is no price: write 0 to 10000");
    refused("[models.'a/b']\nprice = { input = 0.0000001, output = 1 }", "with at most 6 decimals");
    refused(
        "[models.'a/b']\nprice = { input = 1, output = 1, long = { above = 9 } }",
        "`price.long` lacks `input`",
    );
    refused(
        &format!("[models.'a/b']\naliases = ['c']\n{model}\n[models.'a/c']\n{model}"),
        "`a/c` is the name or alias of two models",
    );
    refused(
        &format!("[models.'a/b']\naliases = ['x']\n{model}\n[models.'a/c']\naliases = ['x']\n{model}"),
        "`a/x` is the name or alias of two models",
    );
}

#[test]
fn rates_are_exact_and_print_as_written() {
    for (dollars, pico) in [(2.5, 2_500_000), (0.0375, 37_500), (0.006, 6000), (150.0, 150_000_000), (0.0, 0)]
    {
        let rate = UsdFor::<1_000_000>::from_dollars(dollars).unwrap();
        assert_eq!(rate.0, PicoUsd(pico));
        assert_eq!(rate.dollars(), dollars);
    }
    assert_eq!(UsdFor::<1>::from_dollars(0.005).unwrap().0, PicoUsd(5_000_000_000));
    for wrong in [-0.1, f64::NAN, f64::INFINITY, 10_000.1] {
        assert_eq!(UsdFor::<1_000_000>::from_dollars(wrong), None, "{wrong}");
    }
}

#[test]
fn models_are_found_by_name_and_alias() {
    let registry = Registry::default();
    let view = View::new(&registry);
    let info = view.find("openai", "gpt-4o").unwrap();
    assert_eq!(view.find("openai", "gpt-4o-2024-08-06"), Some(info));
    assert_eq!(info.price.as_ref().unwrap().input, PicoUsd(2_500_000));
    assert_eq!((info.source.as_str(), info.as_of.as_str()), ("LiteLLM 1.109.1", "2026-11-21"));
    assert!(view.find("together-ai", "moonshotai/Kimi-K3").is_some());
    assert_eq!(view.find("openai", "gpt-40"), None);
    assert_eq!(view.find("open", "ai/gpt-4o"), None);
}

#[test]
fn an_operators_prices_lie_over_those_known() {
    let registry = registry(&[("openai/gpt-4o", "price = { output = 9 }")]);
    let view = View::new(&registry);
    let known = CATALOGUE.find("openai/gpt-4o").unwrap();
    let info = view.find("openai", "gpt-4o").unwrap();
    let price = info.price.as_ref().unwrap();
    assert_eq!((price.input, price.output), (PicoUsd(2_500_000), PicoUsd(9_000_000)));
    assert_eq!(price.cached_input, known.price.as_ref().unwrap().cached_input);
    assert_eq!((info.context_window, &info.capabilities), (known.context_window, &known.capabilities));
    assert_eq!((info.source.as_str(), info.as_of.as_str()), ("settings", ""));
    // The aliases lead to the operator's word, too.
    assert_eq!(view.find("openai", "gpt-4o-2024-08-06"), Some(info));
}

#[test]
fn new_plain_rates_do_not_keep_old_long_ones() {
    assert!(CATALOGUE.find("google/gemini-2.5-pro").unwrap().price.as_ref().unwrap().long.is_some());
    let registry = registry(&[
        ("google/gemini-2.5-pro", "price = { input = 1 }"),
        ("google/gemini-3.1-pro-preview", "price = { long = { output = 99 } }"),
    ]);
    let price = |name: &str| View::new(&registry).find("google", name).unwrap().price.clone().unwrap();
    assert_eq!(price("gemini-2.5-pro").long, None);
    let long = price("gemini-3.1-pro-preview").long.unwrap();
    assert_eq!((long.above, long.output), (200_000, PicoUsd(99_000_000)));
}

#[test]
fn an_operator_adds_and_renames_models() {
    let registry = registry(&[
        ("openai/gpt-4o", "aliases = ['smart']"),
        ("local/llama", "aliases = ['small']\ncapabilities = ['chat', 'tools']\nsource = 'us'"),
    ]);
    let view = View::new(&registry);
    assert_eq!(view.find("openai", "smart").unwrap().name, "gpt-4o");
    assert_eq!(view.find("openai", "gpt-4o-2024-08-06"), None, "the alias was taken away");
    let local = view.find("local", "small").unwrap();
    assert_eq!((local.name.as_str(), local.price.as_ref(), local.source.as_str()), ("llama", None, "us"));
    assert!(local.can(&[Capability::Tools].into()));
    assert_eq!(view.find("loca", "l/llama"), None);

    let all: Vec<String> = view.all().map(ModelInfo::key).collect();
    assert_eq!(all.len(), CATALOGUE.models.len() + 1);
    assert_eq!(all.iter().filter(|key| *key == "openai/gpt-4o").count(), 1);
    assert!(all.is_sorted_by_key(|key| key.split_once('/')));
}

#[test]
fn an_incomplete_entry_says_what_it_lacks() {
    let err = configured("local/llama", &entry("price = { input = 1 }")).unwrap_err();
    assert_eq!(err, "`price` lacks `output`: write US dollars per million tokens, as in `output = 2.5`");
    for key in ["llama", "/llama", "local/"] {
        assert!(configured(key, &Entry::default()).unwrap_err().contains("write `provider/model`"), "{key}");
    }
}

#[test]
fn entries_print_and_read_back() {
    let text = r#"
        aliases = ["a"]
        context_window = 1000
        capabilities = ["chat", "audio_output"]
        price = { input = 2.5, output = 10, request = 0.005, image = 0.04, long = { above = 9, input = 3, output = 4 } }
        as_of = "2026-01-02"
    "#;
    let entry = entry(text);
    assert_eq!(toml::from_str::<Entry>(&toml::to_string(&entry).unwrap()).unwrap(), entry);
}

#[test]
fn tiers_and_regions_lie_over_those_known() {
    let known = |name: &str| CATALOGUE.find(&key("openai", name)).unwrap().price.clone().unwrap();
    assert!(known("gpt-5.4").tiers.contains_key("batch") && known("gpt-5.4").regions["eu"].surcharge == 100);
    let registry = registry(&[
        ("openai/gpt-5.4", "price = { tiers = { batch = { output = 7 }, night = { input = 1 } } }"),
        ("openai/gpt-5.4-mini", "price = { input = 1, output = 2 }"),
        (
            "openai/gpt-5.5",
            "price = { regions = { eu = { rates = { input = 9 } }, '*' = { surcharge_per_mille = 5 } } }",
        ),
    ]);
    let price = |name: &str| View::new(&registry).find("openai", name).unwrap().price.clone().unwrap();
    let batch = price("gpt-5.4").tiers["batch"];
    assert_eq!(
        (batch.input, batch.output),
        (known("gpt-5.4").tiers["batch"].input, Some(PicoUsd(7_000_000)))
    );
    assert_eq!(price("gpt-5.4").tiers["night"].input, Some(PicoUsd(1_000_000)));
    // Other plain rates: what tiers cost is not known any more, but the surcharge holds.
    assert!(price("gpt-5.4-mini").tiers.is_empty());
    assert_eq!(price("gpt-5.4-mini").regions["eu"].surcharge, 100);
    let eu = &price("gpt-5.5").regions["eu"];
    assert_eq!((eu.surcharge, eu.rates.input), (100, Some(PicoUsd(9_000_000))));
    assert_eq!(price("gpt-5.5").regions["*"].surcharge, 5);
}

#[test]
fn slips_in_tiers_and_regions_are_refused() {
    let slip = |text: &str| configured("openai/gpt-4o", &entry(text)).unwrap_err();
    assert_eq!(
        slip("price = { regions = { eu = { surcharge_per_mille = 11000 } } }"),
        "`price.regions.eu.surcharge_per_mille` is 11000: write 0 to 10000, as in 100 for a tenth"
    );
    assert!(
        slip("price = { tiers = { night = { long = { above = 9 } } } }")
            .starts_with("`price.tiers.night.long` lacks `input`: write for example")
    );
    refused(
        "[models.'a/b']\nprice = { input = 1, output = 1, tiers = { batch = { inptu = 1 } } }",
        "unknown field `inptu`",
    );
    refused("[models.'a/b']\nprice = { input = 1, output = 1, regions = { eu = 1 } }", "expected a table");
}

#[test]
fn what_is_not_known_by_name_costs_what_its_provider_says() {
    let mut registry = registry(&[
        ("local/llama", "aliases = ['small']"),
        ("local/qwen", "price = { input = 3, output = 4 }"),
    ]);
    let free = price(&toml::from_str("input = 0\noutput = 0").unwrap()).unwrap();
    let local = domain::registry::Provider {
        price: Some(free.clone()),
        ..crate::catalogue::blank(Default::default(), "http://local")
    };
    registry.providers.insert("local".to_owned(), local);
    let view = View::new(&registry);
    assert_eq!(view.price_of("local", "anything"), Some(&free));
    assert_eq!(view.price_of("local", "small"), Some(&free), "a model without a price of its own");
    assert_eq!(view.price_of("local", "qwen").unwrap().input, PicoUsd(3_000_000));
    assert_eq!(view.price_of("openai", "gpt-40"), None, "unknown is not free");
    // A deployment's name says nothing; the answer does.
    let answered = view.price_of_answer("azure-openai", Some("our-deployment"), Some("gpt-4o")).unwrap();
    assert_eq!(answered.input, PicoUsd(2_500_000));
    assert_eq!(view.price_of_answer("local", None, Some("qwen")).unwrap().input, PicoUsd(3_000_000));
    assert_eq!(
        price(&toml::from_str("input = 1").unwrap()).unwrap_err().split(':').next(),
        Some("`price` lacks `output`")
    );
}

#[test]
fn inference_profiles_of_bedrock_are_the_models_they_lead_to() {
    let registry = Registry::default();
    let view = View::new(&registry);
    let plain = view.find("bedrock", "anthropic.claude-sonnet-4-6").unwrap();
    assert_eq!(view.find("bedrock", "us.anthropic.claude-sonnet-4-6"), Some(plain));
    assert_eq!(plain.price.as_ref().unwrap().regions["us"].surcharge, 100);
    assert_eq!(view.find("bedrock", "mars.anthropic.claude-sonnet-4-6"), None);
    assert_eq!(view.find("openai", "us.gpt.4o"), None);
    assert_eq!(
        geography(Format::Bedrock, "us.meta.llama3-3-70b-instruct-v1:0"),
        Some(("us", "meta.llama3-3-70b-instruct-v1:0"))
    );
    assert_eq!(geography(Format::Bedrock, "us.meta"), None);
    assert_eq!(geography(Format::OpenAi, "us.meta.llama"), None);
}
