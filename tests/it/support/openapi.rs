//! The service's own OpenAPI document, and the rules that hold for every answer: what is not described must not happen.

use serde_json::Value;

use super::client::Answer;

/// What is served besides the operations that the document describes.
const UNDESCRIBED: [&str; 4] = ["/", "/docs", "/openapi.json", "/favicon.ico"];

const PROBLEM: &str = "application/problem+json";

/// The document that a service serves.
pub(crate) struct Contract(Value);

impl Contract {
    pub(crate) fn new(document: Value) -> Self {
        assert!(document["paths"].is_object(), "/openapi.json describes no paths: {document:.300}");
        Self(document)
    }

    /// The document itself.
    pub(crate) fn document(&self) -> &Value {
        &self.0
    }

    /// The document's template for this path: one without parameters before one with.
    pub(crate) fn template(&self, path: &str) -> Option<&str> {
        let path = path.split('?').next().unwrap_or(path);
        let templates = self.0["paths"].as_object()?.keys().filter(|template| fits(template, path));
        templates.min_by_key(|template| template.matches('{').count()).map(String::as_str)
    }

    /// Does the answer keep to the contract? The error says where not.
    pub(crate) fn check(&self, answer: &Answer) -> Result<(), String> {
        check_headers(answer)?;
        self.check_caching(answer)?;
        if is_problem(answer) {
            check_problem(answer)?;
        } else if answer.status >= 400 && answer.method != "HEAD" && !is_health(&answer.path) {
            return Err(format!("an error that is no {PROBLEM}"));
        }
        self.check_described(answer)
    }

    /// No cache may keep what a call to a counter was answered. A preflight is no such call, nor is an unknown route.
    fn check_caching(&self, answer: &Answer) -> Result<(), String> {
        let counter_call = self.template(&answer.path).is_some_and(|template| {
            ["/v1/next", "/v1/current", "/v1/counters"].iter().any(|prefix| template.starts_with(prefix))
        });
        if counter_call && answer.method != "OPTIONS" && answer.header("cache-control") != Some("no-store") {
            return Err("a counter call's answer may be stored".to_owned());
        }
        Ok(())
    }

    fn check_described(&self, answer: &Answer) -> Result<(), String> {
        let path = answer.path.split('?').next().unwrap_or_default();
        let Some(template) = self.template(path) else {
            let fits = answer.status == 404 || UNDESCRIBED.contains(&path) || path.starts_with("/ui/");
            return if fits { Ok(()) } else { Err("the path is not in the OpenAPI document".to_owned()) };
        };
        let method = if answer.method == "HEAD" { "get".to_owned() } else { answer.method.to_lowercase() };
        let operation = &self.0["paths"][template][&method];
        if answer.status == 405 || answer.method == "OPTIONS" {
            // 405 belongs to methods that are not described, and a preflight to none.
            return Ok(());
        }
        if operation.is_null() {
            return Err(format!("{method} {template} is not in the OpenAPI document"));
        }
        let response = &operation["responses"][answer.status.to_string()];
        if response.is_null() {
            return Err(format!("{} is not described for {method} {template}", answer.status));
        }
        self.check_body(answer, self.resolve(response))
    }

    fn check_body(&self, answer: &Answer, response: &Value) -> Result<(), String> {
        if answer.method == "HEAD" {
            return Ok(());
        }
        let described = response["content"].as_object();
        let media_type = media_type(answer);
        match (described, media_type) {
            (None, None) if answer.body.is_empty() => return Ok(()),
            (None, _) => return Err("a body where none is described".to_owned()),
            (Some(described), Some(media_type)) if described.contains_key(media_type) => {}
            (Some(_), found) => return Err(format!("the media type {found:?} is not described")),
        }
        if is_problem(answer) {
            let examples = &response["content"][PROBLEM]["examples"];
            let code = answer.json["code"].as_str().unwrap_or_default();
            if self.resolve(&examples[code]).is_null() {
                return Err(format!("no example of the code {code} is described for this status"));
            }
        }
        Ok(())
    }

    /// What stands behind a `$ref`, or the value itself.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        target.and_then(|pointer| self.0.pointer(pointer)).unwrap_or(value)
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

fn media_type(answer: &Answer) -> Option<&str> {
    answer.header("content-type").map(|value| value.split(';').next().unwrap_or_default().trim())
}

fn is_problem(answer: &Answer) -> bool {
    media_type(answer) == Some(PROBLEM)
}

/// Health answers with its own media type, and readiness says no without a problem.
fn is_health(path: &str) -> bool {
    ["/health", "/readyz", "/livez"].contains(&path)
}

fn check_headers(answer: &Answer) -> Result<(), String> {
    let has = |name: &str| answer.headers.contains_key(name);
    let whole_number = |name: &str| answer.header(name).is_some_and(|value| value.parse::<u32>().is_ok());
    let id = answer.header("x-request-id").unwrap_or_default();
    if id.is_empty() {
        return Err("no x-request-id".to_owned());
    }
    if answer.status == 401 && !answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")) {
        return Err("401 without WWW-Authenticate: Bearer".to_owned());
    }
    if answer.status == 405 && !has("allow") {
        return Err("405 without Allow".to_owned());
    }
    let code = answer.json["code"].as_str().unwrap_or_default();
    let repeatable = [429, 503].contains(&answer.status) || code == "idempotency_key_in_flight";
    if repeatable && is_problem(answer) && !whole_number("retry-after") {
        return Err("no Retry-After in seconds where repeating makes sense".to_owned());
    }
    Ok(())
}

fn check_problem(answer: &Answer) -> Result<(), String> {
    if answer.method == "HEAD" {
        return Ok(());
    }
    let problem = &answer.json;
    let text = |name: &str| problem[name].as_str().filter(|text| !text.is_empty());
    let code = text("code").ok_or("a problem without a code")?;
    if text("title").is_none() || text("detail").is_none() {
        return Err("a problem without title or detail".to_owned());
    }
    if text("type") != Some(&format!("https://counter-api.dev/problems/{code}")) {
        return Err("the problem's type does not end in its code".to_owned());
    }
    if problem["status"] != answer.status {
        return Err("the problem's status is not the answer's".to_owned());
    }
    let hex = |id: &str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !text("trace_id").is_some_and(|id| hex(id) && id.bytes().any(|b| b != b'0')) {
        return Err("the problem's trace_id is none".to_owned());
    }
    let known = ["type", "title", "status", "detail", "code", "trace_id", "errors"];
    if let Some(name) =
        problem.as_object().and_then(|members| members.keys().find(|name| !known.contains(&name.as_str())))
    {
        return Err(format!("a problem with an unknown member {name}"));
    }
    let named = |error: &Value| error["field"].is_string() && error["message"].is_string();
    let errors = problem["errors"].as_array();
    match (code, errors) {
        ("invalid_field", Some(errors)) if !errors.is_empty() && errors.iter().all(named) => Ok(()),
        ("invalid_field", _) => Err("invalid_field that names no field".to_owned()),
        (_, None) if problem["errors"].is_null() => Ok(()),
        (_, _) => Err("field errors in another problem than invalid_field".to_owned()),
    }
}
