//! What a format cannot say of a request.

use std::collections::HashSet;

/// Paths of what is left out, in order and each once.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    paths: Vec<String>,
    known: HashSet<String>,
}

impl Dropped {
    /// Goes on from what the reader could not keep.
    pub(crate) fn new(read: Vec<String>) -> Self {
        let mut dropped = Self::default();
        read.into_iter().for_each(|path| dropped.push(path));
        dropped
    }

    /// Something is left out.
    pub(crate) fn push(&mut self, path: impl Into<String>) {
        let path = path.into();
        if self.known.insert(path.clone()) {
            self.paths.push(path);
        }
    }

    /// What was left out so far.
    #[cfg(test)]
    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// All of it.
    pub(crate) fn into_paths(self) -> Vec<String> {
        self.paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_once_and_in_order() {
        let mut dropped = Dropped::new(vec!["b".into(), "a".into(), "b".into()]);
        dropped.push("a");
        dropped.push("c");
        assert_eq!(dropped.into_paths(), ["b", "a", "c"]);
    }
}
