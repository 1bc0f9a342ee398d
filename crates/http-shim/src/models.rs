//! The models that settings name.

use std::collections::BTreeSet;

use domain::{ApiError, Registry};
use http::Response;
use serde_json::{Value, json};

use crate::answer;
use crate::body::Body;

/// The list of models, by provider. A model that several have is the first one's.
pub(crate) fn list(registry: &Registry) -> Response<Body> {
    let mut seen = BTreeSet::new();
    let once = listed(registry).filter(|(id, _)| seen.insert(*id));
    let data: Vec<Value> = once.map(|(id, slug)| entry(id, slug)).collect();
    answer::json(200, &json!({ "object": "list", "data": data }))
}

/// One model.
pub(crate) fn one(registry: &Registry, wanted: &str) -> Response<Body> {
    match listed(registry).find(|(id, _)| *id == wanted) {
        Some((id, slug)) => answer::json(200, &entry(id, slug)),
        None => {
            let wanted: String = wanted.chars().take(200).collect();
            let message = format!(
                "no provider lists the model `{wanted}`; add it to `providers.<slug>.models`, \
                 or use it all the same: requests may name models that are not listed"
            );
            answer::error(&ApiError::new(404, "model_not_found", message).with_param("model"))
        }
    }
}

fn listed(registry: &Registry) -> impl Iterator<Item = (&str, &str)> {
    let of_provider = registry.providers.iter();
    of_provider
        .flat_map(|(slug, provider)| provider.models.iter().map(move |id| (id.as_str(), slug.as_str())))
}

fn entry(id: &str, slug: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 0, "owned_by": slug })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let provider = |models: [&str; 2]| domain::registry::Provider {
            models: models.map(str::to_owned).to_vec(),
            ..providers::catalogue::blank(Default::default(), "http://127.0.0.1:1/v1")
        };
        let providers = [("a".to_owned(), provider(["m", "n"])), ("b".to_owned(), provider(["m", "o/p"]))];
        Registry { providers: providers.into(), ..Registry::default() }
    }

    fn document(response: Response<Body>) -> Value {
        let Body::Whole(body) = response.into_body() else { panic!("a document comes in one piece") };
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_model_is_listed_once_with_the_provider_that_has_it() {
        let list = document(list(&registry()));
        let models: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|m| (&m["id"], &m["owned_by"])).collect();
        assert_eq!(
            models,
            [(&json!("m"), &json!("a")), (&json!("n"), &json!("a")), (&json!("o/p"), &json!("b"))]
        );
    }

    #[test]
    fn a_model_is_found_by_its_id() {
        assert_eq!(document(one(&registry(), "o/p"))["owned_by"], "b");
        assert_eq!(one(&registry(), "q").status(), 404);
    }
}
