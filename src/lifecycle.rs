//! Starting, serving, stopping: signals, and the two cancellations that follow from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The service's state of life, shared by all its parts.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    stopping: Arc<AtomicBool>,
    /// Soft: stop accepting, finish what is under way.
    pub drain: CancellationToken,
    /// Hard: let go of everything.
    pub abort: CancellationToken,
}

impl Lifecycle {
    /// Is the service to be taken out of the load balancers' rotation?
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Turns `/readyz` to 503, and lets connections end with their next answer.
    pub fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

/// SIGTERM, SIGINT and SIGHUP, caught from the moment that this is made.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl StopSignals {
    /// Catches them from now on.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one and says its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}
