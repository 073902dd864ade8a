//! Counters: take numbers, read, set, list, delete. Each user has one named `default`, and those that it names.

mod schema;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::openapi::problems;
use crate::domain::{CounterName, CounterValue};
use crate::error::{ApiError, Code};
use crate::extract::{AuthUser, CounterCall, IfMatch, Query, Received};
use crate::sequencer::CallError;
use crate::state::AppState;
use crate::store::{Action, Answer, Condition, NamedCounter, Op, Outcome};
pub use schema::{
    ConditionParam, CountParam, CounterPage, CounterRow, Current, KeyParam, NameParam, NewValue, PageParams, Taken,
    WasSet,
};

/// The most numbers that one call can take.
const MAX_COUNT: u32 = 10_000;

/// How many counters a page of the list holds: by default, and at most.
const PAGE: (u32, u32) = (100, 1_000);

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

problems!(TakeProblems: AUTHENTICATED, KEYED, CounterExhausted, QuotaReached);
problems!(SetProblems: AUTHENTICATED, BODY, KEYED, QuotaReached, PreconditionFailed);
problems!(ReadProblems: AUTHENTICATED, Overloaded, Draining, InvalidField);
problems!(ReadNamedProblems: AUTHENTICATED, Overloaded, Draining, InvalidField, NotFound);
problems!(ListProblems: AUTHENTICATED, InvalidField);
problems!(DeleteProblems: AUTHENTICATED, InvalidField, NotFound, OutcomeUnknown);

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Overloaded => Self::new(Code::Overloaded),
            CallError::Draining => Self::new(Code::Draining),
            CallError::KeyInFlight => Self::new(Code::IdempotencyKeyInFlight),
            CallError::Store(error) => error.into(),
        }
    }
}

/// Take the next integer.
///
/// The first is 1. POST is the canonical way: proxies and clients may repeat a GET by themselves. HEAD is refused.
#[utoipa::path(
    method(post, get), path = "/v1/next", tag = "counters", operation_id = "next", params(CountParam, KeyParam),
    extensions(("x-takes-numbers" = json!(true))),
    responses(
        (status = 200, description = "The number is the caller's.", body = Taken, headers(
            ("Idempotency-Replayed" = String, description = "`true` where this repeats the first answer to the key.")
        )),
        TakeProblems
    )
)]
pub async fn next(State(state): State<AppState>, call: CounterCall, query: Query) -> Result<Response, ApiError> {
    take(&state, call, &query).await
}

/// Take the next integer of a named counter.
///
/// The counter is made at its first use.
#[utoipa::path(
    method(post, get), path = "/v1/counters/{name}/next", tag = "counters", operation_id = "next_of_counter",
    params(NameParam, CountParam, KeyParam), extensions(("x-takes-numbers" = json!(true))),
    responses(
        (status = 200, description = "The number is the caller's.", body = Taken, headers(
            ("Idempotency-Replayed" = String, description = "`true` where this repeats the first answer to the key.")
        )),
        TakeProblems
    )
)]
pub async fn next_of_counter(
    State(state): State<AppState>,
    call: CounterCall,
    query: Query,
) -> Result<Response, ApiError> {
    take(&state, call, &query).await
}

async fn take(state: &AppState, call: CounterCall, query: &Query) -> Result<Response, ApiError> {
    let count = query.integer("count", 1, MAX_COUNT)?;
    let arguments = count.map(|count| format!("count={count}")).unwrap_or_default();
    let op = call.op(Action::Take(count.unwrap_or(1)), &arguments);
    let counter = call.counter.name.clone();
    answered(run(state, call, op).await?, |outcome| {
        let Outcome::Taken { first, last } = outcome else { return None };
        let previous = first.get().checked_sub(1).and_then(CounterValue::new)?;
        let taken = match count {
            None => Taken::One { counter, value: last, previous },
            Some(count) => Taken::Block { counter, first, last, count, previous },
        };
        Some(Json(taken).into_response())
    })
}

/// Read the counter.
///
/// A counter that was never used stands at the initial value. The ETag is the counter's version, and changes with every write.
#[utoipa::path(
    get, path = "/v1/current", tag = "counters", operation_id = "current",
    responses(
        (status = 200, description = "What it stands at.", body = Current, headers(("ETag" = String, description = "The counter's version."))),
        ReadProblems
    )
)]
pub async fn current(State(state): State<AppState>, call: CounterCall) -> Result<Response, ApiError> {
    read(&state, call).await
}

/// Read a named counter.
#[utoipa::path(
    get, path = "/v1/counters/{name}/current", tag = "counters", operation_id = "current_of_counter", params(NameParam),
    responses(
        (status = 200, description = "What it stands at.", body = Current, headers(("ETag" = String, description = "The counter's version."))),
        ReadNamedProblems
    )
)]
pub async fn current_of_counter(State(state): State<AppState>, call: CounterCall) -> Result<Response, ApiError> {
    read(&state, call).await
}

async fn read(state: &AppState, call: CounterCall) -> Result<Response, ApiError> {
    let op = Op { action: Action::Read, key: None };
    let name = call.counter.name.clone();
    let initial = state.rules.initial_value;
    let Outcome::Read(counter) = run(state, call, op).await?.outcome else { return Err(mismatch()) };
    let (value, version) = match counter {
        Some(counter) => (counter.value, counter.version),
        None if name.is_default() => (initial, 0),
        None => return Err(no_such_counter()),
    };
    Ok(tagged(version, Json(Current { counter: name, value }).into_response()))
}

/// Set the counter.
///
/// With `If-Match` it is a compare-and-set.
#[utoipa::path(
    put, path = "/v1/current", tag = "counters", operation_id = "set_current", params(KeyParam, ConditionParam),
    request_body(content((NewValue = "application/json"), (NewValue = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is set.", body = WasSet, headers(
            ("ETag" = String, description = "The counter's version."),
            ("Idempotency-Replayed" = String, description = "`true` where this repeats the first answer to the key.")
        )),
        SetProblems
    )
)]
pub async fn set_current(
    State(state): State<AppState>,
    call: CounterCall,
    condition: IfMatch,
    Received(new): Received<NewValue>,
) -> Result<Response, ApiError> {
    set(&state, call, condition, new).await
}

/// Set a named counter.
///
/// It is made where it is not there.
#[utoipa::path(
    put, path = "/v1/counters/{name}/current", tag = "counters", operation_id = "set_current_of_counter",
    params(NameParam, KeyParam, ConditionParam),
    request_body(content((NewValue = "application/json"), (NewValue = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "It is set.", body = WasSet, headers(
            ("ETag" = String, description = "The counter's version."),
            ("Idempotency-Replayed" = String, description = "`true` where this repeats the first answer to the key.")
        )),
        SetProblems
    )
)]
pub async fn set_current_of_counter(
    State(state): State<AppState>,
    call: CounterCall,
    condition: IfMatch,
    Received(new): Received<NewValue>,
) -> Result<Response, ApiError> {
    set(&state, call, condition, new).await
}

async fn set(state: &AppState, call: CounterCall, condition: IfMatch, new: NewValue) -> Result<Response, ApiError> {
    let op = call.op(Action::Set(new.current, condition.0.clone()), &set_arguments(new.current, &condition.0));
    let counter = call.counter.name.clone();
    answered(run(state, call, op).await?, |outcome| {
        let Outcome::Set { value, previous, version } = outcome else { return None };
        Some(tagged(version, Json(WasSet { counter, value, previous }).into_response()))
    })
}

/// What tells one set from another. It is kept for as long as its key is, and compared by replicas of other versions: the
/// words stay as they are.
fn set_arguments(current: CounterValue, condition: &Condition) -> String {
    let condition = match condition {
        Condition::Always => "always".to_owned(),
        Condition::Exists => "exists".to_owned(),
        Condition::VersionIn(versions) => {
            let versions: Vec<_> = versions.iter().map(u64::to_string).collect();
            format!("in {}", versions.join(","))
        }
    };
    format!("current={current} if-match={condition}")
}

/// List the counters.
#[utoipa::path(
    get, path = "/v1/counters", tag = "counters", operation_id = "list_counters", params(PageParams),
    responses((status = 200, description = "A page of them, in the order of their names.", body = CounterPage), ListProblems)
)]
pub async fn list(
    State(state): State<AppState>,
    AuthUser(user): AuthUser,
    query: Query,
) -> Result<Json<CounterPage>, ApiError> {
    let limit = query.integer("limit", 1, PAGE.1)?.unwrap_or(PAGE.0) as usize;
    let after = query.get("cursor").map(decode_cursor).transpose()?;
    // One more than asked for tells whether there is another page.
    let mut counters = state.store.counters(user, after.as_ref(), limit + 1).await?;
    let more = counters.len() > limit;
    counters.truncate(limit);
    let next = counters.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(last.name.as_str()));
    let row = |named: NamedCounter| CounterRow {
        name: named.name,
        value: named.counter.value,
        updated_at: named.counter.updated_at,
    };
    Ok(Json(CounterPage { counters: counters.into_iter().map(row).collect(), next }))
}

fn decode_cursor(cursor: &str) -> Result<CounterName, ApiError> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let name = name.and_then(|name| name.parse().ok());
    name.ok_or_else(|| ApiError::field("cursor", "must be the `next` of a page"))
}

/// Delete a counter.
///
/// Its next use makes it anew.
#[utoipa::path(
    delete, path = "/v1/counters/{name}", tag = "counters", operation_id = "delete_counter", params(NameParam),
    responses((status = 204, description = "It is gone."), DeleteProblems)
)]
pub async fn delete(State(state): State<AppState>, call: CounterCall) -> Result<StatusCode, ApiError> {
    if state.store.delete_counter(&call.counter).await? { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_counter()) }
}

async fn run(state: &AppState, call: CounterCall, op: Op) -> Result<Answer, ApiError> {
    Ok(state.sequencer.call(call.counter, op, call.deadline).await?)
}

/// Turns an answer into a response, the refusals too, and marks it where it is given again.
fn answered(answer: Answer, response: impl FnOnce(Outcome) -> Option<Response>) -> Result<Response, ApiError> {
    let mut response = match answer.outcome {
        Outcome::Refused(refusal) => ApiError::from(refusal).into_response(),
        outcome => response(outcome).ok_or_else(mismatch)?,
    };
    if answer.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn tagged(version: u64, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn no_such_counter() -> ApiError {
    ApiError::new(Code::NotFound).with_detail("There is no such counter: its first next makes it, or a PUT.")
}

fn mismatch() -> ApiError {
    ApiError::new(Code::Internal).with_cause("the store answered another operation than was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keys_are_compared_by_is_written_as_it_always_was() {
        let arguments = |condition| set_arguments(CounterValue::new(5).unwrap(), &condition);
        assert_eq!(arguments(Condition::Always), "current=5 if-match=always");
        assert_eq!(arguments(Condition::Exists), "current=5 if-match=exists");
        assert_eq!(arguments(Condition::VersionIn(vec![3, 7])), "current=5 if-match=in 3,7");
        assert_eq!(arguments(Condition::VersionIn(vec![])), "current=5 if-match=in ");
    }
}
