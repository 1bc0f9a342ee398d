//! The table of what can be asked: the same for answering and for the OpenAPI document.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::accounts::{self, IntegrationBody, ProviderBody, VirtualKeyBody};
use crate::answer::Answer;
use crate::api_keys::{self, ApiKeyBody};
use crate::cache::{self, Invalidate};
use crate::call::Call;
use crate::configs::{self, CreateConfig, Lint, Rollback, UpdateConfig};
use crate::policies::{self, RatePolicyBody, UsagePolicyBody};
use crate::refusal::Refusal;
use crate::workspaces::{self, WorkspaceBody};
use crate::{analytics, audit_log, openapi, targets, usage};

/// What it takes to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: documents about the API itself.
    Nothing,
    /// A scope of the API key.
    Scope(&'static str),
    /// A scope that depends on what is asked for; the handler looks.
    ScopeOfKey(&'static str),
}

/// One line of the table.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) needs: Needs,
    pub(crate) summary: &'static str,
    /// What may follow the `?`.
    pub(crate) query: &'static [&'static str],
    pub(crate) body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(crate) handler: fn(&Call<'_>) -> Result<Answer, Refusal>,
}

const NONE: &[&str] = &[];
const HERE: &[&str] = &["workspace_id"];
const LIST: &[&str] = &["page_size", "current_page", "status", "workspace_id"];
const PAGES: &[&str] = &["page_size", "current_page", "workspace_id"];
const LIMITS: &[&str] = &["page_size", "current_page", "workspace_id", "type"];
const INTEGRATIONS: &[&str] = &["page_size", "current_page", "status", "workspace_id", "type"];
const WORKSPACES: &[&str] = &["page_size", "current_page", "status", "name", "exact_name"];
const AUDIT: &[&str] =
    &["start_time", "end_time", "actor", "resource", "action", "workspace_id", "page_size", "current_page"];
const SPEND: &[&str] = &[
    "start_date",
    "end_date",
    "group_by",
    "interval",
    "order_by",
    "limit",
    "offset",
    "latency",
    "workspace_id",
    "workspace",
    "api_key",
    "virtual_key",
    "provider",
    "model",
    "operation",
    "config",
    "user",
    "cache_status",
    "status",
    "metadata.*",
];
const EXPORT: &[&str] = &[
    "format",
    "start_date",
    "end_date",
    "workspace_id",
    "workspace",
    "api_key",
    "virtual_key",
    "provider",
    "model",
    "operation",
    "config",
    "user",
    "cache_status",
    "status",
    "metadata.*",
];
const CACHED: &[&str] = &[
    "id",
    "key",
    "tag",
    "model",
    "provider",
    "namespace",
    "before",
    "older_than",
    "page_size",
    "current_page",
    "workspace_id",
];
const GRAPH: &[&str] = &[
    "time_of_generation_min",
    "time_of_generation_max",
    "interval",
    "workspace_id",
    "status_code",
    "virtual_keys",
    "configs",
    "api_key_ids",
    "metadata",
    "ai_org_model",
    "cache_status",
];
const GROUP: &[&str] = &[
    "time_of_generation_min",
    "time_of_generation_max",
    "current_page",
    "page_size",
    "order_by",
    "order_by_type",
    "workspace_id",
    "status_code",
    "virtual_keys",
    "configs",
    "api_key_ids",
    "metadata",
    "ai_org_model",
    "cache_status",
];

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

macro_rules! routes {
    ($($method:literal $path:literal $needs:expr, $summary:literal, $query:ident, $body:expr, $handler:path;)*) => {
        /// Everything that can be asked. A fixed word comes before a variable part in the same place.
        pub(crate) const ROUTES: &[Route] = &[$(Route {
            method: $method,
            path: $path,
            needs: $needs,
            summary: $summary,
            query: $query,
            body: $body,
            handler: $handler,
        }),*];
    };
}

use Needs::{Nothing, Scope, ScopeOfKey};

routes! {
    "GET" "/v1/configs" Scope("configs.list"), "List configs", LIST, None, configs::index;
    "POST" "/v1/configs" Scope("configs.create"), "Create a config", HERE, Some(schema::<CreateConfig>), configs::create;
    "POST" "/v1/configs/lint" Scope("configs.read"), "Judge a config without storing it", HERE, Some(schema::<Lint>), configs::lint;
    "GET" "/v1/configs/{slug}" Scope("configs.read"), "Read a config", HERE, None, configs::read;
    "PUT" "/v1/configs/{slug}" Scope("configs.update"), "Change a config; a new document is a new version", HERE, Some(schema::<UpdateConfig>), configs::update;
    "DELETE" "/v1/configs/{slug}" Scope("configs.delete"), "Archive a config", HERE, None, configs::delete;
    "GET" "/v1/configs/{slug}/versions" Scope("configs.read"), "List a config's versions, newest first", PAGES, None, configs::versions;
    "GET" "/v1/configs/{slug}/versions/{version}" Scope("configs.read"), "Read one version", HERE, None, configs::one_version;
    "POST" "/v1/configs/{slug}/rollback" Scope("configs.update"), "Put an earlier version in force again", HERE, Some(schema::<Rollback>), configs::rollback;
    "GET" "/v1/virtual-keys" Scope("virtual_keys.list"), "List virtual keys", LIST, None, accounts::virtual_keys::index;
    "POST" "/v1/virtual-keys" Scope("virtual_keys.create"), "Create a virtual key", HERE, Some(schema::<VirtualKeyBody>), accounts::virtual_keys::create;
    "GET" "/v1/virtual-keys/{slug}" Scope("virtual_keys.read"), "Read a virtual key", HERE, None, accounts::virtual_keys::read;
    "PUT" "/v1/virtual-keys/{slug}" Scope("virtual_keys.update"), "Change a virtual key; `key` rotates its credential", HERE, Some(schema::<VirtualKeyBody>), accounts::virtual_keys::update;
    "DELETE" "/v1/virtual-keys/{slug}" Scope("virtual_keys.delete"), "Archive a virtual key", HERE, None, accounts::virtual_keys::delete;
    "GET" "/v1/providers" Scope("providers.list"), "List providers (the same entities as virtual keys)", LIST, None, accounts::provider::index;
    "POST" "/v1/providers" Scope("providers.create"), "Create a provider from an integration", HERE, Some(schema::<ProviderBody>), accounts::provider::create;
    "GET" "/v1/providers/{slug}" Scope("providers.read"), "Read a provider", HERE, None, accounts::provider::read;
    "PUT" "/v1/providers/{slug}" Scope("providers.update"), "Change a provider", HERE, Some(schema::<ProviderBody>), accounts::provider::update;
    "DELETE" "/v1/providers/{slug}" Scope("providers.delete"), "Archive a provider", HERE, None, accounts::provider::delete;
    "GET" "/v1/integrations" Scope("workspace_integrations.list"), "List integrations (the same entities as virtual keys)", INTEGRATIONS, None, accounts::integration::index;
    "POST" "/v1/integrations" Scope("workspace_integrations.create"), "Create an integration", HERE, Some(schema::<IntegrationBody>), accounts::integration::create;
    "GET" "/v1/integrations/{slug}" Scope("workspace_integrations.read"), "Read an integration", HERE, None, accounts::integration::read;
    "PUT" "/v1/integrations/{slug}" Scope("workspace_integrations.update"), "Change an integration", HERE, Some(schema::<IntegrationBody>), accounts::integration::update;
    "DELETE" "/v1/integrations/{slug}" Scope("workspace_integrations.delete"), "Archive an integration", HERE, None, accounts::integration::delete;
    "GET" "/v1/api-keys" ScopeOfKey("list"), "List API keys", LIST, None, api_keys::index;
    "POST" "/v1/api-keys/{id}/rotate" ScopeOfKey("update"), "Replace an API key's secret; the old one stays good for a while", HERE, Some(schema::<api_keys::Rotate>), api_keys::rotate;
    "POST" "/v1/api-keys/{type}/{sub_type}" ScopeOfKey("create"), "Create an API key: organisation/service, workspace/service or workspace/user", HERE, Some(schema::<ApiKeyBody>), api_keys::create;
    "GET" "/v1/api-keys/{id}" ScopeOfKey("read"), "Read an API key", HERE, None, api_keys::read;
    "PUT" "/v1/api-keys/{id}" ScopeOfKey("update"), "Change an API key", HERE, Some(schema::<ApiKeyBody>), api_keys::update;
    "DELETE" "/v1/api-keys/{id}" ScopeOfKey("delete"), "Archive an API key", HERE, None, api_keys::delete;
    "GET" "/v1/admin/workspaces" Scope("workspaces.list"), "List workspaces", WORKSPACES, None, workspaces::index;
    "POST" "/v1/admin/workspaces" Scope("workspaces.create"), "Create a workspace", NONE, Some(schema::<WorkspaceBody>), workspaces::create;
    "GET" "/v1/admin/workspaces/{slug}" Scope("workspaces.read"), "Read a workspace", NONE, None, workspaces::read;
    "PUT" "/v1/admin/workspaces/{slug}" Scope("workspaces.update"), "Change a workspace", NONE, Some(schema::<WorkspaceBody>), workspaces::update;
    "DELETE" "/v1/admin/workspaces/{slug}" Scope("workspaces.delete"), "Archive a workspace with all its API keys", NONE, None, workspaces::delete;
    "GET" "/v1/policies/usage-limits" Scope("policies.list"), "List policies of usage limits", LIST, None, policies::usage_limits::index;
    "POST" "/v1/policies/usage-limits" Scope("policies.create"), "Create a policy of usage limits", HERE, Some(schema::<UsagePolicyBody>), policies::usage_limits::create;
    "GET" "/v1/policies/usage-limits/{id}" Scope("policies.read"), "Read a policy of usage limits", HERE, None, policies::usage_limits::read;
    "PUT" "/v1/policies/usage-limits/{id}" Scope("policies.update"), "Change a policy of usage limits", HERE, Some(schema::<UsagePolicyBody>), policies::usage_limits::update;
    "DELETE" "/v1/policies/usage-limits/{id}" Scope("policies.delete"), "Archive a policy of usage limits", HERE, None, policies::usage_limits::delete;
    "GET" "/v1/policies/usage-limits/{id}/entities" Scope("policies.read"), "What each of its groups has used, of a policy of usage limits", PAGES, None, policies::usage_limits::entities;
    "PUT" "/v1/policies/usage-limits/{id}/entities/{entity}/reset" Scope("policies.update"), "Set the count of one group to nothing, of a policy of usage limits", HERE, Some(schema::<targets::Reset>), policies::usage_limits::reset;
    "POST" "/v1/policies/usage-limits/{id}/entities/{entity}/reset" Scope("policies.update"), "The same as PUT, for a policy of usage limits", HERE, Some(schema::<targets::Reset>), policies::usage_limits::reset;
    "GET" "/v1/policies/rate-limits" Scope("policies.list"), "List policies of rate limits", LIST, None, policies::rate_limits::index;
    "POST" "/v1/policies/rate-limits" Scope("policies.create"), "Create a policy of rate limits", HERE, Some(schema::<RatePolicyBody>), policies::rate_limits::create;
    "GET" "/v1/policies/rate-limits/{id}" Scope("policies.read"), "Read a policy of rate limits", HERE, None, policies::rate_limits::read;
    "PUT" "/v1/policies/rate-limits/{id}" Scope("policies.update"), "Change a policy of rate limits", HERE, Some(schema::<RatePolicyBody>), policies::rate_limits::update;
    "DELETE" "/v1/policies/rate-limits/{id}" Scope("policies.delete"), "Archive a policy of rate limits", HERE, None, policies::rate_limits::delete;
    "GET" "/v1/policies/rate-limits/{id}/entities" Scope("policies.read"), "What each of its groups has used, of a policy of rate limits", PAGES, None, policies::rate_limits::entities;
    "PUT" "/v1/policies/rate-limits/{id}/entities/{entity}/reset" Scope("policies.update"), "Set the count of one group to nothing, of a policy of rate limits", HERE, Some(schema::<targets::Reset>), policies::rate_limits::reset;
    "POST" "/v1/policies/rate-limits/{id}/entities/{entity}/reset" Scope("policies.update"), "The same as PUT, for a policy of rate limits", HERE, Some(schema::<targets::Reset>), policies::rate_limits::reset;
    "GET" "/v1/limits" Scope("policies.list"), "Every limit in force with what is used of it", LIMITS, None, usage::index;
    "GET" "/v1/admin/targets" Scope("targets.list"), "How targets do: circuits, failures, latency", PAGES, None, targets::index;
    "POST" "/v1/admin/targets/{target}/reset" Scope("targets.update"), "Close all circuits of a target; `/` in its name is written %2F", NONE, Some(schema::<targets::Reset>), targets::reset;
    "GET" "/v1/admin/cache/stats" Scope("cache.view"), "How the cache's nodes do, and what they hold", HERE, None, cache::stats;
    "GET" "/v1/admin/cache/entries" Scope("cache.view"), "List entries of the cache, newest first, without their answers", CACHED, None, cache::index;
    "GET" "/v1/admin/cache/entries/{id}" Scope("cache.view"), "Read an entry of the cache with its answer", HERE, None, cache::read;
    "POST" "/v1/admin/cache/invalidate" Scope("cache.invalidate"), "Take entries out of the cache", HERE, Some(schema::<Invalidate>), cache::invalidate;
    "GET" "/v1/admin/analytics/spend" Scope("analytics.view"), "What requests and attempts took and cost, grouped and filtered", SPEND, None, analytics::spend;
    "GET" "/v1/admin/analytics/export" Scope("analytics.view"), "Every attempt as csv, jsonl or parquet", EXPORT, None, analytics::export;
    "GET" "/v1/analytics/graphs/cost" Scope("analytics.view"), "What was spent, in cents, by time", GRAPH, None, analytics::cost;
    "GET" "/v1/analytics/graphs/tokens" Scope("analytics.view"), "Tokens by time", GRAPH, None, analytics::tokens;
    "GET" "/v1/analytics/graphs/requests" Scope("analytics.view"), "Requests by time", GRAPH, None, analytics::requests;
    "GET" "/v1/analytics/graphs/requests/rescued" Scope("analytics.view"), "Requests that were answered although an attempt had failed, by time", GRAPH, None, analytics::rescued;
    "GET" "/v1/analytics/graphs/users" Scope("analytics.view"), "People who asked, by time", GRAPH, None, analytics::users;
    "GET" "/v1/analytics/graphs/users/requests" Scope("analytics.view"), "Requests per person, by time", GRAPH, None, analytics::user_requests;
    "GET" "/v1/analytics/graphs/latency" Scope("analytics.view"), "How long requests took, in milliseconds, by time", GRAPH, None, analytics::latency;
    "GET" "/v1/analytics/graphs/errors" Scope("analytics.view"), "Requests without an answer, by time", GRAPH, None, analytics::errors;
    "GET" "/v1/analytics/graphs/errors/rate" Scope("analytics.view"), "Percentage of requests without an answer, by time", GRAPH, None, analytics::error_rate;
    "GET" "/v1/analytics/graphs/errors/status-codes" Scope("analytics.view"), "Requests without an answer by status", GRAPH, None, analytics::status_codes;
    "GET" "/v1/analytics/graphs/errors/stacks" Scope("analytics.view"), "Requests without an answer by status and time", GRAPH, None, analytics::error_stacks;
    "GET" "/v1/analytics/graphs/cache/hit-rate" Scope("analytics.view"), "Answers from the cache and what they saved, by time", GRAPH, None, analytics::cache_hit_rate;
    "GET" "/v1/analytics/graphs/cache/latency" Scope("analytics.view"), "How long answers from the cache took, by time", GRAPH, None, analytics::cache_latency;
    "GET" "/v1/analytics/summary/cache" Scope("analytics.view"), "What the cache did", GRAPH, None, analytics::cache_summary;
    "GET" "/v1/analytics/groups/metadata/{key}" Scope("analytics.view"), "Requests and cost by a value of the metadata", GROUP, None, analytics::by_metadata;
    "GET" "/v1/analytics/groups/{group}" Scope("analytics.view"), "Requests and cost by users, ai-models, provider, api_key, config, workspace or status_code", GROUP, None, analytics::by_name;
    "GET" "/v1/audit-logs" Scope("audit_logs.list"), "List changes, newest first", AUDIT, None, audit_log::index;
    "GET" "/v1/openapi.json" Nothing, "This document", NONE, None, openapi::document;
    "GET" "/admin" Nothing, "A page to read this document and try it", NONE, None, openapi::page;
}

/// Finds the line for a question, and the path's variable parts.
pub(crate) fn find<'a>(method: &str, path: &'a str) -> Result<(&'static Route, Vec<&'a str>), Refusal> {
    // An answer to HEAD is one to GET without its body.
    let method = if method == "HEAD" { "GET" } else { method };
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(params) = fit(route.path, path) else { continue };
        if route.method == method {
            return Ok((route, params));
        }
        allowed.push(route.method);
    }
    let shown: String = path.chars().take(200).collect();
    if allowed.is_empty() {
        return Err(Refusal::no_route(format!("nothing is at `{shown}`; see GET /v1/openapi.json")));
    }
    Err(Refusal::method(format!("`{shown}` does not take {method}; use {}", allowed.join(", "))))
}

fn fit<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    let mut params = Vec::new();
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(params),
            (Some(part), Some(word)) if part.starts_with('{') && !word.is_empty() => params.push(word),
            (Some(part), Some(word)) if part == word => {}
            _ => return None,
        }
    }
}
