//! Connections that a proper HTTP client would not make.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// A connection on which single bytes are sent and read.
pub(crate) struct Connection(TcpStream);

impl Connection {
    /// Connects and sends nothing yet.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("the service accepts connections"))
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.expect("the service reads");
    }

    /// Reads until `wanted` is in what was read, or the other side closes, and answers what was read.
    pub(crate) async fn read_until(&mut self, wanted: &str, within: Duration) -> String {
        let mut read = Vec::new();
        let reading = async {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = self.0.read(&mut buffer).await {
                read.extend_from_slice(&buffer[..length]);
                if String::from_utf8_lossy(&read).contains(wanted) {
                    break;
                }
            }
        };
        timeout(within, reading).await.unwrap_or_else(|_| panic!("neither {wanted:?} nor a close within {within:?}"));
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Waits until the other side closes. Answers what came before, and how long it took.
    pub(crate) async fn closed(&mut self, within: Duration) -> (String, Duration) {
        let begun = Instant::now();
        let mut read = Vec::new();
        let reading = timeout(within, self.0.read_to_end(&mut read)).await;
        assert!(reading.is_ok(), "the connection is still open after {within:?}");
        (String::from_utf8_lossy(&read).into_owned(), begun.elapsed())
    }

    /// Sends a byte now and then until the other side closes, and answers how long that took.
    pub(crate) async fn trickle_until_closed(&mut self, within: Duration) -> Duration {
        let begun = Instant::now();
        let (mut reading, mut writing) = self.0.split();
        let trickle = async {
            while writing.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let mut buffer = [0; 4096];
        let close = async { while let Ok(1..) = reading.read(&mut buffer).await {} };
        tokio::select! {
            () = trickle => {}
            () = close => {}
            () = tokio::time::sleep(within) => panic!("the connection is still open after {within:?}"),
        }
        begun.elapsed()
    }
}
