//! The service itself, called over HTTP with as little work of the clients' own as possible.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{COUNTERS, Case, Subject};
use crate::closed_loop::Caller;
use crate::support::client::JSON;
use crate::support::service::{Service, http_client, json_of};
use crate::support::stores::Store;
use crate::usage::Usage;

pub(crate) const ON_MONGODB: &str = "counter-api on MongoDB";
pub(crate) const ON_REDB: &str = "counter-api on redb";

/// A running service with a user.
pub(crate) struct CounterApi {
    name: &'static str,
    pub(crate) service: Service,
    pub(crate) user: User,
    database: Vec<u32>,
}

/// Who calls where.
#[derive(Clone)]
pub(crate) struct User {
    address: SocketAddr,
    token: String,
}

impl CounterApi {
    /// Starts it. `database` are the processes behind it.
    pub(crate) async fn start(name: &'static str, store: &Store, database: &[u32], settings: &[(&str, &str)]) -> Self {
        let settings = [&[("COUNTER_COUNTERS_PER_USER", "1000000")], settings].concat();
        let service = Service::on(store, &settings).await;
        let user = User::register(&service, "ada").await;
        Self { name, service, user, database: database.to_vec() }
    }

    /// Uses every counter once, so that nothing that is measured pays for making them.
    pub(crate) async fn make_counters(&self) {
        const MAKERS: usize = 200;
        let mut makers = Vec::new();
        for maker in 0..MAKERS {
            let mut http = self.user.connect().await;
            makers.push(tokio::spawn(async move {
                for counter in (maker..COUNTERS).step_by(MAKERS) {
                    http.take(counter).await;
                }
            }));
        }
        for maker in makers {
            maker.await.unwrap();
        }
    }
}

impl Subject for CounterApi {
    type Caller = ApiCaller;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn caller(&self, case: Case, client: usize) -> ApiCaller {
        ApiCaller { http: self.user.connect().await, case, client }
    }

    fn usage(&self) -> Usage {
        Usage::of(&[self.service.id()], &self.database)
    }
}

impl User {
    /// A new user.
    pub(crate) async fn register(service: &Service, name: &str) -> Self {
        let credentials = serde_json::json!({"email": format!("{name}@example.com"), "password": "a long password"});
        let call = http_client().post(service.url("/v1/register")).header("content-type", JSON);
        let answer = json_of(call.body(credentials.to_string()).send().await.unwrap()).await;
        Self { address: service.address(), token: answer["token"].as_str().unwrap().to_owned() }
    }

    /// The same user at another replica.
    pub(crate) fn at(&self, replica: &Service) -> Self {
        Self { address: replica.address(), ..self.clone() }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection { sender, host: self.address.to_string(), authorization: format!("Bearer {}", self.token) }
    }
}

/// A connection to the service.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: String,
}

impl Connection {
    pub(crate) async fn post(&mut self, path: &str, key: Option<String>) -> (StatusCode, Bytes) {
        let mut request = Request::post(path).header("host", &self.host).header("authorization", &self.authorization);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = self.sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// Takes the next number of this counter.
    pub(crate) async fn take(&mut self, counter: usize) {
        let (status, body) = self.post(&path_of(counter), None).await;
        assert_eq!(status, 200, "counter {counter}: {}", String::from_utf8_lossy(&body));
    }
}

/// Where a counter's next number is taken.
pub(crate) fn path_of(counter: usize) -> String {
    format!("/v1/counters/c{counter}/next")
}

pub(crate) struct ApiCaller {
    pub(crate) http: Connection,
    pub(crate) case: Case,
    pub(crate) client: usize,
}

impl Caller for ApiCaller {
    async fn call(&mut self, number: usize) {
        let (keyed, path) = match self.case {
            Case::NoOp => (false, "/v1/next?count=0".to_owned()),
            Case::Hot { keyed } => (keyed, "/v1/next".to_owned()),
            Case::Spread { keyed } => (keyed, path_of(self.case.counter(self.client, number))),
        };
        let key = keyed.then(|| uuid::Uuid::new_v4().to_string());
        let (status, body) = self.http.post(&path, key).await;
        let expected = if self.case == Case::NoOp { 422 } else { 200 };
        assert_eq!(status, expected, "{path}: {}", String::from_utf8_lossy(&body));
    }
}
