//! Tests of turning JSON schemas into what Gemini takes.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn check(schema: Value, expected: Value, dropped: &[&str]) {
    let (converted, lost) = convert(&schema, "s");
    assert_eq!(converted, expected);
    assert_eq!(lost, dropped);
}

#[test]
fn what_gemini_knows_stays_as_it_is() {
    let schema = json!({
        "type": "object", "title": "T", "description": "d",
        "properties": {
            "a": {"type": ["string", "null"], "format": "date-time", "enum": ["x", "y"]},
            "b": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}, "minItems": 1, "maxItems": 3},
            "c": {"anyOf": [{"type": "string"}, {"type": "number", "enum": [1, 2.5]}]},
            "d": {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
            "e": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
            "f": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "additionalProperties": false, "propertyOrdering": ["b", "a"], "required": ["a", "b"],
    });
    check(schema.clone(), schema, &[]);
}

#[test]
fn references_are_put_in_and_words_beside_them_win() {
    check(
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "home": {"$ref": "#/$defs/Address", "description": "where they live"},
                "work": {"$ref": "#/definitions/a~1b%20c"},
                "all": {"type": "array", "items": {"$ref": "#/$defs/Address"}},
            },
            "$defs": {"Address": {"type": "object", "description": "an address", "properties": {"street": {"$ref": "#/$defs/Line"}}},
                      "Line": {"type": "string"}},
            "definitions": {"a/b c": {"type": "integer"}},
        }),
        json!({
            "type": "object",
            "properties": {
                "home": {"description": "where they live", "type": "object", "properties": {"street": {"type": "string"}}},
                "work": {"type": "integer"},
                "all": {"type": "array", "items": {"type": "object", "description": "an address",
                                                    "properties": {"street": {"type": "string"}}}},
            },
        }),
        &[],
    );
}

#[test]
fn references_to_nothing_are_reported() {
    for reference in
        [json!("#/$defs/None"), json!("https://example.com/s.json"), json!("#%zz"), json!("#/a%2"), json!(7)]
    {
        check(
            json!({"properties": {"a": {"$ref": reference}}}),
            json!({"properties": {"a": {}}}),
            &["s.properties.a.$ref"],
        );
    }
}

#[test]
fn trees_keep_some_levels() {
    let tree = json!({
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "required": ["value"], "properties": {
            "value": {"type": "string"}, "next": {"$ref": "#/$defs/Node"}}}},
    });
    let node = |next: Value| json!({"type": "object", "properties": {"value": {"type": "string"}, "next": next}, "required": ["value"]});
    check(tree, node(node(node(json!({})))), &["s.properties.next.properties.next.properties.next.$ref"]);
    let (endless, lost) = convert(&json!({"$ref": "#"}), "s");
    assert_eq!((endless, lost), (json!({}), vec!["s.$ref".to_owned()]));
}

#[test]
fn schemas_that_double_at_every_step_end() {
    let mut definitions = Map::new();
    for step in 0..40 {
        let next = json!({"$ref": format!("#/$defs/{}", step + 1)});
        definitions.insert(
            step.to_string(),
            json!({"type": "object", "properties": {"a": next, "b": next}, "allOf": [next, next]}),
        );
    }
    let (converted, lost) = convert(&json!({"$ref": "#/$defs/0", "$defs": definitions}), "s");
    assert!(converted.to_string().len() < 1_000_000 && !lost.is_empty());
}

#[test]
fn parts_of_all_of_are_one() {
    check(
        json!({"allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"$ref": "#/$defs/B"},
            {"type": "array", "minItems": 1},
        ], "$defs": {"B": {"properties": {"b": {"type": "number"}}, "required": ["b", "a"]}}}),
        json!({"type": "object", "minItems": 1,
               "properties": {"a": {"type": "string"}, "b": {"type": "number"}}, "required": ["a", "b"]}),
        &["s.allOf[2].type"],
    );
}

#[test]
fn constants_and_nulls_are_said_in_geminis_way() {
    for (given, expected) in [
        (json!({"const": "a"}), json!({"enum": ["a"]})),
        (json!({"const": 3, "enum": [3, 4]}), json!({"enum": [3]})),
        (json!({"const": null}), json!({"type": "null"})),
        (json!({"type": "string", "enum": ["a", null]}), json!({"type": ["string", "null"], "enum": ["a"]})),
        (json!({"enum": ["a", 1, null]}), json!({"enum": ["a", 1], "type": ["null", "number", "string"]})),
        (json!({"type": "string", "nullable": true}), json!({"type": ["string", "null"]})),
        (json!({"type": ["string", "null"], "nullable": true}), json!({"type": ["string", "null"]})),
        (
            json!({"anyOf": [{"type": "string"}], "nullable": true}),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ),
        (json!({"type": "OBJECT", "nullable": false}), json!({"type": "object"})),
        (json!({"items": [{"type": "string"}, true]}), json!({"prefixItems": [{"type": "string"}, {}]})),
    ] {
        check(given, expected, &[]);
    }
}

#[test]
fn what_cannot_be_said_is_reported() {
    for (given, expected, lost) in [
        (
            json!({"type": "string", "pattern": "^a", "minLength": 1}),
            json!({"type": "string"}),
            vec!["s.pattern", "s.minLength"],
        ),
        (json!({"not": {"type": "null"}}), json!({}), vec!["s.not"]),
        (json!({"const": true}), json!({"type": "boolean"}), vec!["s.const"]),
        (json!({"enum": ["a", {}]}), json!({}), vec!["s.enum"]),
        (json!({"type": 7, "anyOf": {}}), json!({}), vec!["s.type", "s.anyOf"]),
        (json!({"properties": {"a": false}}), json!({"properties": {"a": {}}}), vec!["s.properties.a"]),
        (
            json!({"properties": {"a": {}}, "required": ["a", "b"]}),
            json!({"properties": {"a": {}}, "required": ["a"]}),
            vec!["s.required"],
        ),
        (json!("a"), json!({}), vec!["s"]),
    ] {
        check(given, expected, &lost);
    }
}

#[test]
fn deep_schemas_are_cut_off() {
    let deep = (0..2_000).fold(json!({"type": "string"}), |inner, _| json!({"items": inner}));
    let (converted, lost) = convert(&deep, "s");
    assert_eq!(lost.len(), 1);
    assert_eq!(converted.to_string().matches("items").count(), MAX_DEPTH + 1);
}

/// Any JSON, most of it near to schemas.
fn schemas() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "type",
        "enum",
        "const",
        "nullable",
        "items",
        "prefixItems",
        "anyOf",
        "oneOf",
        "allOf",
        "properties",
        "$ref",
        "required",
        "additionalProperties",
        "description",
        "$defs",
        "a",
        "b",
        "pattern",
        "minimum",
    ]);
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "string",
            "OBJECT",
            "a",
            "b",
            "#",
            "#/$defs/a",
            "#/properties/b",
            "#/items"
        ])
        .prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 120, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn converting_is_total_and_a_second_time_changes_nothing(schema in schemas()) {
        let (once, _) = convert(&schema, "s");
        let (twice, lost) = convert(&once, "s");
        prop_assert_eq!(&twice, &once);
        prop_assert!(lost.is_empty(), "{:?} lost from {}", lost, once);
    }
}

#[test]
fn references_to_large_schemas_end_at_some_point() {
    let large: Vec<String> = (0..1_000).map(|n| format!("value number {n}")).collect();
    let properties: Map<String, Value> =
        (0..2_000).map(|n| (format!("p{n}"), json!({ "$ref": "#/$defs/large" }))).collect();
    let schema = json!({ "properties": properties, "$defs": { "large": { "enum": large } } });
    let (written, dropped) = convert(&schema, "s");
    let (before, after) = (schema.to_string().len(), written.to_string().len());
    assert!(after < before + 4 * MAX_COPIED, "{before} bytes became {after}");
    assert_eq!(dropped.last().map(String::as_str), Some("s"), "too many to be told one by one");
}

#[test]
fn long_names_do_not_add_up() {
    let inner: Map<String, Value> =
        (0..1_000).map(|n| (format!("p{n}"), json!({ "pattern": "x" }))).collect();
    let schema = json!({ "properties": { "x".repeat(10_000): { "properties": inner } } });
    let (_, dropped) = convert(&schema, "s");
    assert!(dropped.iter().map(String::len).sum::<usize>() < 20_000);
}
