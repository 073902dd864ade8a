//! What is served for browsers: the page at `/`, the reference at `/docs`, their parts at `/ui/…`, and the description that
//! the reference reads. All of it is in the binary.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::openapi::OpenApi;

use crate::auth::sha256_hex;
use crate::error::{ApiError, Code};
use crate::extract::entity_tags::EntityTags;

/// Declares files of `src/ui`.
macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../ui/", $name)))),*] };
}

/// The parts of the pages, by their names below `/ui/`.
const PARTS: &[(&str, &str)] = files![
    "account.js",
    "api.js",
    "arrival.js",
    "base.css",
    "counter.js",
    "description.js",
    "dialog.js",
    "docs.css",
    "docs.js",
    "dom.js",
    "home.css",
    "home.js",
    "icon.svg",
    "late.js",
    "list.js",
    "message.js",
    "operation.js",
    "poll.js",
    "problems.js",
    "prose.js",
    "session.js",
    "sign-in.js",
    "token-box.js",
    "try.js",
];

/// What the pages may do, and who may do something with them. Nothing comes from elsewhere or from within the HTML, nobody
/// frames them, no text becomes markup (trusted types: there is no policy, so every sink of markup is closed), and no address
/// is told to anybody.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    // Asked for each time, and answered with 304 where nothing has changed: so the parts are never of two versions for long.
    (header::CACHE_CONTROL, "no-cache"),
];

/// A file as it is served.
#[derive(Debug, Clone)]
struct Asset {
    content_type: &'static str,
    body: Bytes,
    /// A strong validator: the same bytes have the same tag on every replica.
    tag: String,
    /// The same, as it is sent.
    etag: HeaderValue,
}

impl Asset {
    fn new(name: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let content_type = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("css") => "text/css; charset=utf-8",
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("json") => "application/json",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        };
        let mut tag = sha256_hex(&body);
        tag.truncate(32);
        let etag = HeaderValue::try_from(format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { content_type, body, tag, etag }
    }

    /// The file, or 304 where the caller has it.
    fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = if self.is_known(request) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type))], self.body.clone()).into_response()
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::ETAG, self.etag.clone());
        response
    }

    /// `If-None-Match` compares weakly (RFC 9110 section 13.1.2): a proxy that compresses makes weak tags of ours.
    fn is_known(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        lines.filter_map(EntityTags::parse).any(|tags| match tags {
            EntityTags::Any => true,
            EntityTags::Of(tags) => tags.iter().any(|tag| tag.opaque == self.tag),
        })
    }
}

/// All of them.
pub fn routes<S: Clone + Send + Sync + 'static>(openapi: &OpenApi) -> Router<S> {
    let icon = include_str!("../ui/icon.svg");
    let whole = [
        ("/", Asset::new("index.html", include_str!("../ui/index.html"))),
        ("/docs", Asset::new("docs.html", include_str!("../ui/docs.html"))),
        ("/openapi.json", Asset::new("openapi.json", openapi.to_json().unwrap_or_default())),
        // Asked for by whatever does not read the pages' links.
        ("/favicon.ico", Asset::new("icon.svg", icon)),
    ];
    let parts: Arc<[(&str, Asset)]> = PARTS.iter().map(|(name, body)| (*name, Asset::new(name, *body))).collect();
    // One route for all parts: each route is a label of the metrics.
    let part = async move |Path(name): Path<String>, request: HeaderMap| {
        let found = parts.iter().find(|(part, _)| *part == name);
        found.map(|(_, asset)| asset.answer(&request)).ok_or_else(|| ApiError::new(Code::NotFound))
    };
    let router = Router::new().route("/ui/{part}", get(part));
    whole.into_iter().fold(router, |router, (path, asset)| {
        router.route(path, get(async move |request: HeaderMap| asset.answer(&request)))
    })
}
