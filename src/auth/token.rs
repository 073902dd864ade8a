//! Tokens: JWT (RFC 7519), HS256 and nothing else; and the seals of what a browser keeps for us.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::keyring::Keyring;
use super::sha256_hex;
use crate::domain::{Timestamp, UserId};
use crate::error::Code;
use crate::metrics;
use crate::secret;
use crate::store::TokenHash;

/// How long before its issue a token counts: the clocks of the replicas may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How often the file of the keys is looked at.
const RELOAD_PERIOD: Duration = Duration::from_secs(2);

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Whose token it is.
    pub sub: UserId,
    iss: String,
    aud: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// Names the token.
    pub jti: Uuid,
    /// The generation of the user's tokens that it belongs to: a logout begins another.
    #[serde(rename = "gen")]
    pub generation: u64,
}

/// A token as it is handed to its user.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token itself.
    pub token: SecretString,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Seconds until then.
    pub expires_in: u64,
}

/// Why something is not what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsealing {
    /// Its time is over.
    Ended,
    /// It is not ours, or was changed.
    Forged,
}

/// The name of a token that is about to be issued.
#[derive(Debug, Clone, Copy)]
pub struct TokenId(Uuid);

impl TokenId {
    /// A new name.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The hash under which it is noted in the store.
    pub fn hash(&self) -> TokenHash {
        TokenHash(sha256_hex(self.0.to_string().as_bytes()))
    }
}

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Tokens {
    keys: RwLock<Arc<Keyring>>,
    issuer: String,
    audience: String,
    ttl: Duration,
    validation: Validation,
}

impl Tokens {
    /// With these keys, claims and life time.
    pub fn new(keys: Keyring, issuer: String, audience: String, ttl: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The crate's defaults are lax: a leeway of a minute, no check of nbf, iss and aud only where they are present.
        validation.leeway = 0;
        // A token ends at the very second of `exp` (RFC 7519 section 4.1.4), not one later.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Self { keys: RwLock::new(Arc::new(keys)), issuer, audience, ttl, validation }
    }

    /// Signs a token with the first key.
    pub fn issue(
        &self,
        user: UserId,
        generation: u64,
        id: TokenId,
    ) -> Result<IssuedToken, jsonwebtoken::errors::Error> {
        let now = Timestamp::now();
        let expires_at = Timestamp::from_millis((now + self.ttl).seconds() * 1000);
        let claims = Claims {
            sub: user,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: now.seconds(),
            nbf: now.seconds() - i64::try_from(CLOCK_SKEW.as_secs()).unwrap_or(0),
            exp: expires_at.seconds(),
            jti: id.0,
            generation,
        };
        let keys = self.keys();
        let key = keys.first().ok_or(ErrorKind::InvalidKeyFormat)?;
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &key.signs)?;
        Ok(IssuedToken { token: token.into(), expires_at, expires_in: self.ttl.as_secs() })
    }

    /// Checks signature, algorithm, times, issuer and audience. Whether it was revoked is not known here.
    pub fn verify(&self, token: &str) -> Result<Claims, Code> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Code::TokenInvalid)?;
        let keys = self.keys();
        let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or(Code::TokenInvalid)?;
        match jsonwebtoken::decode::<Claims>(token, &key.verifies, &self.validation) {
            Ok(data) => Ok(data.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(Code::TokenExpired),
            Err(_) => Err(Code::TokenInvalid),
        }
    }

    /// Signs what a browser is to keep for us: whoever has the same keys can tell that nobody has changed it. The claims must
    /// hold `exp`.
    pub fn seal(&self, claims: &impl Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        let keys = self.keys();
        let key = keys.first().ok_or(ErrorKind::InvalidKeyFormat)?;
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &key.seals)
    }

    /// Reads what was sealed by this service, on any replica, and has not ended.
    pub fn unseal<T: DeserializeOwned>(&self, sealed: &str) -> Result<T, Unsealing> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_aud = false;
        let header = jsonwebtoken::decode_header(sealed).map_err(|_| Unsealing::Forged)?;
        let keys = self.keys();
        let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or(Unsealing::Forged)?;
        match jsonwebtoken::decode(sealed, &key.unseals, &validation) {
            Ok(data) => Ok(data.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(Unsealing::Ended),
            Err(_) => Err(Unsealing::Forged),
        }
    }

    fn keys(&self) -> Arc<Keyring> {
        // Nothing panics while it holds this lock, and a poisoned lock still holds a whole keyring.
        self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Reads the file again whenever its text changes, until told to stop. A file that is wrong is reported and changes
    /// nothing. The text is compared, not the time: Kubernetes swaps links, and times can stand still.
    pub async fn follow(self: Arc<Self>, path: PathBuf, stop: CancellationToken) {
        let mut seen = Ok(self.keys().digest().to_owned());
        while stop.run_until_cancelled(tokio::time::sleep(RELOAD_PERIOD)).await.is_some() {
            let text = secret::read_file(&path).map_err(|error| error.kind());
            let now = text.as_ref().map(|text| sha256_hex(text.expose_secret().as_bytes())).map_err(|kind| *kind);
            if now == seen {
                continue;
            }
            seen = now;
            let read = match text {
                Ok(text) => Keyring::parse(&text).map_err(|fault| fault.to_string()),
                Err(kind) => Err(format!("cannot be read: {kind}")),
            };
            metrics::secret_reloaded(read.is_ok());
            match read {
                Ok(keys) => {
                    tracing::info!(kids = ?keys, "the token keys were read again");
                    *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(keys);
                }
                Err(fault) => tracing::error!(fault, "the token keys' file is wrong: the old keys stay in use"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;

    use super::*;

    fn keyring(text: &str) -> Keyring {
        Keyring::parse(&text.into()).unwrap()
    }

    fn key(kid: &str) -> String {
        format!("{kid}:{}", kid.repeat(16))
    }

    fn tokens(keys: &str, ttl: u64) -> Tokens {
        Tokens::new(keyring(keys), "iss".into(), "aud".into(), Duration::from_secs(ttl))
    }

    fn issue(tokens: &Tokens) -> String {
        tokens.issue(UserId::generate(), 3, TokenId::generate()).unwrap().token.expose_secret().to_owned()
    }

    #[test]
    fn a_token_is_verified_by_any_key_of_the_ring() {
        let token = issue(&tokens(&key("k1"), 60));
        let rotated = tokens(&format!("{},{}", key("k2"), key("k1")), 60);
        assert_eq!(rotated.verify(&token).unwrap().generation, 3);
        assert_eq!(tokens(&key("k2"), 60).verify(&token).unwrap_err(), Code::TokenInvalid);
    }

    #[test]
    fn another_algorithm_issuer_or_audience_is_invalid() {
        let ours = tokens(&key("k1"), 60);
        for other in ["iss2 aud", "iss aud2"] {
            let (issuer, audience) = other.split_once(' ').unwrap();
            let theirs = Tokens::new(keyring(&key("k1")), issuer.into(), audience.into(), Duration::from_secs(60));
            assert_eq!(ours.verify(&issue(&theirs)).unwrap_err(), Code::TokenInvalid);
        }
        let claims = ours.verify(&issue(&ours)).unwrap();
        let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS512) };
        let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret("k1".repeat(16).as_bytes()));
        assert_eq!(ours.verify(&forged.unwrap()).unwrap_err(), Code::TokenInvalid);
        assert_eq!(ours.verify("eyJhbGciOiJub25lIn0.e30.").unwrap_err(), Code::TokenInvalid);
        assert_eq!(ours.verify("").unwrap_err(), Code::TokenInvalid);
    }

    #[test]
    fn a_seal_is_no_token_and_holds_while_its_key_is_known() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Kept {
            exp: i64,
        }
        let now = Timestamp::now().seconds();
        let ours = tokens(&key("k1"), 60);
        let sealed = ours.seal(&Kept { exp: now + 60 }).unwrap();
        let rotated = tokens(&format!("{},{}", key("k2"), key("k1")), 60);
        assert_eq!(rotated.unseal(&sealed), Ok(Kept { exp: now + 60 }));
        assert_eq!(tokens(&key("k2"), 60).unseal::<Kept>(&sealed), Err(Unsealing::Forged));
        assert_eq!(ours.unseal::<Kept>(&ours.seal(&Kept { exp: now - 1 }).unwrap()), Err(Unsealing::Ended));
        assert_eq!(ours.verify(&sealed).unwrap_err(), Code::TokenInvalid);
        assert_eq!(ours.unseal::<Claims>(&issue(&ours)).unwrap_err(), Unsealing::Forged);
    }

    #[test]
    fn an_expired_token_says_so() {
        assert_eq!(tokens(&key("k1"), 0).verify(&issue(&tokens(&key("k1"), 0))).unwrap_err(), Code::TokenExpired);
    }
}
