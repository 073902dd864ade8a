//! OpenID Connect: Google, and any provider that the settings name by its issuer.

use reqwest::Url;
use serde::Deserialize;

use super::discovery::{Discovery, Metadata};
use super::exchange::Tokens;
use super::flow::Flow;
use super::id_token::{Expected, Signature, Verified};
use super::{Client, Person, SignInError, email};
use crate::domain::Email;
use crate::metrics::Endpoint;

pub(super) struct OpenId {
    discovery: Discovery,
}

/// What userinfo says (OpenID Connect Core section 5.3).
#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    email: Option<String>,
    email_verified: Option<Verified>,
}

impl OpenId {
    pub(super) fn new(issuer: &str) -> Self {
        Self { discovery: Discovery::new(issuer) }
    }

    pub(super) async fn authorization_endpoint(&self, client: &Client) -> Result<Url, SignInError> {
        Ok(self.discovery.metadata(client).await?.authorization_endpoint)
    }

    /// Is this what an answer of the provider says of its author?
    pub(super) async fn is_issuer(&self, client: &Client, iss: Option<&str>) -> Result<bool, SignInError> {
        match iss {
            Some(iss) => Ok(iss == self.discovery.issuer()),
            None => Ok(!self.discovery.metadata(client).await?.names_itself),
        }
    }

    pub(super) async fn person(&self, client: &Client, flow: &Flow, code: &str) -> Result<Person, SignInError> {
        let metadata = self.discovery.metadata(client).await?;
        let tokens = client.exchange(&metadata.token_endpoint, metadata.client_auth, flow, code).await?;
        let id_token = tokens.id_token.as_deref();
        let id_token = id_token.ok_or_else(|| SignInError::invalid("the token endpoint answered no ID token"))?;
        let signature = Signature::of(id_token)?;
        let keys = self.discovery.keys(client, |keys| signature.key(keys).is_some()).await?;
        let expected = Expected { issuer: self.discovery.issuer(), client_id: &client.id, nonce: &flow.nonce };
        let claims = signature.verify(id_token, &keys, &expected)?;
        let email = match claims.email {
            Some(text) => verified(&text, claims.email_verified.as_ref()),
            None => asked_for(client, &metadata, &tokens, &claims.sub).await?,
        };
        client.person(&claims.sub, email)
    }
}

/// With an access token, a provider may keep the claims of a scope for userinfo (OpenID Connect Core section 5.4).
async fn asked_for(
    client: &Client,
    metadata: &Metadata,
    tokens: &Tokens,
    subject: &str,
) -> Result<Option<Email>, SignInError> {
    let (Some(endpoint), Some(token)) = (&metadata.userinfo_endpoint, &tokens.access_token) else { return Ok(None) };
    if !client.scopes.split(' ').any(|scope| scope == "email") {
        return Ok(None);
    }
    let reply = client.outbound.get(Endpoint::UserInfo, endpoint, |request| request.bearer_auth(token)).await?;
    let user: UserInfo = reply.success()?;
    if user.sub != subject {
        // Section 5.3.2: or else a token could be swapped for another's.
        return Err(SignInError::invalid("userinfo speaks of somebody else"));
    }
    Ok(user.email.and_then(|text| verified(&text, user.email_verified.as_ref())))
}

/// An address counts where the provider says that it has verified it.
fn verified(text: &str, says_so: Option<&Verified>) -> Option<Email> {
    if says_so.is_some_and(Verified::is_true) { email(text) } else { None }
}
