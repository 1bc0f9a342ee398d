//! Documents over the whole schema.

use proptest::prelude::{BoxedStrategy, Just, Strategy as Generator, any, prop, prop_oneof};
use serde_json::{Map, Value, json};

use super::super::condition::tests::any_query;

type Entries = Map<String, Value>;

/// A key with a generated value, or not there.
fn maybe(key: &'static str, value: impl Generator<Value = Value> + 'static) -> BoxedStrategy<Entries> {
    prop::option::weighted(0.3, value)
        .prop_map(move |value| value.into_iter().map(|v| (key.to_owned(), v)).collect())
        .boxed()
}

/// All these entries in one object.
fn merged(parts: Vec<BoxedStrategy<Entries>>) -> BoxedStrategy<Entries> {
    parts.prop_map(|parts| parts.into_iter().flatten().collect()).boxed()
}

fn codes() -> impl Generator<Value = Value> {
    prop::collection::vec(prop::sample::select(vec![200u16, 246, 408, 429, 500, 503]), 0..4)
        .prop_map(|v| json!(v))
}

fn params() -> impl Generator<Value = Value> {
    let value = prop_oneof![
        Just(json!("m")),
        Just(json!("@own/m")),
        (0..9i32).prop_map(|n| json!(n)),
        Just(json!({"deep": [1, null]}))
    ];
    prop::collection::btree_map(prop::sample::select(vec!["model", "temperature", "user"]), value, 0..3)
        .prop_map(|map| json!(map))
}

fn cache() -> impl Generator<Value = Value> {
    prop_oneof![
        Just(json!({"mode": "exact"})),
        (60u64..7_776_000).prop_map(|s| json!({"mode": "simple", "max_age": s})),
        (0.0..1.0f64, 1u64..90)
            .prop_map(|(t, s)| json!({"mode": "semantic", "threshold": t, "ttl": format!("{s}s")})),
    ]
}

fn retry() -> impl Generator<Value = Value> {
    (0u32..4, prop::option::of(codes()), any::<bool>(), any::<bool>()).prop_map(|(attempts, codes, header, jitter)| {
        json!({"attempts": attempts, "on_status_codes": codes, "use_retry_after_headers": header, "jitter": jitter})
    })
}

fn breaker() -> impl Generator<Value = Value> {
    (1u32..9, prop::option::of(1u32..=100), 30_000u64..99_000, 1u32..9).prop_map(
        |(threshold, percentage, cooldown, least)| {
            json!({"failure_threshold": threshold, "failure_threshold_percentage": percentage,
                   "cooldown_interval": cooldown, "minimum_requests": least, "failure_status_codes": [429, 503]})
        },
    )
}

/// What any node may say.
fn common() -> BoxedStrategy<Entries> {
    merged(vec![
        maybe("default_params", params()),
        maybe("override_params", params()),
        maybe("drop_params", Just(json!(["store", "tools[*].function.strict"]))),
        maybe("retry", retry()),
        maybe("cache", cache()),
        maybe("request_timeout", prop_oneof![(100u64..99_999).prop_map(|n| json!(n)), Just(json!("1.5m"))]),
        maybe("forward_headers", Just(json!(["X-Tenant", "authorization"]))),
        maybe("strict_open_ai_compliance", any::<bool>().prop_map(Value::from)),
        maybe(
            "unsupported_params",
            prop::sample::select(vec!["drop", "warn", "reject"]).prop_map(Value::from),
        ),
        maybe(
            "on_limit",
            prop::sample::select(vec!["usual", "reject", "wait", "fallback"]).prop_map(Value::from),
        ),
        maybe("weight", prop_oneof![(1u32..9).prop_map(|n| json!(n)), (0.1..9.0f64).prop_map(|n| json!(n))]),
    ])
}

fn leaf() -> BoxedStrategy<Value> {
    let named = merged(vec![
        common(),
        maybe("api_key", Just(json!("sk-1"))),
        maybe("custom_host", Just(json!("https://llm.example.com/v1"))),
        maybe("openai_organization", Just(json!("org"))),
        maybe("aws_region", Just(json!("us-east-1"))),
        maybe("vertex_service_account_json", Just(json!({"private_key": "k"}))),
    ]);
    let named =
        (named, prop::sample::select(vec!["openai", "@groq", "a"])).prop_map(|(mut map, provider)| {
            map.insert("provider".to_owned(), provider.into());
            map
        });
    let wanted = merged(vec![
        maybe("requires", Just(json!(["tools", "vision"]))),
        maybe("max_price", (0.0..99.0f64, 0u32..99).prop_map(|(i, o)| json!({"input": i, "output": o}))),
        maybe("max_latency", Just(json!("2s"))),
        maybe("from", Just(json!(["openai", "@groq"]))),
        maybe("prefer", prop::sample::select(vec!["price", "latency"]).prop_map(Value::from)),
    ]);
    let chosen = wanted.prop_map(|wanted| Map::from_iter([("choose".to_owned(), Value::Object(wanted))]));
    prop_oneof![4 => named, 1 => chosen].prop_map(Value::Object).boxed()
}

/// `strategy` of a group with so many targets.
fn strategy(targets: usize) -> BoxedStrategy<Value> {
    let then = move || (0..targets).prop_map(|i| format!("t{i}"));
    let conditional = (prop::collection::vec((any_query(), then()), 1..3), prop::option::of(then()))
        .prop_map(|(conditions, default)| {
            let conditions: Vec<Value> =
                conditions.into_iter().map(|(query, then)| json!({"query": query, "then": then})).collect();
            json!({"mode": "conditional", "conditions": conditions, "default": default})
        });
    let mode = |modes: &[&'static str]| prop::sample::select(modes.to_vec());
    let faults = Just(json!(["rate_limit", "timeout"]));
    let fallback = merged(vec![maybe("on_status_codes", codes()), maybe("on", faults)]);
    let sticky = json!({"hash_fields": ["metadata.a", "params.a", "headers.x-a"], "ttl": 60});
    let balance = maybe("sticky", Just(sticky));
    let others = (
        prop_oneof![
            (Just("fallback"), fallback),
            (Just("loadbalance"), balance),
            (mode(&["single", "least_latency", "least_busy", "least_cost"]), Just(Map::new())),
        ],
        maybe("cb_config", breaker()),
    )
        .prop_map(|((mode, mut map), breaker)| {
            map.insert("mode".to_owned(), mode.into());
            map.extend(breaker);
            Value::Object(map)
        });
    let budget = maybe("time_budget", prop_oneof![(100u64..9000).prop_map(|n| json!(n)), Just(json!("9s"))]);
    (prop_oneof![3 => others, 1 => conditional], budget)
        .prop_map(|(mut strategy, budget)| {
            strategy.as_object_mut().unwrap().extend(budget);
            strategy
        })
        .boxed()
}

/// A valid document; leaves of every kind under strategies of every kind.
pub(crate) fn any_document() -> BoxedStrategy<Value> {
    leaf()
        .prop_recursive(3, 10, 4, |inner| {
            prop::collection::vec(inner, 1..4)
                .prop_flat_map(|targets| (strategy(targets.len()), Just(targets), common()))
                .prop_map(|(strategy, mut targets, mut map)| {
                    for (i, target) in targets.iter_mut().enumerate() {
                        target["name"] = format!("t{i}").into();
                    }
                    map.insert("strategy".to_owned(), strategy);
                    map.insert("targets".to_owned(), targets.into());
                    Value::Object(map)
                })
        })
        .boxed()
}
