//! What every route demands of a request, read from the OpenAPI description: the method, the query parameters, `Accept`.
//!
//! So the description cannot promise one thing and the router do another, and HEAD, which the framework would answer by
//! running GET, never takes a number.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{RefOr, path::Parameter};

use crate::api::openapi::{is_browser_step, operations, takes_numbers};
use crate::error::{ApiError, Code};
use crate::extract::Query;
use crate::extract::accept::accepted;
use crate::extract::fields::pairs;

/// The methods of each route, with the query parameters of each; nothing where any will do, as will any `Accept`.
#[derive(Debug)]
pub struct Contract {
    routes: HashMap<String, HashMap<&'static str, Option<BTreeSet<String>>>>,
}

impl Contract {
    /// Reads it from the description.
    pub fn new(openapi: &OpenApi) -> Self {
        let routes = openapi.paths.paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect();
        Self { routes }
    }

    /// The methods that a route allows, as the header `Allow` lists them. What is not described (the description itself,
    /// and its page) is read only.
    pub fn allow(&self, route: &str) -> String {
        let Some(methods) = self.routes.get(route) else { return "GET, HEAD".to_owned() };
        let mut names: Vec<_> = methods.keys().copied().collect();
        names.sort_unstable();
        names.join(", ")
    }

    fn check(&self, request: &Request, route: &str) -> Result<Query, ApiError> {
        let refused = || ApiError::method_not_allowed(&self.allow(route));
        let Some(methods) = self.routes.get(route) else {
            let reads = matches!(*request.method(), Method::GET | Method::HEAD);
            return if reads { Ok(Query::default()) } else { Err(refused()) };
        };
        let parameters = methods.get(request.method().as_str()).ok_or_else(refused)?;
        if !route.starts_with("/v1/") {
            // A probe takes no parameters, and is asked all the same with whatever its monitor adds.
            return Ok(Query::default());
        }
        let malformed = |detail: String| ApiError::new(Code::MalformedQuery).with_detail(detail);
        let query = pairs(request.uri().query().unwrap_or_default().as_bytes());
        let Some(parameters) = parameters else {
            // A person is led on to the page, which says in words what is wrong: what cannot be read is as good as not there.
            return Ok(Query(query.unwrap_or_default()));
        };
        let query = query.map_err(|fault| malformed(fault.into()))?;
        for (i, (name, _)) in query.iter().enumerate() {
            if !parameters.contains(name) {
                let known = parameters.iter().map(String::as_str).filter(|known| *known != "token").collect::<Vec<_>>();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(malformed(format!("{name:?} is not a parameter of this call, which has {known}.")));
            }
            if query[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(malformed(format!("{name:?} must come once.")));
            }
        }
        if !accepts_json(request.headers()) {
            return Err(ApiError::new(Code::NotAcceptable));
        }
        Ok(Query(query))
    }
}

fn methods(item: &PathItem) -> HashMap<&'static str, Option<BTreeSet<String>>> {
    let mut methods = HashMap::new();
    for (method, operation) in operations(item) {
        let parameters = (!is_browser_step(operation)).then(|| query_parameters(operation));
        if method == "GET" && !takes_numbers(operation) && !is_browser_step(operation) {
            methods.insert("HEAD", parameters.clone());
        }
        methods.insert(method, parameters);
    }
    methods
}

fn query_parameters(operation: &Operation) -> BTreeSet<String> {
    let query = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query) => Some(parameter.name.clone()),
        _ => None,
    };
    let mut names: BTreeSet<_> = operation.parameters.iter().flatten().filter_map(query).collect();
    // Where no security of its own lifts it, a token may come in the query.
    if operation.security.is_none() {
        names.insert("token".to_owned());
    }
    names
}

/// Does `Accept` allow application/json? The most specific range decides (RFC 9110 section 12.5.1).
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut best: Option<(usize, bool)> = None;
    for (range, weight) in accepted(headers) {
        let specificity = match range.as_str() {
            "application/json" => 2,
            "application/*" => 1,
            "*/*" => 0,
            _ => {
                best = best.or(Some((0, false)));
                continue;
            }
        };
        best = match best {
            Some((found, before)) if found > specificity || (found == specificity && before) => best,
            _ => Some((specificity, weight > 0.0)),
        };
    }
    best.is_none_or(|(_, allowed)| allowed)
}

/// Refuses what the description does not allow, and hands the query on.
pub async fn contract(State(contract): State<Arc<Contract>>, mut request: Request, next: Next) -> Response {
    if let Some(route) = request.extensions().get::<MatchedPath>().cloned() {
        match contract.check(&request, route.as_str()) {
            Ok(query) => drop(request.extensions_mut().insert(query)),
            Err(error) => return error.into_response(),
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::http::header::ACCEPT;

    use super::*;

    #[test]
    fn the_most_specific_range_of_accept_decides() {
        let accepts = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(ACCEPT, line.parse().unwrap());
            }
            accepts_json(&headers)
        };
        for good in
            [&[][..], &["*/*"], &["application/json"], &["text/html, application/*;q=0.1"], &["text/html", "*/*"]]
        {
            assert!(accepts(good), "{good:?}");
        }
        for bad in
            [&["text/html"][..], &["application/json;q=0, */*"], &["application/json; Q = 0"], &["image/png, text/*"]]
        {
            assert!(!accepts(bad), "{bad:?}");
        }
    }
}
