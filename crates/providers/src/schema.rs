//! JSON schemas: what formats have in common.

use domain::ApiError;
use serde_json::Value;

use crate::fields::{quoted, wrong, wrong_type};

/// Checks the JSON schema of a tool's arguments. They come as an object, so it has to describe one.
pub(crate) fn check_parameters(schema: &Value, at: &str) -> Result<(), ApiError> {
    let Value::Object(schema) = schema else {
        return Err(wrong_type(at, "a JSON schema, an object,", schema));
    };
    match schema.get("type") {
        None => {}
        Some(Value::String(kind)) if kind == "object" => {}
        Some(other) => {
            let other = quoted(&other.to_string());
            let words = format_args!("is {other}: arguments are an object, so write `\"object\"`");
            return Err(wrong(&format!("{at}.type"), "invalid_value", words));
        }
    }
    if let Some(properties) = schema.get("properties").filter(|properties| !properties.is_object()) {
        return Err(wrong_type(
            &format!("{at}.properties"),
            "an object with a schema for each argument",
            properties,
        ));
    }
    match schema.get("required") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(names)) if names.iter().all(Value::is_string) => Ok(()),
        Some(other) => Err(wrong_type(&format!("{at}.required"), "an array of names", other)),
    }
}

/// A JSON schema that carries its own name and description, for formats that take a bare schema. A title of its own
/// wins over the name, which is a label; a description of its own follows ours.
pub(crate) fn titled(schema: Value, name: String, description: Option<String>) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    if !name.is_empty() {
        schema.entry("title").or_insert_with(|| name.into());
    }
    if let Some(description) = description {
        match schema.get_mut("description") {
            Some(Value::String(own)) => *own = format!("{description}\n\n{own}"),
            _ => drop(schema.insert("description".to_owned(), description.into())),
        }
    }
    Value::Object(schema)
}

/// Most places of one schema that are reported one by one.
const MOST_PLACES: usize = 64;

/// Most of a property's name that paths repeat, in bytes.
const MOST_NAME: usize = 64;

/// The path of a word or a property in a schema. Long names are cut: paths are made for every place of a schema, so that
/// they would add up to far more than the schema.
pub(crate) fn step(path: &str, name: &str) -> String {
    if name.len() <= MOST_NAME {
        return format!("{path}.{name}");
    }
    format!("{path}.{}…", &name[..name.floor_char_boundary(MOST_NAME)])
}

/// What of a schema is left out, by path. If that is too much to tell, the schema as a whole is.
#[derive(Debug)]
pub(crate) struct LeftOut {
    root: String,
    paths: Vec<String>,
}

impl LeftOut {
    /// Nothing yet of the schema at this path.
    pub(crate) fn of(root: &str) -> Self {
        Self { root: root.to_owned(), paths: Vec::new() }
    }

    /// This place is left out.
    pub(crate) fn push(&mut self, path: String) {
        match self.paths.len() {
            n if n < MOST_PLACES => self.paths.push(path),
            MOST_PLACES => self.paths.push(self.root.clone()),
            _ => {}
        }
    }

    /// The places.
    pub(crate) fn into_paths(self) -> Vec<String> {
        self.paths
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_keeps_its_own_words() {
        let described = titled(json!({ "description": "Mine" }), String::new(), Some("Ours".into()));
        assert_eq!(described, json!({ "description": "Ours\n\nMine" }));
        let schema = titled(json!({ "title": "Mine", "$ref": "#/$defs/a" }), "n".into(), Some("d".into()));
        assert_eq!(schema, json!({ "title": "Mine", "$ref": "#/$defs/a", "description": "d" }));
        assert_eq!(titled(json!(true), "n".into(), None), json!(true));
    }

    #[test]
    fn paths_stay_short_however_long_names_are() {
        assert_eq!(step("tools[0]", "type"), "tools[0].type");
        assert_eq!(step("a", &"ü".repeat(1_000)), format!("a.{}…", "ü".repeat(32)));
    }

    #[test]
    fn too_much_to_tell_is_told_of_the_whole() {
        let mut left_out = LeftOut::of("schema");
        (0..1_000).for_each(|n| left_out.push(format!("schema.{n}")));
        let paths = left_out.into_paths();
        assert_eq!((paths.len(), paths[63].as_str(), paths[64].as_str()), (65, "schema.63", "schema"));
    }
}
