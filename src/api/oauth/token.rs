//! A token for a one-time code. Here an account is made, found or joined, by rules that let nobody into an account by an e-mail
//! address: what opens it is the identity, or else its password.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::AppendHeaders;
use secrecy::{ExposeSecret, SecretString};
use utoipa::ToSchema;

use super::super::account::{PASSWORD_LEN, SignedIn, issue};
use super::super::openapi::problems;
use super::OneTimeCode;
use super::cookies::SIGN_IN;
use crate::auth::token::TokenId;
use crate::domain::{Timestamp, UserId};
use crate::error::{ApiError, Code};
use crate::extract::fields::Fields;
use crate::extract::{Payload, Received};
use crate::metrics::{self, AuthKind, AuthOutcome, SignIn};
use crate::state::{AppState, Deadline};
use crate::store::{AccountKey, Login, LoginHash, LoginUse, NewUser, StoreError, User};

/// The longest one-time code, in characters.
const MAX_CODE_LEN: usize = 128;

/// A one-time code, and what is to become of an account with the same address.
#[derive(ToSchema)]
#[schema(example = json!({"code": "zH2pYv3xkS1mQe0bWc8uTn5rJf7aLd9gXo4iKq6hVtE"}))]
pub struct SignInCode {
    /// What stood behind `signin_code=`.
    #[schema(value_type = String, min_length = 1, max_length = 128)]
    code: SecretString,
    /// The password of the account with the same address: the two become one. After `link_required`, three tries at most.
    #[schema(value_type = Option<String>, format = Password, max_length = 128, nullable = false)]
    password: Option<SecretString>,
    /// An account of its own, whoever else has the address. After `link_required`; not with `password`.
    #[schema(value_type = Option<bool>, nullable = false)]
    separate: bool,
}

impl Payload for SignInCode {
    fn parse(fields: &mut Fields) -> Option<Self> {
        let code = fields.secret("code", 1, MAX_CODE_LEN);
        let password = fields.optional("password", |fields, name| fields.secret(name, 0, PASSWORD_LEN.1));
        let separate = fields.optional("separate", Fields::boolean);
        let separate = separate.unwrap_or(false);
        if separate && password.is_some() {
            fields.fault::<()>("separate", "must not be sent with password");
        }
        Some(Self { code: code?, password, separate })
    }
}

problems!(
    TokenProblems: OPEN, BODY, RateLimited, Overloaded, SigninCodeInvalid, InvalidCredentials, LinkRequired, OutcomeUnknown
);

type Answer = (AppendHeaders<Option<(HeaderName, HeaderValue)>>, Json<SignedIn>);

/// Get a token for a one-time code.
///
/// The first sign-in of a person makes the account. The browser must send the cookie that it was given with the code. 409
/// `link_required` says that the provider's verified address belongs to an account with a password: send the same code again
/// with `password` (the accounts become one) or with `separate` (an account of its own).
#[utoipa::path(
    post, path = "/v1/oauth/token", tag = "accounts", operation_id = "oauth_token", security(()),
    request_body = SignInCode,
    responses((status = 200, description = "A new token.", body = SignedIn), TokenProblems)
)]
pub async fn token(
    State(state): State<AppState>,
    Deadline(deadline): Deadline,
    headers: HeaderMap,
    Received(request): Received<SignInCode>,
) -> Result<Answer, ApiError> {
    let Some(browser) = SIGN_IN.of(&headers, &state.oauth) else {
        return Err(refused(Code::SigninCodeInvalid));
    };
    let code = OneTimeCode { code: request.code.expose_secret().to_owned(), browser: browser.to_owned() }.hash();
    let signed_in = sign_in(&state, &code, request, deadline).await?;
    metrics::auth_attempt(AuthKind::Oauth, AuthOutcome::Success);
    let over = SIGN_IN.clear(&state.oauth).map(|cookie| (SET_COOKIE, cookie));
    Ok((AppendHeaders(over), Json(signed_in)))
}

/// Somebody has proved nothing.
fn refused(code: Code) -> ApiError {
    metrics::auth_attempt(AuthKind::Oauth, AuthOutcome::Failure);
    ApiError::new(code)
}

async fn sign_in(
    state: &AppState,
    code: &LoginHash,
    request: SignInCode,
    deadline: Instant,
) -> Result<SignedIn, ApiError> {
    // Counted before the password is looked at: two that come together are two tries.
    let usage = if request.password.is_some() { LoginUse::Try } else { LoginUse::Look };
    let login = use_code(state, code, usage).await?;
    if state.store.user_by_identity(&login.identity).await?.is_some() {
        use_code(state, code, LoginUse::Take).await?;
        return opened(state, &login, SignIn::SignIn).await;
    }
    let namesake = match &login.email {
        Some(email) if !request.separate => state.store.user_by_email(email).await?,
        _ => None,
    };
    match (request.password, namesake) {
        (Some(password), namesake) => {
            let (id, hash) = namesake.map(|user| (user.id, user.password_hash)).unzip();
            // It takes as long where there is no such account.
            let fits = state.passwords.verify(password, hash.flatten(), deadline).await?;
            let id = id.filter(|_| fits).ok_or_else(|| refused(Code::InvalidCredentials))?;
            use_code(state, code, LoginUse::Take).await?;
            link(state, &login, id).await
        }
        (None, Some(_)) => {
            metrics::signed_in(&login.identity.provider, SignIn::LinkRequired);
            Err(ApiError::new(Code::LinkRequired))
        }
        (None, None) => {
            use_code(state, code, LoginUse::Take).await?;
            sign_up(state, &login).await
        }
    }
}

async fn use_code(state: &AppState, code: &LoginHash, usage: LoginUse) -> Result<Login, ApiError> {
    let login = state.store.login(code, usage, Timestamp::now()).await?;
    login.ok_or_else(|| refused(Code::SigninCodeInvalid))
}

/// Makes an account. Where another replica has just made it, it is opened.
async fn sign_up(state: &AppState, login: &Login) -> Result<SignedIn, ApiError> {
    let token_id = TokenId::generate();
    let user = NewUser {
        id: UserId::generate(),
        email: login.email.clone(),
        key: AccountKey::Identity(login.identity.clone()),
        token: token_id.hash(),
        created_at: Timestamp::now(),
    };
    match state.store.create_user(&user).await {
        Ok(()) => {}
        Err(StoreError::IdentityTaken) => return opened(state, login, SignIn::SignIn).await,
        Err(error) => return Err(error.into()),
    }
    metrics::user_registered(Some(&login.identity.provider));
    metrics::signed_in(&login.identity.provider, SignIn::SignUp);
    let issued = issue(state, user.id, 0, token_id)?;
    Ok(SignedIn::new(user.id, user.email, &issued))
}

/// Joins the identity to the account whose password was right.
async fn link(state: &AppState, login: &Login, id: UserId) -> Result<SignedIn, ApiError> {
    match state.store.add_identity(id, &login.identity).await {
        Ok(true) => opened(state, login, SignIn::Linked).await,
        Ok(false) => Err(refused(Code::InvalidCredentials)),
        // It has come to open another account meanwhile.
        Err(StoreError::IdentityTaken) => opened(state, login, SignIn::SignIn).await,
        Err(error) => Err(error.into()),
    }
}

/// Opens the account that the identity opens.
async fn opened(state: &AppState, login: &Login, outcome: SignIn) -> Result<SignedIn, ApiError> {
    let gone = || refused(Code::SigninCodeInvalid);
    let User { id, email, .. } = state.store.user_by_identity(&login.identity).await?.ok_or_else(gone)?;
    let token_id = TokenId::generate();
    let generation = state.store.record_token(id, &token_id.hash()).await?.ok_or_else(gone)?;
    metrics::signed_in(&login.identity.provider, outcome);
    let issued = issue(state, id, generation, token_id)?;
    Ok(SignedIn::new(id, email, &issued))
}
