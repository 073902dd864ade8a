//! The listeners: an accept loop of our own with deadlines for slow and silent clients, and a drain that ends.
//!
//! `axum::serve` has neither: a half-sent head stays open for ever there and holds up the shutdown, and so does a
//! connection that sends nothing before it is known whether it speaks HTTP/1 or HTTP/2.

use std::convert::Infallible;
use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use procfs::process::{LimitValue, Process};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::extract::UNMATCHED;
use crate::lifecycle::Lifecycle;
use crate::metrics::{self, ConnectionEnd, HttpRequest};
use crate::middleware::observe::Peer;

/// The most that a request's head may hold, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How long an answer that is complete may take to leave before its connection is closed in a drain.
const LINGER: Duration = Duration::from_secs(1);

/// Open files that are no connections of callers: the store's, the collector's, the log.
const RESERVED_FILES: usize = 128;

/// How long to wait when the system refuses a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Deadlines and bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Deadline of a connection's first request head.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// Open connections; beyond it new ones wait to be accepted.
    pub max_connections: usize,
}

/// A listener that is bound and does not accept yet.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    listener: TcpListener,
    bounds: Bounds,
}

impl Server {
    /// Binds the address. Port 0 picks a free one.
    pub async fn bind(name: &'static str, address: SocketAddr, mut bounds: Bounds) -> std::io::Result<Self> {
        let affordable = open_files_limit().map(|limit| limit.saturating_sub(RESERVED_FILES).max(1));
        if let Some(affordable) = affordable.filter(|affordable| *affordable < bounds.max_connections) {
            tracing::warn!(
                listener = name,
                wanted = bounds.max_connections,
                connections = affordable,
                "fewer connections than COUNTER_MAX_CONNECTIONS: raise the limit of open files (ulimit -n)"
            );
            bounds.max_connections = affordable;
        }
        drop(metrics::http_connection(name));
        metrics::http_connections_limit(name, u32::try_from(bounds.max_connections).unwrap_or(u32::MAX));
        Ok(Self { name, listener: TcpListener::bind(address).await?, bounds })
    }

    /// The address that was bound.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the drain begins, and returns when every connection has ended. Connections finish the requests under
    /// way during the drain, and are cut off by the abort.
    pub async fn serve(self, router: Router, lifecycle: Lifecycle) {
        let places = Arc::new(Semaphore::new(self.bounds.max_connections));
        let tasks = TaskTracker::new();
        let mut full = false;
        loop {
            if places.available_permits() == 0 && !full {
                tracing::warn!(
                    listener = self.name,
                    connections = self.bounds.max_connections,
                    "no more connections: new ones wait"
                );
            }
            full = places.available_permits() == 0;
            let next = async {
                let place = places.clone().acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let Some((Ok(place), accepted)) = lifecycle.drain.run_until_cancelled(next).await else { break };
            match accepted {
                Ok((stream, peer)) => {
                    let connection =
                        Connection { listener: self.name, bounds: self.bounds, lifecycle: lifecycle.clone() };
                    let router = router.clone();
                    tasks.spawn(async move {
                        connection.run(stream, peer, router).await;
                        drop(place);
                    });
                }
                // It ended before it was accepted, which says nothing of the next one.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(listener = self.name, %error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        tasks.close();
        tasks.wait().await;
    }
}

/// Does it concern the connection that was to be accepted, and no other?
fn is_of_one_connection(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}

/// How many files this process may have open, where the system says so (Linux).
fn open_files_limit() -> Option<usize> {
    match Process::myself().ok()?.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => usize::try_from(limit).ok(),
        LimitValue::Unlimited => None,
    }
}

/// Tells of a request whose head could not be read: hyper has answered it by itself, and ended the connection.
fn refused_unread(error: &(dyn Error + Send + Sync + 'static)) {
    let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) else { return };
    let status = if error.is_parse_too_large() { 431 } else { 400 };
    let request = HttpRequest { method: "_OTHER", route: UNMATCHED, status, code: "" };
    metrics::http_request(request, Duration::ZERO, None);
    tracing::info!(
        method = "_OTHER",
        route = UNMATCHED,
        status,
        "_OTHER {UNMATCHED} {status}: its head could not be read"
    );
}

struct Connection {
    listener: &'static str,
    bounds: Bounds,
    lifecycle: Lifecycle,
}

/// What a connection is doing, seen from its requests.
#[derive(Default)]
struct Activity {
    under_way: AtomicUsize,
    served: AtomicUsize,
    changed: Notify,
}

/// A request under way.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::AcqRel);
        activity.changed.notify_one();
        Self(activity.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.served.fetch_add(1, Ordering::AcqRel);
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

impl Connection {
    async fn run(self, stream: TcpStream, peer: SocketAddr, router: Router) {
        let _open = metrics::http_connection(self.listener);
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::default());
        let service = hyper::service::service_fn({
            let activity = activity.clone();
            move |request: Request<Incoming>| {
                let under_way = UnderWay::new(&activity);
                let router = router.clone();
                async move {
                    let mut request = request.map(Body::new);
                    request.extensions_mut().insert(Peer(peer.ip()));
                    let response = router.oneshot(request).await;
                    drop(under_way);
                    response.map_err(|never: Infallible| match never {})
                }
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // In HTTP/1 this is the deadline of a head, counted from the answer before it: the idle time of a connection too.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.bounds.idle_timeout).max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(256)
            .keep_alive_interval(self.bounds.idle_timeout);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);

        let mut draining = false;
        let mut since = Instant::now();
        let mut served = 0;
        loop {
            let idle = activity.under_way.load(Ordering::Acquire) == 0;
            let total = activity.served.load(Ordering::Acquire);
            if total != served || !idle {
                served = total;
                since = Instant::now();
            }
            let patience = match (draining, served) {
                (true, _) => LINGER,
                (false, 0) => self.bounds.header_timeout,
                // A little later than hyper's own, which closes HTTP/1 connections; this one is for HTTP/2.
                (false, _) => self.bounds.idle_timeout + LINGER,
            };
            tokio::select! {
                ended = connection.as_mut() => {
                    // Why else a connection ended is the client's business.
                    if let Err(error) = ended {
                        refused_unread(error.as_ref());
                    }
                    return;
                }
                () = activity.changed.notified() => {}
                () = tokio::time::sleep_until((since + patience).into()), if idle => {
                    // In whatever order the branches are looked at: a request that has begun is finished.
                    if activity.under_way.load(Ordering::Acquire) > 0 || activity.served.load(Ordering::Acquire) != served {
                        continue;
                    }
                    if !draining {
                        let reason = if served == 0 { ConnectionEnd::NoRequest } else { ConnectionEnd::Idle };
                        metrics::connection_ended(reason);
                    }
                    return;
                }
                () = self.lifecycle.drain.cancelled(), if !draining => {
                    draining = true;
                    since = Instant::now();
                    connection.as_mut().graceful_shutdown();
                }
                () = self.lifecycle.abort.cancelled() => {
                    metrics::connection_ended(ConnectionEnd::DrainTimeout);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use axum::routing::get;

    use super::*;

    /// How long a connection may be without a first request here.
    const HEADER_TIMEOUT: Duration = Duration::from_millis(20);

    /// The scheduler decides which of two things that are due is seen first: here both are always due together.
    #[tokio::test]
    async fn a_request_that_has_begun_is_answered_though_its_connections_time_is_over() {
        let begun = Arc::new(AtomicUsize::new(0));
        let handler = {
            let begun = begun.clone();
            async move || {
                begun.fetch_add(1, Ordering::AcqRel);
                tokio::task::yield_now().await;
                "answered"
            }
        };
        let router = Router::new().route("/", get(handler));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut answered = 0;
        for _ in 0..40 {
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, peer) = listener.accept().await.unwrap();
            let bounds =
                Bounds { header_timeout: HEADER_TIMEOUT, idle_timeout: Duration::from_secs(60), max_connections: 1 };
            let connection = Connection { listener: "test", bounds, lifecycle: Lifecycle::default() };
            let running = tokio::spawn(connection.run(stream, peer, router.clone()));
            // It waits for a request from here on; then this thread, which is the only one, lets its time pass.
            tokio::task::yield_now().await;
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            std::thread::sleep(HEADER_TIMEOUT * 2);
            running.await.unwrap();
            let mut answer = String::new();
            // A connection that was closed with a request unread is reset.
            let _ = std::io::Read::read_to_string(&mut client, &mut answer);
            answered += usize::from(answer.ends_with("answered"));
        }
        assert!(begun.load(Ordering::Acquire) > 0, "the two never were due together");
        assert_eq!(answered, begun.load(Ordering::Acquire), "requests that began, and answers");
    }

    #[test]
    fn a_connection_that_is_gone_does_not_stop_the_listener() {
        for kind in [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused] {
            assert!(is_of_one_connection(&kind.into()), "{kind}");
        }
        // EMFILE: there are no file descriptors left, for whatever connection.
        assert!(!is_of_one_connection(&std::io::Error::from_raw_os_error(24)));
    }
}
