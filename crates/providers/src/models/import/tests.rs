//! Price lists in the forms in which they are published.

use super::*;

const LITELLM: &str = include_str!("../../../fixtures/prices/litellm.json");
const PORTKEY: &str = include_str!("../../../fixtures/prices/portkey.json");

fn toml_of(imported: &Imported, key: &str) -> String {
    toml::to_string(imported.models.get(key).unwrap_or_else(|| panic!("{key} in {imported:?}"))).unwrap()
}

fn problem<'a>(imported: &'a Imported, name: &str) -> &'a str {
    let found = imported.problems.iter().find(|(broken, _)| broken == name);
    &found.unwrap_or_else(|| panic!("{name} in {:?}", imported.problems)).1
}

#[test]
fn litellms_list_becomes_models_by_our_names() {
    let imported = read(LITELLM, "ignored", None).unwrap();
    assert_eq!(imported.format, "LiteLLM");
    let keys: Vec<&str> = imported.models.keys().map(String::as_str).collect();
    let expected = [
        "cohere/order-1",
        "google/think-2",
        "openai/chat-1",
        "openai/free-1",
        "openai/tiered-1",
        "openai/vectors-1",
        "some-host/big/model",
        "vertex-ai/words",
    ];
    assert_eq!(keys, expected);
    let chat = toml_of(&imported, "openai/chat-1");
    assert_eq!(
        chat,
        "context_window = 128000\nmax_output = 16384\n\
         capabilities = [\"chat\", \"streaming\", \"tools\", \"json_schema\", \"vision\", \"prompt_caching\"]\n\
         source = \"LiteLLM\"\n\n[price]\ninput = 2.5\noutput = 10.0\ncached_input = 1.25\n"
    );
    assert!(toml_of(&imported, "cohere/order-1").contains("input = 0.0\noutput = 0.0\nrequest = 0.002\n"));
    assert_eq!(imported.models["openai/free-1"].price, None, "0 stands for unknown");
    assert!(toml_of(&imported, "openai/vectors-1").contains("capabilities = [\"embeddings\"]"));
}

#[test]
fn the_lowest_threshold_of_long_prompts_counts() {
    let imported = read(LITELLM, "ignored", None).unwrap();
    let long = imported.models["google/think-2"].price.clone().unwrap().long.unwrap();
    assert_eq!(long.above, Some(200_000));
    assert_eq!(long.input.map(UsdFor::dollars), Some(2.5));
    // Nothing is said about long answers, so they cost as much as others.
    assert_eq!(long.output.map(UsdFor::dollars), Some(10.0));
}

#[test]
fn malformed_entries_are_reported_by_name() {
    let imported = read(LITELLM, "ignored", None).unwrap();
    assert_eq!(imported.problems.len(), 6, "{:?}", imported.problems);
    assert_eq!(problem(&imported, "bad-price"), "`input_cost_per_token` is \"cheap\", not a price");
    assert_eq!(problem(&imported, "negative"), "`output_cost_per_token` is -1e-6, not a price");
    assert_eq!(problem(&imported, "no-provider"), "`litellm_provider` is missing");
    assert_eq!(problem(&imported, "no-mode"), "`mode` is missing");
    assert_eq!(problem(&imported, "not-an-object"), "it is not an object");
}

#[test]
fn one_provider_can_be_chosen() {
    let imported = read(LITELLM, "ignored", Some("google")).unwrap();
    assert_eq!(imported.models.keys().collect::<Vec<_>>(), ["google/think-2"]);
}

#[test]
fn portkeys_list_becomes_prices_of_one_provider() {
    let imported = read(PORTKEY, "mistral-ai", None).unwrap();
    assert_eq!(imported.format, "Portkey");
    assert_eq!(
        imported.models.keys().collect::<Vec<_>>(),
        ["mistral-ai/by-the-image", "mistral-ai/large-1", "mistral-ai/tiered-1", "mistral-ai/vectors-1"]
    );
    assert_eq!(
        toml_of(&imported, "mistral-ai/large-1"),
        "source = \"Portkey\"\n\n[price]\ninput = 2.5\noutput = 10.0\ncached_input = 0.25\nreasoning = 12.0\n\
         search = 0.01\n"
    );
    assert!(toml_of(&imported, "mistral-ai/by-the-image").contains("image = 0.04"));
    assert_eq!(problem(&imported, "by-many-images"), "it has no price per token or image");
    assert_eq!(problem(&imported, "in-euro"), "`pricing_config.currency` is EUR, but prices are in USD here");
    assert_eq!(problem(&imported, "nothing"), "`pricing_config` is missing");
    assert_eq!(problem(&imported, "bad-price"), "`request_token` is {\"price\":\"cheap\"}, not a price");
    assert_eq!(imported.problems.len(), 4, "{:?}", imported.problems);
}

#[test]
fn tiers_regions_and_searches_are_taken_from_both_lists() {
    let litellm = read(LITELLM, "ignored", None).unwrap();
    assert_eq!(
        toml_of(&litellm, "openai/tiered-1").split_once("[price]").unwrap().1,
        "\ninput = 2.5\noutput = 15.0\ncached_input = 0.25\ncache_write_long = 5.0\nsearch = 0.01\n\
         \n[price.long]\nabove = 272000\ninput = 5.0\noutput = 22.5\ncached_input = 0.25\n\
         \n[price.tiers.batch]\ninput = 1.25\noutput = 7.5\n\
         \n[price.tiers.batch.long]\nabove = 272000\ninput = 2.5\noutput = 11.25\n\
         \n[price.tiers.priority]\ninput = 5.0\noutput = 30.0\ncached_input = 0.5\n\
         \n[price.regions.eu]\nsurcharge_per_mille = 100\n"
    );
    assert!(problem(&litellm, "bad-region").contains("is 0.5, not a factor of 1 or more"));
    let portkey = read(PORTKEY, "mistral-ai", None).unwrap();
    assert_eq!(
        toml_of(&portkey, "mistral-ai/tiered-1").split_once("[price]").unwrap().1,
        "\ninput = 2.5\noutput = 10.0\ncache_write = 3.125\ncache_write_long = 5.0\n\
         \n[price.tiers.batch]\ninput = 1.25\noutput = 5.0\n\
         \n[price.tiers.flex]\ninput = 1.0\noutput = 4.0\n\
         \n[price.regions.eu.rates]\ninput = 2.75\noutput = 11.0\n\
         \n[price.regions.eu.tiers.priority]\ninput = 5.0\noutput = 20.0\n"
    );
}

#[test]
fn what_is_no_price_list_is_refused() {
    let broken = |text: &str| read(text, "openai", None).unwrap_err();
    assert!(broken("[1]").starts_with("the price list is not a JSON object of models: "));
    assert!(broken("{").contains("not a JSON object"));
    assert!(
        broken(r#"{ "gpt": { "price": 1 } }"#)
            .contains("neither LiteLLM's format (entries with `litellm_provider`)")
    );
}

#[test]
fn our_names_for_litellms_providers_are_slugs() {
    for (theirs, ours) in LITELLM_SLUGS.iter() {
        assert!(
            ours.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{theirs} = {ours}"
        );
        assert_ne!(theirs.replace('_', "-"), *ours, "{theirs} needs no line");
    }
}
