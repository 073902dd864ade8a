//! One sign-in under way: its secrets, kept by the browser in a sealed cookie, so that any replica can finish it.
//!
//! The cookie is for this browser (`HttpOnly`, `SameSite=Lax`), this provider and ten minutes. Who has no such cookie finishes
//! no flow, so nobody can be signed in by a link that somebody else made.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{SignInError, SignInFailure};
use crate::auth::token::{Tokens, Unsealing};
use crate::domain::{ProviderName, Timestamp};

/// How long somebody may take to sign in at the provider.
pub const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The secrets of one sign-in.
#[derive(Serialize, Deserialize)]
pub struct Flow {
    provider: ProviderName,
    /// Comes back with the answer: it is an answer to this flow.
    pub state: String,
    /// Comes back in the ID token: it was made for this flow.
    pub nonce: String,
    /// Sent with the code: whoever redeems it is whoever asked for it (RFC 7636).
    pub verifier: String,
    exp: i64,
}

impl Flow {
    /// A new one.
    pub fn begin(provider: ProviderName) -> Self {
        let exp = (Timestamp::now() + LIFETIME).seconds();
        Self { provider, state: secret(), nonce: secret(), verifier: secret(), exp }
    }

    /// What the cookie holds.
    pub fn seal(&self, tokens: &Tokens) -> Result<String, SignInError> {
        tokens.seal(self).map_err(|error| SignInError::new(SignInFailure::Internal, error.to_string()))
    }

    /// The flow of this browser, if the answer that it brought is one to it.
    pub fn resume(
        cookie: Option<&str>,
        tokens: &Tokens,
        provider: &ProviderName,
        state: Option<&str>,
    ) -> Result<Self, SignInError> {
        let failed = |failure, detail: &str| Err(SignInError::new(failure, detail));
        let Some(cookie) = cookie else {
            return failed(SignInFailure::FlowExpired, "this browser has no sign-in under way");
        };
        let flow: Self = match tokens.unseal(cookie) {
            Ok(flow) => flow,
            Err(Unsealing::Ended) => return failed(SignInFailure::FlowExpired, "it took too long"),
            Err(Unsealing::Forged) => return failed(SignInFailure::FlowMismatch, "the cookie is none of ours"),
        };
        if flow.provider != *provider {
            return failed(SignInFailure::FlowMismatch, "the sign-in under way is one through another provider");
        }
        if state != Some(flow.state.as_str()) {
            return failed(SignInFailure::FlowMismatch, "the state is that of no sign-in of this browser");
        }
        Ok(flow)
    }

    /// The S256 challenge to the verifier.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }
}

/// 256 random bits, as 43 characters that need no encoding anywhere.
pub fn secret() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keyring::Keyring;

    fn tokens() -> Tokens {
        let keys = Keyring::parse(&format!("k1:{}", "s".repeat(32)).into()).unwrap();
        Tokens::new(keys, "iss".into(), "aud".into(), Duration::from_secs(60))
    }

    fn github() -> ProviderName {
        "github".parse().unwrap()
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let flow = Flow { verifier, ..Flow::begin(github()) };
        assert_eq!(flow.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_flow_is_resumed_by_its_own_browser_provider_and_state_alone() {
        let (tokens, flow) = (tokens(), Flow::begin(github()));
        let cookie = flow.seal(&tokens).unwrap();
        let resume = |cookie: Option<&str>, provider: &str, state: Option<&str>| {
            Flow::resume(cookie, &tokens, &provider.parse().unwrap(), state).map_err(|error| error.failure)
        };
        let resumed = resume(Some(&cookie), "github", Some(&flow.state)).ok().unwrap();
        assert_eq!((resumed.nonce, resumed.verifier), (flow.nonce.clone(), flow.verifier.clone()));
        let failure = |result: Result<Flow, SignInFailure>| result.err().unwrap();
        assert_eq!(failure(resume(None, "github", Some(&flow.state))), SignInFailure::FlowExpired);
        for state in [None, Some(""), Some("other")] {
            assert_eq!(failure(resume(Some(&cookie), "github", state)), SignInFailure::FlowMismatch);
        }
        assert_eq!(failure(resume(Some(&cookie), "google", Some(&flow.state))), SignInFailure::FlowMismatch);
        let mut forged = cookie.clone();
        forged.replace_range(cookie.len() - 2.., "AA");
        assert_eq!(failure(resume(Some(&forged), "github", Some(&flow.state))), SignInFailure::FlowMismatch);
        let old = Flow { exp: Timestamp::now().seconds() - 1, ..Flow::begin(github()) };
        let cookie = old.seal(&tokens).unwrap();
        assert_eq!(failure(resume(Some(&cookie), "github", Some(&old.state))), SignInFailure::FlowExpired);
    }
}
