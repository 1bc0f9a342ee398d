//! `pointsman cache eval`: labelled pairs of texts, judged as the cache judges them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use semantic_cache::embed::{Embedder, How, Refused};
use semantic_cache::eval::{self, DEFAULT_THRESHOLD};
use tokio::runtime::Handle;

use crate::cli::CacheEval;
use crate::output::Output;
use crate::settings::Settings;

/// What `pointsman cache eval --help` says.
pub(crate) const HELP: &str = "\
Judge labelled pairs of texts as the cache does: how often it serves what it should

Each line of the file is a label, a text and another text, with tabs between:

  P<tab>How do I reset my password?<tab>I forgot my password, how can I change it?
  N<tab>Convert 10 USD to EUR<tab>Convert 100 USD to EUR
  U<tab>What is Kubernetes?<tab>Tell me a joke about cats

P: one answer serves both. N: nearly the same words, but another answer. U: about something else.
A pair is served as the cache would serve it: the same words, or cosine of the vectors at or above
the threshold, and nothing that the guard objects to. The model is that of the settings
(cache.embedder). Rates come with their 95 % intervals (Wilson).";

/// Prints what every threshold serves.
pub(super) async fn run(
    wanted: &CacheEval,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let name = wanted.pairs.display().to_string();
    let text = std::fs::read_to_string(&wanted.pairs).with_context(|| format!("read {name}"))?;
    let pairs = eval::parse(&text).with_context(|| format!("read {name}"))?;
    let embedder = Embedder::start(settings.cache.embedder.options(&settings.data_dir, env))?;
    embedder.ready().await.context("start the embedder")?;
    let runtime = Handle::current();
    let judged = tokio::task::spawn_blocking(move || {
        eval::judge(pairs, &mut |texts| {
            let vector = |text: &String| match runtime.block_on(embedder.embed(text, How::Wait)) {
                Ok(vector) => Ok(vector.values),
                // What the model cannot see whole is never compared.
                Err(Refused::TooLong | Refused::Unreadable) => Ok(Vec::new()),
                Err(err) => Err(anyhow::Error::new(err).context(format!("embed `{text}`"))),
            };
            texts.iter().map(vector).collect()
        })
    });
    let report = eval::report(judged.await.context("judge the pairs")??);
    output.value(&report);
    output.line(&report);
    if wanted.explain {
        output.line(report.explain(wanted.threshold.unwrap_or(DEFAULT_THRESHOLD)));
    }
    Ok(ExitCode::SUCCESS)
}
