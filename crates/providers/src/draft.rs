//! A request body while a format writes it.

use domain::ApiError;
use serde_json::{Map, Value, json};

use crate::chat::{Cache, Dialect, Function, Target, Tool, Written};
use crate::dropped::Dropped;

/// The body so far, and what it could not say.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    body: Map<String, Value>,
    dropped: Dropped,
}

impl Draft {
    /// An empty body. `dropped`: what the reader could not keep.
    pub(crate) fn new(dropped: Vec<String>) -> Self {
        Self { body: Map::new(), dropped: Dropped::new(dropped) }
    }

    /// Writes a field.
    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.body.insert(name.to_owned(), value.into());
    }

    /// Writes a field if it has a value.
    pub(crate) fn put_some<T: Into<Value>>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Says that something had to be left out, by its path.
    pub(crate) fn lose(&mut self, path: impl Into<String>) {
        self.dropped.push(path);
    }

    /// The same, if there is something to leave out.
    pub(crate) fn lose_if(&mut self, lost: bool, path: &str) {
        if lost {
            self.lose(path);
        }
    }

    /// Says that a cache mark had to be left out.
    pub(crate) fn lose_cache(&mut self, cache: Option<&Cache>, path: &str) {
        if cache.is_some() {
            self.lose(format!("{path}.cache_control"));
        }
    }

    /// The request. `own` fields have no place in the format; `unknown` ones are passed on unless the format has
    /// written one of that name.
    pub(crate) fn finish(mut self, own: Map<String, Value>, unknown: Map<String, Value>) -> Written {
        own.into_iter().for_each(|(name, _)| self.lose(name));
        for (name, value) in unknown {
            if self.body.contains_key(&name) {
                self.lose(name);
            } else {
                self.body.insert(name, value);
            }
        }
        Written {
            body: Value::Object(self.body).to_string().into_bytes(),
            dropped: self.dropped.into_paths(),
        }
    }

    /// Functions in OpenAI's shape, which many formats took over; tools of other dialects than `dialect` are left out.
    /// Tools come with their numbers in the caller's request, as `enumerate` gives them.
    /// `strict`: the format says elsewhere that arguments have to fit exactly.
    pub(crate) fn functions(
        &mut self,
        tools: impl IntoIterator<Item = (usize, Tool)>,
        dialect: Option<Dialect>,
        strict: bool,
    ) -> Result<Vec<Value>, ApiError> {
        let mut written = Vec::new();
        for (i, tool) in tools {
            match tool {
                Tool::Function(function) => {
                    self.lose_cache(function.cache.as_ref(), &format!("tools[{i}]"));
                    self.lose_if(
                        function.strict == Some(true) && !strict,
                        &format!("tools[{i}].function.strict"),
                    );
                    written.push(in_openai_shape(i, function)?);
                }
                Tool::Native { dialect: owner, value } if Some(owner) == dialect => written.push(value),
                Tool::Native { .. } => self.lose(format!("tools[{i}]")),
            }
        }
        Ok(written)
    }
}

fn in_openai_shape(i: usize, function: Function) -> Result<Value, ApiError> {
    let Function { name, description, parameters, strict: _, cache: _ } = function;
    if name.is_empty() {
        let path = format!("tools[{i}].function.name");
        let message = format!("`{path}` is empty; write the function's name");
        return Err(ApiError::bad_request(&path, "missing_tool_name", message));
    }
    let mut written = Map::new();
    written.insert("name".to_owned(), name.into());
    if let Some(description) = description {
        written.insert("description".to_owned(), description.into());
    }
    // Cohere and Ollama want a schema even where there is nothing to say.
    let parameters = parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    written.insert("parameters".to_owned(), parameters);
    Ok(json!({ "type": "function", "function": written }))
}

/// A request that this format cannot say at all. `what` the provider does not take, and what to write `instead`.
pub(crate) fn unsupported(target: &Target<'_>, path: &str, what: &str, instead: &str) -> ApiError {
    let message = format!("`{path}`: {} takes no {what}; {instead}", target.provider);
    ApiError::bad_request(path, "unsupported_content", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn what_is_left_out_is_said_once_and_in_order() {
        let mut draft = Draft::new(vec!["a".into(), "b".into(), "a".into()]);
        draft.put("k", 1);
        draft.put_some("p", None::<u64>);
        draft.lose_if(true, "n");
        draft.lose_if(false, "m");
        draft.lose("b");
        let written = draft.finish(map(json!({ "store": true })), map(json!({ "k": 2, "x": [3] })));
        assert_eq!(written.dropped, ["a", "b", "n", "store", "k"]);
        let body: Value = serde_json::from_slice(&written.body).unwrap();
        assert_eq!(body, json!({ "k": 1, "x": [3] }));
    }

    #[test]
    fn functions_without_a_schema_get_an_empty_one_and_need_a_name() {
        let mut draft = Draft::default();
        let function = Function { name: "f".into(), strict: Some(true), ..Function::default() };
        let native = Tool::Native { dialect: Dialect::Gemini, value: json!({ "google_search": {} }) };
        let tools = [(0, Tool::Function(function)), (1, native)];
        let written = draft.functions(tools, Some(Dialect::Cohere), false).unwrap();
        let expected = json!({ "name": "f", "parameters": { "type": "object", "properties": {} } });
        assert_eq!(written, [json!({ "type": "function", "function": expected })]);
        assert_eq!(draft.dropped.paths(), ["tools[0].function.strict", "tools[1]"]);
        let nameless = draft.functions([(0, Tool::Function(Function::default()))], None, false).unwrap_err();
        assert_eq!(nameless.param.as_deref(), Some("tools[0].function.name"));
    }
}
