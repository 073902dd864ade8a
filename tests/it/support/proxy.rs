//! A TCP proxy before a MongoDB server, with faults that are switched on and off while it runs.
//!
//! A driver learns the servers' addresses from the replica set itself, so a set behind proxies is configured with theirs,
//! and its members speak to each other through them too. The faults are for clients only: a member's first message on a
//! connection says `internalClient`, and what begins so always passes. Faults between members are made by signals.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mongodb::bson::doc;
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
    /// The next take of a number is held back, and answered with an error after which a driver tries again; all else passes. What
    /// is held back goes to the server when this mode ends.
    HoldTake,
}

/// A proxy on a port of the loopback, as long as it is not dropped and its runtime lives.
pub(crate) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    held: Arc<Held>,
    task: AbortHandle,
}

/// What became of the take that was held back.
#[derive(Default)]
struct Held {
    taken: AtomicBool,
    answered: AtomicBool,
}

impl Proxy {
    /// A proxy before the server on this port of the loopback.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let held = Arc::<Held>::default();
        let of_connections = held.clone();
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, modes.clone(), of_connections.clone()));
            }
        };
        Self { port, mode, held, task: tokio::spawn(accepting).abort_handle() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Is a take held back, and has the server answered it?
    pub(crate) fn held(&self) -> (bool, bool) {
        (self.held.taken.load(Ordering::Acquire), self.held.answered.load(Ordering::Acquire))
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
async fn connection(
    mut client: TcpStream,
    server: u16,
    mut modes: watch::Receiver<Mode>,
    held: Arc<Held>,
) -> io::Result<()> {
    let first = first_message(&mut client).await?;
    let (_open, always_pass) = watch::channel(Mode::Pass);
    if first.windows(INTERNAL.len()).any(|window| window == INTERNAL) {
        modes = always_pass;
    }
    client.set_zero_linger()?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut requests = first;
    loop {
        let (from_client, mut to_client) = client.split();
        let (from_server, to_server) = server.split();
        let late = tokio::select! {
            ended = forward(requests.as_slice().chain(from_client), to_server, modes.clone(), Some(&held)) => ended?,
            ended = forward(from_server, &mut to_client, modes.clone(), None) => ended?,
        };
        let Some(take) = late else { return Ok(()) };
        client.write_all(&try_again(&take)).await?;
        // The client goes on over another connection to the server than the one on which this arrives late.
        let other = TcpStream::connect(server.peer_addr()?).await?;
        tokio::spawn(arrive_late(std::mem::replace(&mut server, other), take, modes.clone(), held.clone()));
        requests = Vec::new();
    }
}

async fn arrive_late(
    mut server: TcpStream,
    take: Vec<u8>,
    mut modes: watch::Receiver<Mode>,
    held: Arc<Held>,
) -> io::Result<()> {
    let _ = modes.wait_for(|mode| *mode != Mode::HoldTake).await;
    server.write_all(&take).await?;
    let _ = server.read(&mut [0; 1024]).await?;
    held.answered.store(true, Ordering::Release);
    Ok(())
}

/// An answer to this request (OP_MSG of the wire protocol) after which a driver tries again, on the same server.
fn try_again(request: &[u8]) -> Vec<u8> {
    let reply = doc! {
        "ok": 0.0, "code": 262, "codeName": "ExceededTimeLimit", "errmsg": "planted", "errorLabels": ["RetryableWriteError"],
    };
    let mut body = vec![0; 5];
    body.extend(mongodb::bson::serialize_to_vec(&reply).unwrap());
    let length = u32::try_from(16 + body.len()).unwrap();
    let header = [&length.to_le_bytes(), &[0; 4], &request[4..8], &2013_u32.to_le_bytes()].concat();
    [header, body].concat()
}

/// Is this the command that takes numbers?
fn is_take(request: &[u8]) -> bool {
    let has = |words: &[u8]| request.windows(words.len()).any(|window| window == words);
    has(b"findAndModify") && has(b"incremental_counter")
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

/// Passes on what comes, until it ends or a take is to be held back, which is the answer. `requests` is there where requests come.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
    requests: Option<&Held>,
) -> io::Result<Option<Vec<u8>>> {
    let is_first = |held: Option<&Held>| held.is_some_and(|held| !held.taken.swap(true, Ordering::AcqRel));
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Refuse || (lost && mode != Mode::DropAnswers) {
            return Ok(None);
        }
        tokio::select! {
            changed = modes.changed() => if changed.is_err() {
                return Ok(None);
            },
            read = from.read(&mut buffer), if mode != Mode::BlackHole => match read? {
                0 => return Ok(None),
                _ if requests.is_none() && mode == Mode::DropAnswers => lost = true,
                length if mode == Mode::HoldTake && is_take(&buffer[..length]) && is_first(requests) => {
                    return Ok(Some(buffer[..length].to_vec()));
                }
                length => to.write_all(&buffer[..length]).await?,
            },
        }
    }
}
