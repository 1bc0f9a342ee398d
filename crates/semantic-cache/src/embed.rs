//! Text to vector: by a model that runs here on threads of its own, or by an embeddings endpoint.
//!
//! Nothing is loaded before the first text. Look-ups never wait for a model or in a full queue: they are refused, and
//! so become misses. When embedding cannot work, it goes off with one warning, and exact caching goes on.

mod endpoint;
mod files;
mod hub;
mod library;
mod local;
mod model;
mod options;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;

pub use crate::embed::hub::known_models;
pub use crate::embed::options::{Endpoint, Library, Options, Pooling, Source};

use crate::embed::endpoint::Remote;
use crate::embed::local::Local;

/// Turns texts into vectors. Cheap to clone; when the last clone is dropped, the threads end and the model is freed.
#[derive(Clone)]
pub struct Embedder(Arc<Kind>);

enum Kind {
    Local(Local),
    Remote(Box<Remote>),
}

/// Whether a caller may be kept waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Refused at once while the model is loading or when the queue is full. Goes before those that wait. For look-ups.
    Try,
    /// Waits for the model and for its turn. For storing.
    Wait,
}

/// A text as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// Of length 1, so that the dot product of two is the cosine of their angle.
    pub values: Vec<f32>,
    /// The digest of the model: only vectors of the same one may be compared.
    pub model: Arc<str>,
}

/// What is known of a model that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Names everything that shapes a vector: the files, the pooling and the cut, or the endpoint and its model.
    pub digest: Arc<str>,
    /// How many numbers a vector has.
    pub dimensions: usize,
}

/// How far an embedder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has asked yet, so nothing was loaded.
    Idle,
    /// The model is being fetched or loaded.
    Loading,
    /// It works.
    Ready(Model),
    /// It does not work until a restart; the reason says what to do.
    Off(Arc<str>),
}

/// Why there is no vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The model would see only the text's beginning.
    #[error("the text is longer than what is compared")]
    TooLong,
    /// The model would see the same in place of different things: it has no token for something in the text.
    #[error("the model has no token for a part of the text")]
    Unreadable,
    /// The queue is full.
    #[error("the queue for embedding is full")]
    Busy,
    /// The model is not there yet.
    #[error("the embedding model is being loaded")]
    Loading,
    /// Embedding is off until a restart.
    #[error("embedding is off: {0}")]
    Off(Arc<str>),
    /// This one text failed; others may not.
    #[error("embedding failed: {0}")]
    Failed(String),
}

impl Embedder {
    /// An embedder that has loaded nothing yet. Fails only if no HTTP client can be set up for an endpoint.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let kind = match options.source.clone() {
            Source::Endpoint(endpoint) => Kind::Remote(Box::new(Remote::new(endpoint, &options)?)),
            _ => Kind::Local(Local::new(options)),
        };
        Ok(Self(Arc::new(kind)))
    }

    /// The vector of a text. The first call starts loading the model.
    pub async fn embed(&self, text: &str, how: How) -> Result<Vector, Refused> {
        match &*self.0 {
            Kind::Local(local) => local.embed(text, how).await,
            Kind::Remote(remote) => remote.embed(text, how).await,
        }
    }

    /// How far it is, for statistics.
    pub fn state(&self) -> State {
        self.states().borrow().clone()
    }

    /// Loads the model if that has not been done, and waits for it. An endpoint is asked for one vector.
    pub async fn ready(&self) -> Result<Model, Refused> {
        match &*self.0 {
            Kind::Local(local) => local.load(),
            Kind::Remote(remote) => {
                if let State::Idle = self.state() {
                    remote.embed("ready?", How::Wait).await?;
                }
            }
        }
        let mut states = self.states();
        loop {
            match &*states.borrow_and_update() {
                State::Ready(model) => return Ok(model.clone()),
                State::Off(reason) => return Err(Refused::Off(reason.clone())),
                State::Idle | State::Loading => {}
            }
            // The sender lives as long as this handle.
            let _ = states.changed().await;
        }
    }

    fn states(&self) -> watch::Receiver<State> {
        match &*self.0 {
            Kind::Local(local) => local.states(),
            Kind::Remote(remote) => remote.states(),
        }
    }
}

/// More bytes per token than any legible text has (English has four): what is longer is not worth counting.
const BYTES_PER_TOKEN: usize = 32;

/// True for a text that is too long however it is cut into tokens.
fn surely_too_long(text: &str, max_tokens: usize) -> bool {
    text.len() > max_tokens.saturating_mul(BYTES_PER_TOKEN)
}

/// Scales to length 1; None for what has no direction: nothing but zeros, or something that is not a number.
fn normalized(mut values: Vec<f32>) -> Option<Vec<f32>> {
    let length = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
    if !length.is_finite() || length < 1e-12 {
        return None;
    }
    values.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    Some(values)
}

/// The first half of a SHA-256 in hexadecimal: enough to tell models apart.
fn short_hex(digest: &[u8]) -> Arc<str> {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
