//! The description of the API, made from the code: what `/openapi.json` serves and `middleware/contract.rs` holds requests to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};

use crate::error::{Code, FieldError, PROBLEM_JSON, Problem};

/// What every answer can be, whatever is called: see `middleware`.
pub(super) const ALWAYS: &[Code] = &[Code::Internal, Code::StoreUnavailable];

/// What every call with a token can be refused for.
pub(super) const AUTHENTICATED: &[Code] = &[
    Code::MalformedQuery,
    Code::ConflictingTokens,
    Code::TokenMissing,
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::TokenRevoked,
    Code::NotAcceptable,
    Code::RateLimited,
];

/// What every call without a token and without a body can be refused for.
pub(super) const OPEN: &[Code] = &[Code::MalformedQuery, Code::NotAcceptable];

/// What a call with a body can be refused for.
pub(super) const BODY: &[Code] =
    &[Code::MalformedBody, Code::RequestTimeout, Code::BodyTooLarge, Code::UnsupportedMediaType, Code::InvalidField];

/// What a call that goes through the sequencer, and may have an idempotency key, can be refused for.
pub(super) const KEYED: &[Code] = &[
    Code::InvalidField,
    Code::IdempotencyKeyInFlight,
    Code::IdempotencyKeyReused,
    Code::Overloaded,
    Code::Draining,
    Code::OutcomeUnknown,
];

/// Declares the problems of an endpoint: lists of codes, in capitals, and single ones.
macro_rules! problems {
    ($name:ident: $($item:ident),+) => {
        struct $name;
        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                let mut codes = crate::api::openapi::ALWAYS.to_vec();
                $($crate::api::openapi::problems!(@push codes $item);)+
                crate::api::openapi::responses(codes)
            }
        }
    };
    (@push $codes:ident OPEN) => { $codes.extend(crate::api::openapi::OPEN) };
    (@push $codes:ident AUTHENTICATED) => { $codes.extend(crate::api::openapi::AUTHENTICATED) };
    (@push $codes:ident BODY) => { $codes.extend(crate::api::openapi::BODY) };
    (@push $codes:ident KEYED) => { $codes.extend(crate::api::openapi::KEYED) };
    (@push $codes:ident $code:ident) => { $codes.push(crate::error::Code::$code) };
}
pub(super) use problems;

/// One response for each status, with an example for each code.
pub(super) fn responses(mut codes: Vec<Code>) -> BTreeMap<String, RefOr<Response>> {
    codes.sort_unstable();
    codes.dedup();
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), RefOr::T(response(status, &codes)))).collect()
}

fn response(status: u16, codes: &[Code]) -> Response {
    let described: Vec<_> = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning())).collect();
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().summary(code.title()).value(Some(example(*code))).build();
        (code.as_str(), RefOr::T(example))
    });
    let content = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new().description(described.join("\n\n")).content(PROBLEM_JSON, content);
    for (name, kind, description) in headers(status) {
        let schema = ObjectBuilder::new().schema_type(kind).build();
        response =
            response.header(name, HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build());
    }
    response.build()
}

fn headers(status: u16) -> Vec<(&'static str, Type, &'static str)> {
    match status {
        401 => vec![("WWW-Authenticate", Type::String, "The challenge (RFC 6750).")],
        429 | 503 => vec![("Retry-After", Type::Integer, "Seconds after which repeating makes sense.")],
        _ => vec![],
    }
}

fn example(code: Code) -> serde_json::Value {
    let errors = match code {
        Code::InvalidField => {
            vec![FieldError { field: "password".into(), message: "must have 8 to 128 characters".into() }]
        }
        _ => vec![],
    };
    json!(Problem {
        type_uri: code.type_uri(),
        title: code.title().into(),
        status: code.status().as_u16(),
        detail: code.meaning().into(),
        code: code.as_str().into(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        errors,
    })
}

/// The head of the description; the router adds the paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Counter API",
        description = "Incrementing integers as a service: unique, gapless, durable on a majority, exactly once with an `Idempotency-Key`.\n\nErrors are problem details (RFC 9457). Every answer bears `x-request-id`, every problem a `trace_id`. Unknown query parameters and body fields are refused by name.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "accounts", description = "Register, get a token, revoke it; sign in through a provider."),
        (name = "counters", description = "Take numbers, read, set."),
        (name = "health", description = "Does it work?"),
    ),
    components(schemas(Problem, FieldError)),
    security(("bearer" = []), ("query_token" = [])),
    modifiers(&Security),
)]
struct Description;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let query = ApiKey::Query(ApiKeyValue::with_description(
            "token",
            "For clients that cannot set a header. Addresses are logged in many places: prefer it where you can.",
        ));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("query_token", SecurityScheme::ApiKey(query));
    }
}

/// The description without its paths.
pub fn description() -> OpenApi {
    Description::openapi()
}

/// What the attributes of the handlers cannot say: operations that share a handler get an identity each (`next` by POST,
/// `next_by_get` by GET), and bodies are closed, for unknown fields are refused.
pub fn finish(mut openapi: OpenApi) -> OpenApi {
    for item in openapi.paths.paths.values_mut() {
        let post = item.post.as_ref().and_then(|operation| operation.operation_id.clone());
        if let Some(get) = item.get.as_mut().filter(|get| get.operation_id == post && post.is_some()) {
            get.operation_id = post.map(|id| format!("{id}_by_get"));
        }
    }
    let bodies = bodies(&openapi);
    let schemas = openapi.components.iter_mut().flat_map(|components| &mut components.schemas);
    for (name, schema) in schemas {
        if let (true, RefOr::T(Schema::Object(body))) = (bodies.contains(name), schema) {
            body.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
    openapi
}

/// The names of the schemas that are bodies of requests.
fn bodies(openapi: &OpenApi) -> BTreeSet<String> {
    let operations = openapi.paths.paths.values().flat_map(operations);
    let bodies = operations.filter_map(|(_, operation)| match &operation.request_body {
        Some(RefOr::T(body)) => Some(body),
        _ => None,
    });
    let name = |content: &RefOr<Content>| match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) => {
            Some(schema.ref_location.rsplit('/').next()?.to_owned())
        }
        _ => None,
    };
    bodies.flat_map(|body| body.content.values()).filter_map(name).collect()
}

/// What can be done at a path, by method.
pub fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let all = [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("DELETE", &item.delete),
        ("PATCH", &item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Does this operation take numbers, so that GET must not stand in for HEAD?
pub fn takes_numbers(operation: &Operation) -> bool {
    has_extension(operation, "x-takes-numbers")
}

/// Is this operation a step of a sign-in, which a browser is led to? Others add parameters to its address as they like, it
/// asks for HTML, and GET must not stand in for HEAD, for each step is taken once.
pub fn is_browser_step(operation: &Operation) -> bool {
    has_extension(operation, "x-browser-step")
}

fn has_extension(operation: &Operation, name: &str) -> bool {
    operation.extensions.as_ref().is_some_and(|extensions| extensions.contains_key(name))
}
