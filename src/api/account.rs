//! Accounts: register, log in, log out, look at oneself, delete oneself.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::problems;
use crate::auth::password::HashError;
use crate::auth::token::{IssuedToken, TokenId};
use crate::domain::{Email, Timestamp, UserId};
use crate::error::{ApiError, Code};
use crate::extract::client_address::ClientAddress;
use crate::extract::fields::Fields;
use crate::extract::{AuthUser, Payload, Received, Route};
use crate::metrics::{self, AuthKind, AuthOutcome};
use crate::state::{AppState, Deadline};
use crate::store::{AccountKey, NewUser, StoreError, User};

/// The shortest and the longest password, in characters.
pub(super) const PASSWORD_LEN: (usize, usize) = (8, 128);

/// An e-mail address and a password.
#[derive(ToSchema)]
#[schema(example = json!({"email": "ada@example.com", "password": "correct horse battery"}))]
pub struct Credentials {
    /// Trimmed, and compared without case.
    #[schema(value_type = String, format = Email, min_length = 3, max_length = 254)]
    email: Email,
    /// 8 to 128 characters.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
}

impl Payload for Credentials {
    const FORM: bool = true;

    fn parse(fields: &mut Fields) -> Option<Self> {
        let (email, password) = (fields.parsed("email"), fields.secret("password", PASSWORD_LEN.0, PASSWORD_LEN.1));
        Some(Self { email: email?, password: password? })
    }
}

/// The password, once more, before something that cannot be undone.
#[derive(ToSchema)]
#[schema(example = json!({"password": "correct horse battery"}))]
pub struct Confirmation {
    /// The password of the account. An account without one sends an empty object.
    #[schema(value_type = Option<String>, format = Password, max_length = 128, nullable = false)]
    password: Option<SecretString>,
}

impl Payload for Confirmation {
    fn parse(fields: &mut Fields) -> Option<Self> {
        Some(Self { password: fields.optional("password", |fields, name| fields.secret(name, 0, PASSWORD_LEN.1)) })
    }
}

/// A user with a new token.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": {"id": "019aba5e-7c1e-7bb2-9d5f-0a4f6f3f9a10", "email": "ada@example.com"},
    "token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOi.c2lnbmF0dXJl",
    "token_type": "Bearer", "expires_at": "2026-11-25T19:00:00Z", "expires_in": 36000
}))]
pub struct SignedIn {
    user: UserSummary,
    /// The token, a JWT: send it as `Authorization: Bearer <token>`.
    token: String,
    /// Always `Bearer` (RFC 6750).
    token_type: &'static str,
    /// When the token ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Seconds until then.
    expires_in: u64,
}

/// A user in few words.
#[derive(Serialize, ToSchema)]
pub struct UserSummary {
    /// The user's identity.
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    /// The user's address.
    #[schema(value_type = Option<String>, format = Email)]
    email: Option<Email>,
}

impl SignedIn {
    pub(super) fn new(id: UserId, email: Option<Email>, issued: &IssuedToken) -> Self {
        Self {
            user: UserSummary { id, email },
            token: issued.token.expose_secret().to_owned(),
            token_type: "Bearer",
            expires_at: issued.expires_at,
            expires_in: issued.expires_in,
        }
    }
}

/// A user as it sees itself.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "user": {
        "id": "019aba5e-7c1e-7bb2-9d5f-0a4f6f3f9a10", "email": "ada@example.com",
        "created_at": "2026-11-25T09:00:00Z", "providers": ["password", "github"]
    },
    "counters": 3
}))]
pub struct Me {
    user: UserDetails,
    /// How many counters the user has.
    counters: u64,
}

/// A user in full.
#[derive(Serialize, ToSchema)]
pub struct UserDetails {
    /// The user's identity.
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    /// The user's address.
    #[schema(value_type = Option<String>, format = Email)]
    email: Option<Email>,
    /// When the user registered.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// How the user can sign in: `password`, and the names of providers.
    providers: Vec<String>,
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self::new(Code::Overloaded),
            HashError::Failed(_) => Self::new(Code::Internal).with_cause(error),
        }
    }
}

problems!(RegisterProblems: OPEN, BODY, RateLimited, Overloaded, EmailTaken, OutcomeUnknown);
problems!(LoginProblems: OPEN, BODY, RateLimited, Overloaded, InvalidCredentials, OutcomeUnknown);
problems!(LogoutProblems: AUTHENTICATED, OutcomeUnknown);
problems!(MeProblems: AUTHENTICATED);
problems!(DeleteMeProblems: AUTHENTICATED, BODY, InvalidCredentials, Overloaded, OutcomeUnknown);

/// Make an account.
///
/// The first token comes with the answer. The address is not verified.
#[utoipa::path(
    post, path = "/v1/register", tag = "accounts", operation_id = "register", security(()),
    request_body(content((Credentials = "application/json"), (Credentials = "application/x-www-form-urlencoded"))),
    responses((status = 201, description = "The account is made.", body = SignedIn), RegisterProblems)
)]
pub async fn register(
    State(state): State<AppState>,
    Deadline(deadline): Deadline,
    Received(credentials): Received<Credentials>,
) -> Result<(StatusCode, Json<SignedIn>), ApiError> {
    let token_id = TokenId::generate();
    let user = NewUser {
        id: UserId::generate(),
        email: Some(credentials.email),
        key: AccountKey::Password(state.passwords.hash(credentials.password, deadline).await?),
        token: token_id.hash(),
        created_at: Timestamp::now(),
    };
    if let Err(error) = state.store.create_user(&user).await {
        if error == StoreError::EmailTaken {
            metrics::auth_attempt(AuthKind::Register, AuthOutcome::Failure);
        }
        return Err(error.into());
    }
    metrics::auth_attempt(AuthKind::Register, AuthOutcome::Success);
    metrics::user_registered(None);
    let issued = issue(&state, user.id, 0, token_id)?;
    Ok((StatusCode::CREATED, Json(SignedIn::new(user.id, user.email, &issued))))
}

/// Get a new token.
///
/// The answer, and about the time it takes, is the same for an unknown address as for a wrong password.
#[utoipa::path(
    post, path = "/v1/login", tag = "accounts", operation_id = "login", security(()),
    request_body(content((Credentials = "application/json"), (Credentials = "application/x-www-form-urlencoded"))),
    responses((status = 200, description = "A new token.", body = SignedIn), LoginProblems)
)]
pub async fn login(
    State(state): State<AppState>,
    Deadline(deadline): Deadline,
    Received(credentials): Received<Credentials>,
) -> Result<Json<SignedIn>, ApiError> {
    let user = state.store.user_by_email(&credentials.email).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let fits = state.passwords.verify(credentials.password, hash, deadline).await?;
    let refused = || {
        metrics::auth_attempt(AuthKind::Login, AuthOutcome::Failure);
        ApiError::new(Code::InvalidCredentials)
    };
    let User { id, email, .. } = user.filter(|_| fits).ok_or_else(refused)?;
    let token_id = TokenId::generate();
    let generation = state.store.record_token(id, &token_id.hash()).await?.ok_or_else(refused)?;
    metrics::auth_attempt(AuthKind::Login, AuthOutcome::Success);
    let issued = issue(&state, id, generation, token_id)?;
    Ok(Json(SignedIn::new(id, email, &issued)))
}

/// Revoke every token.
///
/// All tokens issued so far to this user stop working within 5 seconds on every replica. A login right after it works.
#[utoipa::path(
    post, path = "/v1/logout", tag = "accounts", operation_id = "logout",
    responses((status = 204, description = "The tokens are revoked."), LogoutProblems)
)]
pub async fn logout(State(state): State<AppState>, AuthUser(user): AuthUser) -> Result<StatusCode, ApiError> {
    let revoked = state.store.revoke_tokens(user).await;
    state.sessions.forget(user).await;
    revoked?;
    Ok(StatusCode::NO_CONTENT)
}

/// Look at oneself.
#[utoipa::path(
    get, path = "/v1/me", tag = "accounts", operation_id = "me",
    responses((status = 200, description = "The user that calls.", body = Me), MeProblems)
)]
pub async fn me(State(state): State<AppState>, AuthUser(user): AuthUser) -> Result<Json<Me>, ApiError> {
    let user = state.store.user(user).await?.ok_or_else(|| ApiError::new(Code::TokenRevoked))?;
    let mut providers: Vec<String> = user.identities.iter().map(|identity| identity.provider.to_string()).collect();
    providers.sort_unstable();
    providers.dedup();
    if user.password_hash.is_some() {
        providers.insert(0, "password".to_owned());
    }
    let details = UserDetails { id: user.id, email: user.email, created_at: user.created_at, providers };
    Ok(Json(Me { user: details, counters: user.counters }))
}

/// Delete oneself.
///
/// The user, its counters and its links to providers are gone, and its tokens stop working within 5 seconds on every replica.
#[utoipa::path(
    delete, path = "/v1/me", tag = "accounts", operation_id = "delete_me", request_body = Confirmation,
    responses((status = 204, description = "The user is gone."), DeleteMeProblems)
)]
pub async fn delete_me(
    State(state): State<AppState>,
    AuthUser(user): AuthUser,
    Deadline(deadline): Deadline,
    Extension(address): Extension<ClientAddress>,
    route: Route,
    Received(confirmation): Received<Confirmation>,
) -> Result<StatusCode, ApiError> {
    // Whoever holds a token must not find out the password with it.
    state.limits.attempt(address.limited_by(), route.as_str())?;
    let hash = state.store.user(user).await?.ok_or_else(|| ApiError::new(Code::TokenRevoked))?.password_hash;
    let confirmed = match (confirmation.password, hash) {
        (Some(password), hash) => state.passwords.verify(password, hash, deadline).await?,
        (None, Some(_)) => return Err(ApiError::field("password", "is required")),
        (None, None) => true,
    };
    if !confirmed {
        metrics::auth_attempt(AuthKind::Login, AuthOutcome::Failure);
        return Err(ApiError::new(Code::InvalidCredentials));
    }
    let deleted = state.store.delete_user(user).await;
    state.sessions.forget(user).await;
    if deleted? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::new(Code::TokenRevoked)) }
}

pub(super) fn issue(state: &AppState, user: UserId, generation: u64, id: TokenId) -> Result<IssuedToken, ApiError> {
    state.tokens.issue(user, generation, id).map_err(|error| ApiError::new(Code::Internal).with_cause(error))
}
