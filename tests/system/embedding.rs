//! Embeddings by the real model: the right numbers, and what is refused.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use semantic_cache::embed::{Embedder, How, Library, Model, Options, Pooling, Refused, Source, State};
use serde::Deserialize;
use system_tests::harness::models::{minilm, onnxruntime};
use tokio::net::TcpListener;

/// What an independent implementation computed; see `tests/models/reference.py`.
const REFERENCES: &str = include_str!("../models/reference.jsonl");

#[derive(Deserialize)]
struct Reference {
    text: String,
    tokens: usize,
    vector: Vec<f32>,
}

fn references() -> Vec<Reference> {
    REFERENCES.lines().map(|line| serde_json::from_str(line).expect("a reference is JSON")).collect()
}

fn library() -> Library {
    Arc::new(|| Ok(onnxruntime()))
}

fn options() -> Options {
    Options::new(Source::Folder { path: minilm(), pooling: None }, library())
}

fn start(change: impl FnOnce(&mut Options)) -> Embedder {
    let mut options = options();
    change(&mut options);
    Embedder::start(options).expect("an embedder starts")
}

async fn values(embedder: &Embedder, text: &str) -> Vec<f32> {
    embedder.embed(text, How::Wait).await.unwrap_or_else(|err| panic!("{text}: {err}")).values
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{what}: off by {worst}");
}

#[tokio::test]
async fn vectors_are_those_of_an_independent_implementation() {
    let embedder = start(|_| {});
    assert_eq!(embedder.state(), State::Idle);
    let example = values(&embedder, "This is an example sentence").await;
    close(&example[..4], &[0.06766, 0.06350, 0.04871, 0.07930], "the example of the model card");
    let model = embedder.ready().await.unwrap();
    assert_eq!((model.dimensions, embedder.state()), (384, State::Ready(model.clone())));
    let references = references();
    assert_eq!(references.iter().map(|reference| reference.tokens).max(), Some(91));
    for Reference { text, vector, .. } in &references {
        close(&values(&embedder, text).await, vector, text);
        let found = embedder.embed(text, How::Try).await.unwrap();
        assert_eq!(found.model, model.digest);
        let length: f32 = found.values.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
}

#[tokio::test]
async fn many_at_once_get_what_one_alone_gets() {
    let embedder = start(|options| options.threads = 2);
    let texts: Vec<String> = references().into_iter().map(|reference| reference.text).collect();
    let mut alone = Vec::new();
    for text in &texts {
        alone.push(values(&embedder, text).await);
    }
    let together = join_all((0..20).map(|number| values(&embedder, &texts[number % texts.len()]))).await;
    for (number, vector) in together.iter().enumerate() {
        assert_eq!(vector, &alone[number % texts.len()], "{}", texts[number % texts.len()]);
    }
}

#[tokio::test]
async fn what_the_model_would_not_see_is_refused() {
    let embedder = start(|_| {});
    // Two tokens are the model's own.
    assert_eq!(values(&embedder, &"word ".repeat(254)).await.len(), 384);
    assert_eq!(embedder.embed(&"word ".repeat(255), How::Wait).await, Err(Refused::TooLong));
    let short = start(|options| options.max_tokens = 12);
    assert_eq!(values(&short, "Alice paid Bob 10 USD, not 100 USD.").await.len(), 384);
    let longer = "Alice paid Bob 10 USD, not 1000 USD. Or did she?";
    assert_eq!(short.embed(longer, How::Wait).await, Err(Refused::TooLong));
    assert_ne!(short.ready().await.unwrap().digest, embedder.ready().await.unwrap().digest);
    // To the model, both are the same: a token for the unknown.
    for text in ["Is 🙂 good?", "Is 🙁 good?"] {
        assert_eq!(embedder.embed(text, How::Wait).await, Err(Refused::Unreadable), "{text}");
    }
}

#[tokio::test]
async fn look_ups_do_not_wait_in_a_full_queue_and_storing_does() {
    let embedder = start(|options| (options.threads, options.queue) = (1, 2));
    embedder.ready().await.unwrap();
    let text = "word ".repeat(200);
    let stored = join_all((0..6).map(|_| embedder.embed(&text, How::Wait)));
    let looked_up = join_all((0..12).map(|_| embedder.embed(&text, How::Try)));
    let (stored, looked_up) = tokio::join!(stored, looked_up);
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    let busy = looked_up.iter().filter(|found| **found == Err(Refused::Busy)).count();
    let served = looked_up.iter().filter(|found| found.is_ok()).count();
    assert_eq!(busy + served, 12, "{looked_up:?}");
    // All twelve are offered at once, and a text takes much longer than that.
    assert!(served >= 1 && busy >= 1, "{served} served, {busy} refused");
}

#[tokio::test]
async fn the_pooling_can_be_chosen() {
    let mean = start(|_| {});
    let cls = start(|options| {
        options.source = Source::Folder { path: minilm(), pooling: Some(Pooling::Cls) };
    });
    let (mean, cls) = tokio::join!(mean.embed("hello there", How::Wait), cls.embed("hello there", How::Wait));
    let (mean, cls) = (mean.unwrap(), cls.unwrap());
    assert_ne!(mean.model, cls.model);
    let cosine: f32 = mean.values.iter().zip(&cls.values).map(|(a, b)| a * b).sum();
    assert!(cosine < 0.99, "{cosine}");
}

/// A hub that has one model: the files of a folder.
struct Hub {
    url: String,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Hub {
    async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, folder) = (Arc::new(AtomicUsize::new(0)), folder.to_owned());
        let counted = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counted, folder) = (counted.clone(), folder.clone());
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let answer = serve(&folder, &request);
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, asked, task }
    }
}

/// Answers as the hub does: a part of a file, with its commit and its size.
fn serve(folder: &Path, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let name = request.uri().path().strip_prefix("/Qdrant/all-MiniLM-L6-v2-onnx/resolve/main/");
    let Some(bytes) = name.and_then(|name| std::fs::read(folder.join(name)).ok()) else {
        return Response::builder().status(StatusCode::NOT_FOUND).body(Full::default()).unwrap();
    };
    let range = request.headers()["range"].to_str().unwrap().strip_prefix("bytes=").unwrap();
    let (from, to) = range.split_once('-').unwrap();
    let from: usize = from.parse().unwrap();
    let to = to.parse().map_or(bytes.len(), |to: usize| to + 1);
    Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header("etag", format!("\"{}-{}\"", name.unwrap(), bytes.len()))
        .header("x-repo-commit", "0123456789abcdef0123456789abcdef01234567")
        .header("content-range", format!("bytes {from}-{}/{}", to - 1, bytes.len()))
        .body(Full::from(bytes[from..to].to_vec()))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_downloaded_by_name_once() {
    let models = tempfile::tempdir().unwrap();
    let hub = Hub::start(&minilm()).await;
    let named = || {
        let (folder, mirror) = (models.path().to_owned(), Some(hub.url.clone()));
        start(|options| {
            options.threads = 1;
            options.source = Source::Hub { name: "allminilml6v2".to_owned(), folder, mirror };
        })
    };
    let reference = &references()[0];
    let first = named().embed(&reference.text, How::Wait).await.unwrap();
    close(&first.values, &reference.vector, &reference.text);
    let asked = hub.asked.load(Ordering::SeqCst);
    assert_eq!(asked, 10, "five files, each asked for its size and then for its bytes");
    hub.task.abort();
    let second = named().embed(&reference.text, How::Wait).await.unwrap();
    assert_eq!((second, hub.asked.load(Ordering::SeqCst)), (first.clone(), asked));
    let Model { digest, .. } = start(|_| {}).ready().await.unwrap();
    assert_eq!(first.model, digest, "the same files are the same model, wherever they lie");
}
