//! Text completions as chats.

use domain::Usage;
use serde_json::{Value, json};

use super::super::completions::{Writer, read_request, write_answer};
use super::answers::about;
use crate::chat::{
    Answer, Block, Choice, Delta, Event, Finish, Message, Part, PartKind, Reason, Role, Start, WriteEvents,
};

#[test]
fn the_prompt_is_what_the_user_says() {
    let body = json!({
        "model": "m", "prompt": ["once"], "max_tokens": 5, "logprobs": 2, "echo": false, "best_of": 1,
        "suffix": "end", "stop": ["."], "min_p": 1,
    });
    let request = read_request(body.to_string().as_bytes()).unwrap();
    assert_eq!(request.messages, [Message::text(Role::User, "once")]);
    assert_eq!((request.max_tokens, request.logprobs, request.top_logprobs), (Some(5), Some(true), Some(2)));
    assert_eq!((request.stop, request.dropped), (vec![".".to_owned()], vec!["suffix".to_owned()]));
    assert_eq!(request.unknown.keys().collect::<Vec<_>>(), ["min_p"]);
}

#[test]
fn what_no_chat_can_say_is_refused() {
    for (prompt, param, words) in [
        (json!(null), "prompt", "is missing"),
        (json!(["a", "b"]), "prompt", "has 2 elements"),
        (json!([]), "prompt", "has 0 elements"),
        (json!([7]), "prompt[0]", "is a number"),
        (json!(7), "prompt", "is a number"),
    ] {
        let err = read_request(json!({ "model": "m", "prompt": prompt }).to_string().as_bytes()).unwrap_err();
        assert_eq!((err.status, err.param.as_deref()), (400, Some(param)));
        assert!(err.message.contains(words), "{err}");
    }
}

fn logprobs() -> Value {
    let token = |token: &str| json!({ "token": token, "logprob": -1.5, "top_logprobs": [{ "token": "x", "logprob": -2.5 }] });
    json!({ "content": [token("ä"), token("b")] })
}

#[test]
fn answers_are_text_with_the_older_probabilities() {
    let thinking = PartKind::Thinking { text: "hm".into(), signature: None };
    let parts = vec![Part::new(thinking), Part::text("ä"), Part::text("b")];
    let finish = Finish::new(Reason::Length, "max_tokens");
    let choices = vec![Choice { index: 0, parts, finish, logprobs: Some(logprobs()) }];
    let answer = Answer { choices, ..Answer::default() };
    let written: Value = serde_json::from_slice(&write_answer(&answer, &about(true))).unwrap();
    let expected = json!({
        "id": "id-1", "object": "text_completion", "created": 1_700_000_000, "model": "m", "provider": "p",
        "choices": [{
            "text": "äb", "index": 0, "finish_reason": "length",
            "logprobs": {
                "tokens": ["ä", "b"], "token_logprobs": [-1.5, -1.5],
                "top_logprobs": [{ "x": -2.5 }, { "x": -2.5 }], "text_offset": [0, 1],
            },
        }],
    });
    assert_eq!(written, expected);
}

#[test]
fn streams_are_text_as_well() {
    let (mut writer, mut out) = (Writer::new(&about(true)), Vec::new());
    let open = |block, what| Event::Open { choice: 0, block, what };
    let delta = |block, text: &str| Event::Delta { choice: 0, block, delta: Delta::Text(text.to_owned()) };
    for event in [
        Event::Start(Start { id: Some("c-1".into()), ..Start::default() }),
        open(0, Block::Thinking),
        delta(0, "hm"),
        Event::Close { choice: 0, block: 0 },
        open(1, Block::Text),
        delta(1, "hi"),
        Event::Close { choice: 0, block: 1 },
        Event::Finish { choice: 0, finish: Finish::new(Reason::Stop, "end_turn") },
        Event::Usage(Usage { input: 1, output: 2, ..Usage::default() }),
        Event::End,
    ] {
        writer.write(&event, &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    let data: Vec<&str> =
        text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    let [one, two, three, "[DONE]"] = data[..] else { panic!("{data:?}") };
    let parsed = |data: &str| serde_json::from_str::<Value>(data).unwrap();
    let choice = |text: &str, finish: Value| json!([{ "text": text, "index": 0, "logprobs": null, "finish_reason": finish }]);
    assert_eq!(parsed(one)["choices"], choice("hi", Value::Null));
    assert_eq!((&parsed(one)["id"], &parsed(one)["object"]), (&json!("c-1"), &json!("text_completion")));
    assert_eq!(parsed(two)["choices"], choice("", json!("stop")));
    assert_eq!((&parsed(three)["choices"], &parsed(three)["usage"]["total_tokens"]), (&json!([]), &json!(3)));
}
