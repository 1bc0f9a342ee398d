//! Which address belongs to whom.

use domain::Operation;

use crate::dialect::gemini::Verb;
use crate::dialect::{anthropic, azure, bedrock, cohere, gemini, oauth, ollama, openai, vertex, workers_ai};
use crate::endpoint::{Endpoint, decoded};

/// Who answers a path.
pub(crate) enum Route {
    Create { endpoint: &'static dyn Endpoint, captured: Vec<String>, methods: &'static str },
    Models,
    Bill,
    Log,
    Requests,
    Health,
}

/// Paths of providers. `{}` stands for a part that is left open, `*` at the end for any rest.
static ENDPOINTS: &[(&str, &'static dyn Endpoint)] = &[
    ("/v1/chat/completions", &openai::Create(Operation::Chat)),
    ("/v1/completions", &openai::Create(Operation::Completions)),
    ("/v1/embeddings", &openai::Create(Operation::Embeddings)),
    ("/v1/responses", &openai::Responses),
    ("/v1/moderations", &openai::Moderations),
    ("/v1/images/generations", &openai::Generations),
    ("/v1/images/edits", &openai::Edits { varies: false }),
    ("/v1/images/variations", &openai::Edits { varies: true }),
    ("/v1/audio/speech", &openai::Speech),
    ("/v1/audio/transcriptions", &openai::Transcriptions { translates: false }),
    ("/v1/audio/translations", &openai::Transcriptions { translates: true }),
    ("/v1/rerank", &openai::Rerank),
    ("/v1/messages", &anthropic::Messages),
    ("/v1/messages/count_tokens", &anthropic::CountTokens),
    ("/anthropic/v1/messages", &anthropic::Messages),
    ("/anthropic/v1/messages/count_tokens", &anthropic::CountTokens),
    ("/model/{}/converse", &bedrock::Model::Converse),
    ("/model/{}/converse-stream", &bedrock::Model::ConverseStream),
    ("/model/{}/invoke", &bedrock::Model::Invoke),
    ("/model/{}/invoke-with-response-stream", &bedrock::Model::InvokeStream),
    ("/v1beta/models/{}:generateContent", &gemini::Gemini(Verb::Generate)),
    ("/v1beta/models/{}:streamGenerateContent", &gemini::Gemini(Verb::Stream)),
    ("/v1beta/models/{}:countTokens", &gemini::Gemini(Verb::Count)),
    ("/v1beta/models/{}:embedContent", &gemini::Gemini(Verb::Embed)),
    ("/v1beta/models/{}:batchEmbedContents", &gemini::Gemini(Verb::EmbedMany)),
    ("/v1/models/{}:generateContent", &gemini::Gemini(Verb::Generate)),
    ("/v1/models/{}:streamGenerateContent", &gemini::Gemini(Verb::Stream)),
    ("/v1/models/{}:countTokens", &gemini::Gemini(Verb::Count)),
    ("/v1/models/{}:embedContent", &gemini::Gemini(Verb::Embed)),
    ("/v1/models/{}:batchEmbedContents", &gemini::Gemini(Verb::EmbedMany)),
    (
        "/v1/projects/{}/locations/{}/publishers/google/models/{}:generateContent",
        &vertex::Gemini(Verb::Generate),
    ),
    (
        "/v1/projects/{}/locations/{}/publishers/google/models/{}:streamGenerateContent",
        &vertex::Gemini(Verb::Stream),
    ),
    ("/v1/projects/{}/locations/{}/publishers/google/models/{}:countTokens", &vertex::Gemini(Verb::Count)),
    ("/v1/projects/{}/locations/{}/publishers/google/models/{}:predict", &vertex::Predict),
    (
        "/v1/projects/{}/locations/{}/publishers/anthropic/models/{}:rawPredict",
        &vertex::Claude { stream: false },
    ),
    (
        "/v1/projects/{}/locations/{}/publishers/anthropic/models/{}:streamRawPredict",
        &vertex::Claude { stream: true },
    ),
    (
        "/v1beta1/projects/{}/locations/{}/publishers/google/models/{}:generateContent",
        &vertex::Gemini(Verb::Generate),
    ),
    (
        "/v1beta1/projects/{}/locations/{}/publishers/google/models/{}:streamGenerateContent",
        &vertex::Gemini(Verb::Stream),
    ),
    (
        "/v1beta1/projects/{}/locations/{}/publishers/google/models/{}:countTokens",
        &vertex::Gemini(Verb::Count),
    ),
    ("/v1beta1/projects/{}/locations/{}/publishers/google/models/{}:predict", &vertex::Predict),
    (
        "/v1beta1/projects/{}/locations/{}/publishers/anthropic/models/{}:rawPredict",
        &vertex::Claude { stream: false },
    ),
    (
        "/v1beta1/projects/{}/locations/{}/publishers/anthropic/models/{}:streamRawPredict",
        &vertex::Claude { stream: true },
    ),
    ("/openai/deployments/{}/chat/completions", &azure::Deployment(Operation::Chat)),
    ("/openai/deployments/{}/completions", &azure::Deployment(Operation::Completions)),
    ("/openai/deployments/{}/embeddings", &azure::Deployment(Operation::Embeddings)),
    ("/openai/v1/chat/completions", &azure::V1(Operation::Chat)),
    ("/openai/v1/completions", &azure::V1(Operation::Completions)),
    ("/openai/v1/embeddings", &azure::V1(Operation::Embeddings)),
    ("/openai/v1/responses", &azure::Other { endpoint: &openai::Responses, deployed: false }),
    (
        "/openai/deployments/{}/images/generations",
        &azure::Other { endpoint: &openai::Generations, deployed: true },
    ),
    ("/openai/v1/images/generations", &azure::Other { endpoint: &openai::Generations, deployed: false }),
    (
        "/openai/deployments/{}/images/edits",
        &azure::Other { endpoint: &openai::Edits { varies: false }, deployed: true },
    ),
    (
        "/openai/v1/images/edits",
        &azure::Other { endpoint: &openai::Edits { varies: false }, deployed: false },
    ),
    ("/openai/deployments/{}/audio/speech", &azure::Other { endpoint: &openai::Speech, deployed: true }),
    ("/openai/v1/audio/speech", &azure::Other { endpoint: &openai::Speech, deployed: false }),
    (
        "/openai/deployments/{}/audio/transcriptions",
        &azure::Other { endpoint: &openai::Transcriptions { translates: false }, deployed: true },
    ),
    (
        "/openai/v1/audio/transcriptions",
        &azure::Other { endpoint: &openai::Transcriptions { translates: false }, deployed: false },
    ),
    (
        "/openai/deployments/{}/audio/translations",
        &azure::Other { endpoint: &openai::Transcriptions { translates: true }, deployed: true },
    ),
    (
        "/openai/v1/audio/translations",
        &azure::Other { endpoint: &openai::Transcriptions { translates: true }, deployed: false },
    ),
    ("/models/chat/completions", &azure::Foundry(Operation::Chat)),
    ("/models/embeddings", &azure::Foundry(Operation::Embeddings)),
    ("/token", &oauth::GoogleToken),
    ("/{}/oauth2/v2.0/token", &oauth::EntraToken),
    ("/google/service-account", &oauth::ServiceAccount),
    ("/v2/chat", &cohere::ChatRoute),
    ("/v2/embed", &cohere::EmbedRoute),
    ("/v2/rerank", &cohere::RerankRoute),
    ("/api/chat", &ollama::ChatRoute),
    ("/api/embed", &ollama::EmbedRoute),
    ("/client/v4/accounts/{}/ai/run/*", &workers_ai::Run),
    ("/v1/*", &openai::Echo),
];

impl Route {
    /// The first that fits.
    pub(crate) fn find(path: &str) -> Option<Self> {
        match path {
            "/bill" => return Some(Self::Bill),
            "/log" => return Some(Self::Log),
            "/requests" => return Some(Self::Requests),
            "/health" => return Some(Self::Health),
            "/v1/models" => return Some(Self::Models),
            _ => {}
        }
        ENDPOINTS.iter().find_map(|(pattern, endpoint)| {
            let captured = matched(pattern, path)?;
            let methods = match *pattern {
                "/google/service-account" => "GET",
                "/v1/*" => "",
                _ => "POST",
            };
            Some(Self::Create { endpoint: *endpoint, captured, methods })
        })
    }

    /// Methods that are taken; empty for all.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Create { methods, .. } => methods,
            Self::Bill => "GET, DELETE",
            _ => "GET",
        }
    }
}

/// The open parts of a path that fits, decoded.
fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut captured = Vec::new();
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        if wanted == "*" {
            captured.push(decoded(&parts.collect::<Vec<_>>().join("/")).into_owned());
            return Some(captured);
        }
        let part = parts.next()?;
        match wanted.strip_prefix("{}") {
            // The verb after a name, as in `{}:generateContent`.
            Some(verb) => {
                let name = part.strip_suffix(verb).filter(|name| !name.is_empty())?;
                captured.push(decoded(name).into_owned());
            }
            None if wanted == part => {}
            None => return None,
        }
    }
    parts.next().is_none().then_some(captured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expected: Option<&[&str]>) {
        let expected = expected.map(|parts| parts.iter().map(|part| (*part).to_owned()).collect());
        assert_eq!(matched(pattern, path), expected, "{pattern} {path}");
    }

    #[test]
    fn patterns_leave_parts_open() {
        check("/v1/chat", "/v1/chat", Some(&[]));
        check("/v1/chat", "/v1/chat/", None);
        check("/v1/chat", "/v1", None);
        check("/model/{}/invoke", "/model/a%3Fb%2Fc:0/invoke", Some(&["a?b/c:0"]));
        check("/model/{}/invoke", "/model//invoke", None);
        check("/models/{}:count", "/models/a:b:count", Some(&["a:b"]));
        check("/models/{}:count", "/models/a:b", None);
        check("/v1/*", "/v1/files/x", Some(&["files/x"]));
    }
}
