//! The list of models: those of the configured providers, and those that virtual keys lead to.
//!
//! A provider shows what its settings name, else what is known of it by name. Models behind a virtual key are called
//! `@key/model`, as requests name them. Clients of Anthropic get Anthropic's shape of the list.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use domain::model::{ModelInfo, Models as _};
use domain::policy::{self, Policy, Status, VirtualKey};
use domain::{ApiError, Operation, Registry, Timestamp, Workspace};
use http::Response;
use providers::models::View;
use serde_json::{Value, json};

use crate::answer;
use crate::body::Body;

/// What the caller may see.
pub(crate) struct Seen<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) policy: &'a Policy,
    pub(crate) workspace: &'a Workspace,
    pub(crate) now: Timestamp,
}

/// How the list is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// In Anthropic's shape.
    pub(crate) anthropic: bool,
    /// Only models of this provider or virtual key.
    provider: Option<String>,
    /// The provider that the headers name: shown even if the settings do not have it.
    named: Option<String>,
    /// Only models of virtual keys and providers of this service.
    service: Option<String>,
    limit: Option<usize>,
    offset: usize,
    sort: Option<Sort>,
    descending: bool,
    after: Option<String>,
    before: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Name,
    Provider,
    Service,
}

/// A model as it is listed.
#[derive(Clone, Debug, PartialEq)]
struct Listed {
    /// What requests call it.
    id: String,
    /// Its name at the provider.
    name: String,
    /// The configured provider, or the virtual key with its `@`.
    through: String,
    /// The provider that answers.
    service: String,
}

/// Most models on a page of Anthropic's list, and how many there are unless the caller says.
const ANTHROPIC_PAGE: (usize, usize) = (1000, 20);

impl Wanted {
    /// Reads the query. `named`: the provider that headers name. Errors are 400s that name the parameter.
    pub(crate) fn read(query: Option<&str>, named: Option<&str>, anthropic: bool) -> Result<Self, ApiError> {
        let named = named.map(without_at);
        let mut wanted = Self { anthropic, provider: named.clone(), named, ..Self::default() };
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "provider" => wanted.provider = Some(without_at(&value)),
                "ai_service" => wanted.service = Some(value.into_owned()),
                "limit" => wanted.limit = Some(count(&name, &value)?),
                "offset" => wanted.offset = count(&name, &value)?,
                "after_id" => wanted.after = Some(value.into_owned()),
                "before_id" => wanted.before = Some(value.into_owned()),
                "sort" => {
                    let word = |(word, sort): (&str, Sort)| (word == value).then_some(sort);
                    let sort = SORTS.into_iter().find_map(word);
                    wanted.sort =
                        Some(sort.ok_or_else(|| wrong(&name, &value, "name, provider or ai_service"))?);
                }
                "order" => {
                    wanted.descending = match &*value {
                        "asc" => false,
                        "desc" => true,
                        _ => return Err(wrong(&name, &value, "asc or desc")),
                    }
                }
                // OpenAI's API passes over what it does not know here, and so do its clients' proxies.
                _ => {}
            }
        }
        if anthropic && wanted.limit.is_some_and(|limit| limit == 0 || limit > ANTHROPIC_PAGE.0) {
            return Err(wrong("limit", &wanted.limit.unwrap_or_default().to_string(), "1 to 1000"));
        }
        Ok(wanted)
    }

    fn takes(&self, model: &Listed) -> bool {
        let through = model.through.trim_start_matches('@');
        self.provider.as_deref().is_none_or(|slug| slug == through)
            && self.service.as_deref().is_none_or(|service| service == model.service)
    }
}

const SORTS: [(&str, Sort); 3] =
    [("name", Sort::Name), ("provider", Sort::Provider), ("ai_service", Sort::Service)];

fn without_at(slug: &str) -> String {
    slug.trim_start_matches('@').to_owned()
}

fn count(name: &str, value: &str) -> Result<usize, ApiError> {
    value.parse().map_err(|_| wrong(name, value, "a number, 0 or more"))
}

fn wrong(name: &str, value: &str, instead: &str) -> ApiError {
    let value: String = value.chars().take(50).collect();
    ApiError::bad_request(name, "invalid_value", format!("`{name}` cannot be `{value}`; write {instead}"))
}

/// The list of models, by provider. A model that several providers have is the first one's.
pub(crate) fn list(seen: &Seen<'_>, wanted: &Wanted) -> Response<Body> {
    let mut found: Vec<Listed> = all(seen, wanted).into_iter().filter(|model| wanted.takes(model)).collect();
    match wanted.sort {
        None => {}
        Some(Sort::Name) => found.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id))),
        Some(Sort::Provider) => found.sort_by(|a, b| (&a.through, &a.name).cmp(&(&b.through, &b.name))),
        Some(Sort::Service) => found.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name))),
    }
    if wanted.descending {
        found.reverse();
    }
    if wanted.anthropic { anthropic_page(&found, wanted) } else { page(&found, wanted) }
}

fn page(found: &[Listed], wanted: &Wanted) -> Response<Body> {
    let rest = found.iter().skip(wanted.offset);
    let data: Vec<Value> = rest.take(wanted.limit.unwrap_or(usize::MAX)).map(entry).collect();
    answer::json(200, &json!({ "object": "list", "total": found.len(), "data": data }))
}

/// Source: <https://platform.claude.com/docs/en/api/models/list>.
fn anthropic_page(found: &[Listed], wanted: &Wanted) -> Response<Body> {
    let limit = wanted.limit.unwrap_or(ANTHROPIC_PAGE.1);
    let place = |id: &Option<String>| found.iter().position(|model| Some(&model.id) == id.as_ref());
    let after = place(&wanted.after).map_or(0, |at| at + 1);
    let (from, to, more) = match place(&wanted.before) {
        Some(end) => (end.saturating_sub(limit), end, end > limit),
        None => (after, (after + limit).min(found.len()), after + limit < found.len()),
    };
    let page = found.get(from..to).unwrap_or_default();
    let id = |model: Option<&Listed>| model.map(|model| model.id.clone());
    answer::json(
        200,
        &json!({
            "data": page.iter().map(anthropic_entry).collect::<Vec<_>>(),
            "has_more": more,
            "first_id": id(page.first()),
            "last_id": id(page.last()),
        }),
    )
}

/// One model.
pub(crate) fn one(seen: &Seen<'_>, wanted: &Wanted, name: &str) -> Response<Body> {
    let full = |model: &Listed| format!("@{}/{}", model.through.trim_start_matches('@'), model.name);
    let found = all(seen, wanted).into_iter().filter(|model| wanted.takes(model));
    match found.into_iter().find(|model| model.id == name || full(model) == name) {
        Some(model) if wanted.anthropic => answer::json(200, &anthropic_entry(&model)),
        Some(model) => answer::json(200, &entry(&model)),
        None => {
            let name: String = name.chars().take(200).collect();
            let message = format!(
                "no provider lists the model `{name}`; add it to `providers.<slug>.models`, \
                 or use it all the same: requests may name models that are not listed"
            );
            refusal(&ApiError::new(404, "model_not_found", message).with_param("model"), wanted.anthropic)
        }
    }
}

/// An error in the dialect of the list.
pub(crate) fn refusal(err: &ApiError, anthropic: bool) -> Response<Body> {
    if anthropic { answer::refusal(Operation::Messages, err) } else { answer::error(err) }
}

fn all(seen: &Seen<'_>, wanted: &Wanted) -> Vec<Listed> {
    let view = View::new(seen.registry);
    let configured = seen.registry.providers.keys().map(String::as_str);
    let named = wanted.named.as_deref().filter(|slug| !seen.registry.providers.contains_key(*slug));
    let mut found = of_providers(seen, &view, configured.chain(named));
    let mut once = BTreeSet::new();
    found.retain(|model| once.insert(model.id.clone()));
    for key in seen.policy.usable_virtual_keys(seen.workspace) {
        let alive = key.status == Status::Active && key.expires_at.is_none_or(|at| at > seen.now);
        if alive {
            found.extend(of_virtual_key(seen, &view, &key));
        }
    }
    found
}

fn of_providers<'s>(seen: &Seen<'_>, view: &View<'_>, slugs: impl Iterator<Item = &'s str>) -> Vec<Listed> {
    let listed = slugs.flat_map(|slug| {
        let names = names(seen, view, slug);
        names.into_iter().map(move |name| Listed {
            id: name.clone(),
            name,
            through: slug.to_owned(),
            service: slug.to_owned(),
        })
    });
    listed.collect()
}

/// What the settings name for a provider, else what is known of it.
fn names(seen: &Seen<'_>, view: &View<'_>, slug: &str) -> Vec<String> {
    let named = seen.registry.providers.get(slug).map(|provider| &provider.models);
    match named.filter(|models| !models.is_empty()) {
        Some(models) => models.clone(),
        None => known(view, slug).map(|info| info.name.clone()).collect(),
    }
}

fn known<'a>(view: &'a View<'_>, slug: &'a str) -> impl Iterator<Item = &'a ModelInfo> {
    view.all().filter(move |info| info.provider == slug)
}

fn of_virtual_key(seen: &Seen<'_>, view: &View<'_>, key: &VirtualKey) -> Vec<Listed> {
    let mut names = names(seen, view, &key.provider);
    if !key.models.is_empty() {
        names.retain(|name| key.models.iter().any(|pattern| policy::matches(pattern, name)));
        // A model that is allowed by its name is there, whoever knows it.
        let plain = key.models.iter().filter(|pattern| !pattern.contains('*'));
        let lacking: Vec<String> = plain.filter(|name| !names.contains(name)).cloned().collect();
        names.extend(lacking);
    }
    let listed = names.into_iter().map(|name| Listed {
        id: format!("@{}/{name}", key.slug),
        name,
        through: format!("@{}", key.slug),
        service: key.provider.clone(),
    });
    listed.collect()
}

fn entry(model: &Listed) -> Value {
    json!({
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.service,
        "provider": model.through.trim_start_matches('@'),
        "slug": model.name,
    })
}

/// When a model was made is not known here; Anthropic's own API writes the epoch then.
fn anthropic_entry(model: &Listed) -> Value {
    json!({
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": "1970-01-01T00:00:00Z",
    })
}
