//! The catalogue is whole: every name that Portkey knows, every template with options that can be set, every operation
//! with a URL.

use std::collections::BTreeSet;

use domain::config::provider_options;
use domain::policy::Policy;
use domain::{Config, Registry, Timestamp, Workspace};
use serde_json::{Value, json};

use super::*;
use crate::resolve::{Names, Resolved, Unresolved, Wanted, resolve};
use crate::translation;

/// The names that Portkey's gateway gives to providers: a config written for it finds them here.
const PORTKEYS: &str = "302ai ai21 aibadgr anthropic anyscale azure-ai azure-openai bedrock bytez cerebras cohere \
    cometapi cortex dashscope databricks deepbricks deepinfra deepseek featherless-ai fireworks-ai github google groq \
    huggingface hyperbolic inference-net iointelligence jina kluster-ai krutrim lambda latitude lemonfox-ai lepton \
    lingyi matterai meshy milvus mistral-ai modal monsterapi moonshot ncompass nebius nextbit nomic novita-ai nscale \
    ollama openai openrouter oracle ovhcloud palm perplexity-ai pinecone predibase qdrant recraft-ai reka-ai replicate \
    sagemaker sambanova segmind siliconflow stability-ai together-ai triton tripo3d upstage vertex-ai voyage workers-ai \
    x-ai z-ai zhipu";

#[test]
fn every_provider_that_portkey_knows_is_known() {
    let known: BTreeSet<&str> = slugs().collect();
    let missing: Vec<&str> = PORTKEYS.split_whitespace().filter(|slug| !known.contains(slug)).collect();
    assert_eq!(PORTKEYS.split_whitespace().count(), 76);
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_entry_is_complete() {
    for (slug, known) in all() {
        let provider = &known.provider;
        assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{slug}");
        assert!(!known.name.is_empty() && known.docs.starts_with("https://"), "{slug}");
        assert!(!provider.operations.is_empty(), "{slug} does not say what it offers");
        assert!(provider.headers.keys().all(|name| *name == name.to_ascii_lowercase()), "{slug}: headers");
        let urls = provider.variants.iter().filter_map(|variant| variant.base_url.as_ref());
        let urls = urls.chain(provider.when.iter().filter_map(|when| when.base_url.as_ref()));
        for url in urls.chain([&provider.base_url]) {
            let begins = ["https://", "{+", "http://localhost"].iter().any(|begin| url.starts_with(begin));
            assert!(begins && !url.ends_with('/'), "{slug}: {url}");
        }
        for word in paths(provider).map(|(word, _)| word) {
            let operation = word.strip_suffix(".stream").unwrap_or(word);
            assert!(operation.parse::<Operation>().is_ok(), "{slug}: `{word}` in paths is no operation");
        }
    }
}

fn paths(provider: &Provider) -> impl Iterator<Item = (&String, &String)> {
    let variants = provider.variants.iter().flat_map(|variant| &variant.paths);
    provider.paths.iter().chain(variants).chain(provider.when.iter().flat_map(|when| &when.paths))
}

/// Everything in an entry that holds placeholders.
fn templates(provider: &Provider) -> impl Iterator<Item = &String> {
    let urls = provider.variants.iter().filter_map(|variant| variant.base_url.as_ref());
    let others = provider.when.iter().filter_map(|when| when.base_url.as_ref());
    let texts = paths(provider).map(|(_, path)| path).chain(provider.headers.values());
    texts.chain(urls).chain(others).chain([&provider.base_url])
}

/// Names of options between the braces of a template.
fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    let inside = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    inside.flat_map(|(names, _)| names.trim_start_matches('+').split('|'))
}

#[test]
fn what_a_template_needs_can_be_set() {
    let known =
        |name: &str| provider_options::KEYS.contains(&name) || ["model", "custom_host"].contains(&name);
    for (slug, Known { provider, .. }) in all() {
        let options = provider.options.keys().chain(provider.when.iter().map(|when| &when.option));
        for name in templates(provider).flat_map(|text| placeholders(text)).chain(options.map(String::as_str))
        {
            assert!(
                known(name),
                "{slug}: `{name}` is no option that a config, a header or a virtual key can set"
            );
        }
    }
}

#[test]
fn every_model_that_is_known_belongs_to_a_provider_that_is_known() {
    let registry = Registry::default();
    let view = crate::models::View::new(&registry);
    for info in domain::model::Models::all(&view) {
        assert!(find(&info.provider).is_some() && retired(&info.provider).is_none(), "{}", info.key());
    }
}

#[test]
fn shapes_that_are_asked_for_exist() {
    for (slug, Known { provider, .. }) in all() {
        let quirks = provider.variants.iter().map(|variant| &variant.quirks).chain([&provider.quirks]);
        for (operation, shape) in quirks.flat_map(|quirks| &quirks.shapes) {
            assert!(
                translation::shapes(*operation).contains(&shape.as_str()),
                "{slug}: {operation} as {shape}"
            );
        }
    }
}

/// An option for every placeholder.
fn sample(provider: &Provider) -> serde_json::Map<String, Value> {
    let names = templates(provider).flat_map(|text| placeholders(text)).filter(|name| *name != "model");
    let url = |name: &str| name.ends_with("_url") || name == "custom_host";
    let value = |name: &str| if url(name) { "https://own.example.com/base/" } else { "sample-1" };
    names
        .filter(|name| !provider.options.contains_key(*name))
        .map(|name| (name.to_owned(), value(name).into()))
        .collect()
}

fn resolved(
    slug: &str,
    options: &serde_json::Map<String, Value>,
    (model, operation, stream): (&str, Operation, bool),
) -> Result<Resolved, Unresolved> {
    let mut config = json!({ "provider": slug, "api_key": "sealed:key" });
    for (name, value) in options {
        config[name] = value.clone();
    }
    let config = Config::parse(&config.to_string(), &Default::default()).unwrap();
    let names = Names {
        registry: &Registry::default(),
        policy: &Policy::default(),
        workspace: &Workspace::default(),
        trusted_hosts: &["localhost".to_owned()],
        now: Timestamp(1),
    };
    let wanted = Wanted { operation, model: Some(model), stream, path_and_query: Some("/own/path?a=b") };
    resolve(config.targets().next().unwrap(), &names, wanted)
}

#[test]
fn every_provider_has_a_url_for_every_operation_that_it_offers() {
    for (slug, Known { provider, retired, .. }) in all() {
        let models: Vec<String> = provider
            .variants
            .iter()
            .flat_map(|variant| variant.models.iter().map(|pattern| pattern.replace('*', "some")))
            .chain(["some/model".to_owned()])
            .collect();
        let options = sample(provider);
        let mut offered = 0;
        for (model, operation, stream) in models.iter().flat_map(|model| {
            Operation::ALL
                .iter()
                .flat_map(move |op| [(model.as_str(), *op, false), (model.as_str(), *op, true)])
        }) {
            match resolved(slug, &options, (model, operation, stream)) {
                Ok(found) => {
                    offered += 1;
                    let url = format!("{}{}", found.base_url, found.path_and_query);
                    assert!(
                        !url.contains(['{', '}']) && !url[8..].contains("//"),
                        "{slug} {operation}: {url}"
                    );
                    assert!(
                        url.starts_with("https://") || url.starts_with("http://localhost:"),
                        "{slug}: {url}"
                    );
                    assert!(found.path_and_query.starts_with('/'), "{slug} {operation} {model}: {url}");
                }
                Err(Unresolved::Target(err)) if retired.is_some() => {
                    assert_eq!(err.code.as_deref(), Some("provider_retired"), "{slug}");
                    assert!(err.message.contains("is there no more: "), "{err}");
                    offered += 1;
                }
                Err(Unresolved::Target(err)) => {
                    assert_eq!(
                        err.code.as_deref(),
                        Some("unsupported_operation"),
                        "{slug} {operation}: {err}"
                    );
                }
                Err(Unresolved::Document(err)) => panic!("{slug} {operation} {model}: {err}"),
            }
        }
        assert!(offered > 0, "{slug} offers nothing");
    }
}

#[test]
fn a_url_without_its_option_is_an_error_that_names_the_option() {
    let mut seen = BTreeSet::new();
    for (slug, Known { provider, retired, .. }) in all() {
        let needed: Vec<&str> = placeholders(&provider.base_url).collect();
        if retired.is_some() || needed.iter().all(|name| provider.options.contains_key(*name)) {
            continue;
        }
        seen.insert(slug);
        let found = resolved(slug, &Default::default(), ("some-model", Operation::Passthrough, false));
        let Err(Unresolved::Document(err)) = found else { panic!("{slug}: {found:?}") };
        assert_eq!((err.status, err.code.as_deref()), (400, Some("missing_provider_option")), "{slug}");
        assert!(
            needed.iter().any(|name| err.param.as_deref() == Some(&format!("config.{name}"))),
            "{slug}: {err}"
        );
    }
    assert!(seen.is_superset(&BTreeSet::from([
        "azure-ai",
        "modal",
        "qdrant",
        "databricks",
        "oracle",
        "bedrock"
    ])));
}

#[test]
fn what_only_passes_through_says_so() {
    let found = resolved("replicate", &Default::default(), ("some-model", Operation::Chat, false));
    let Err(Unresolved::Target(err)) = found else { panic!("{found:?}") };
    assert_eq!(err.status, 400);
    assert_eq!(
        err.message,
        "chat is not supported by replicate; it only takes requests to paths of its own, as in `/v1/models`, which \
         pass through"
    );
    let found = resolved("replicate", &Default::default(), ("", Operation::Passthrough, false)).unwrap();
    assert_eq!(found.base_url + &found.path_and_query, "https://api.replicate.com/v1/own/path?a=b");
}

/// What is asked where, and in whose words.
#[track_caller]
fn goes(slug: &str, options: Value, asked: (&str, Operation, bool), expected: (&str, Format)) {
    let options = options.as_object().unwrap();
    let found = resolved(slug, options, asked).unwrap();
    assert_eq!((format!("{}{}", found.base_url, found.path_and_query).as_str(), found.format), expected);
}

#[test]
fn messages_go_as_they_are_to_those_who_have_them() {
    use Operation::{Chat, CountTokens, Messages, Responses};
    let none = || json!({});
    goes(
        "deepseek",
        none(),
        ("m", Messages, true),
        ("https://api.deepseek.com/anthropic/v1/messages", Format::Anthropic),
    );
    goes(
        "deepseek",
        none(),
        ("m", Responses, true),
        ("https://api.deepseek.com/v1/chat/completions", Format::OpenAi),
    );
    goes(
        "openrouter",
        none(),
        ("m", Messages, false),
        ("https://openrouter.ai/api/v1/messages", Format::Anthropic),
    );
    goes(
        "openrouter",
        none(),
        ("m", Chat, false),
        ("https://openrouter.ai/api/v1/chat/completions", Format::OpenAi),
    );
    goes(
        "sambanova",
        none(),
        ("m", CountTokens, false),
        ("https://api.sambanova.ai/v1/messages/count_tokens", Format::Anthropic),
    );
    goes(
        "groq",
        none(),
        ("m", Responses, false),
        ("https://api.groq.com/openai/v1/responses", Format::OpenAi),
    );
    goes(
        "groq",
        none(),
        ("m", Messages, false),
        ("https://api.groq.com/openai/v1/chat/completions", Format::OpenAi),
    );
    // What only another address of the provider has is not asked of a host that somebody else named.
    let own = json!({ "custom_host": "https://own.example.com/v1" });
    goes(
        "deepseek",
        own.clone(),
        ("m", Messages, false),
        ("https://own.example.com/v1/chat/completions", Format::OpenAi),
    );
    goes(
        "openrouter",
        own,
        ("m", Messages, false),
        ("https://own.example.com/v1/messages", Format::Anthropic),
    );
    goes(
        "ollama",
        json!({ "custom_host": "http://localhost:1" }),
        ("m", Chat, false),
        ("http://localhost:1/api/chat", Format::Ollama),
    );
    goes("ollama", none(), ("m", Responses, false), ("http://localhost:11434/v1/responses", Format::OpenAi));
}

#[test]
fn options_and_models_choose_the_address() {
    use Operation::{Chat, CountTokens, Embeddings, Messages, Responses};
    let azure = |version: &str| json!({ "azure_resource_name": "r", "azure_deployment_id": "d", "azure_api_version": version });
    goes(
        "azure-openai",
        azure("2025-01-01"),
        ("m", Chat, false),
        (
            "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-01-01",
            Format::OpenAi,
        ),
    );
    goes(
        "azure-openai",
        azure("2025-01-01"),
        ("m", Responses, false),
        (
            "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-01-01",
            Format::OpenAi,
        ),
    );
    goes(
        "azure-openai",
        azure("v1"),
        ("m", Chat, false),
        ("https://r.openai.azure.com/openai/v1/chat/completions", Format::OpenAi),
    );
    goes(
        "azure-openai",
        azure("v1"),
        ("m", Responses, false),
        ("https://r.openai.azure.com/openai/v1/responses", Format::OpenAi),
    );

    let vertex = |region: &str| json!({ "vertex_project_id": "p", "vertex_region": region });
    let google = "projects/p/locations/eu/publishers/google/models/gemini-2.5-pro";
    goes(
        "vertex-ai",
        vertex("eu"),
        ("gemini-2.5-pro", Chat, false),
        (&format!("https://aiplatform.eu.rep.googleapis.com/v1/{google}:generateContent"), Format::Gemini),
    );
    goes(
        "vertex-ai",
        vertex("eu"),
        ("google.gemini-2.5-pro", CountTokens, false),
        (&format!("https://aiplatform.eu.rep.googleapis.com/v1/{google}:countTokens"), Format::Gemini),
    );
    let at = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5";
    let claude = format!("{at}/publishers/anthropic/models");
    for model in ["anthropic.claude-sonnet-4-5", "claude-sonnet-4-5"] {
        goes(
            "vertex-ai",
            vertex("us-east5"),
            (model, Chat, true),
            (&format!("{claude}/claude-sonnet-4-5:streamRawPredict"), Format::Anthropic),
        );
        goes(
            "vertex-ai",
            vertex("us-east5"),
            (model, Messages, false),
            (&format!("{claude}/claude-sonnet-4-5:rawPredict"), Format::Anthropic),
        );
        goes(
            "vertex-ai",
            vertex("us-east5"),
            (model, CountTokens, false),
            (&format!("{claude}/count-tokens:rawPredict"), Format::Anthropic),
        );
    }
    goes(
        "vertex-ai",
        vertex("us-east5"),
        ("meta.llama-4", Chat, false),
        (&format!("{at}/endpoints/openapi/chat/completions"), Format::OpenAi),
    );
    goes(
        "vertex-ai",
        vertex("us-east5"),
        ("mistralai.small", Chat, true),
        (&format!("{at}/publishers/mistralai/models/small:streamRawPredict"), Format::OpenAi),
    );
    goes(
        "vertex-ai",
        vertex("us-east5"),
        ("endpoints.123", Chat, true),
        (&format!("{at}/endpoints/123/chat/completions"), Format::OpenAi),
    );
    let llama = resolved("vertex-ai", vertex("us-east5").as_object().unwrap(), ("meta.llama-4", Chat, false))
        .unwrap();
    assert_eq!(llama.model.as_deref(), Some("meta/llama-4"));

    let foundry = json!({ "azure_foundry_url": "https://n.services.ai.azure.com/anthropic/" });
    let found = resolved("azure-ai", foundry.as_object().unwrap(), ("claude-opus-4-5", Chat, false)).unwrap();
    assert_eq!(
        found.base_url + &found.path_and_query,
        "https://n.services.ai.azure.com/anthropic/v1/messages"
    );
    assert_eq!(
        (found.auth.header.as_str(), found.headers["anthropic-version"].as_str()),
        ("x-api-key", "2023-06-01")
    );

    goes(
        "huggingface",
        json!({}),
        ("m", Chat, false),
        ("https://router.huggingface.co/v1/chat/completions", Format::OpenAi),
    );
    let own = json!({ "huggingface_base_url": "https://x.endpoints.huggingface.cloud" });
    goes(
        "huggingface",
        own.clone(),
        ("m", Chat, false),
        ("https://x.endpoints.huggingface.cloud/v1/chat/completions", Format::OpenAi),
    );
    goes(
        "huggingface",
        own,
        ("m", Embeddings, false),
        ("https://x.endpoints.huggingface.cloud/v1/embeddings", Format::OpenAi),
    );
    goes(
        "mistral-ai",
        json!({ "mistral_fim_completion": "true" }),
        ("m", Chat, false),
        ("https://api.mistral.ai/v1/fim/completions", Format::OpenAi),
    );
    goes(
        "bedrock-mantle",
        json!({ "aws_region": "us-east-1" }),
        ("anthropic.claude-x", Chat, false),
        ("https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages", Format::Anthropic),
    );
}

#[track_caller]
fn refused(entry: &str, part: &str) {
    let whole =
        format!("[a]\nname = 'A'\ndocs = 'https://a'\nformat = 'openai'\nbase_url = 'https://a'\n{entry}");
    let err = toml::from_str::<BTreeMap<String, Entry>>(&whole).unwrap_err().to_string();
    assert!(err.contains(part), "{err}");
}

#[test]
fn a_broken_catalogue_is_refused() {
    refused("colour = 'red'", "unknown field `colour`");
    refused("operations = ['chta']", "unknown variant `chta`");
    refused("quirks = { renames = {} }", "unknown field `renames`");
    refused("[[a.variants]]\nmodels = ['x']", "missing field `format`");
    refused("[[a.variants]]\nformat = 'openai'\nvendor = 'x'", "unknown field `vendor`");
    refused("[[a.when]]\noption = 'x'", "missing field `value`");
    refused("[a]\nname = 'B'", "duplicate key");
    for missing in ["name", "docs", "format", "base_url"] {
        let whole = "name = 'A'\ndocs = 'https://a'\nformat = 'openai'\nbase_url = 'https://a'\n";
        let lines: String =
            whole.lines().filter(|line| !line.starts_with(missing)).map(|l| format!("{l}\n")).collect();
        let err = toml::from_str::<Entry>(&lines).unwrap_err().to_string();
        assert!(err.contains(&format!("missing field `{missing}`")), "{err}");
    }
}
