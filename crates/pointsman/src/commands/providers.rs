//! `pointsman providers`: the providers that are known by name.

use std::process::ExitCode;

use domain::Operation;
use providers::catalogue::{self, Known, tested};
use serde_json::{Value, json};

use crate::cli::Providers;
use crate::output::{DIM, Output, styled, table};

pub(crate) fn run(wanted: &Providers, output: Output) -> ExitCode {
    if wanted.markdown {
        output.piece(&tested::markdown());
        return ExitCode::SUCCESS;
    }
    let chosen = |slug: &str| wanted.slug.as_ref().is_none_or(|name| name == slug);
    let found: Vec<(&str, &Known)> = catalogue::all().filter(|(slug, _)| chosen(slug)).collect();
    if found.is_empty() {
        let name = wanted.slug.as_deref().unwrap_or_default();
        output.warn(format_args!("no provider is known as `{name}`; `pointsman providers` lists them all"));
        return ExitCode::FAILURE;
    }
    output.value(
        &json!({ "providers": found.iter().map(|(slug, known)| entry(slug, known)).collect::<Vec<_>>() }),
    );
    output.line(table(&rows(&found)));
    output
        .line(styled(DIM, "in a base URL `{name}` stands for an option; what is not listed passes through"));
    ExitCode::SUCCESS
}

fn offered(known: &Known) -> String {
    if let Some(words) = &known.retired {
        return format!("none: {words}");
    }
    let words: Vec<&str> = known.provider.operations.iter().map(|operation| operation.as_str()).collect();
    let variants = known.provider.variants.iter().filter(|variant| variant.models.is_empty());
    let elsewhere = variants.flat_map(|variant| &variant.asked).map(|operation| operation.as_str());
    words.into_iter().chain(elsewhere).collect::<Vec<_>>().join(" ")
}

fn rows(found: &[(&str, &Known)]) -> Vec<Vec<String>> {
    let head = ["SLUG", "NAME", "FORMAT", "BASE URL", "OPERATIONS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (slug, known) in found {
        let provider = &known.provider;
        let cells =
            [(*slug).to_owned(), known.name.clone(), provider.format.to_string(), provider.base_url.clone()];
        rows.push(cells.into_iter().chain([offered(known)]).collect());
    }
    rows
}

fn entry(slug: &str, known: &Known) -> Value {
    let tested: serde_json::Map<String, Value> = Operation::ALL
        .iter()
        .filter(|operation| **operation != Operation::Passthrough)
        .filter_map(|operation| Some((operation.to_string(), json!(tested::level(slug, *operation)?))))
        .collect();
    json!({
        "slug": slug,
        "name": known.name,
        "docs": known.docs,
        "format": known.provider.format,
        "base_url": known.provider.base_url,
        "operations": known.provider.operations,
        "tested": tested,
        "retired": known.retired,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../../../README.md");

    #[test]
    fn the_readme_has_the_table_of_this_catalogue() {
        let (_, rest) = README.split_once("<!-- providers -->\n").expect("the table begins");
        let (table, _) = rest.split_once("<!-- /providers -->").expect("the table ends");
        assert_eq!(
            table.trim(),
            tested::markdown().trim(),
            "put what `pointsman providers --markdown` prints between the marks in README.md"
        );
    }

    #[test]
    fn every_provider_is_shown_with_what_it_offers() {
        let all: Vec<(&str, &Known)> = catalogue::all().collect();
        let rows = rows(&all);
        assert_eq!(rows.len(), all.len() + 1);
        let row = |slug: &str| rows.iter().find(|row| row[0] == slug).unwrap().join("|");
        assert_eq!(row("deepseek"), "deepseek|DeepSeek|openai|https://api.deepseek.com/v1|chat messages");
        assert!(row("anyscale").ends_with("|none: Anyscale closed its public endpoints on 2024-08-01"));
        let shown = entry("voyage", catalogue::all().find(|(slug, _)| *slug == "voyage").unwrap().1);
        assert_eq!(shown["tested"], json!({ "embeddings": "golden", "rerank": "golden" }));
    }
}
