//! Responses that are kept: continued by whom and through whichever door, over restarts, and by nobody else.

use std::time::Duration;

use async_nats::HeaderMap;
use bus::requests::Ending;
use bus::responses::Response;
use bytes::Bytes;
use domain::outcome::Kind;
use domain::{BodyRef, Envelope, Outcome, Timestamp};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer};
use system_tests::harness::{Mock, Pointsman, Python, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

async fn create(client: &Client, body: &Value) -> Answer {
    let answer = client.send(client.request(Method::POST, "/v1/responses").json(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

fn id(answer: &Answer) -> String {
    answer.body["id"].as_str().expect("a response has an id").to_owned()
}

/// The text of a response.
fn said(response: &Value) -> &str {
    response.pointer("/output/0/content/0/text").and_then(Value::as_str).unwrap_or_default()
}

async fn show(client: &Client, id: &str) -> Answer {
    client.send(client.request(Method::GET, &format!("/v1/responses/{id}"))).await
}

async fn completed(client: &Client, id: &str) -> Answer {
    eventually("the response is completed", PATIENCE, || async {
        let shown = show(client, id).await;
        (shown.body["status"] == "completed").then_some(shown)
    })
    .await
}

/// The one body that the mock provider got for this model.
async fn sent(mock: &Mock, model: &str) -> Value {
    let requests = mock.get("/requests").await;
    let mut bodies = requests["requests"].as_array().unwrap().iter().filter_map(|r| r["body"].as_str());
    let of_model = bodies.rfind(|body| body.contains(model)).expect("the provider was called");
    serde_json::from_str(of_model).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_continues_responses_at_other_providers_and_in_the_background() {
    let python = Python::ready().await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let places = [
        ("POINTSMAN_HTTP", gateway.http()),
        ("POINTSMAN_NATS", gateway.nats()),
        ("POINTSMAN_MOCK", gateway.mock()),
    ];
    python.run("openai_responses.py", &places).await;
    let observer = Observer::connect(&gateway.nats()).await;
    let dead = observer.contents("LLM_DEAD").await;
    assert!(dead.is_empty(), "what cannot be continued is no dead letter: {dead:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_continues_what_began_over_http_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let observer = Observer::connect(&gateway.nats()).await;
    let first = create(&client, &json!({ "model": "mock", "input": "the first word" })).await;

    let mut answers = observer.client().subscribe("my.answers").await.unwrap();
    observer.client().flush().await.unwrap();
    let publish = |body: Value| {
        let observer = &observer;
        async move {
            let mut headers = HeaderMap::new();
            headers.insert("Pointsman-Reply-To", "my.answers");
            let sent =
                observer.js().publish_with_headers("llm.request.responses", headers, body.to_string().into());
            sent.await.unwrap().await.unwrap();
        }
    };
    publish(json!({ "model": "mock-b", "input": "the second word", "previous_response_id": id(&first) }))
        .await;
    let answer = tokio::time::timeout(PATIENCE, answers.next()).await.expect("an answer").unwrap();
    let second: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(
        (&second["status"], &second["previous_response_id"]),
        (&json!("completed"), &json!(id(&first)))
    );

    let body =
        json!({ "model": "mock-c?log", "input": "the third word", "previous_response_id": second["id"] });
    let asked = observer.client().request("llm.ask.responses", body.to_string().into()).await.unwrap();
    let third: Value = serde_json::from_slice(&asked.payload).unwrap();
    assert!(said(&third).contains("the third word"), "{third}");
    let seen = sent(&mock, "mock-c").await;
    let roles: Vec<_> = seen["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant", "user"], "{seen}");

    // What a producer asks for in the background is known by its id from the moment a router has it.
    let body = json!({ "model": "mock?delay=500ms", "input": "later", "background": true });
    let asked = observer.client().request("llm.ask.responses", body.to_string().into()).await.unwrap();
    assert_eq!(bus::header(asked.headers.as_ref(), "Pointsman-Status"), Some("200"));
    let begun: Value = serde_json::from_slice(&asked.payload).unwrap();
    assert_eq!(begun["status"], "queued");
    publish(body).await;
    let answer = tokio::time::timeout(PATIENCE, answers.next()).await.expect("an answer").unwrap();
    let published: Value = serde_json::from_slice(&answer.payload).unwrap();
    for response in [&begun, &published] {
        let shown = completed(&client, response["id"].as_str().unwrap()).await;
        assert!(said(&shown.body).contains("later"), "{}", shown.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_after_everything_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let up = || crate::up(dir.path()).set("work.ack_wait", "3s").set("work.progress", "1s").ready();
    let gateway = up();
    let client = Client::new(&gateway.http());
    let first = create(&client, &json!({ "model": "mock", "input": "before the storm" })).await;
    let running =
        create(&client, &json!({ "model": "mock?delay=2s", "input": "in the storm", "background": true }))
            .await;
    eventually("it is with the provider", PATIENCE, || async {
        (show(&client, &id(&running)).await.body["status"] == "in_progress").then_some(())
    })
    .await;
    gateway.kill();
    let gateway = up();
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let body = json!({ "model": "mock-b?log", "input": "after it", "previous_response_id": id(&first) });
    let second = create(&client, &body).await;
    assert!(said(&second.body).contains("after it"), "{}", second.text);
    assert!(sent(&mock, "mock-b").await.to_string().contains("before the storm"));
    let shown = completed(&client, &id(&running)).await;
    assert!(said(&shown.body).contains("in the storm"), "{}", shown.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_turns_are_kept_and_forgotten_whole() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let observer = Observer::connect(&gateway.nats()).await;
    let text = "word ".repeat(200_000);
    let first = create(&client, &json!({ "model": "mock?size=1MB", "input": text })).await;
    assert!(said(&first.body).len() >= 1_000_000);
    let model = "mock-large";
    let body = json!({ "model": model, "input": "shorter", "previous_response_id": id(&first) });
    let second = create(&client, &body).await;
    let row = &mock.rows(model).await[0];
    assert!(row.input_tokens > 200_000, "the provider read all that was said: {row:?}");
    let items = format!("/v1/responses/{}/input_items?order=asc&limit=1", id(&second));
    let items = client.send(client.request(Method::GET, &items)).await;
    assert_eq!(items.body.pointer("/data/0/content/0/text"), Some(&json!(text)));
    assert_eq!(items.body["has_more"], true);

    let long = json!({ "model": "mock?words=60000&chunks=3000", "input": "go on", "stream": true });
    let streamed = client.send(client.request(Method::POST, "/v1/responses").json(&long)).await;
    assert!(streamed.text.len() > 1_000_000, "{} bytes", streamed.text.len());
    let last = streamed.text.lines().rfind(|line| line.starts_with("data: ")).unwrap();
    let last: Value = serde_json::from_str(&last["data: ".len()..]).unwrap();
    assert_eq!(last["type"], "response.completed");
    let shown = show(&client, last["response"]["id"].as_str().unwrap()).await;
    assert_eq!(shown.body, last["response"], "what is kept is what the stream ended with");
    let path = format!("/v1/responses/{}", id(&shown));
    assert_eq!(client.send(client.request(Method::DELETE, &path)).await.status, 200);

    let bytes =
        || async { observer.js().get_stream("OBJ_llm_responses").await.unwrap().cached_info().state.bytes };
    assert!(bytes().await > 2_000_000);
    for response in [&first, &second] {
        let path = format!("/v1/responses/{}", id(response));
        let gone = client.send(client.request(Method::DELETE, &path)).await;
        assert_eq!((gone.status, &gone.body["deleted"]), (200, &json!(true)), "{}", gone.text);
    }
    assert!(bytes().await < 100_000, "{} bytes are left", bytes().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_by_age_cannot_be_continued() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("limits.responses_ttl", "2s").ready();
    let client = Client::new(&gateway.http());
    let first = create(&client, &json!({ "model": "mock", "input": "soon forgotten" })).await;
    assert_eq!(show(&client, &id(&first)).await.status, 200);
    eventually("it is forgotten", PATIENCE, || async {
        (show(&client, &id(&first)).await.status == 404).then_some(())
    })
    .await;
    let body = json!({ "model": "mock", "input": "x", "previous_response_id": id(&first) });
    let refused = client.send(client.request(Method::POST, "/v1/responses").json(&body)).await;
    let code = &refused.body["error"]["code"];
    assert_eq!((refused.status, code), (400, &json!("previous_response_not_found")), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_not_the_first_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let target = |model: &str| json!({ "provider": "mock", "override_params": { "model": model } });
    for (codes, first) in [(503, "first?status=503"), (200, "first")] {
        let config = json!({ "strategy": { "mode": "fallback", "on_status_codes": [codes] },
                             "targets": [target(first), target("second")] });
        let body = json!({ "model": "any", "input": "who answers" });
        let request = client.request(Method::POST, "/v1/responses").json(&body);
        let answer = client.send(request.header("x-portkey-config", config.to_string())).await;
        assert!(said(&answer.body).contains("second"), "{}", answer.text);
        assert_eq!(show(&client, &id(&answer)).await.body, answer.body);
    }
    // A success that leads to another target and fails there is not an answer.
    let config = json!({ "strategy": { "mode": "fallback", "on_status_codes": [200] },
                         "targets": [target("first"), target("second?status=500")] });
    let request =
        client.request(Method::POST, "/v1/responses").json(&json!({ "model": "any", "input": "x" }));
    let request =
        request.header("pointsman-request-id", "failed").header("x-portkey-config", config.to_string());
    let answer = client.send(request).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    let observer = Observer::connect(&gateway.nats()).await;
    assert_eq!(observer.depth("LLM_RESPONSE").await, 2, "failures are not kept");
}

/// A key of a new workspace.
async fn workspace(gateway: &Pointsman, admin: &str, name: &str) -> String {
    let client = Client::new(&gateway.http());
    let post = |path: &str, body: Value| client.request(Method::POST, path).bearer_auth(admin).json(&body);
    client.send(post("/v1/admin/workspaces", json!({ "name": name, "slug": name }))).await;
    let key = json!({ "name": "app", "workspace_id": name });
    let made = client.send(post("/v1/api-keys/workspace/service", key)).await;
    made.body["key"].as_str().expect("a key").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_of_one_workspace_are_unknown_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("auth.mode", "on").ready();
    let admin = std::fs::read_to_string(dir.path().join("data/admin.key")).unwrap().trim().to_owned();
    let (acme, other) =
        (workspace(&gateway, &admin, "acme").await, workspace(&gateway, &admin, "other").await);
    let client = Client::new(&gateway.http());
    let as_who = |key: &str, method: Method, path: &str, body: Value| {
        let request = client.request(method, path).bearer_auth(key);
        client.send(if body.is_null() { request } else { request.json(&body) })
    };
    let body = json!({ "model": "mock", "input": "our secret" });
    let first = as_who(&acme, Method::POST, "/v1/responses", body).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let path = format!("/v1/responses/{}", id(&first));
    assert_eq!(as_who(&acme, Method::GET, &path, Value::Null).await.status, 200);
    let nobody = client.send(client.request(Method::GET, &path)).await;
    assert_eq!(nobody.status, 401, "{}", nobody.text);
    for key in [&other, &admin] {
        for (method, rest) in [
            (Method::GET, ""),
            (Method::GET, "/input_items"),
            (Method::POST, "/cancel"),
            (Method::DELETE, ""),
        ] {
            let answer = as_who(key, method.clone(), &format!("{path}{rest}"), Value::Null).await;
            assert_eq!(answer.status, 404, "{method} {rest}: {}", answer.text);
        }
    }
    let body = json!({ "model": "mock", "input": "tell me", "previous_response_id": id(&first) });
    let refused = as_who(&other, Method::POST, "/v1/responses", body.clone()).await;
    assert_eq!(refused.body["error"]["code"], "previous_response_not_found", "{}", refused.text);
    assert_eq!(as_who(&acme, Method::POST, "/v1/responses", body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_id_begins_one_response_however_often_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let begin = || {
        let body = json!({ "model": "mock-once", "input": "once", "background": true });
        client.request(Method::POST, "/v1/responses").header("pointsman-request-id", "mine").json(&body)
    };
    let first = client.send(begin()).await;
    assert_eq!((first.status, id(&first).as_str()), (200, "resp_mine"), "{}", first.text);
    completed(&client, "resp_mine").await;
    let again = client.send(begin()).await;
    assert_eq!(again.body["status"], "completed", "{}", again.text);
    assert_eq!(mock.rows("mock-once").await.len(), 1);
    let gone = client.send(client.request(Method::DELETE, "/v1/responses/resp_mine")).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let refused = client.send(begin()).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_once_and_what_was_deleted_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let observer = Observer::connect(&gateway.nats()).await;
    let bus = observer.bus(&gateway.nats()).await;
    let question = Bytes::from_static(b"{\"input\":\"a\"}");
    let envelope: Envelope = serde_json::from_value(json!({
        "request": "twice", "workspace": "default", "operation": "responses", "lane": "normal",
        "conversation": { "keep": true, "background": true }, "accepted_at": 1, "deadline": 2, "config": { "inline": "{}" },
        "body": { "inline": { "size": question.len() } },
    }))
    .unwrap();
    let refused = Outcome::blank(&envelope, Timestamp(3));
    let kind = || async {
        match bus.response(&envelope.workspace, &envelope.request).await.unwrap() {
            Response::Found(found) => found.turn.ending.map(|ending| ending.kind),
            other => panic!("{other:?}"),
        }
    };
    bus.keep_question(&envelope, &question).await.unwrap();
    bus.keep_question(&envelope, &question).await.unwrap();
    assert_eq!(kind().await, None);
    bus.end(&envelope, &refused, &Bytes::new(), Ending::default()).await.unwrap();
    assert_eq!(kind().await, Some(Kind::Refused));

    // An operator gives it another chance.
    let stored = bus.result(&envelope.workspace, &envelope.request).await.unwrap().unwrap();
    bus.delete_lying(bus::subject::RESULT_STREAM, stored.sequence).await.unwrap();
    let answer = Bytes::from_static(b"{\"output\":[]}");
    let body = BodyRef::Inline { size: answer.len() };
    let answered = Outcome { kind: Kind::Answered, status: 200, kept: true, body, ..refused.clone() };
    for _ in 0..2 {
        bus.end(&envelope, &answered, &answer, Ending::default()).await.unwrap();
        assert_eq!(kind().await, Some(Kind::Answered));
    }
    let Response::Found(found) = bus.response(&envelope.workspace, &envelope.request).await.unwrap() else {
        panic!("it is kept")
    };
    assert_eq!(bus.question_of(&found).await.unwrap(), question);
    assert_eq!(bus.answer_of(&found).await.unwrap(), answer);

    assert!(bus.delete_response(&envelope.workspace, &envelope.request).await.unwrap());
    assert!(!bus.delete_response(&envelope.workspace, &envelope.request).await.unwrap());
    // Whoever ended it may have died before that was told.
    let stored = bus.result(&envelope.workspace, &envelope.request).await.unwrap().unwrap();
    bus.end_again(&envelope, &stored, None, Some(&question)).await.unwrap();
    bus.keep_question(&envelope, &question).await.unwrap();
    let there = bus.response(&envelope.workspace, &envelope.request).await.unwrap();
    assert_eq!(there, Response::Deleted);
}
