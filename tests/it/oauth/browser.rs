//! A browser, as far as a sign-in needs one: it follows redirects, keeps cookies and sends forms.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::support::client::{Client, FORM, form};
use crate::support::service::http_client;

/// A person's browser. Like a real one, it keeps the cookies of a host whatever its port.
pub(super) struct Browser {
    http: reqwest::Client,
    /// Services, whose answers are held against their contract.
    services: Vec<Client>,
    cookies: Mutex<BTreeMap<(String, String), String>>,
}

/// Where a browser has come to.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) body: String,
}

/// How a sign-in ended at the page.
#[derive(Debug)]
pub(super) enum End {
    Code(String),
    Error(String),
}

impl End {
    fn of(url: &Url) -> Self {
        let fragment = url.fragment().unwrap_or_else(|| panic!("{url} is not where a sign-in ends"));
        assert_eq!((url.path(), url.query()), ("/", None), "{url}");
        match fragment.split_once('=') {
            Some(("signin_code", code)) => Self::Code(code.to_owned()),
            Some(("signin_error", rest)) => {
                let (error, trace) = rest.split_once("&trace_id=").unwrap_or_else(|| panic!("{url} names no trace"));
                assert!(trace.len() == 32 && trace.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{url}");
                Self::Error(error.to_owned())
            }
            _ => panic!("{url} is not where a sign-in ends"),
        }
    }

    #[track_caller]
    pub(super) fn code(self) -> String {
        match self {
            Self::Code(code) => code,
            Self::Error(error) => panic!("the sign-in failed: {error}"),
        }
    }

    #[track_caller]
    pub(super) fn error(self) -> String {
        match self {
            Self::Code(_) => panic!("the sign-in succeeded"),
            Self::Error(error) => error,
        }
    }
}

impl Browser {
    pub(super) fn new<'a>(services: impl IntoIterator<Item = &'a Client>) -> Self {
        let services = services.into_iter().cloned().collect();
        Self { http: http_client(), services, cookies: Mutex::default() }
    }

    /// Signs in as somebody, up to the page.
    pub(super) async fn sign_in(&self, client: &Client, provider: &str, login: &str) -> End {
        let form = self.start(client, provider).await;
        if form.url.fragment().is_some() {
            return End::of(&form.url);
        }
        End::of(&self.submit(&form, &[("login", login), ("choice", "continue")]).await.url)
    }

    /// Goes to the provider's form, or to where that ends without one.
    pub(super) async fn start(&self, client: &Client, provider: &str) -> Page {
        self.visit(client.url(&format!("/v1/oauth/{provider}/start"))).await
    }

    /// Says no at the provider.
    pub(super) async fn decline(&self, client: &Client, provider: &str) -> End {
        let form = self.start(client, provider).await;
        End::of(&self.submit(&form, &[("login", ""), ("choice", "cancel")]).await.url)
    }

    /// Signs in as somebody, but stops before the last step: answers the address that the provider leads back to.
    pub(super) async fn answer(&self, client: &Client, provider: &str, login: &str) -> Url {
        let form = self.start(client, provider).await;
        self.answer_to(&form, login).await
    }

    /// The same from the provider's form on.
    pub(super) async fn answer_to(&self, form: &Page, login: &str) -> Url {
        let mut next = self.send("POST", &form.action(), &[("login", login), ("choice", "continue")]).await.1;
        loop {
            let url = next.expect("the provider leads back");
            if url.path().ends_with("/callback") {
                return url;
            }
            next = self.send("GET", &url, &[]).await.1;
        }
    }

    /// Goes where a sign-in ends.
    pub(super) async fn end(&self, url: Url) -> End {
        End::of(&self.visit(url).await.url)
    }

    /// Goes to an address and on, wherever it leads.
    pub(super) async fn visit(&self, url: Url) -> Page {
        self.follow("GET", url, &[]).await
    }

    async fn submit(&self, form: &Page, fields: &[(&str, &str)]) -> Page {
        self.follow("POST", form.action(), fields).await
    }

    async fn follow(&self, method: &str, url: Url, fields: &[(&str, &str)]) -> Page {
        let (mut page, mut next) = self.send(method, &url, fields).await;
        for _ in 0..10 {
            let Some(url) = next else { return page };
            if url.fragment().is_some() {
                // The page itself is somebody else's concern.
                return Page { url, status: 0, body: String::new() };
            }
            (page, next) = self.send("GET", &url, &[]).await;
        }
        panic!("more than ten redirects, the last to {}", page.url);
    }

    /// One request; where the answer leads.
    async fn send(&self, method: &str, url: &Url, fields: &[(&str, &str)]) -> (Page, Option<Url>) {
        let cookies = self.cookies(url.path());
        let of_service = self.services.iter().find(|client| url.origin() == client.url("/").origin());
        let (status, headers, body) = if let Some(client) = of_service {
            let path = &url.as_str()[url.origin().ascii_serialization().len()..];
            let call = client.call(method, path).header("accept", "text/html,*/*;q=0.8");
            let call = if cookies.is_empty() { call } else { call.header("cookie", &cookies) };
            let answer = call.send().await;
            (answer.status, answer.headers, answer.body)
        } else {
            let request = self.http.request(method.parse().unwrap(), url.clone()).header("cookie", cookies);
            let request =
                if method == "POST" { request.header("content-type", FORM).body(form(fields)) } else { request };
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
        };
        self.keep(&headers, url.path());
        let location = headers.get("location").filter(|_| (300..400).contains(&status));
        let next = location.map(|location| url.join(location.to_str().unwrap()).unwrap());
        (Page { url: url.clone(), status, body }, next)
    }

    /// The header `Cookie` for this path.
    pub(super) fn cookies(&self, path: &str) -> String {
        let cookies = self.cookies.lock().unwrap();
        let fitting = cookies.iter().filter(|((of, _), _)| path.starts_with(of.as_str()));
        fitting.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// The value of a cookie.
    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.cookies.lock().unwrap();
        cookies.iter().find(|((_, known), _)| known == name).map(|(_, value)| value.clone())
    }

    /// Puts a cookie in, as somebody could who has got into the browser.
    pub(super) fn plant(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(("/".to_owned(), name.to_owned()), value.to_owned());
    }

    /// Keeps what an answer sets.
    pub(super) fn keep(&self, headers: &HeaderMap, path: &str) {
        let mut cookies = self.cookies.lock().unwrap();
        for line in headers.get_all("set-cookie") {
            let mut parts = line.to_str().unwrap().split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: BTreeMap<String, &str> = parts
                .map(|part| part.split_once('=').map_or((part.to_lowercase(), ""), |(n, v)| (n.to_lowercase(), v)))
                .collect();
            let path = attributes.get("path").copied().unwrap_or(path);
            let over = attributes.get("max-age") == Some(&"0")
                || attributes.get("expires").is_some_and(|expires| expires.contains("1970"));
            let key = (path.to_owned(), name.to_owned());
            if over {
                cookies.remove(&key);
            } else {
                cookies.insert(key, value.to_owned());
            }
        }
    }
}

impl Page {
    /// Where its form goes.
    fn action(&self) -> Url {
        let action = self.body.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
        let action = action.unwrap_or_else(|| panic!("no form at {} ({}): {}", self.url, self.status, self.body));
        self.url.join(action).unwrap()
    }
}
