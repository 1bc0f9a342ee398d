//! What settings say of embedding.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

/// Finds or fetches libonnxruntime; called on a thread of the embedder, once, when the first text comes.
pub type Library = Arc<dyn Fn() -> anyhow::Result<PathBuf> + Send + Sync>;

/// How texts become vectors.
#[derive(Clone)]
pub struct Options {
    /// Who embeds.
    pub source: Source,
    /// Threads that embed, each with a session of its own (90 MB for MiniLM); at most one per core is started. For an
    /// endpoint: calls at once for storing.
    pub threads: usize,
    /// How many look-ups may wait; the next is refused. As many texts to be stored may wait beside them. For an
    /// endpoint: look-ups under way at once.
    pub queue: usize,
    /// The longest text that is embedded, in tokens of the model; a text that had to be cut would equal every other
    /// text that begins as it does.
    pub max_tokens: usize,
    /// Where libonnxruntime is. Not asked for an endpoint.
    pub library: Library,
}

/// Who embeds.
#[derive(Clone, Debug)]
pub enum Source {
    /// A model in a folder: `model.onnx`, `tokenizer.json`, `config.json`, `tokenizer_config.json` and
    /// `special_tokens_map.json`.
    Folder {
        /// The folder.
        path: PathBuf,
        /// How token vectors become one. None: as `1_Pooling/config.json` in the folder says, else the mean.
        pooling: Option<Pooling>,
    },
    /// A model that fastembed knows by name, such as `AllMiniLML6V2`; downloaded once.
    Hub {
        /// One of [`known_models`](crate::embed::known_models), in any case.
        name: String,
        /// Where downloaded models are kept.
        folder: PathBuf,
        /// A mirror of the Hugging Face hub. None: the hub itself.
        mirror: Option<String>,
    },
    /// An endpoint that speaks OpenAI's embeddings.
    Endpoint(Endpoint),
}

/// How the vectors of tokens become the vector of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens, as sentence-transformers do.
    Mean,
    /// The first token's, as BGE and most models trained with a class token do.
    Cls,
}

/// An OpenAI-compatible embeddings endpoint.
#[derive(Clone)]
pub struct Endpoint {
    /// The base that `/embeddings` is appended to, such as `https://api.openai.com/v1`.
    pub url: String,
    /// The model that is asked for.
    pub model: String,
    /// Sent as a bearer token.
    pub api_key: Option<Zeroizing<String>>,
    /// Asked for, and demanded of the answer. None: what the model gives.
    pub dimensions: Option<usize>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Options {
    /// Two threads, 32 look-ups in the queue, texts of up to 256 tokens.
    pub fn new(source: Source, library: Library) -> Self {
        Self { source, threads: 2, queue: 32, max_tokens: 256, library }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Endpoint");
        out.field("url", &self.url).field("model", &self.model).field("dimensions", &self.dimensions);
        out.field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Options");
        out.field("source", &self.source).field("threads", &self.threads).field("queue", &self.queue);
        out.field("max_tokens", &self.max_tokens).finish_non_exhaustive()
    }
}
