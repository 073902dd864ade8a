//! A caller of the service. Every answer is held against the contract before a test sees it.

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};

use super::openapi::Contract;
use super::process::Lines;
use super::service::http_client;
use super::stores::unique_name;

/// The password of every account that [`Client::register`] makes.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The media types of bodies.
pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The body of a form.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let mut url: reqwest::Url = "form:".parse().unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap().to_owned()
}

/// A caller without an account.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    contract: Arc<Contract>,
    logs: Arc<Lines>,
}

impl Client {
    pub(crate) fn new(base: String, contract: Arc<Contract>, logs: Arc<Lines>) -> Self {
        Self { http: http_client(), base, contract, logs }
    }

    /// The service's OpenAPI document.
    pub(crate) fn contract(&self) -> &Contract {
        &self.contract
    }

    /// An address of the service.
    pub(crate) fn url(&self, path: &str) -> reqwest::Url {
        format!("{}{path}", self.base).parse().unwrap()
    }

    /// A call of any method. `path` may hold a query.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method.clone(), format!("{}{path}", self.base));
        Call { client: self.clone(), request, method: method.to_string(), path: path.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    /// A new account with an address that nobody has.
    pub(crate) async fn register(&self) -> User {
        let email = unique_email();
        let answer = self.post("/v1/register").json(&credentials(&email, PASSWORD)).send().await.expect(201);
        let text = |pointer: &str| answer.json.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        User { id: text("/user/id"), token: text("/token"), email, client: self.clone() }
    }

    /// Logs in with an address and a password.
    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        self.post("/v1/login").json(&credentials(email, password)).send().await
    }
}

/// An address that nobody has.
pub(crate) fn unique_email() -> String {
    format!("{}@example.com", unique_name())
}

/// The body of register and login.
pub(crate) fn credentials(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password})
}

/// A caller with an account.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    client: Client,
}

impl User {
    /// The same account at another replica.
    pub(crate) fn at(&self, client: &Client) -> Self {
        Self { client: client.clone(), ..self.clone() }
    }

    /// The same account after another login.
    pub(crate) async fn log_in_again(&self) -> Self {
        let login = self.client.login(&self.email, PASSWORD).await.expect(200);
        Self { token: login.json["token"].as_str().unwrap().to_owned(), ..self.clone() }
    }

    /// The caller without its token.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A call with this user's token.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        self.client.call(method, path).token(&self.token)
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    pub(crate) fn put(&self, path: &str) -> Call {
        self.call("PUT", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    /// Takes the next number of the default counter.
    pub(crate) async fn next(&self) -> u64 {
        self.post("/v1/next").send().await.expect(200).number("value")
    }

    /// What the default counter stands at.
    pub(crate) async fn current(&self) -> u64 {
        self.get("/v1/current").send().await.expect(200).number("value")
    }

    /// Sets the default counter.
    pub(crate) async fn set(&self, value: u64) -> Answer {
        self.put("/v1/current").json(&json!({"current": value})).send().await.expect(200)
    }

    /// The ETag of a counter, by the path of its `current`.
    pub(crate) async fn etag(&self, path: &str) -> String {
        self.get(path).send().await.expect(200).header("etag").expect("current has an ETag").to_owned()
    }
}

/// A call that is being put together.
#[must_use]
pub(crate) struct Call {
    client: Client,
    request: RequestBuilder,
    method: String,
    path: String,
}

impl Call {
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.request = self.request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(JSON, body.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        self.body(FORM, form(fields))
    }

    /// A body of this media type, as it stands.
    pub(crate) fn body(self, media_type: &str, body: impl Into<Body>) -> Self {
        let mut call = self.header("content-type", media_type);
        call.request = call.request.body(body);
        call
    }

    /// A body without a media type.
    pub(crate) fn untyped_body(mut self, body: &'static str) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// Sends it. Fails the test where no answer comes or the answer breaks the contract.
    pub(crate) async fn send(self) -> Answer {
        let call = format!("{} {}", self.method, self.path);
        self.try_send().await.unwrap_or_else(|error| panic!("{call}: no answer: {error}"))
    }

    /// Sends it; an error where no whole answer comes. Fails the test where the answer breaks the contract.
    pub(crate) async fn try_send(self) -> reqwest::Result<Answer> {
        let response = self.request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await?;
        let json = serde_json::from_str(&body).unwrap_or(Value::Null);
        let answer =
            Answer { method: self.method, path: self.path, status, headers, body, json, logs: self.client.logs };
        if let Err(fault) = self.client.contract.check(&answer) {
            answer.fail(&fault);
        }
        Ok(answer)
    }
}

/// An answer that keeps to the contract.
pub(crate) struct Answer {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The body, or `null` where it is no JSON.
    pub(crate) json: Value,
    logs: Arc<Lines>,
}

impl Answer {
    /// A header's value; where there are several, the first.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of visible ASCII"))
    }

    /// The header's list of words, sorted.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        let mut words: Vec<String> =
            values.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned()).collect();
        words.sort();
        words
    }

    /// Fails unless this is the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        if self.status != status {
            self.fail(&format!("expected {status}"));
        }
        self
    }

    /// Fails unless it is this problem.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        if self.status != status || self.json["code"] != code {
            self.fail(&format!("expected {status} {code}"));
        }
        self
    }

    /// Fails unless it is `invalid_field` and names this field and no other.
    #[track_caller]
    pub(crate) fn invalid_field(self, field: &str) -> Self {
        let answer = self.problem(422, "invalid_field");
        let errors = answer.json["errors"].as_array().unwrap();
        if errors.len() != 1 || errors[0]["field"] != field {
            answer.fail(&format!("expected a fault of the field {field} alone"));
        }
        answer
    }

    /// A member of the body that is a non-negative integer.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.json[name].as_u64().unwrap_or_else(|| self.fail(&format!("expected an integer `{name}`")))
    }

    /// Is it the answer to an earlier call with the same key?
    pub(crate) fn replayed(&self) -> bool {
        self.header("idempotency-replayed").is_some_and(|value| value == "true")
    }

    /// Fails with everything there is to say about this answer.
    #[track_caller]
    pub(crate) fn fail(&self, fault: &str) -> ! {
        let id = self.header("x-request-id").unwrap_or("none").to_owned();
        let logs = self.logs.matching(|line| line.contains(&id)).join("\n");
        panic!(
            "{} {}: {fault}\nanswered {} {:#?}\n{}\nlogged: {logs}",
            self.method, self.path, self.status, self.headers, self.body
        )
    }
}
