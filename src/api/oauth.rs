//! Sign-in through a provider: which there are, the way there and back ([`browser`]), and a token for the one-time code
//! ([`token`]).

pub mod browser;
mod cookies;
pub mod token;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::openapi::problems;
use crate::auth::oauth::{Provider, flow};
use crate::auth::sha256_hex;
use crate::domain::ProviderName;
use crate::error::{ApiError, Code};
use crate::extract::AuthUser;
use crate::state::AppState;
use crate::store::{LoginHash, Unlinked};

/// The providers of this service.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "providers": [{"name": "github", "display_name": "GitHub", "start_url": "/v1/oauth/github/start"}]
}))]
pub struct ProviderList {
    /// None where none is configured.
    providers: Vec<ProviderSummary>,
}

/// A provider that people can sign in through.
#[derive(Serialize, ToSchema)]
pub struct ProviderSummary {
    /// Its name in addresses and in `providers` of `GET /v1/me`.
    #[schema(value_type = String, pattern = "^[a-z][a-z0-9-]{0,31}$")]
    name: ProviderName,
    /// Its name for people.
    display_name: String,
    /// Where a browser goes to sign in.
    #[schema(format = "uri-reference")]
    start_url: String,
}

/// Which provider.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is read from the path by hand")]
struct ProviderParam {
    /// A provider's name.
    #[param(pattern = "^[a-z][a-z0-9-]{0,31}$", example = "github")]
    provider: String,
}

problems!(ProvidersProblems: OPEN);
problems!(UnlinkProblems: AUTHENTICATED, NotFound, LastSignInMethod, OutcomeUnknown);

/// List the providers.
///
/// Whom people can sign in through, in the order of their names.
#[utoipa::path(
    get, path = "/v1/oauth/providers", tag = "accounts", operation_id = "oauth_providers", security(()),
    responses((status = 200, description = "The providers.", body = ProviderList), ProvidersProblems)
)]
pub async fn providers(State(state): State<AppState>) -> Json<ProviderList> {
    let providers = state.oauth.all().iter().map(|provider| ProviderSummary {
        name: provider.name.clone(),
        display_name: provider.display_name.clone(),
        start_url: format!("/v1/oauth/{}/start", provider.name),
    });
    Json(ProviderList { providers: providers.collect() })
}

/// Unlink a provider.
///
/// What the user is there opens the account no more. Tokens stay valid: to revoke them, log out.
#[utoipa::path(
    delete, path = "/v1/oauth/{provider}", tag = "accounts", operation_id = "unlink_provider", params(ProviderParam),
    responses((status = 204, description = "The provider is unlinked."), UnlinkProblems)
)]
pub async fn unlink(
    State(state): State<AppState>,
    AuthUser(user): AuthUser,
    Path(provider): Path<String>,
) -> Result<StatusCode, ApiError> {
    let not_linked = || ApiError::new(Code::NotFound).with_detail("The account is not linked with such a provider.");
    // One that is not configured any more can be unlinked all the same.
    let provider: ProviderName = provider.parse().map_err(|_| not_linked())?;
    match state.store.remove_identities(user, &provider).await? {
        Unlinked::Done => Ok(StatusCode::NO_CONTENT),
        Unlinked::NotLinked => Err(not_linked()),
        Unlinked::LastOne => Err(ApiError::new(Code::LastSignInMethod)),
        Unlinked::UserGone => Err(ApiError::new(Code::TokenRevoked)),
    }
}

fn find<'a>(state: &'a AppState, provider: &str) -> Result<&'a Provider, ApiError> {
    let none = || ApiError::new(Code::NotFound).with_detail("There is no such provider.");
    state.oauth.find(provider).ok_or_else(none)
}

/// A one-time code and its other half, which the browser keeps in a cookie. Whoever has one of them has nothing: the code
/// cannot be used from another browser, and nobody can be signed in with a code that somebody else has got.
struct OneTimeCode {
    code: String,
    browser: String,
}

impl OneTimeCode {
    fn generate() -> Self {
        Self { code: flow::secret(), browser: flow::secret() }
    }

    fn hash(&self) -> LoginHash {
        LoginHash(sha256_hex(format!("{}.{}", self.code, self.browser).as_bytes()))
    }
}
