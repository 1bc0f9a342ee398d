//! Where text comes from, in Anthropic's form.

use serde_json::{Value, json};

/// The kinds of places that Anthropic knows.
///
/// Source: "Citations" and "Web search tool" on platform.claude.com.
const KINDS: [&str; 5] = [
    "char_location",
    "page_location",
    "content_block_location",
    "search_result_location",
    "web_search_result_location",
];

/// Whether Anthropic takes it back. A web page needs its `encrypted_index`, which only Anthropic's own search gives.
pub(super) fn goes_back(citation: &Value) -> bool {
    let kind = citation.get("type").and_then(Value::as_str);
    let sealed =
        || citation.get("encrypted_index").and_then(Value::as_str).is_some_and(|seal| !seal.is_empty());
    kind.is_some_and(|kind| KINDS.contains(&kind) && (kind != "web_search_result_location" || sealed()))
}

/// The citation for a caller: as it is if it is Anthropic's; OpenAI's `url_citation` as a page of a web search. None:
/// it has no form in this dialect.
pub(super) fn written(citation: &Value) -> Option<Value> {
    let kind = citation.get("type").and_then(Value::as_str)?;
    if KINDS.contains(&kind) {
        return Some(citation.clone());
    }
    let page = (kind == "url_citation").then(|| citation.get("url_citation").unwrap_or(citation))?;
    let url = page.get("url").and_then(Value::as_str)?;
    Some(json!({
        "type": "web_search_result_location", "url": url, "title": page.get("title"),
        "cited_text": "", "encrypted_index": "",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_searches_are_shown_but_never_sent_back() {
        let theirs =
            json!({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}});
        let shown = written(&theirs).unwrap();
        assert_eq!(shown["url"], "https://a.example");
        assert!(!goes_back(&theirs) && !goes_back(&shown));
        let ours = json!({"type": "char_location", "cited_text": "x"});
        assert_eq!(written(&ours).as_ref(), Some(&ours));
        assert!(goes_back(&ours));
        assert_eq!(written(&json!({"type": "other"})), None);
        assert_eq!(written(&json!("x")), None);
    }
}
