//! Whether an answer may be given to somebody who used other words: not at all, as long as there is nothing to judge it.

/// A text without what says nothing: case, spaces, the last mark.
pub(crate) fn normal(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    text.trim_end_matches(['?', '!', '.', ' ']).to_owned()
}

/// In what two texts differ, if they may not share an answer.
pub(crate) fn differs(asked: &str, stored: &str) -> Option<&'static str> {
    (normal(asked) != normal(stored)).then_some("words")
}
