//! A small provider that speaks GitHub's dialect, or Facebook's, and is as strict as they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, LOCATION, USER_AGENT};
use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Whose dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    GitHub,
    Facebook,
}

impl Dialect {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::Facebook => "facebook",
        }
    }
}

/// How it behaves towards the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Good,
    Slow,
    Failing,
    /// Every answer leads elsewhere.
    Redirecting,
    /// An answer without end.
    Huge,
    NoJson,
}

pub(super) const SECRET: &str = "of the dialects";
const CLIENT: &str = "counter-api-at-a-dialect";

/// The provider, as long as the test's runtime lives.
pub(super) struct Server {
    pub(super) dialect: Dialect,
    pub(super) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    dialect: Dialect,
    /// What the API says of who signs in next; nothing where that person says no.
    person: Mutex<Option<Value>>,
    mode: Mutex<Mode>,
    codes: Mutex<HashMap<String, Grant>>,
    /// Requests that a redirect led to.
    strayed: Mutex<usize>,
}

struct Grant {
    challenge: String,
    redirect_uri: String,
}

type Pairs = HashMap<String, String>;

impl Server {
    pub(super) async fn start(dialect: Dialect) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            dialect,
            person: Mutex::default(),
            mode: Mutex::new(Mode::Good),
            codes: Mutex::default(),
            strayed: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { dialect, address, shared }
    }

    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let name = |end: &str| format!("COUNTER_OAUTH_{}_{end}", self.dialect.name().to_uppercase());
        vec![
            (name("ISSUER"), self.address.clone()),
            (name("CLIENT_ID"), CLIENT.to_owned()),
            (name("CLIENT_SECRET"), SECRET.to_owned()),
        ]
    }

    /// Who signs in next.
    pub(super) fn person(&self, person: Value) {
        *self.shared.person.lock().unwrap() = Some(person);
    }

    /// Whoever comes next says no.
    pub(super) fn says_no(&self) {
        *self.shared.person.lock().unwrap() = None;
    }

    pub(super) fn mode(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// How many requests a redirect has led to.
    pub(super) fn strayed(&self) -> usize {
        *self.shared.strayed.lock().unwrap()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = pairs(request.uri().query().unwrap_or_default());
    if path == "/elsewhere" {
        *shared.strayed.lock().unwrap() += 1;
        return json_of(StatusCode::OK, &json!({"access_token": "x"}));
    }
    if matches!(path.as_str(), "/login/oauth/authorize" | "/v24.0/dialog/oauth") {
        return shared.authorize(&query);
    }
    let mode = *shared.mode.lock().unwrap();
    match mode {
        Mode::Good => {}
        Mode::Slow => tokio::time::sleep(Duration::from_secs(30)).await,
        Mode::Failing => return json_of(StatusCode::BAD_GATEWAY, &json!({})),
        Mode::Redirecting => return redirect("/elsewhere"),
        Mode::Huge => return Response::new(Body::from(vec![b' '; 8 * 1024 * 1024])),
        Mode::NoJson => return Response::new(Body::from("<!doctype html>")),
    }
    let [accept, agent, bearer] = [ACCEPT, USER_AGENT, AUTHORIZATION]
        .map(|name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned());
    match (shared.dialect, path.as_str()) {
        (_, "/login/oauth/access_token" | "/v24.0/oauth/access_token") => {
            assert_eq!(accept, "application/json");
            let body = to_bytes(request.into_body(), 64 * 1024).await.unwrap();
            shared.token(&pairs(std::str::from_utf8(&body).unwrap()))
        }
        (Dialect::GitHub, _) if agent.is_empty() => {
            json_of(StatusCode::FORBIDDEN, &json!({"message": "no user agent"}))
        }
        (Dialect::GitHub, "/api/v3/user") => shared.api(&bearer, "user"),
        (Dialect::GitHub, "/api/v3/user/emails") => shared.api(&bearer, "emails"),
        (Dialect::Facebook, "/v24.0/me") => {
            let token = bearer.strip_prefix("Bearer ").unwrap_or_default();
            if query.get("appsecret_proof") != Some(&hmac_hex(token)) || !query.contains_key("fields") {
                return json_of(
                    StatusCode::BAD_REQUEST,
                    &json!({"error": {"message": "Invalid appsecret_proof", "code": 100}}),
                );
            }
            shared.api(&bearer, "user")
        }
        _ => json_of(StatusCode::NOT_FOUND, &json!({})),
    }
}

impl Shared {
    /// The person's page, where this person decides at once.
    fn authorize(&self, query: &Pairs) -> Response<Body> {
        assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(query["code_challenge_method"], "S256");
        let mut back: reqwest::Url = query["redirect_uri"].parse().unwrap();
        if self.person.lock().unwrap().is_none() {
            back.query_pairs_mut()
                .append_pair("error", "access_denied")
                .append_pair("error_reason", "user_denied")
                .append_pair("error_description", "The user denied your request.")
                .append_pair("state", &query["state"]);
            return redirect(back.as_str());
        }
        let code = uuid::Uuid::new_v4().to_string();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &query["state"]);
        let grant = Grant { challenge: query["code_challenge"].clone(), redirect_uri: query["redirect_uri"].clone() };
        self.codes.lock().unwrap().insert(code, grant);
        redirect(back.as_str())
    }

    fn token(&self, form: &Pairs) -> Response<Body> {
        let grant = form.get("code").and_then(|code| self.codes.lock().unwrap().remove(code));
        let right = grant.is_some_and(|grant| {
            let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
            URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == grant.challenge
                && form.get("redirect_uri") == Some(&grant.redirect_uri)
        });
        let client = form.get("client_id").map(String::as_str) == Some(CLIENT)
            && form.get("client_secret").map(String::as_str) == Some(SECRET)
            && form.get("grant_type").map(String::as_str) == Some("authorization_code");
        match (self.dialect, right && client) {
            (_, true) => json_of(
                StatusCode::OK,
                &json!({"access_token": "of-the-dialect", "token_type": "bearer", "scope": "", "error": null}),
            ),
            // Each in its own way, and neither as RFC 6749 has it.
            (Dialect::GitHub, false) => json_of(StatusCode::OK, &json!({"error": "bad_verification_code"})),
            (Dialect::Facebook, false) => {
                json_of(StatusCode::BAD_REQUEST, &json!({"error": {"message": "Invalid code", "code": 100}}))
            }
        }
    }

    fn api(&self, bearer: &str, what: &str) -> Response<Body> {
        if bearer != "Bearer of-the-dialect" {
            return json_of(StatusCode::UNAUTHORIZED, &json!({"message": "Bad credentials"}));
        }
        match self.person.lock().unwrap().as_ref().map(|person| person[what].clone()) {
            Some(Value::Null) | None => json_of(StatusCode::NOT_FOUND, &json!({"message": "Not Found"})),
            Some(found) => json_of(StatusCode::OK, &found),
        }
    }
}

fn hmac_hex(token: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let signed = jsonwebtoken::crypto::sign(token.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    URL_SAFE_NO_PAD.decode(signed).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pairs(text: &str) -> Pairs {
    let url: reqwest::Url = format!("http://localhost/?{text}").parse().unwrap();
    url.query_pairs().into_owned().collect()
}

fn redirect(location: &str) -> Response<Body> {
    Response::builder().status(StatusCode::FOUND).header(LOCATION, location).body(Body::empty()).unwrap()
}

fn json_of(status: StatusCode, body: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}
