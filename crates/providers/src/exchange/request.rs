//! The request's way to the provider.

use std::borrow::Cow;

use bytes::Bytes;
use domain::config::params::{Changes, Path};
use domain::form::Form;
use domain::{ApiError, ModelInfo, Operation};
use serde_json::{Map, Value};

use super::Exchange;
use crate::chat::{Target, Written};
use crate::fields::listed;
use crate::translation::{self, Translation};
use crate::{anthropic, embeddings, openai, rerank, responses};

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The body.
    pub body: Bytes,
    /// Its media type; None: JSON.
    pub content_type: Option<String>,
    /// Parameters that the provider cannot take, by name or path.
    pub dropped: Vec<String>,
}

impl Exchange<'_> {
    /// The request in the provider's format.
    ///
    /// Errors are 400s: the body is not what the caller's dialect promises, or the provider's format cannot say it.
    pub fn request(&self, body: &Bytes, model: Option<&ModelInfo>) -> Result<Outgoing, ApiError> {
        let outgoing = if !self.is_native() {
            self.translated(body, model)?
        } else if self.content_type.is_some() {
            self.form(body)?
        } else {
            self.spliced(body)?
        };
        if self.unsupported == domain::config::Unsupported::Reject && !outgoing.dropped.is_empty() {
            let message = format!(
                "{} does not take {}; leave them out, or allow them to be dropped with `\"unsupported_params\": \"drop\"`",
                self.about.provider,
                listed(outgoing.dropped.iter().map(String::as_str)),
            );
            return Err(ApiError::bad_request(&outgoing.dropped[0], "unsupported_parameter", message));
        }
        Ok(outgoing)
    }

    /// The caller's bytes, with what has to be changed spliced in.
    fn spliced(&self, body: &Bytes) -> Result<Outgoing, ApiError> {
        let passes = self.operation == Operation::Passthrough;
        if passes && (self.changes.is_empty() || serde_json::from_slice::<Map<String, Value>>(body).is_err())
        {
            return Ok(Outgoing { body: body.clone(), content_type: None, dropped: Vec::new() });
        }
        let own = (self.operation == Operation::Responses).then(|| responses::without_foreign_items(body));
        let (body, foreign) = match own.flatten() {
            Some(written) => (&Bytes::from(written.body), written.dropped),
            None => (body, Vec::new()),
        };
        let asks_for_usage = self.stream
            && matches!(self.operation, Operation::Chat | Operation::Completions)
            && !self.quirks.no_stream_options;
        let plain = self.quirks.is_empty() && self.model.is_none();
        let (changes, mut dropped) =
            if plain { (None, Vec::new()) } else { self.adapted(body, &self.changes) };
        dropped.splice(..0, foreign);
        let changes = changes.as_ref().map_or(self.changes, Adapted::changes);
        let body = openai::request_body(body, &changes, asks_for_usage).map_err(|err| not_json(&err))?;
        Ok(Outgoing { body, content_type: None, dropped })
    }

    /// A form, with texts changed.
    fn form(&self, body: &Bytes) -> Result<Outgoing, ApiError> {
        let content_type = self.content_type.map(str::to_owned);
        let unchanged = self.changes.is_empty() && self.quirks.is_empty() && self.model.is_none();
        let form = match self.content_type.map(|content_type| Form::parse(content_type, body)) {
            Some(Ok(form)) if !unchanged => form,
            _ => return Ok(Outgoing { body: body.clone(), content_type, dropped: Vec::new() }),
        };
        let names: Vec<String> = form.names().map(str::to_owned).collect();
        let (adapted, dropped) =
            self.adapted_names(&names, |name| form.text(name).map(Value::from), &self.changes);
        let changes = adapted.changes();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let lacking = changes.defaults.iter().filter(|(name, _)| !names.contains(name));
        let set = lacking.chain(changes.overrides).map(|(name, value)| (name.as_str(), Some(text(value))));
        let taken = changes.drops.iter().filter_map(Path::top_level).map(|name| (name, None));
        let body = form.with(&set.chain(taken).collect::<Vec<_>>());
        Ok(Outgoing { body: Bytes::from(body), content_type, dropped })
    }

    /// The request in the provider's format, although the caller may speak it.
    pub fn translate(&self, body: &Bytes) -> Result<Outgoing, ApiError> {
        self.translated(body, None)
    }

    /// Read in the caller's dialect, written in the provider's.
    fn translated(&self, body: &Bytes, model: Option<&ModelInfo>) -> Result<Outgoing, ApiError> {
        let body = openai::request_body(body, &self.changes, false).map_err(|err| not_json(&err))?;
        let target = Target { provider: self.about.provider, model, options: self.options };
        let named = |name: String| self.model.map_or(name, str::to_owned);
        let Written { body, mut dropped } = match self.translation()? {
            Translation::Chat(dialect, wire) => {
                let mut request = (dialect.read_request)(&body)?;
                request.model = named(request.model);
                (wire.write_request)(request, &target)?
            }
            Translation::Embeddings(write, _) => {
                let mut request = embeddings::openai::read_request(&body)?;
                request.model = named(request.model);
                write(request, &target)?
            }
            Translation::ShapedEmbeddings(shape) => {
                let mut request = embeddings::openai::read_request(&body)?;
                request.model = named(request.model);
                shape.write_request(request, &target)?
            }
            Translation::Rerank(shape) => {
                let mut request = rerank::read_request(&body)?;
                request.model = named(request.model);
                shape.write_request(request, &target)?
            }
            Translation::Count(write, _) => {
                let mut request = anthropic::read_count_request(&body)?;
                request.model = named(request.model);
                write(request, &target)?
            }
        };
        let mut body = Bytes::from(body);
        if !self.quirks.is_empty() {
            let none = Map::new();
            let nothing = Changes { defaults: &none, overrides: &none, drops: &[] };
            let (adapted, more) = self.adapted(&body, &nothing);
            if let Some(adapted) = adapted {
                body =
                    openai::request_body(&body, &adapted.changes(), false).map_err(|err| not_json(&err))?;
            }
            dropped.extend(more.into_iter().filter(|name| !dropped.contains(name)).collect::<Vec<_>>());
        }
        Ok(Outgoing { body, content_type: None, dropped })
    }

    pub(super) fn translation(&self) -> Result<Translation, ApiError> {
        translation::of(self.operation, self.format, self.quirks).ok_or_else(|| self.untranslated())
    }

    /// The changes that the provider's quirks ask for on top of others, and what they drop.
    fn adapted(&self, body: &[u8], changes: &Changes<'_>) -> (Option<Adapted>, Vec<String>) {
        let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return (None, Vec::new());
        };
        let names: Vec<String> = fields.keys().cloned().collect();
        let (adapted, dropped) = self.adapted_names(&names, |name| fields.get(name).cloned(), changes);
        (Some(adapted), dropped)
    }

    fn adapted_names(
        &self,
        names: &[String],
        value: impl Fn(&str) -> Option<Value>,
        changes: &Changes<'_>,
    ) -> (Adapted, Vec<String>) {
        let quirks = self.quirks;
        let mut adapted = Adapted {
            defaults: changes.defaults.clone(),
            overrides: changes.overrides.clone(),
            drops: changes.drops.to_vec(),
        };
        if let Some(model) = self.model {
            adapted.overrides.insert("model".to_owned(), model.into());
        }
        let has = |adapted: &Adapted, name: &str| {
            adapted.overrides.contains_key(name)
                || adapted.defaults.contains_key(name)
                || names.iter().any(|known| known == name)
        };
        for (from, to) in &quirks.rename {
            if !has(&adapted, from) {
                continue;
            }
            let named = adapted.overrides.shift_remove(from).or_else(|| value(from));
            if let Some(named) = named.or_else(|| adapted.defaults.get(from).cloned())
                && !has(&adapted, to)
            {
                adapted.overrides.insert(to.clone(), named);
            }
            adapted.drop(from);
        }
        let mut dropped = Vec::new();
        for name in &quirks.unsupported {
            if has(&adapted, name) {
                adapted.drop(name);
                dropped.push(name.clone());
            }
        }
        for name in &quirks.in_url {
            adapted.drop(name);
        }
        if quirks.no_stream_options {
            // Such a provider tells the usage without being asked.
            adapted.drop("stream_options");
        }
        adapted.overrides.extend(quirks.set.clone());
        (adapted, dropped)
    }

    pub(super) fn untranslated(&self) -> ApiError {
        let message = format!(
            "{} is not supported by {}: its format, {}, has no such operation",
            self.operation, self.about.provider, self.format
        );
        ApiError::bad_request("model", "unsupported_operation", message)
    }
}

/// Changes of a body, made up for one provider.
struct Adapted {
    defaults: Map<String, Value>,
    overrides: Map<String, Value>,
    drops: Vec<Path>,
}

impl Adapted {
    fn changes(&self) -> Changes<'_> {
        Changes { defaults: &self.defaults, overrides: &self.overrides, drops: &self.drops }
    }

    fn drop(&mut self, name: &str) {
        if let Ok(path) = name.parse() {
            self.drops.push(path);
        }
    }
}

fn not_json(err: &serde_json::Error) -> ApiError {
    ApiError::new(400, "invalid_json", format!("the body is not a JSON object: {err}"))
}

/// The body of a request as it was changed before it was translated, for dialects that repeat it in their answers.
pub(super) fn repeated<'b>(exchange: &Exchange<'_>, body: &'b Bytes) -> Cow<'b, [u8]> {
    match openai::request_body(body, &exchange.changes, false) {
        Ok(changed) => Cow::Owned(changed.to_vec()),
        Err(_) => Cow::Borrowed(body),
    }
}

#[cfg(test)]
mod tests {
    use domain::config::Unsupported;
    use domain::registry::{Format, Quirks};
    use serde_json::json;

    use super::*;
    use crate::chat::About;

    #[test]
    fn a_provider_of_the_responses_dialect_does_not_get_the_thoughts_of_others() {
        let (none, quirks) = (Map::new(), Quirks::default());
        let about =
            About { provider: "openai", model: "m", id: "1", now: 0, strict: true, include_usage: true };
        let exchange = Exchange {
            operation: Operation::Responses,
            asked: Operation::Responses,
            format: Format::OpenAi,
            quirks: &quirks,
            changes: Changes { defaults: &none, overrides: &none, drops: &[] },
            options: &none,
            model: None,
            unsupported: Unsupported::Drop,
            content_type: None,
            stream: false,
            about,
        };
        let thoughts = json!({ "type": "reasoning", "summary": [], "encrypted_content": "thinking:S" });
        let body = json!({ "model": "m", "input": [thoughts, { "role": "user", "content": "a" }] });
        let body = Bytes::from(body.to_string());
        let sent = exchange.request(&body, None).unwrap();
        assert_eq!(sent.dropped, ["input[0]"]);
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent["input"], json!([{ "role": "user", "content": "a" }]));
        let own = Bytes::from_static(br#"{"model":"m","input":"a"}"#);
        assert_eq!(exchange.request(&own, None).unwrap().body, own);
        let rejecting = Exchange { unsupported: Unsupported::Reject, ..exchange };
        assert!(rejecting.request(&body, None).unwrap_err().message.contains("`input[0]`"));
    }
}
