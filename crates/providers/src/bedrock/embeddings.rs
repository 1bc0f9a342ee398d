//! Embeddings by Bedrock's `/model/{id}/invoke`, whose bodies are those of the models: Amazon's Titan and Cohere's.
//!
//! Sources: "Amazon Titan Text Embeddings models", "Amazon Titan Multimodal Embeddings G1" and "Cohere Embed models" in
//! the Bedrock user guide.

use domain::{ApiError, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::family;
use super::request::put_at;
use crate::chat::{Target, Written};
use crate::embeddings::{Answer, Input, Request};

/// Whose body a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Titan's: one text a call.
    Titan {
        /// Path of the vectors' length; empty: it cannot be chosen.
        dimensions: &'static [&'static str],
    },
    /// Cohere's: many texts a call, and what they are for.
    Cohere {
        /// Whether the vectors' length can be chosen.
        dimensions: bool,
    },
}

/// Beginnings of model ids; the first that fits is taken.
const FAMILIES: &[(&str, Family)] = &[
    ("amazon.titan-embed-image", Family::Titan { dimensions: &["embeddingConfig", "outputEmbeddingLength"] }),
    ("amazon.titan-embed-text-v2", Family::Titan { dimensions: &["dimensions"] }),
    ("amazon.titan-embed", Family::Titan { dimensions: &[] }),
    ("cohere.embed-english-v3", Family::Cohere { dimensions: false }),
    ("cohere.embed-multilingual-v3", Family::Cohere { dimensions: false }),
    ("cohere.embed", Family::Cohere { dimensions: true }),
];

/// What vectors are for, in Cohere's words and in those of others.
const PURPOSES: &[(&str, &[&str])] = &[
    ("search_query", &["search_query", "query", "RETRIEVAL_QUERY", "QUESTION_ANSWERING"]),
    ("search_document", &["search_document", "document", "passage", "RETRIEVAL_DOCUMENT"]),
    ("classification", &["classification", "CLASSIFICATION"]),
    ("clustering", &["clustering", "CLUSTERING"]),
];

impl Family {
    /// The family of a model id, in whatever form it comes: plain, behind a region, at the end of an ARN.
    pub fn of(model: &str) -> Option<Self> {
        family::entry(model, FAMILIES)
    }
}

/// Writes a request as the model takes it; the model is in the URL. The error says what cannot be said at all: several
/// texts to a model that takes one, tokens, another model's body.
pub fn write_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let Request { model, input, dimensions, base64: _, user, purpose, unknown } = request;
    let provider = target.provider;
    let known = Family::of(&model).or_else(|| Family::of(&target.model?.name));
    let Some(family) = known else {
        let message = format!(
            "`model`: {provider} turns texts into vectors with models of `amazon.titan-embed-…` and `cohere.embed-…`, and \
             `{model}` is none of them"
        );
        return Err(ApiError::bad_request("model", "unsupported_content", message));
    };
    let texts = texts(input, provider)?;
    let (mut body, mut dropped) = (Map::new(), Vec::new());
    match family {
        Family::Titan { dimensions: path } => {
            let [text] =
                <[String; 1]>::try_from(texts).map_err(|texts| one_only(texts.len(), provider, &model))?;
            body.insert("inputText".to_owned(), text.into());
            match dimensions {
                Some(_) if path.is_empty() => dropped.push("dimensions".to_owned()),
                Some(length) => put_at(&mut body, path, length.into()),
                None => (),
            }
            dropped.extend(purpose.map(|_| "input_type".to_owned()));
        }
        Family::Cohere { dimensions: chosen } => {
            body.insert("texts".to_owned(), texts.into());
            let (word, said) = in_coheres_words(purpose.as_deref());
            body.insert("input_type".to_owned(), word.into());
            body.insert("embedding_types".to_owned(), json!(["float"]));
            match dimensions {
                Some(_) if !chosen => dropped.push("dimensions".to_owned()),
                Some(length) => drop(body.insert("output_dimension".to_owned(), length.into())),
                None => (),
            }
            if !said {
                dropped.push("input_type".to_owned());
            }
        }
    }
    dropped.extend(user.map(|_| "user".to_owned()));
    for (name, value) in unknown {
        if body.contains_key(&name) {
            dropped.push(name);
        } else {
            body.insert(name, value);
        }
    }
    Ok(Written { body: Value::Object(body).to_string().into_bytes(), dropped })
}

fn texts(input: Vec<Input>, provider: &str) -> Result<Vec<String>, ApiError> {
    let text = |(index, input)| match input {
        Input::Text(text) => Ok(text),
        Input::Tokens(_) => {
            let path = format!("input[{index}]");
            let message = format!("`{path}`: {provider} takes no tokens; send the text");
            Err(ApiError::bad_request(&path, "unsupported_content", message))
        }
    };
    input.into_iter().enumerate().map(text).collect()
}

fn one_only(given: usize, provider: &str, model: &str) -> ApiError {
    let message = format!(
        "`input`: {provider} takes one text a call for `{model}`, and {given} are given; send each in a request of its own"
    );
    ApiError::bad_request("input", "unsupported_content", message)
}

/// Cohere's word for a purpose, and whether it says it. It wants one in any case: documents are what is embedded most.
fn in_coheres_words(purpose: Option<&str>) -> (&'static str, bool) {
    let found = purpose.and_then(|purpose| PURPOSES.iter().find(|(_, words)| words.contains(&purpose)));
    (found.map_or("search_document", |(word, _)| word), purpose.is_none() || found.is_some())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answered {
    #[serde(rename_all = "camelCase")]
    Titan {
        embedding: Vec<f32>,
        #[serde(default)]
        input_text_token_count: Option<u64>,
    },
    Cohere {
        embeddings: Embeddings,
    },
}

/// Cohere's vectors, plain or by their type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Embeddings {
    Plain(Vec<Vec<f32>>),
    ByType { float: Vec<Vec<f32>> },
}

/// Reads an answer. The error says why it is none. Cohere's models tell their tokens in headers only.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let answered = serde_json::from_slice(body).map_err(|_| {
        "the answer holds no vectors: neither `embedding` nor `embeddings` of numbers".to_owned()
    })?;
    Ok(match answered {
        Answered::Titan { embedding, input_text_token_count: tokens } => Answer {
            model: None,
            vectors: vec![embedding],
            usage: tokens.map(|input| Usage { input, ..Usage::default() }),
        },
        Answered::Cohere {
            embeddings: Embeddings::Plain(vectors) | Embeddings::ByType { float: vectors },
        } => Answer { model: None, vectors, usage: None },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(model: &str, input: &[&str]) -> Request {
        let input = input.iter().map(|text| Input::Text((*text).to_owned())).collect();
        Request { model: model.to_owned(), input, ..Request::default() }
    }

    #[track_caller]
    fn check(request: Request, expected: Value, dropped: &[&str]) {
        let target = Target { provider: "bedrock", model: None, options: &Map::new() };
        let written = write_request(request, &target).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&written.body).unwrap(), expected);
        assert_eq!(written.dropped, dropped);
    }

    fn refused(request: Request) -> ApiError {
        let target = Target { provider: "bedrock", model: None, options: &Map::new() };
        write_request(request, &target).unwrap_err()
    }

    #[test]
    fn bodies_are_those_of_the_model() {
        let v2 = Request {
            dimensions: Some(256),
            user: Some("u".to_owned()),
            unknown: Map::from_iter([("normalize".to_owned(), true.into())]),
            ..request("amazon.titan-embed-text-v2:0", &["hello"])
        };
        check(v2, json!({"inputText": "hello", "dimensions": 256, "normalize": true}), &["user"]);
        let v1 = Request { dimensions: Some(256), ..request("us.amazon.titan-embed-text-v1", &["hello"]) };
        check(v1, json!({"inputText": "hello"}), &["dimensions"]);
        let image = Request { dimensions: Some(384), ..request("amazon.titan-embed-image-v1", &["hello"]) };
        check(image, json!({"inputText": "hello", "embeddingConfig": {"outputEmbeddingLength": 384}}), &[]);
        let cohere = Request {
            dimensions: Some(512),
            purpose: Some("RETRIEVAL_QUERY".to_owned()),
            unknown: json!({"truncate": "RIGHT", "texts": []}).as_object().cloned().unwrap(),
            ..request("global.cohere.embed-v4:0", &["a", "b"])
        };
        let expected = json!({
            "texts": ["a", "b"], "input_type": "search_query", "embedding_types": ["float"],
            "output_dimension": 512, "truncate": "RIGHT",
        });
        check(cohere, expected, &["texts"]);
        let v3 = Request {
            dimensions: Some(512),
            purpose: Some("poetry".to_owned()),
            ..request("cohere.embed-multilingual-v3", &["a"])
        };
        let expected = json!({"texts": ["a"], "input_type": "search_document", "embedding_types": ["float"]});
        check(v3, expected, &["dimensions", "input_type"]);
    }

    #[test]
    fn what_a_model_does_not_take_is_refused() {
        let err = refused(request("amazon.titan-embed-text-v2:0", &["a", "b"]));
        assert!(err.message.contains("one text a call") && err.message.contains("2 are given"), "{err:?}");
        let tokens = Request { input: vec![Input::Tokens(vec![1])], ..request("cohere.embed-v4:0", &[]) };
        assert_eq!(refused(tokens).param.as_deref(), Some("input[0]"));
        assert_eq!(refused(request("amazon.nova-lite-v1:0", &["a"])).param.as_deref(), Some("model"));
    }

    #[test]
    fn answers_of_every_model_are_read() {
        let titan =
            br#"{"embedding":[0.5,-1],"embeddingsByType":{"float":[0.5,-1]},"inputTextTokenCount":3}"#;
        let usage = Some(Usage { input: 3, ..Usage::default() });
        assert_eq!(read_answer(titan), Ok(Answer { model: None, vectors: vec![vec![0.5, -1.0]], usage }));
        let vectors = vec![vec![0.5], vec![1.0]];
        for body in [
            &br#"{"embeddings":[[0.5],[1]],"id":"x","response_type":"embeddings_floats","texts":["a","b"]}"#
                [..],
            br#"{"embeddings":{"float":[[0.5],[1]]},"id":"x","response_type":"embeddings_by_type"}"#,
        ] {
            assert_eq!(read_answer(body).unwrap().vectors, vectors);
        }
        assert!(read_answer(br#"{"message":"no"}"#).unwrap_err().contains("no vectors"));
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_answer(&bytes);
        }
    }
}
