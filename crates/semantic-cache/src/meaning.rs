//! What turns texts into vectors, as the rest of the role sees it.

use futures::future::BoxFuture;

/// Whether a text may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Refused at once where it would have to wait.
    Try,
    /// Waits for its turn.
    Wait,
}

/// A text as numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vector {
    /// Of length 1.
    pub(crate) values: Vec<f32>,
    /// Digest of the model.
    pub(crate) model: std::sync::Arc<str>,
}

/// Why there is no vector.
#[cfg_attr(not(test), expect(dead_code, reason = "there is no embedder yet that says all of it"))]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Not now; later it may work.
    #[error("{0}")]
    Now(String),
    /// Not this text.
    #[error("{0}")]
    Text(String),
    /// Not before a restart.
    #[error("{0}")]
    Off(String),
}

/// Turns texts into vectors.
pub(crate) trait Meaning: Send + Sync + 'static {
    /// The vector of a text.
    fn embed<'a>(&'a self, text: &'a str, how: How) -> BoxFuture<'a, Result<Vector, Refused>>;

    /// How it does, in a word or why it is off.
    fn state(&self) -> String;
}

/// Knows no meaning.
pub(crate) struct Nothing;

impl Meaning for Nothing {
    fn embed<'a>(&'a self, _text: &'a str, _how: How) -> BoxFuture<'a, Result<Vector, Refused>> {
        Box::pin(async { Err(Refused::Off(self.state())) })
    }

    fn state(&self) -> String {
        "no embedder is set up".to_owned()
    }
}
