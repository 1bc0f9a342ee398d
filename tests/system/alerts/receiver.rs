//! Doubles of those who are told: an HTTP receiver that checks signatures, and an SMTP server.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use system_tests::harness::eventually;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a receiver answers.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// This status, and how many seconds to wait.
    Status(u16, Option<u32>),
    /// Nothing, ever.
    Hang,
}

/// What a receiver got.
#[derive(Clone, Debug)]
pub struct Got {
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    pub text: String,
    pub at: std::time::Instant,
}

impl Got {
    /// The type of a webhook, after its signature has been checked.
    #[track_caller]
    pub fn webhook(&self, secret: &str) -> &str {
        let header = |name: &str| self.headers[name].as_str();
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(
            format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), self.text).as_bytes(),
        );
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let signatures = header("webhook-signature");
        assert!(signatures.split(' ').any(|signature| signature == expected), "{signatures}");
        assert_eq!(header("webhook-id"), self.body["data"]["id"]);
        self.body["type"].as_str().unwrap()
    }
}

/// An HTTP server that writes down what it gets.
#[derive(Clone)]
pub struct Receiver {
    address: std::net::SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Receiver {
    /// One that gives these replies, and then takes everything.
    pub async fn start(replies: &[Reply]) -> Self {
        Self::listen(0, replies).await
    }

    /// The same on a certain port.
    pub async fn listen(port: u16, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let replies = Arc::new(Mutex::new(replies.iter().copied().collect()));
        let receiver = Self { address: listener.local_addr().unwrap(), got: Arc::default(), replies };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| receiver.clone().answer(request));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        receiver
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let headers = request.headers().iter();
        let headers = headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        let text = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = String::from_utf8(text.into()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
        self.got.lock().push(Got { headers, body, text, at: std::time::Instant::now() });
        let reply = self.replies.lock().pop_front().unwrap_or(Reply::Status(200, None));
        let Reply::Status(status, wait) = reply else { return std::future::pending().await };
        let mut response = Response::builder().status(status);
        if let Some(wait) = wait {
            response = response.header("retry-after", wait);
        }
        Ok(response.body(Full::from("noted")).unwrap())
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().clone()
    }

    /// Waits for so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Got> {
        eventually(&format!("the receiver gets {count}"), PATIENCE, || async {
            Some(self.got()).filter(|got| got.len() >= count)
        })
        .await
    }
}

/// An e-mail as a server gets it.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub login: String,
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
}

/// An SMTP server that wants a login and takes everything.
#[derive(Clone)]
pub struct Smtp {
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Smtp {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let smtp = Self { port: listener.local_addr().unwrap().port(), mails: Arc::default() };
        let mails = Arc::clone(&smtp.mails);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mails = Arc::clone(&mails);
                tokio::spawn(async move { talk(stream, &mails).await });
            }
        });
        smtp
    }

    /// Waits for so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Mail> {
        eventually(&format!("{count} e-mails"), PATIENCE, || async {
            Some(self.mails.lock().clone()).filter(|mails| mails.len() >= count)
        })
        .await
    }
}

/// RFC 5321 as far as a client needs it: a greeting, a login, one envelope, data up to the lonely dot.
async fn talk(stream: TcpStream, mails: &Mutex<Vec<Mail>>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test ESMTP\r\n").await.ok()?;
    let mut mail = Mail::default();
    while let Some(line) = lines.next_line().await.ok()? {
        let upper = line.to_uppercase();
        let answer = match upper.split_whitespace().next()? {
            "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
            "AUTH" => {
                let plain = STANDARD.decode(line.split(' ').nth(2)?).ok()?;
                mail.login = String::from_utf8(plain).ok()?.replace('\0', ":");
                "235 2.7.0 welcome"
            }
            "MAIL" => {
                mail.from = between(&line);
                "250 2.1.0 ok"
            }
            "RCPT" => {
                mail.to.push(between(&line));
                "250 2.1.5 ok"
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                while let Some(line) = lines.next_line().await.ok()?.filter(|line| line != ".") {
                    mail.data.push_str(&line);
                    mail.data.push('\n');
                }
                mails.lock().push(std::mem::take(&mut mail));
                "250 2.0.0 queued as 1"
            }
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
    Some(())
}

fn between(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}
