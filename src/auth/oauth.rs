//! Sign-in through others: the authorization code flow of OAuth 2.0 with PKCE (RFC 6749, 7636, 9700) and OpenID Connect Core,
//! at providers that the settings name. `docs/sign-in.md` draws it, and says of each attack what stops it.
//!
//! A flow's secrets travel in a sealed cookie ([`flow`]) and what comes of it in the store, so any replica can go on with what
//! another began. A provider is spoken to by [`outbound`] alone.

pub mod flow;

mod address;
mod config;
mod discovery;
mod exchange;
mod facebook;
mod github;
mod id_token;
mod openid;
mod outbound;

use std::fmt;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::{Email, Identity, ProviderName, Subject};
use crate::metrics::ANSWER_REFUSED;
pub use crate::metrics::SignInFailure;
use address::below;
pub use address::secure_url;
pub use config::{Dialect, OauthConfig, ProviderConfig};
use facebook::Facebook;
use flow::Flow;
use github::GitHub;
use openid::OpenId;
use outbound::Outbound;

/// The providers of this service.
pub struct Providers {
    /// Browsers speak to us through TLS.
    secure: bool,
    providers: Vec<Provider>,
}

/// One provider.
pub struct Provider {
    /// Its name in addresses.
    pub name: ProviderName,
    /// Its name for people.
    pub display_name: String,
    client: Client,
    kind: Kind,
}

enum Kind {
    OpenId(Box<OpenId>),
    GitHub(Box<GitHub>),
    Facebook(Box<Facebook>),
}

/// What every dialect needs.
struct Client {
    /// Who vouches for its subjects.
    issuer: String,
    id: String,
    secret: SecretString,
    redirect_uri: String,
    scopes: String,
    outbound: Outbound,
}

/// What a provider says of somebody.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who it is.
    pub identity: Identity,
    /// An address that the provider has verified. One that it has not is not here.
    pub email: Option<Email>,
}

/// Why a sign-in did not come about. `detail` is for the log: it holds no secret and nothing that a browser or a provider
/// could have put there at will.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .failure.as_str())]
pub struct SignInError {
    /// The kind, which the person is told.
    pub failure: SignInFailure,
    /// It is the fault of what the browser brought, which anybody can make up.
    pub brought: bool,
    /// What happened this time.
    pub detail: String,
}

impl SignInError {
    /// An occurrence of this kind.
    pub fn new(failure: SignInFailure, detail: impl Into<String>) -> Self {
        Self { failure, brought: false, detail: detail.into() }
    }

    /// What the browser brought from the provider is worth nothing, which says nothing of the provider.
    fn brought(failure: SignInFailure, detail: impl Into<String>) -> Self {
        Self { brought: true, ..Self::new(failure, detail) }
    }

    /// How it is counted.
    pub fn outcome(&self) -> &'static str {
        if self.brought { ANSWER_REFUSED } else { self.failure.as_str() }
    }

    /// The provider's answer is not what it must be.
    fn invalid(detail: impl Into<String>) -> Self {
        Self::new(SignInFailure::ProviderInvalid, detail)
    }
}

/// What came to the callback.
#[derive(Debug, Default)]
pub struct Callback<'a> {
    /// The authorization code.
    pub code: Option<&'a str>,
    /// Why there is none.
    pub error: Option<&'a str>,
    /// Who says so (RFC 9207).
    pub iss: Option<&'a str>,
}

impl Providers {
    /// Those that the settings name. Fails where there is no TLS to be had.
    pub fn new(config: &OauthConfig) -> Result<Self, String> {
        let public_url = config.public_url.clone().unwrap_or_default();
        let mut providers = Vec::new();
        if !config.providers.is_empty() {
            let http = outbound::client()?;
            for provider in &config.providers {
                let outbound = Outbound::new(provider.name.clone(), http.clone(), config.timeout);
                providers.push(Provider::new(provider, &public_url, outbound)?);
            }
        }
        Ok(Self { secure: public_url.starts_with("https:"), providers })
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> &[Provider] {
        &self.providers
    }

    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name.as_str() == name)
    }

    /// Do browsers speak to us through TLS, so that cookies can be bound to it?
    pub fn secure(&self) -> bool {
        self.secure
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.providers.iter().map(|provider| &provider.name)).finish()
    }
}

impl Provider {
    fn new(config: &ProviderConfig, public_url: &str, outbound: Outbound) -> Result<Self, String> {
        let issuer = match config.dialect {
            // Compared byte by byte.
            Dialect::OpenId => &config.issuer,
            Dialect::GitHub | Dialect::Facebook => config.issuer.trim_end_matches('/'),
        };
        let client = Client {
            issuer: issuer.to_owned(),
            id: config.client_id.clone(),
            secret: config.client_secret.clone(),
            redirect_uri: format!("{public_url}/v1/oauth/{}/callback", config.name),
            scopes: config.scopes.clone(),
            outbound,
        };
        let kind = match config.dialect {
            Dialect::OpenId => Kind::OpenId(Box::new(OpenId::new(issuer))),
            Dialect::GitHub => Kind::GitHub(Box::new(GitHub::new(issuer)?)),
            Dialect::Facebook => Kind::Facebook(Box::new(Facebook::new(issuer)?)),
        };
        crate::metrics::provider_at_zero(&config.name);
        Ok(Self { name: config.name.clone(), display_name: config.display_name.clone(), client, kind })
    }

    /// Where the browser is sent to sign in.
    pub async fn authorization_url(&self, flow: &Flow) -> Result<Url, SignInError> {
        let mut url = match &self.kind {
            Kind::OpenId(openid) => openid.authorization_endpoint(&self.client).await?,
            Kind::GitHub(github) => github.authorization_endpoint(),
            Kind::Facebook(facebook) => facebook.authorization_endpoint(),
        };
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.id)
            .append_pair("redirect_uri", &self.client.redirect_uri)
            .append_pair("scope", &self.client.scopes)
            .append_pair("state", &flow.state)
            .append_pair("code_challenge", &flow.challenge())
            .append_pair("code_challenge_method", "S256");
        if let Kind::OpenId(_) = &self.kind {
            url.query_pairs_mut().append_pair("nonce", &flow.nonce);
        }
        Ok(url)
    }

    /// Finds out who came back, of a flow whose `state` has been checked.
    pub async fn person(&self, flow: &Flow, callback: &Callback<'_>) -> Result<Person, SignInError> {
        self.check_issuer(callback).await?;
        if let Some(error) = callback.error {
            return Err(refused(error));
        }
        let neither = || SignInError::brought(SignInFailure::ProviderInvalid, "neither a code nor an error came back");
        let code = callback.code.filter(|code| is_code(code)).ok_or_else(neither)?;
        match &self.kind {
            Kind::OpenId(openid) => openid.person(&self.client, flow, code).await,
            Kind::GitHub(github) => github.person(&self.client, flow, code).await,
            Kind::Facebook(facebook) => facebook.person(&self.client, flow, code).await,
        }
    }

    /// Refuses an answer of somebody else (RFC 9207). Each provider has a redirect address of its own as well, and the flow's
    /// cookie names it.
    async fn check_issuer(&self, callback: &Callback<'_>) -> Result<(), SignInError> {
        let fits = match (&self.kind, callback.iss) {
            (Kind::OpenId(openid), iss) => openid.is_issuer(&self.client, iss).await?,
            (_, None) => true,
            (Kind::GitHub(_), Some(iss)) => GitHub::is_issuer(&self.client.issuer, iss),
            (Kind::Facebook(_), Some(iss)) => iss == self.client.issuer,
        };
        if fits { Ok(()) } else { Err(SignInError::new(SignInFailure::FlowMismatch, "another issuer has answered")) }
    }
}

impl Client {
    fn person(&self, subject: &str, email: Option<Email>) -> Result<Person, SignInError> {
        let subject: Subject = subject
            .parse()
            .map_err(|invalid: crate::domain::Invalid| SignInError::invalid(format!("the subject {}", invalid.0)))?;
        let (issuer, provider) = (self.issuer.clone(), self.outbound.provider().clone());
        Ok(Person { identity: Identity { issuer, provider, subject }, email })
    }

    fn secret(&self) -> &str {
        self.secret.expose_secret()
    }
}

/// An address as the provider gives it. One that is no address of ours is as good as none.
fn email(text: &str) -> Option<Email> {
    text.parse().ok()
}

/// What the provider answered instead of a code (RFC 6749 section 4.1.2.1).
fn refused(error: &str) -> SignInError {
    let (failure, error) = match word(error) {
        // Who says no is counted as such.
        error @ "access_denied" => {
            return SignInError::new(SignInFailure::AccessDenied, format!("the provider answered {error}"));
        }
        error @ ("server_error" | "temporarily_unavailable") => (SignInFailure::ProviderUnavailable, error),
        error => (SignInFailure::ProviderRefused, error),
    };
    SignInError::brought(failure, format!("the provider answered {error}"))
}

/// Can this be an authorization code (RFC 6749 appendix A.11), of a length that providers have?
fn is_code(code: &str) -> bool {
    matches!(code.len(), 1..=4096) && code.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// An error code, if it is one: what comes from elsewhere is not written into the log as it is.
fn word(error: &str) -> &str {
    let fits = matches!(error.len(), 1..=64) && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if fits { error } else { "something that is no error code" }
}
