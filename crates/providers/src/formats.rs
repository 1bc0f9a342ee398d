//! What each wire format offers, and in which form a request goes out.

use domain::Operation;
use domain::registry::Format;

/// Path of an operation below the base URL of a provider of that format; None: the format has no such operation.
pub fn path(format: Format, operation: Operation, stream: bool) -> Option<&'static str> {
    Some(match (format, operation, stream) {
        (Format::OpenAi, Operation::Messages | Operation::CountTokens, _) => return None,
        (_, Operation::Passthrough, _) => "",
        (Format::OpenAi, operation, _) => operation.openai_path(),
        (Format::Anthropic, Operation::Messages, _) => "/messages",
        (Format::Anthropic, Operation::CountTokens, _) => "/messages/count_tokens",
        (Format::Gemini, Operation::Chat, false) => "/models/{+model}:generateContent",
        (Format::Gemini, Operation::Chat, true) => "/models/{+model}:streamGenerateContent?alt=sse",
        (Format::Gemini, Operation::Embeddings, _) => "/models/{+model}:batchEmbedContents",
        (Format::Gemini, Operation::CountTokens, _) => "/models/{+model}:countTokens",
        (Format::Bedrock, Operation::Chat, false) => "/model/{model}/converse",
        (Format::Bedrock, Operation::Chat, true) => "/model/{model}/converse-stream",
        (Format::Bedrock, Operation::Embeddings, _) => "/model/{model}/invoke",
        (Format::Cohere | Format::Ollama, Operation::Chat, _) => "/chat",
        (Format::Cohere | Format::Ollama, Operation::Embeddings, _) => "/embed",
        (Format::Cohere, Operation::Rerank, _) => "/rerank",
        (Format::WorkersAi, Operation::Chat, _) => "/{+model}",
        _ => return None,
    })
}

/// The operation that is asked of a provider by a request for `operation`. `offered`: what the provider says it offers;
/// empty: all that its format has, but for the Responses API, which few have. None: it cannot answer.
pub fn asked(format: Format, operation: Operation, offered: &[Operation]) -> Option<Operation> {
    let offers = |asked: Operation| match offered {
        [] => asked != Operation::Responses && path(format, asked, false).is_some(),
        listed => listed.contains(&asked) || asked == Operation::Passthrough,
    };
    if offers(operation) {
        return Some(operation);
    }
    // What is a chat in one dialect is one in all.
    let chats = operation.is_chat() || operation == Operation::Completions;
    [Operation::Chat, Operation::Messages].into_iter().find(|asked| chats && offers(*asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_asked_in_the_providers_own_way() {
        use Operation::*;
        for (format, operation, offered, expected) in [
            (Format::OpenAi, Chat, &[][..], Some(Chat)),
            (Format::OpenAi, Responses, &[], Some(Chat)),
            (Format::OpenAi, Responses, &[Chat, Responses], Some(Responses)),
            (Format::OpenAi, Messages, &[Chat, Responses], Some(Chat)),
            (Format::OpenAi, Messages, &[Chat, Messages], Some(Messages)),
            (Format::OpenAi, Completions, &[Chat], Some(Chat)),
            (Format::OpenAi, Embeddings, &[Chat], None),
            (Format::OpenAi, Speech, &[], Some(Speech)),
            (Format::OpenAi, CountTokens, &[], None),
            (Format::Anthropic, Chat, &[], Some(Messages)),
            (Format::Anthropic, Responses, &[], Some(Messages)),
            (Format::Anthropic, Embeddings, &[], None),
            (Format::Anthropic, Passthrough, &[Messages], Some(Passthrough)),
            (Format::Gemini, Messages, &[], Some(Chat)),
            (Format::Gemini, CountTokens, &[], Some(CountTokens)),
            (Format::Bedrock, Rerank, &[], None),
        ] {
            assert_eq!(asked(format, operation, offered), expected, "{format} {operation} {offered:?}");
        }
    }
}
