//! HTTP clients: pooled, HTTP/2 where offered, no redirects, and public addresses only where the caller chose the host.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::host;
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Clients by connect timeout and trust.
pub(crate) struct Clients {
    known: Mutex<HashMap<(Duration, bool), reqwest::Client>>,
    tls: rustls::ClientConfig,
}

impl Clients {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        use rustls_platform_verifier::BuilderVerifierExt as _;
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_platform_verifier()
            .context("load the system's certificates")?
            .with_no_client_auth();
        Ok(Self { known: Mutex::default(), tls })
    }

    /// The client for calls with this connect timeout; `guarded` ones refuse addresses that are not public.
    pub(crate) fn get(&self, connect: Duration, guarded: bool) -> Result<reqwest::Client, reqwest::Error> {
        if let Some(client) = self.known.lock().get(&(connect, guarded)) {
            return Ok(client.clone());
        }
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tcp_nodelay(true)
            .connect_timeout(connect)
            .pool_idle_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")));
        let builder = if guarded { builder.dns_resolver(Arc::new(PublicOnly)).no_proxy() } else { builder };
        let client = builder.build()?;
        self.known.lock().insert((connect, guarded), client.clone());
        Ok(client)
    }
}

/// Resolves names, and refuses those that lead to private networks: a name may look public and not be.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(private) = found.iter().find(|address| !host::is_public(address.ip())) {
                return Err(
                    format!("{} resolves to {}, which is not public", name.as_str(), private.ip()).into()
                );
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_after_resolution() {
        let name: Name = "localhost".parse().unwrap();
        let err = PublicOnly.resolve(name).await.err().expect("localhost is not public");
        assert!(err.to_string().contains("not public"), "{err}");
    }
}
