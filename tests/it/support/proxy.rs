//! A TCP proxy before a MongoDB server, with faults that are switched on and off while it runs.
//!
//! A driver learns the servers' addresses from the replica set itself, so a set behind proxies is configured with theirs,
//! and its members speak to each other through them too. The faults are for clients only: a member's first message on a
//! connection says `internalClient`, and what begins so always passes. Faults between members are made by signals.

use std::net::{Ipv4Addr, TcpListener};

use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What happens to the clients' connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Pass,
    /// All connections are reset, new ones too.
    Refuse,
    /// Nothing passes in either direction, and nothing is closed. What was sent meanwhile arrives afterwards.
    BlackHole,
    /// Requests pass, answers are lost. A connection that lost one is reset afterwards, for it has a gap.
    DropAnswers,
}

/// A proxy on a port of the loopback, as long as it is not dropped and its runtime lives.
pub(crate) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    task: AbortHandle,
}

impl Proxy {
    /// A proxy before the server on this port of the loopback.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, modes.clone()));
            }
        };
        Self { port, mode, task: tokio::spawn(accepting).abort_handle() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections end by themselves, for nobody can set their mode any more.
        self.task.abort();
    }
}

/// One connection to its end, which is a reset.
async fn connection(mut client: TcpStream, server: u16, mut modes: watch::Receiver<Mode>) -> io::Result<()> {
    let first = first_message(&mut client).await?;
    let (_open, always_pass) = watch::channel(Mode::Pass);
    if first.windows(INTERNAL.len()).any(|window| window == INTERNAL) {
        modes = always_pass;
    }
    client.set_zero_linger()?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        ended = forward(first.as_slice().chain(from_client), to_server, modes.clone(), false) => ended,
        ended = forward(from_server, to_client, modes.clone(), true) => ended,
    }
}

/// A member of the set says this of itself when it connects.
const INTERNAL: &[u8] = b"internalClient";

/// The wire protocol's messages begin with their length, 32 bits, little-endian.
async fn first_message(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = client.read_u32_le().await?;
    let mut message = length.to_le_bytes().to_vec();
    client.take(u64::from(length).saturating_sub(4)).read_to_end(&mut message).await?;
    Ok(message)
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
    answers: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Refuse || (lost && mode != Mode::DropAnswers) {
            return Ok(());
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() {
                return Ok(());
            },
            read = from.read(&mut buffer), if mode != Mode::BlackHole => match read? {
                0 => return Ok(()),
                _ if answers && mode == Mode::DropAnswers => lost = true,
                length => to.write_all(&buffer[..length]).await?,
            },
        }
    }
}
