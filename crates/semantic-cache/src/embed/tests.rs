//! Embedders without a real model: what goes wrong, and endpoints. Real models are in the system tests.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that has every file of a model, and nothing useful in them.
fn hollow() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in files::TOKENIZER.iter().chain(&["model.onnx"]) {
        std::fs::write(dir.path().join(name), "{}").unwrap();
    }
    dir
}

fn folder(path: &Path, library: Library) -> Embedder {
    let source = Source::Folder { path: path.to_owned(), pooling: None };
    Embedder::start(Options::new(source, library)).unwrap()
}

/// Why an embedder went off.
async fn off(embedder: &Embedder) -> String {
    let refused = tokio::time::timeout(PATIENCE, embedder.embed("hello", How::Wait)).await.expect("it ends");
    let Err(Refused::Off(reason)) = refused else { panic!("it is not off: {refused:?}") };
    assert_eq!(embedder.state(), State::Off(reason.clone()));
    assert_eq!(embedder.ready().await, Err(Refused::Off(reason.clone())));
    assert_eq!(embedder.embed("hello", How::Try).await, Err(Refused::Off(reason.clone())));
    reason.to_string()
}

#[tokio::test]
async fn nothing_is_loaded_before_the_first_text() {
    let (asked, dir) = (Arc::new(AtomicUsize::new(0)), hollow());
    let (go, gone) = std::sync::mpsc::channel();
    let gone = Mutex::new(gone);
    let library: Library = Arc::new({
        let asked = asked.clone();
        move || {
            asked.fetch_add(1, Ordering::SeqCst);
            gone.lock().recv()?;
            anyhow::bail!("offline")
        }
    });
    let embedder = folder(dir.path(), library);
    assert_eq!(embedder.state(), State::Idle);
    let long = "word ".repeat(2_000);
    assert_eq!(embedder.embed(&long, How::Try).await, Err(Refused::TooLong));
    assert_eq!((embedder.state(), asked.load(Ordering::SeqCst)), (State::Idle, 0));
    for _ in 0..2 {
        assert_eq!(embedder.embed("hello", How::Try).await, Err(Refused::Loading));
        assert_eq!(embedder.state(), State::Loading);
    }
    go.send(()).unwrap();
    assert_eq!(off(&embedder).await, "find libonnxruntime: offline");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_loaded_takes_embedding_off_and_says_what_to_do() {
    let (dir, empty) = (hollow(), tempfile::tempdir().unwrap());
    let fine: Library = Arc::new(|| panic!("not reached"));
    let reason = off(&folder(empty.path(), fine)).await;
    assert_eq!(reason, format!("there is no model.onnx in the model folder {}", empty.path().display()));
    for name in ["missing.so", "model.onnx"] {
        let path = dir.path().join(name);
        let library: Library = Arc::new({
            let path = path.clone();
            move || Ok(path.clone())
        });
        let reason = off(&folder(dir.path(), library)).await;
        assert!(reason.starts_with("libonnxruntime cannot be loaded (failed to load from"), "{reason}");
        let ending = format!("or remove {} to have it fetched again", path.display());
        assert!(reason.ends_with(&ending), "{reason}");
    }
}

#[tokio::test]
async fn a_panic_takes_embedding_off_and_not_the_process() {
    let dir = hollow();
    let embedder = folder(dir.path(), Arc::new(|| panic!("no such thing")));
    assert_eq!(off(&embedder).await, "a thread panicked: no such thing");
}

#[test]
fn vectors_get_length_one() {
    assert_eq!(normalized(vec![3.0, 4.0]), Some(vec![0.6, 0.8]));
    assert_eq!(normalized(vec![1e-30, 0.0]), None);
    assert_eq!(normalized(vec![f32::NAN, 1.0]), None);
    assert_eq!(normalized(vec![f32::INFINITY]), None);
    assert_eq!(normalized(vec![f32::MAX, 0.0]), Some(vec![1.0, 0.0]));
}

/// An endpoint that gives each connection the next answer, and keeps what it was asked.
struct Double {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What the double does with one request.
enum Act {
    Say(u16, &'static str),
    HangUp,
    Silence,
}

impl Double {
    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with its runtime")]
    async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, mut acts) = (asked.clone(), VecDeque::from(acts));
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Some(act) = acts.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = receive(&mut stream).await;
                seen.lock().push(request);
                match act {
                    Act::Say(status, body) => {
                        let length = body.len();
                        let head = format!(
                            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                        );
                        stream.write_all((head + body).as_bytes()).await.unwrap();
                    }
                    Act::HangUp => drop(stream),
                    Act::Silence => silent.push(stream),
                }
            }
            std::future::pending::<()>().await;
        });
        Self { url, asked }
    }

    fn embedder(&self, change: impl FnOnce(&mut Endpoint, &mut usize)) -> Embedder {
        let mut endpoint = Endpoint {
            url: self.url.clone(),
            model: "text-embedding-3-small".to_owned(),
            api_key: Some(Zeroizing::new("sk-secret".to_owned())),
            dimensions: None,
            timeout: Duration::from_secs(5),
        };
        let mut queue = 32;
        change(&mut endpoint, &mut queue);
        let library: Library = Arc::new(|| panic!("an endpoint needs no library"));
        Embedder::start(Options { queue, ..Options::new(Source::Endpoint(endpoint), library) }).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }
}

/// Reads a request with a content-length.
async fn receive(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the request is whole");
    }
}

const THREE_FOUR: &str = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[3,4]}],"usage":{"prompt_tokens":2}}"#;

#[tokio::test]
async fn an_endpoint_is_asked_as_openai_is() {
    let double = Double::start(vec![Act::Say(200, THREE_FOUR), Act::Say(200, THREE_FOUR)]).await;
    let embedder = double.embedder(|endpoint, _| endpoint.dimensions = Some(2));
    assert_eq!(embedder.state(), State::Idle);
    let vector = embedder.embed("hello there", How::Try).await.unwrap();
    assert_eq!(vector.values, [0.6, 0.8]);
    assert_eq!(embedder.state(), State::Ready(Model { digest: vector.model.clone(), dimensions: 2 }));
    let model = embedder.ready().await.unwrap();
    assert_eq!((model.digest, double.asked()), (vector.model.clone(), 1));
    let request = double.asked.lock()[0].clone();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/embeddings HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: Bearer sk-secret\r\n"), "{head}");
    let expected = r#"{"model":"text-embedding-3-small","input":"hello there","encoding_format":"float","dimensions":2}"#;
    assert_eq!(body, expected);
    let other = double.embedder(|endpoint, _| endpoint.model = "other".to_owned());
    assert_ne!(other.ready().await.unwrap().digest, vector.model, "another model has another digest");
}

#[tokio::test]
async fn an_endpoint_is_asked_once_more_when_that_may_help() {
    let fine = || Act::Say(200, THREE_FOUR);
    for passing in [Act::HangUp, Act::Say(503, "starting")] {
        let double = Double::start(vec![passing, fine()]).await;
        let vector = double.embedder(|_, _| {}).embed("hello", How::Try).await.unwrap();
        assert_eq!((vector.values.as_slice(), double.asked()), ([0.6, 0.8].as_slice(), 2));
    }
    let failed = |text: &str| Err(Refused::Failed(text.to_owned()));
    let double = Double::start(vec![Act::Say(500, "a"), Act::Say(500, "b"), fine()]).await;
    let embedder = double.embedder(|_, _| {});
    assert_eq!(embedder.embed("hello", How::Try).await, failed("status 500: b"));
    assert_eq!(embedder.state(), State::Idle);
    assert!(embedder.embed("hello", How::Wait).await.is_ok(), "one failure is not the end");
    let double = Double::start(vec![Act::Say(401, r#"{"error":"no such key"}"#)]).await;
    let said = double.embedder(|_, _| {}).embed("hello", How::Try).await;
    assert_eq!(said, failed(r#"status 401: {"error":"no such key"}"#));
}

#[tokio::test]
async fn an_endpoint_says_itself_that_a_text_is_too_long() {
    let acts = vec![
        Act::Say(400, r#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#),
        Act::Say(200, r#"{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":257}}"#),
    ];
    let double = Double::start(acts).await;
    let embedder = double.embedder(|_, _| {});
    for asked in [1, 2] {
        assert_eq!(embedder.embed("hello", How::Try).await, Err(Refused::TooLong));
        assert_eq!(double.asked(), asked);
    }
}

#[tokio::test]
async fn a_vector_of_another_size_is_refused() {
    let wide = r#"{"data":[{"embedding":[1,2,2]}]}"#;
    let double =
        Double::start(vec![Act::Say(200, wide), Act::Say(200, THREE_FOUR), Act::Say(200, wide)]).await;
    let said = |given, expected| {
        Err(Refused::Failed(format!(
            "a vector of {given} numbers instead of {expected}: correct the dimensions or the model"
        )))
    };
    let told = double.embedder(|endpoint, _| endpoint.dimensions = Some(2));
    assert_eq!(told.embed("hello", How::Try).await, said(3, 2));
    let learned = double.embedder(|_, _| {});
    assert!(learned.embed("hello", How::Try).await.is_ok());
    assert_eq!(learned.embed("hello", How::Try).await, said(3, 2));
}

#[tokio::test]
async fn look_ups_beyond_the_queue_are_refused_and_a_silent_endpoint_is_given_up() {
    let double = Double::start((0..3).map(|_| Act::Silence).collect()).await;
    let embedder = double.embedder(|endpoint, queue| {
        endpoint.timeout = Duration::from_millis(300);
        *queue = 1;
    });
    let mut first = Box::pin(embedder.embed("hello", How::Try));
    assert!(futures::poll!(&mut first).is_pending());
    assert_eq!(embedder.embed("hello", How::Try).await, Err(Refused::Busy));
    assert_eq!(first.await, Err(Refused::Failed("no answer in time".to_owned())));
}

#[test]
fn a_key_is_not_printed() {
    let endpoint = Endpoint {
        url: "http://h".to_owned(),
        model: "m".to_owned(),
        api_key: Some(Zeroizing::new("sk-secret".to_owned())),
        dimensions: None,
        timeout: Duration::from_secs(1),
    };
    let options = Options::new(Source::Endpoint(endpoint), Arc::new(|| panic!("not called")));
    let printed = format!("{options:?}");
    assert!(printed.contains("http://h") && !printed.contains("secret"), "{printed}");
}
