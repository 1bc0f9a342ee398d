//! What turns texts into vectors, as the rest of the role sees it.

use futures::future::BoxFuture;

use crate::embed::{Embedder, How, Refused, State, Vector};

/// Turns texts into vectors.
pub(crate) trait Meaning: Send + Sync + 'static {
    /// The vector of a text.
    fn embed<'a>(&'a self, text: &'a str, how: How) -> BoxFuture<'a, Result<Vector, Refused>>;

    /// How it does: a word, or why it is off.
    fn state(&self) -> String;
}

impl Meaning for Embedder {
    fn embed<'a>(&'a self, text: &'a str, how: How) -> BoxFuture<'a, Result<Vector, Refused>> {
        Box::pin(Self::embed(self, text, how))
    }

    fn state(&self) -> String {
        match Self::state(self) {
            State::Idle => "idle".to_owned(),
            State::Loading => "loading".to_owned(),
            State::Ready(_) => "ready".to_owned(),
            State::Off(reason) => reason.to_string(),
        }
    }
}
