//! Conversations that go on.

use domain::Conversation;
use serde_json::{Value, json};

use super::super::{
    Page, Turn, continued, input_items, object_of, read_request, to_send, with_id, without_foreign_items,
};
use crate::chat::{Message, PartKind, Role};

fn earlier(input: Value, output: Value) -> Turn {
    Turn { input: input.to_string().into_bytes(), output: output.to_string().into_bytes() }
}

fn expanded() -> Conversation {
    Conversation { expanded: true, ..Conversation::default() }
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn earlier_turns_come_first_and_their_instructions_do_not() {
    let answer = json!({ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "b" }] });
    let call = json!({ "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}" });
    let turns = [
        earlier(
            json!({ "input": "a", "instructions": "old", "model": "x" }),
            json!({ "status": "completed", "output": [answer] }),
        ),
        earlier(json!({ "input": [{ "role": "user", "content": "c" }] }), json!({ "output": [call] })),
    ];
    let body = br#"{"model":"m","temperature":1.50,"previous_response_id":"resp_2","instructions":"new",
        "input":[{"type":"function_call_output","call_id":"1","output":"d"}]}"#;
    let body = continued(body, &turns).unwrap();
    assert!(String::from_utf8_lossy(&body).contains("1.50"), "other fields keep their bytes");
    assert_eq!(value(&body)["previous_response_id"], "resp_2", "the answer repeats it");
    let messages = read_request(&to_send(&body, &expanded()).unwrap()).unwrap().messages;
    assert_eq!(
        messages[..3],
        [
            Message::text(Role::System, "new"),
            Message::text(Role::User, "a"),
            Message::text(Role::Assistant, "b"),
        ]
    );
    assert!(matches!(&messages[5].parts[0].kind, PartKind::ToolResult { id, .. } if id == "1"));
    assert_eq!(messages.len(), 6);
}

#[test]
fn a_turn_may_bring_nothing_new() {
    let turns = [earlier(json!({ "input": "a" }), json!({ "output": [] }))];
    let body = continued(br#"{"previous_response_id":"resp_1"}"#, &turns).unwrap();
    let sent = json!({ "input": [{ "type": "message", "role": "user", "content": "a" }] });
    assert_eq!(value(&to_send(&body, &expanded()).unwrap()), sent);
}

#[test]
fn what_is_sent_leaves_out_what_we_do_ourselves() {
    let body = br#"{"previous_response_id":"resp_1","model":"m","background":true,"temperature":1.50}"#;
    let both = Conversation { background: true, ..expanded() };
    assert_eq!(to_send(body, &both).unwrap(), br#"{"model":"m","temperature":1.50}"#);
    let foreign = Conversation { background: true, ..Conversation::default() };
    let sent = to_send(body, &foreign).unwrap();
    assert_eq!(sent, br#"{"previous_response_id":"resp_1","model":"m","temperature":1.50}"#);
    assert_eq!(to_send(b"{\"background\":true}", &both).unwrap(), b"{}");
    assert_eq!(to_send(b"[1", &both), None);
    assert_eq!(to_send(body, &Conversation::default()), None);
}

#[test]
fn an_answer_holds_its_response_object() {
    let whole = br#"{"id":"resp_1","output":[]}"#;
    assert_eq!(object_of(whole).as_deref(), Some(&whole[..]));
    let event = |name: &str, rest: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\",{rest}}}\n\n");
    let begun = event("response.created", r#""response":{"id":"resp_1","output":[]}"#);
    let delta = event("response.output_text.delta", r#""delta":"say \"response.completed\" ""#);
    let last = event("response.incomplete", r#""response":{"id":"resp_1","output":[7]}"#);
    let stream = format!("{begun}{delta}{last}");
    assert_eq!(object_of(stream.as_bytes()).as_deref(), Some(&br#"{"id":"resp_1","output":[7]}"#[..]));
    assert_eq!(object_of(format!("{begun}{delta}").as_bytes()), None, "it broke off");
    assert_eq!(object_of(b""), None);
}

#[test]
fn a_response_object_can_be_had_under_another_id() {
    assert_eq!(with_id(br#"{"a":1.0,"id":"x"}"#, "resp_\"1"), br#"{"id":"resp_\"1","a":1.0}"#);
    assert_eq!(with_id(b"{}", "y"), br#"{"id":"y"}"#);
    assert_eq!(with_id(b"oops", "y"), b"oops");
}

#[test]
fn what_cannot_be_continued_is_refused() {
    let cases = [
        (json!({ "status": "in_progress", "output": [] }), "still in_progress"),
        (json!({ "status": "queued" }), "still queued"),
        (json!({ "error": {} }), "cannot be read"),
        (json!([]), "cannot be read"),
    ];
    for (output, words) in cases {
        let err = continued(b"{}", &[earlier(json!({ "input": "a" }), output)]).unwrap_err();
        assert_eq!(err.param.as_deref(), Some("previous_response_id"));
        assert!(err.message.contains(words), "{}", err.message);
    }
    assert!(continued(b"[", &[]).unwrap_err().message.contains("not a JSON object"));
    let err = continued(br#"{"input":7}"#, &[]).unwrap_err();
    assert_eq!(err.param.as_deref(), Some("input"));
}

#[test]
fn items_are_listed_in_pages() {
    let body = json!({ "input": [
        { "role": "user", "content": "a" },
        { "type": "message", "id": "msg_x", "role": "assistant", "content": "b", "status": "incomplete" },
        { "type": "function_call_output", "call_id": "1", "output": "c" },
        { "type": "web_search_call" },
    ] })
    .to_string();
    let list = |limit: usize, after: Option<&str>, order: &str| {
        let page = Page::parse(Some(&limit.to_string()), after, Some(order)).unwrap();
        value(&input_items(body.as_bytes(), "resp_7", &page).unwrap())
    };
    let ids = |list: &Value| -> Vec<String> {
        list["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = list(100, None, "asc");
    assert_eq!(ids(&all), ["msg_7_0", "msg_x", "fco_7_2", "item_7_3"]);
    let first = json!({ "type": "message", "role": "user", "id": "msg_7_0", "status": "completed",
        "content": [{ "type": "input_text", "text": "a" }] });
    assert_eq!(all["data"][0], first);
    assert_eq!(all["data"][1]["status"], "incomplete");
    assert_eq!(all["data"][1]["content"][0]["type"], "output_text");
    let page = list(2, None, "desc");
    assert_eq!((ids(&page), &page["has_more"]), (vec!["item_7_3".into(), "fco_7_2".into()], &json!(true)));
    assert_eq!((&page["first_id"], &page["last_id"]), (&json!("item_7_3"), &json!("fco_7_2")));
    let rest = list(2, Some("fco_7_2"), "desc");
    assert_eq!((ids(&rest), &rest["has_more"]), (vec!["msg_x".into(), "msg_7_0".into()], &json!(false)));
    let page = Page::parse(None, Some("nobody"), None).unwrap();
    assert_eq!(input_items(body.as_bytes(), "resp_7", &page).unwrap_err().param.as_deref(), Some("after"));
    let none = value(&input_items(b"{}", "resp_7", &Page::parse(None, None, None).unwrap()).unwrap());
    assert_eq!((&none["data"], &none["last_id"]), (&json!([]), &Value::Null));
}

#[test]
fn pages_are_asked_for_in_bounds() {
    for limit in ["0", "101", "x", "-1"] {
        assert_eq!(Page::parse(Some(limit), None, None).unwrap_err().param.as_deref(), Some("limit"));
    }
    assert_eq!(Page::parse(None, None, Some("up")).unwrap_err().param.as_deref(), Some("order"));
    let page = Page { limit: 20, after: None, newest_first: true };
    assert_eq!(Page::parse(None, None, None).unwrap(), page);
}

#[test]
fn what_other_providers_made_is_kept_from_openai() {
    let body = r#"{"model":"m","input":[{"role":"user","content":"thinking:"},
        {"type":"reasoning","summary":[],"encrypted_content":"thinking:S"},
        {"type":"reasoning","summary":[],"encrypted_content":"gAAAA"},
        {"type":"native","dialect":"anthropic","value":{}}],"temperature":1.50}"#;
    let written = without_foreign_items(body.as_bytes()).unwrap();
    assert_eq!(written.dropped, ["input[1]", "input[3]"]);
    assert!(written.body.ends_with(b",\"temperature\":1.50}"));
    assert_eq!(value(&written.body)["input"].as_array().unwrap().len(), 2);
    let own = r#"{"input":[{"type":"reasoning","summary":[],"encrypted_content":"gAAAA"},
        {"role":"user","content":"the \"native\" call: thinking: aloud"}]}"#;
    assert_eq!(without_foreign_items(own.as_bytes()), None);
    for body in [&b"{\"input\":\"\\\"native\\\"\"}"[..], b"\"native\"", b"{\"type\":\"native\""] {
        assert_eq!(without_foreign_items(body), None);
    }
}
