//! A model's files: what has to be there, and the digest that names them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use fastembed::OutputKey;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::embed::options::Pooling;
use crate::embed::short_hex;

/// Where the network lies in a folder: as our script and fastembed's models have it, or as Hugging Face's exporter does.
const NETWORKS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// Where weights lie that do not fit into the network's file.
const WEIGHTS: [&str; 2] = ["model.onnx_data", "model.onnx.data"];

/// The files of the tokenizer, in the order of [`Files::tokenizer`].
pub(super) const TOKENIZER: [&str; 4] =
    ["tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];

/// The files of one model, and how to read them.
#[derive(Debug)]
pub(super) struct Files {
    /// The network.
    pub(super) onnx: PathBuf,
    /// Weights outside the network's file, by the name that it knows them by.
    pub(super) weights: Vec<(String, PathBuf)>,
    /// As [`TOKENIZER`] has them.
    pub(super) tokenizer: [PathBuf; 4],
    pub(super) pooling: Pooling,
    /// Which output to take, where the network has several.
    pub(super) output: Option<OutputKey>,
}

impl Files {
    /// The model in a folder. Fails with what is missing.
    pub(super) fn in_folder(folder: &Path, pooling: Option<Pooling>) -> anyhow::Result<Self> {
        let there = |name: &&str| folder.join(name).is_file();
        let Some(onnx) = NETWORKS.iter().find(|name| there(name)).map(|name| folder.join(name)) else {
            bail!("there is no model.onnx in the model folder {}", folder.display());
        };
        if let Some(missing) = TOKENIZER.iter().find(|name| !there(name)) {
            bail!("there is no {missing} in the model folder {}", folder.display());
        }
        let beside = WEIGHTS.map(|name| (name.to_owned(), onnx.with_file_name(name)));
        let weights = beside.into_iter().filter(|(_, path)| path.is_file()).collect();
        let pooling = match pooling {
            Some(pooling) => pooling,
            None => pooling_of(&folder.join("1_Pooling/config.json"))?.unwrap_or(Pooling::Mean),
        };
        Ok(Self { onnx, weights, tokenizer: TOKENIZER.map(|name| folder.join(name)), pooling, output: None })
    }

    /// Names everything that shapes a vector. Reads all files.
    pub(super) fn digest(&self, max_tokens: usize) -> anyhow::Result<Arc<str>> {
        let mut all = Sha256::new();
        let weights = self.weights.iter().map(|(_, path)| path);
        for path in [&self.onnx].into_iter().chain(weights).chain(&self.tokenizer) {
            // Each file's own digest, so that bytes cannot move from one to the next unseen.
            all.update(digest(path).with_context(|| format!("read {}", path.display()))?);
        }
        all.update(format!("{max_tokens} {:?}", self.pooling));
        Ok(short_hex(&all.finalize()))
    }
}

fn digest(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// What sentence-transformers write of pooling. What is not named is false.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingFile {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

/// The pooling that a file asks for; None if there is no such file.
fn pooling_of(path: &Path) -> anyhow::Result<Option<Pooling>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(|| format!("read {}", path.display())),
    };
    let file: PoolingFile =
        serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
    let others = file.pooling_mode_max_tokens
        || file.pooling_mode_mean_sqrt_len_tokens
        || file.pooling_mode_weightedmean_tokens
        || file.pooling_mode_lasttoken;
    match (file.pooling_mode_mean_tokens, file.pooling_mode_cls_token, others) {
        (true, false, false) => Ok(Some(Pooling::Mean)),
        (false, true, false) => Ok(Some(Pooling::Cls)),
        _ => bail!(
            "{} asks for a pooling other than the mean or the class token, which is all there is: choose another \
             model, or set the pooling",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with every file that a model needs, each with some content.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in TOKENIZER.iter().chain(&["model.onnx"]) {
            std::fs::write(dir.path().join(name), format!("content of {name}")).unwrap();
        }
        dir
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = folder();
        let said = || Files::in_folder(dir.path(), None).unwrap_err().to_string();
        let shown = dir.path().display().to_string();
        for name in ["tokenizer_config.json", "tokenizer.json", "model.onnx"] {
            std::fs::remove_file(dir.path().join(name)).unwrap();
            assert_eq!(said(), format!("there is no {name} in the model folder {shown}"));
        }
    }

    #[test]
    fn the_digest_names_all_that_shapes_a_vector() {
        let dir = folder();
        let digest = |pooling, max| Files::in_folder(dir.path(), pooling).unwrap().digest(max).unwrap();
        let first = digest(None, 256);
        assert_eq!(first.len(), 32);
        assert_eq!(digest(Some(Pooling::Mean), 256), first, "the mean is what there is without a word");
        let mut seen = vec![first, digest(None, 128), digest(Some(Pooling::Cls), 256)];
        for name in TOKENIZER.iter().chain(&["model.onnx", "model.onnx_data"]) {
            std::fs::write(dir.path().join(name), "other").unwrap();
            seen.push(digest(None, 256));
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "{seen:?}");
    }

    #[test]
    fn the_folder_says_how_to_pool() {
        let dir = folder();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        let pooling = |text: &str, set| {
            std::fs::write(dir.path().join("1_Pooling/config.json"), text).unwrap();
            Files::in_folder(dir.path(), set).map(|files| files.pooling).map_err(|err| err.to_string())
        };
        let mean = r#"{"word_embedding_dimension":384,"pooling_mode_mean_tokens":true}"#;
        let cls = r#"{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}"#;
        let last = r#"{"pooling_mode_lasttoken":true}"#;
        assert_eq!(pooling(mean, None), Ok(Pooling::Mean));
        assert_eq!(pooling(cls, None), Ok(Pooling::Cls));
        assert_eq!(pooling(cls, Some(Pooling::Mean)), Ok(Pooling::Mean));
        assert!(pooling(last, None).unwrap_err().contains("asks for a pooling other than"));
        assert_eq!(pooling(last, Some(Pooling::Cls)), Ok(Pooling::Cls));
    }

    #[test]
    fn an_exported_folder_is_read_as_well() {
        let dir = folder();
        std::fs::create_dir(dir.path().join("onnx")).unwrap();
        std::fs::rename(dir.path().join("model.onnx"), dir.path().join("onnx/model.onnx")).unwrap();
        std::fs::write(dir.path().join("onnx/model.onnx_data"), "weights").unwrap();
        let files = Files::in_folder(dir.path(), None).unwrap();
        assert_eq!(files.onnx, dir.path().join("onnx/model.onnx"));
        let names: Vec<_> = files.weights.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["model.onnx_data"]);
    }
}
