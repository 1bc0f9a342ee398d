//! Sockets for the HTTP API.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use crate::settings::Settings;

/// Whoever reaches the port may spend money: without access control it stays on this machine.
pub(crate) fn check_remote(listen: SocketAddr, settings: &Settings) -> anyhow::Result<()> {
    if listen.ip().is_loopback() || settings.auth.mode.is_on() {
        return Ok(());
    }
    bail!(
        "refusing to listen on {listen}: anybody who reaches it could use your providers; \
         listen on 127.0.0.1, or set auth.mode = \"on\" and give callers API keys"
    )
}

/// Binds an address. With `reuse_port` another process may listen on it too, for restarts without a gap.
pub(crate) fn bind(listen: SocketAddr, reuse_port: bool) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(listen), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(4096)?;
        TcpListener::from_std(socket.into())
    };
    bound().with_context(|| format!("listen on {listen}; choose another address with --listen"))
}
