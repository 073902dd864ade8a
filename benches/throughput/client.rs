//! Who calls: connections to the service with as little work of their own as possible, and the driver by itself.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};
use mongodb::{Client, Collection};
use tokio::net::TcpStream;

/// Somebody who calls again and again.
pub(crate) trait Caller: Send + 'static {
    /// Does the call with this number.
    fn call(&mut self, number: usize) -> impl Future<Output = ()> + Send;
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// A call that is refused for its parameter: the same middleware and token check as a `next`, and no store. What the
    /// HTTP side takes by itself.
    Refusal,
    /// `next` of one counter.
    Hot { keyed: bool },
    /// `next` of many counters.
    Spread { keyed: bool },
}

impl Wanted {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refusal => "no-op",
            Self::Hot { keyed: false } => "hot",
            Self::Hot { keyed: true } => "hot, keyed",
            Self::Spread { keyed: false } => "10,000 counters",
            Self::Spread { keyed: true } => "10,000 counters, keyed",
        }
    }
}

/// A counter for a call: the calls of all clients are spread over all counters without any order.
fn spread(client: usize, number: usize, counters: usize) -> usize {
    client.wrapping_mul(7_919).wrapping_add(number.wrapping_mul(104_729)) % counters
}

/// A client of the service on a connection of its own.
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    token: String,
    wanted: Wanted,
    client: usize,
    counters: usize,
}

impl Http {
    pub(crate) async fn connect(
        address: SocketAddr,
        token: &str,
        wanted: Wanted,
        client: usize,
        counters: usize,
    ) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, address, token: format!("Bearer {token}"), wanted, client, counters }
    }

    async fn send(&mut self, path: &str, key: Option<String>) -> (StatusCode, Bytes) {
        let mut request = Request::post(path).header("host", self.address.to_string());
        request = request.header("authorization", &self.token);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = self.sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }
}

impl Caller for Http {
    async fn call(&mut self, number: usize) {
        let (keyed, path) = match self.wanted {
            Wanted::Refusal => (false, "/v1/next?count=0".to_owned()),
            Wanted::Hot { keyed } => (keyed, "/v1/next".to_owned()),
            Wanted::Spread { keyed } => {
                (keyed, format!("/v1/counters/c{}/next", spread(self.client, number, self.counters)))
            }
        };
        let key = keyed.then(|| uuid::Uuid::new_v4().to_string());
        let (status, body) = self.send(&path, key).await;
        let expected = if matches!(self.wanted, Wanted::Refusal) { 422 } else { 200 };
        assert_eq!(status, expected, "{path}: {}", String::from_utf8_lossy(&body));
    }
}

/// Registers a user and answers its token.
pub(crate) async fn register(address: SocketAddr) -> String {
    let credentials = serde_json::json!({"email": "bench@example.com", "password": "a long password"});
    let url = format!("http://{address}/v1/register");
    let answer = reqwest::Client::new().post(url).json(&credentials).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

/// Uses every counter once, so that no row pays for making them.
pub(crate) async fn make_counters(address: SocketAddr, token: &str, counters: usize) {
    const MAKERS: usize = 200;
    let makers: Vec<_> = (0..MAKERS)
        .map(|maker| {
            let token = token.to_owned();
            tokio::spawn(async move {
                let mut http = Http::connect(address, &token, Wanted::Refusal, maker, counters).await;
                for counter in (maker..counters).step_by(MAKERS) {
                    let (status, _) = http.send(&format!("/v1/counters/c{counter}/next"), None).await;
                    assert_eq!(status, 200);
                }
            })
        })
        .collect();
    for maker in makers {
        maker.await.unwrap();
    }
}

/// What anybody would write without the service: a majority write for each number.
pub(crate) struct Driver(Collection<Document>);

impl Driver {
    pub(crate) async fn connect(uri: &str) -> Self {
        let mut options = ClientOptions::parse(uri).await.unwrap();
        options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
        options.max_pool_size = Some(256);
        Self(Client::with_options(options).unwrap().database("raw").collection("counters"))
    }

    pub(crate) fn caller(&self, client: usize, counters: usize) -> DriverCaller {
        DriverCaller { collection: self.0.clone(), client, counters }
    }
}

pub(crate) struct DriverCaller {
    collection: Collection<Document>,
    client: usize,
    counters: usize,
}

impl Caller for DriverCaller {
    async fn call(&mut self, number: usize) {
        let id = i64::try_from(spread(self.client, number, self.counters)).unwrap();
        let change = doc! { "$inc": { "value": 1_i64 } };
        loop {
            let update = self.collection.find_one_and_update(doc! { "_id": id }, change.clone()).upsert(true);
            match update.await {
                Ok(_) => return,
                // Two clients made the counter at once.
                Err(error) if format!("{:?}", error.kind).contains("11000") => {}
                Err(error) => panic!("the raw driver: {error:?}"),
            }
        }
    }
}
