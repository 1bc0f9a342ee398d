//! Sound, images and forms; moderations, rerank, and everything that only passes through.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use mock_provider::Options;
use serde_json::{Value, json};

use crate::anthropic::PNG;
use crate::harness::{Mock, Reply, post, post_with, sse};

/// A form as a browser sends it; files have a name.
fn form(path: &str, fields: &[(&str, Option<&str>, &[u8])]) -> Request<Full<Bytes>> {
    let mut body = Vec::new();
    for (name, filename, data) in fields {
        let file = filename.map_or(String::new(), |name| format!("; filename=\"{name}\""));
        let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    let request = Request::post(path).header("content-type", "multipart/form-data; boundary=XX");
    request.body(Full::from(body)).expect("request")
}

const SOUND: (&str, Option<&str>, &[u8]) = ("file", Some("a.wav"), b"RIFF\0\xff\r\n--X");

#[tokio::test]
async fn speech_is_sound_in_chunks() {
    let mock = Mock::start_with(Options { log: true, ..Options::default() }).await;
    let speech = |extra: Value| {
        let mut body = json!({"model": "tts", "input": "hello world", "voice": "alloy"});
        for (name, value) in extra.as_object().expect("object") {
            body[name] = value.clone();
        }
        post("/v1/audio/speech", &body)
    };
    for (format, media, start) in
        [("mp3", "audio/mpeg", &b"ID3"[..]), ("wav", "audio/wav", b"RIFF"), ("pcm", "audio/pcm", b"tts")]
    {
        let reply = mock.send(speech(json!({"response_format": format}))).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some(media)));
        assert!(reply.header("content-length").is_none() && reply.body.starts_with(start), "{format}");
        assert!(reply.body.ends_with(b"tts heard: hello world"));
    }
    assert!(mock.events_until("chunk 4").await.contains(&"first_byte".to_owned()));
    let large = mock.send(speech(json!({"model": "tts?size=1MB&chunks=10"}))).await;
    assert!(large.body.len() >= 1_000_000);
    let cut = mock.send(speech(json!({"model": "tts?abort=10"}))).await;
    assert_eq!((cut.body.len(), cut.broken), (10, true));
    let events =
        sse(&mock.send(speech(json!({"stream_format": "sse", "response_format": "pcm"}))).await.body);
    let sound: Vec<u8> = events
        .iter()
        .filter_map(|(_, data)| data["audio"].as_str())
        .flat_map(|part| STANDARD.decode(part).expect("base64"))
        .collect();
    assert_eq!(
        (sound.as_slice(), &events.last().expect("events").1["type"]),
        (&b"tts heard: hello world"[..], &json!("speech.audio.done"))
    );
    for (bad, param) in [
        (json!({"voice": null}), "voice"),
        (json!({"input": "x".repeat(4097)}), "input"),
        (json!({"speed": 9}), "speed"),
        (json!({"response_format": "ogg"}), "response_format"),
        (json!({"lang": "en"}), "lang"),
    ] {
        let reply = mock.send(speech(bad)).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["param"].as_str()), (400, Some(param)));
    }
}

#[tokio::test]
async fn transcriptions_say_which_bytes_arrived() {
    let mock = Mock::start().await;
    let path = "/v1/audio/transcriptions";
    let ask = async |format: &str| {
        let fields = [SOUND, ("model", None, b"whisper"), ("response_format", None, format.as_bytes())];
        mock.send(form(path, &fields)).await
    };
    let text = "whisper heard: a.wav 11B 2bbfdc03162df38b";
    let plain = ask("text").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(plain.body, format!("{text}\n"));
    let json = ask("json").await.json();
    assert_eq!((&json["text"], &json["usage"]["input_tokens"]), (&json!(text), &json!(1)));
    let verbose = ask("verbose_json").await.json();
    assert_eq!((&verbose["segments"][0]["text"], &verbose["task"]), (&json!(text), &json!("transcribe")));
    assert!(ask("srt").await.body.starts_with(b"1\n00:00:00,000 --> "));
    assert!(ask("vtt").await.body.starts_with(b"WEBVTT\n"));
    let fields = [SOUND, ("model", None, b"whisper"), ("stream", None, b"true")];
    let events = sse(&mock.send(form(path, &fields)).await.body);
    let joined: String = events.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!((joined.as_str(), &events.last().expect("events").1["text"]), (text, &json!(text)));
    let translated = [SOUND, ("model", None, b"whisper"), ("response_format", None, b"verbose_json")];
    let translated = mock.send(form("/v1/audio/translations", &translated)).await.json();
    assert_eq!(translated["task"], "translate");
    let failed = [SOUND, ("model", None, b"whisper?status=503")];
    assert_eq!(mock.send(form(path, &failed)).await.status, 503);
}

#[tokio::test]
async fn forms_that_openai_refuses_are_refused() {
    let mock = Mock::start().await;
    let model: (&str, Option<&str>, &[u8]) = ("model", None, b"whisper");
    for (fields, param) in [
        (vec![SOUND], json!("model")),
        (vec![model], json!("file")),
        (vec![model, ("file", None, b"x")], json!("file")),
        (vec![model, ("file", Some("a.txt"), b"x")], json!("file")),
        (vec![model, ("file", Some("a.wav"), b"")], json!("file")),
        (vec![model, SOUND, ("voice", None, b"x")], json!("voice")),
        (vec![model, SOUND, ("response_format", None, b"xml")], json!("response_format")),
        (vec![model, SOUND, ("temperature", None, b"hot")], json!("temperature")),
    ] {
        let reply = mock.send(form("/v1/audio/transcriptions", &fields)).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["param"]), (400, &param), "{fields:?}");
    }
    let json = mock.send(post("/v1/audio/transcriptions", &json!({"model": "whisper"}))).await;
    assert_eq!((json.status.as_u16(), &json.json()["error"]["param"]), (400, &json!("content-type")));
    let broken = Request::post("/v1/images/edits").header("content-type", "multipart/form-data; boundary=XX");
    let broken = mock.send(broken.body(Full::from("--XX\r\nnothing")).expect("request")).await;
    assert_eq!(broken.json()["error"]["code"], "invalid_multipart");
}

#[tokio::test]
async fn images_are_made_and_changed() {
    let mock = Mock::start().await;
    let generate = async |extra: Value| {
        let mut body = json!({"model": "gpt-image", "prompt": "a fox"});
        for (name, value) in extra.as_object().expect("object") {
            body[name] = value.clone();
        }
        mock.send(post("/v1/images/generations", &body)).await
    };
    let made = generate(json!({"n": 2})).await.json();
    assert_eq!(made["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(made["data"][0], json!({"revised_prompt": "gpt-image heard: a fox", "b64_json": PNG}));
    assert_eq!((&made["usage"]["input_tokens"], &made["usage"]["output_tokens"]), (&json!(2), &json!(2)));
    let old = generate(json!({"model": "dall-e-3"})).await.json();
    assert!(old["data"][0]["url"].as_str().is_some_and(|url| url.starts_with("https://")));
    let events = sse(&generate(json!({"stream": true, "partial_images": 2})).await.body);
    let names: Vec<_> = events.iter().map(|(name, _)| name.trim_start_matches("image_generation.")).collect();
    assert_eq!(names, ["partial_image", "partial_image", "completed"]);
    for bad in [json!({"prompt": ""}), json!({"n": 11}), json!({"size_": "x"}), json!({"partial_images": 1})]
    {
        assert_eq!(generate(bad.clone()).await.status, 400, "{bad}");
    }
    let png = STANDARD.decode(PNG).expect("base64");
    let fields: [(&str, Option<&str>, &[u8]); 4] = [
        ("model", None, b"gpt-image"),
        ("prompt", None, b"wider"),
        ("image[]", Some("a.png"), &png),
        ("mask", Some("m.png"), &png),
    ];
    let edited = mock.send(form("/v1/images/edits", &fields)).await.json();
    let prompt = edited["data"][0]["revised_prompt"].as_str().expect("text");
    assert!(
        prompt.starts_with("gpt-image heard: wider [image[],68B,") && prompt.contains(" [mask,68B,"),
        "{prompt}"
    );
    let varied = mock.send(form("/v1/images/variations", &[("image", Some("a.png"), &png)])).await;
    assert_eq!((varied.status.as_u16(), varied.json()["data"][0]["url"].is_string()), (200, true));
    let no_image =
        mock.send(form("/v1/images/edits", &[("prompt", None, b"x"), ("image", Some("a.png"), b"x")])).await;
    assert_eq!(no_image.json()["error"]["param"], "image");
}

#[tokio::test]
async fn moderations_and_ranks_are_predictable() {
    let mock = Mock::start().await;
    let moderated = mock.send(post("/v1/moderations", &json!({"input": ["fine", "Violence!"]}))).await.json();
    assert_eq!(moderated["model"], "omni-moderation-latest");
    let flagged: Vec<_> =
        moderated["results"].as_array().expect("results").iter().map(|result| &result["flagged"]).collect();
    assert_eq!(flagged, [false, true]);
    assert_eq!(moderated["results"][1]["categories"]["violence"], true);
    let parts = json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]);
    let refused = mock.send(post("/v1/moderations", &json!({"input": parts}))).await.json();
    assert_eq!(refused["error"]["param"], "input[1].image_url.url");

    let documents = json!(["nothing", "red fox", {"text": "a fox"}]);
    let body = json!({"model": "mock", "query": "red fox", "documents": documents, "top_n": 2, "return_documents": true});
    let ranked = mock.send(post("/v1/rerank", &body)).await.json();
    assert_eq!(
        ranked["results"],
        json!([
            {"index": 1, "relevance_score": 1.0, "document": {"text": "red fox"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "a fox"}},
        ])
    );
    assert_eq!(ranked["usage"]["total_tokens"], 7);
}

#[tokio::test]
async fn every_other_path_says_what_arrived() {
    let mock = Mock::start_with(Options { log: true, ..Options::default() }).await;
    let send = async |method: Method, path: &str, body: &'static [u8]| -> Reply {
        let request = Request::builder().method(method).uri(path).header("content-type", "x/y");
        mock.send(request.body(Full::from(body)).expect("request")).await
    };
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let echo = send(method.clone(), "/v1/files/f%20a?limit=2", b"\x00\xff").await;
        assert_eq!(
            echo.json(),
            json!({
                "object": "mock.echo", "method": method.as_str(), "path": "/v1/files/f%20a", "query": "limit=2",
                "content_type": "x/y", "body_bytes": 2,
                "body_sha256": "06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8", "body": null,
            })
        );
    }
    let kept = mock.get("/requests?last=1").await["requests"][0].clone();
    assert_eq!((&kept["method"], &kept["body_base64"]), (&json!("DELETE"), &json!("AP8=")));
    let failed = mock.send(post("/v1/batches", &json!({"model": "mock?status=500"}))).await;
    assert_eq!(failed.status, 500);
    let named = post_with("/v1/batches", &[("x-mock-model", "mock?status=502")], &json!({}));
    assert_eq!(mock.send(named).await.status, 502);
    assert_eq!(send(Method::GET, "/v2/files", b"").await.status, 404);
}
