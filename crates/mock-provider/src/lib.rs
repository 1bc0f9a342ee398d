//! A scriptable provider double that speaks the dialects of the large providers and keeps its own bill.
//! It is written after their documentation, and shares no code with our own formats.
//! Answers are a function of the request; faults are asked for in the model name, see [`HELP`].

mod bill;
mod call;
mod chat;
mod clock;
mod create;
mod dialect;
mod endpoint;
mod help;
mod log;
mod media;
mod multipart;
mod player;
mod rank;
mod route;
mod sample;
mod script;
mod sequence;
mod server;
mod shape;
mod stream;
mod text;
mod value;
mod wire;

use std::borrow::Cow;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use crate::help::HELP;

/// How a mock provider is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keep the log and the received requests of every call, not only of those whose model carries `log`.
    pub log: bool,
    /// Keys whose signatures Bedrock's addresses take.
    pub aws_keys: Vec<AwsKey>,
    /// Private key in PEM (PKCS #8) of the service account whose assertions Google's token endpoint takes.
    pub google_key: Cow<'static, str>,
    /// Whom Microsoft's token endpoint knows.
    pub entra_client: EntraClient,
}

/// An application that is registered with Microsoft Entra.
#[derive(Clone, Debug)]
pub struct EntraClient {
    /// Its name.
    pub client_id: Cow<'static, str>,
    /// Its secret.
    pub client_secret: Cow<'static, str>,
}

/// A pair of keys for AWS.
#[derive(Clone, Debug)]
pub struct AwsKey {
    /// Public half, as in `AKIDEXAMPLE`.
    pub access_key_id: Cow<'static, str>,
    /// Secret half.
    pub secret_access_key: Cow<'static, str>,
    /// Sent along as `x-amz-security-token` if the keys are temporary.
    pub session_token: Option<Cow<'static, str>>,
}

/// The pair of AWS's own documentation.
pub const AWS_KEY: AwsKey = AwsKey {
    access_key_id: Cow::Borrowed("AKIDEXAMPLE"),
    secret_access_key: Cow::Borrowed("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    session_token: None,
};

/// A temporary pair.
pub const AWS_SESSION_KEY: AwsKey = AwsKey {
    access_key_id: Cow::Borrowed("ASIAEXAMPLE"),
    secret_access_key: Cow::Borrowed("wJalrXUtnFEMI/K7MDENG+bPxRfiCYSESSIONKEY"),
    session_token: Some(Cow::Borrowed("mock-session-token")),
};

/// A key that everybody has: it is printed in RFC 7515, appendix A.2.1.
pub const GOOGLE_KEY: &str = include_str!("test-only-key-of-rfc7515.pem");

/// The application that is known if no other is.
pub const ENTRA_CLIENT: EntraClient =
    EntraClient { client_id: Cow::Borrowed("mock-client"), client_secret: Cow::Borrowed("mock-secret") };

impl Default for Options {
    fn default() -> Self {
        Self {
            log: false,
            aws_keys: vec![AWS_KEY, AWS_SESSION_KEY],
            google_key: Cow::Borrowed(GOOGLE_KEY),
            entra_client: ENTRA_CLIENT,
        }
    }
}

/// Serves until shutdown, which cuts what is still open after half a second. Fails only if it cannot start.
pub async fn run(listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    run_with(listener, Options::default(), shutdown).await
}

/// As [`run`], with options.
pub async fn run_with(
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    server::serve(listener, options, shutdown).await
}
