//! The OpenAPI document, made of the table of routes and the types of their bodies, and a page to try it.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::refusal::Refusal;
use crate::routes::{Needs, ROUTES, Route};

/// The gateway's own paths: method, path, summary, and whether a JSON body comes with it.
const GATEWAY: &[(&str, &str, &str, bool)] = &[
    ("post", "/v1/chat/completions", "Chat completion, whole or streamed", true),
    ("post", "/v1/completions", "Text completion", true),
    ("post", "/v1/embeddings", "Embeddings", true),
    ("get", "/v1/models", "List models", false),
    ("get", "/v1/models/{model}", "One model", false),
    ("get", "/v1/requests/{id}", "What became of a request", false),
    ("delete", "/v1/requests/{id}", "Cancel a request", false),
    ("get", "/v1/requests/{id}/result", "The answer of a request", false),
    ("get", "/health", "Whether the process lives", false),
    ("get", "/ready", "Whether the process can serve", false),
    ("get", "/metrics", "Prometheus metrics", false),
];

/// The document.
pub(crate) fn document(_: &Call<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::Found(openapi(), None))
}

/// The page.
pub(crate) fn page(_: &Call<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::Text("text/html; charset=utf-8", include_str!("explorer.html")))
}

fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = SchemaGenerator::new(settings);
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        put(&mut paths, &route.method.to_ascii_lowercase(), route.path, operation);
    }
    for (method, path, summary, has_body) in GATEWAY {
        let mut operation = json!({
            "operationId": operation_id(method, path), "summary": summary, "tags": ["gateway"],
            "parameters": path_parameters(path),
            "responses": { "200": { "description": "The answer" }, "default": error() },
        });
        if *has_body {
            operation["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": { "type": "object", "description": "As in the OpenAI API." } } },
            });
        }
        put(&mut paths, method, path, operation);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Error".to_owned(), error_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Pointsman", "version": env!("CARGO_PKG_VERSION"),
            "description": "Gateway to language models, and its administration. Virtual keys, providers and \
                            integrations are three shapes of one entity.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "An API key, `pm_…`." },
                "portkey": { "type": "apiKey", "in": "header", "name": "x-portkey-api-key" },
            },
        },
        "security": [{ "bearer": [] }, { "portkey": [] }, {}],
    })
}

fn put(paths: &mut Map<String, Value>, method: &str, path: &str, operation: Value) {
    let entry = paths.entry(path.to_owned()).or_insert_with(|| json!({}));
    entry[method] = operation;
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = path_parameters(route.path);
    parameters.extend(route.query.iter().map(
        |name| json!({ "name": name, "in": "query", "required": false, "schema": { "type": "string" } }),
    ));
    if matches!(route.method, "PUT" | "DELETE") {
        parameters.push(header(
            "If-Match",
            "Revision (`ETag`) that the change builds upon; another one gives 412.",
        ));
    }
    if route.method == "POST" {
        let text =
            "The same key and body within a day give the same answer. A secret is shown the first time only.";
        parameters.push(header("Idempotency-Key", text));
    }
    let description = match route.needs {
        Needs::Nothing => "Needs no API key.".to_owned(),
        Needs::Scope(scope) => format!("Scope: `{scope}`."),
        Needs::ScopeOfKey(verb) => format!(
            "Scope: `organisation_service_api_keys.{verb}`, `workspace_service_api_keys.{verb}` or \
             `workspace_user_api_keys.{verb}`, by the kind of key."
        ),
    };
    let mut operation = json!({
        "operationId": operation_id(route.method, route.path), "summary": route.summary,
        "description": description, "tags": [tag(route.path)], "parameters": parameters,
        "responses": {
            "200": { "description": "Done", "content": { "application/json": { "schema": { "type": "object" } } } },
            "default": error(),
        },
    });
    if route.method == "POST" && route.body.is_some() {
        operation["responses"]["201"] = operation["responses"]["200"].clone();
        operation["responses"]["201"]["description"] = json!("Created");
    }
    if route.needs == Needs::Nothing {
        operation["security"] = json!([]);
    }
    if let Some(body) = route.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": body(generator) } } });
    }
    operation
}

fn header(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "header", "required": false, "description": description, "schema": { "type": "string" } })
}

fn error() -> Value {
    json!({
        "description": "Why not",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
    })
}

fn error_schema() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "success": { "const": false },
            "data": { "type": "object", "properties": { "message": text } },
            "error": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "code": { "type": ["string", "null"] }, "message": text,
                    "param": { "type": ["string", "null"], "description": "The field or header that was wrong." },
                    "type": text,
                },
            },
        },
        "required": ["error"],
    })
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

fn tag(path: &str) -> &str {
    let rest = path.trim_start_matches("/v1/").trim_start_matches("admin/").trim_start_matches('/');
    rest.split('/').next().unwrap_or(rest)
}

/// As in `put_configs_slug`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/v1").split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{}_{}", method.to_ascii_lowercase(), words.join("_"))
}
