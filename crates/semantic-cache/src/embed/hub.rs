//! Models by name: which file of which repository, and downloading them once.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use fastembed::{EmbeddingModel, ModelInfo, TextEmbedding};
use hf_hub::Cache;
use hf_hub::api::sync::ApiBuilder;
use tracing::info;

use crate::embed::files::{Files, TOKENIZER};
use crate::embed::options::Pooling;

/// The names that [`Source::Hub`](crate::embed::Source::Hub) takes, sorted.
pub fn known_models() -> Vec<String> {
    let mut names: Vec<String> = models().map(|info| info.model.to_string()).collect();
    names.sort();
    names
}

fn models() -> impl Iterator<Item = ModelInfo<EmbeddingModel>> {
    // Models for images and text at once have no text of their own to compare.
    TextEmbedding::list_supported_models().into_iter().filter(|info| info.model != EmbeddingModel::ClipVitB32)
}

/// The files of a model, from `folder` or downloaded into it. Takes as long as a download takes.
pub(super) fn fetch(name: &str, folder: &Path, mirror: Option<&str>) -> anyhow::Result<Files> {
    let Some(info) = models().find(|info| info.model.to_string().eq_ignore_ascii_case(name)) else {
        bail!("there is no embedding model `{name}`: choose one of {}", known_models().join(", "));
    };
    let pooling = match TextEmbedding::get_default_pooling_method(&info.model) {
        Some(fastembed::Pooling::Cls) => Pooling::Cls,
        _ => Pooling::Mean,
    };
    // The user's own token is not for us to send.
    let api = ApiBuilder::from_cache(Cache::new(folder.to_owned())).with_token(None).with_retries(2);
    let api = api.with_progress(std::io::stderr().is_terminal());
    let api = match mirror {
        Some(mirror) => api.with_endpoint(mirror.trim_end_matches('/').to_owned()),
        None => api,
    };
    let repository = api.build().context("set up downloads of models")?.model(info.model_code.clone());
    info!(model = name, repository = info.model_code, into = %folder.display(), "fetching what is missing of the embedding model");
    let get = |file: &str| {
        repository.get(file).with_context(|| {
            format!(
                "download {file} of {} (once it is in {}, no network is needed; or name a folder with a model)",
                info.model_code,
                folder.display()
            )
        })
    };
    let onnx = get(&info.model_file)?;
    let mut weights = Vec::new();
    for file in &info.additional_files {
        // The network knows them by their bare names.
        let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
        weights.push((name, get(file)?));
    }
    let [a, b, c, d] = TOKENIZER;
    let tokenizer = [get(a)?, get(b)?, get(c)?, get(d)?];
    Ok(Files { onnx, weights, tokenizer, pooling, output: info.output_key.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_names() {
        let names = known_models();
        assert!(names.contains(&"AllMiniLML6V2".to_owned()) && names.len() > 30, "{names:?}");
        let dir = tempfile::tempdir().unwrap();
        let said = fetch("minilm", dir.path(), None).unwrap_err().to_string();
        assert!(
            said.starts_with("there is no embedding model `minilm`: choose one of AllMiniLML12V2, "),
            "{said}"
        );
    }

    #[test]
    fn a_hub_that_cannot_be_reached_is_an_error_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let err = fetch("allminilml6v2", dir.path(), Some(&format!("http://{closed}/"))).unwrap_err();
        let said = format!("{err:#}");
        assert!(
            said.starts_with("download model.onnx of Qdrant/all-MiniLM-L6-v2-onnx (once it is"),
            "{said}"
        );
    }
}
