//! Facebook: OAuth without OpenID Connect. Who it is says the Graph API, by a number of this application's own. An address
//! comes only where there is one that Facebook has confirmed and the person shares; often there is none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::Url;
use serde::Deserialize;

use super::exchange::ClientAuth;
use super::flow::Flow;
use super::{Client, Person, SignInError, SignInFailure, below, email};
use crate::auth::hex;
use crate::metrics::Endpoint;

/// The version of the Graph API. When Facebook retires it, it answers as the next one.
const VERSION: &str = "/v24.0";

const SITE: &str = "https://www.facebook.com";
const GRAPH: &str = "https://graph.facebook.com";

pub(super) struct Facebook {
    dialog: Url,
    token: Url,
    me: Url,
}

#[derive(Deserialize)]
struct User {
    id: String,
    email: Option<String>,
}

impl Facebook {
    /// Of the site with this address, which does not end in a slash.
    pub(super) fn new(site: &str) -> Result<Self, String> {
        // Elsewhere there is one address for both.
        let graph = if site == SITE { GRAPH } else { site };
        Ok(Self {
            dialog: below(site, &format!("{VERSION}/dialog/oauth"))?,
            token: below(graph, &format!("{VERSION}/oauth/access_token"))?,
            me: below(graph, &format!("{VERSION}/me"))?,
        })
    }

    pub(super) fn authorization_endpoint(&self) -> Url {
        self.dialog.clone()
    }

    pub(super) async fn person(&self, client: &Client, flow: &Flow, code: &str) -> Result<Person, SignInError> {
        let tokens = client.exchange(&self.token, ClientAuth::Post, flow, code).await?;
        let token = tokens.access_token()?;
        let mut me = self.me.clone();
        me.query_pairs_mut()
            .append_pair("fields", "id,email")
            .append_pair("appsecret_proof", &proof(token, client.secret())?);
        let user: User =
            client.outbound.get(Endpoint::User, &me, |request| request.bearer_auth(token)).await?.success()?;
        client.person(&user.id, user.email.as_deref().and_then(email))
    }
}

/// Shows that whoever has the token knows the application's secret too: HMAC-SHA-256 of the one with the other.
fn proof(token: &str, secret: &str) -> Result<String, SignInError> {
    let failed = |_| SignInError::new(SignInFailure::Internal, "the proof of the secret cannot be made");
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signed = jsonwebtoken::crypto::sign(token.as_bytes(), &key, Algorithm::HS256).map_err(|_| failed(()))?;
    let bytes = URL_SAFE_NO_PAD.decode(signed).map_err(|_| failed(()))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_an_hmac_in_hex() {
        // RFC 4231 section 4.3.
        let proof = proof("what do ya want for nothing?", "Jefe").unwrap();
        assert_eq!(proof, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
