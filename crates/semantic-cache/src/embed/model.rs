//! One session of a model: reads a text with its tokenizer, and runs the network over it.

use anyhow::Context as _;
use fastembed::{InitOptionsUserDefined, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use ort::environment::Environment;

use crate::embed::files::Files;
use crate::embed::options::Pooling;
use crate::embed::{Refused, normalized};

/// Used by one thread at a time.
pub(super) struct Session {
    model: TextEmbedding,
    /// What the tokenizer writes in place of what it does not know.
    unknown: Option<u32>,
}

impl Session {
    /// Loads a model: reads its files, and has ONNX Runtime prepare the network.
    pub(super) fn load(files: &Files, environment: Environment, max_tokens: usize) -> anyhow::Result<Self> {
        let read =
            |path: &std::path::Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        let [tokenizer_file, config_file, special_tokens_map_file, tokenizer_config_file] = &files.tokenizer;
        let special = read(special_tokens_map_file)?;
        let unknown = unknown_token(&special);
        let tokenizer = TokenizerFiles {
            tokenizer_file: read(tokenizer_file)?,
            config_file: read(config_file)?,
            special_tokens_map_file: special,
            tokenizer_config_file: read(tokenizer_config_file)?,
        };
        let mut model = UserDefinedEmbeddingModel::new(read(&files.onnx)?, tokenizer);
        model.pooling = Some(match files.pooling {
            Pooling::Mean => fastembed::Pooling::Mean,
            Pooling::Cls => fastembed::Pooling::Cls,
        });
        model.output_key.clone_from(&files.output);
        for (name, path) in &files.weights {
            model = model.with_external_initializer(name.clone(), read(path)?);
        }
        let options = InitOptionsUserDefined::new()
            .with_environment(environment)
            .with_max_length(max_tokens)
            // Several sessions of one thread give more texts per second than one session of several threads.
            .with_intra_threads(1)
            // Spinning threads cost more than the work of a text.
            .with_session_config("session.intra_op.allow_spinning", "0")
            .with_session_config("session.inter_op.allow_spinning", "0");
        let model = TextEmbedding::try_new_from_user_defined(model, options)
            .with_context(|| format!("load the embedding model {}", files.onnx.display()))?;
        let unknown = unknown.and_then(|token| model.tokenizer.token_to_id(&token));
        Ok(Self { model, unknown })
    }

    /// The vector of a text that the model sees whole.
    pub(super) fn embed(&mut self, text: &str) -> Result<Vec<f32>, Refused> {
        let read = self.model.tokenizer.encode(text, true);
        let read = read.map_err(|err| Refused::Failed(format!("the tokenizer: {err}")))?;
        if !read.get_overflowing().is_empty() {
            return Err(Refused::TooLong);
        }
        if self.unknown.is_some_and(|unknown| read.get_ids().contains(&unknown)) {
            return Err(Refused::Unreadable);
        }
        // One text at a time: a batch costs its longest text for each, and waiting for one to fill costs more.
        let vectors = self.model.embed([text], None).map_err(|err| Refused::Failed(err.to_string()))?;
        let vector = vectors.into_iter().next().and_then(normalized);
        vector.ok_or_else(|| Refused::Failed("the model gave no vector".to_owned()))
    }
}

/// The token for what is not known, as `special_tokens_map.json` has it: as text, or as an object with `content`.
fn unknown_token(special: &[u8]) -> Option<String> {
    let special: serde_json::Value = serde_json::from_slice(special).ok()?;
    let token = &special["unk_token"];
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_token_is_found() {
        let found = |text: &str| unknown_token(text.as_bytes());
        assert_eq!(found(r#"{"unk_token":"[UNK]"}"#).as_deref(), Some("[UNK]"));
        assert_eq!(found(r#"{"unk_token":{"content":"<unk>","lstrip":false}}"#).as_deref(), Some("<unk>"));
        assert_eq!(found(r#"{"pad_token":"[PAD]"}"#), None);
        assert_eq!(found("not JSON"), None);
    }
}
