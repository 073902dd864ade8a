//! Tokens: JWT (RFC 7519), HS256 and nothing else, keys by `kid` (RFC 7515), so that a key can be rotated without logging
//! anyone out: put the new key behind the old one on every replica, then in front of it, and drop the old one when the last
//! token that it signed has ended.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::read_secret_file;
use crate::domain::{Timestamp, UserId};
use crate::error::Code;
use crate::metrics;
use crate::store::TokenHash;

/// The least length of a key, in bytes: that of the hash (RFC 7518 section 3.2).
const MIN_SECRET_LEN: usize = 32;

/// How long before its issue a token counts: the clocks of the replicas may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How often the file of the keys is looked at.
const RELOAD_PERIOD: Duration = Duration::from_secs(2);

/// Keys by `kid`. The first signs, all verify.
pub struct Keyring {
    keys: Vec<Key>,
    /// SHA-256 of the text that it was read from: tells whether a file has changed since.
    digest: String,
}

struct Key {
    kid: String,
    signs: EncodingKey,
    verifies: DecodingKey,
    /// What is sealed with it is no token, and no token is what is sealed.
    seals: EncodingKey,
    unseals: DecodingKey,
}

/// From which the keys of seals are derived, with a token's key: HMAC as a key derivation function (NIST SP 800-108).
const SEAL_LABEL: &[u8] = b"counter-api sealed cookies 1";

impl Key {
    fn new(kid: &str, secret: &[u8]) -> Result<Self, KeyringFault> {
        let signs = EncodingKey::from_secret(secret);
        let derived =
            jsonwebtoken::crypto::sign(SEAL_LABEL, &signs, Algorithm::HS256).map_err(|_| KeyringFault::Form)?;
        Ok(Self {
            kid: kid.to_owned(),
            signs,
            verifies: DecodingKey::from_secret(secret),
            seals: EncodingKey::from_secret(derived.as_bytes()),
            unseals: DecodingKey::from_secret(derived.as_bytes()),
        })
    }
}

/// What is wrong with the text of a keyring. Never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringFault {
    /// It has another form.
    #[error("must be kid:secret[,kid:secret…]")]
    Form,
    /// A secret is too short to be safe.
    #[error("holds a secret of less than 32 bytes: the one of kid {0:?}")]
    TooShort(String),
    /// Two keys have the same name.
    #[error("names kid {0:?} twice")]
    Twice(String),
}

impl Keyring {
    /// Reads `kid:secret[,kid:secret…]`.
    pub fn parse(text: &SecretString) -> Result<Self, KeyringFault> {
        let mut keys: Vec<Key> = Vec::new();
        for pair in text.expose_secret().split(',') {
            let (kid, secret) = pair.trim().split_once(':').ok_or(KeyringFault::Form)?;
            if kid.is_empty() || !kid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                return Err(KeyringFault::Form);
            }
            if secret.len() < MIN_SECRET_LEN {
                return Err(KeyringFault::TooShort(kid.to_owned()));
            }
            if keys.iter().any(|key| key.kid == kid) {
                return Err(KeyringFault::Twice(kid.to_owned()));
            }
            keys.push(Key::new(kid, secret.as_bytes())?);
        }
        Ok(Self { keys, digest: sha256_hex(text.expose_secret().as_bytes()) })
    }

    /// Reads the keys from a file, which is made with a new key, for its owner's eyes only, where it is not there.
    pub fn load_or_generate(path: &Path) -> Result<Self, String> {
        let told = |what: &str, error: &dyn fmt::Display| format!("the token keys' file {path:?} {what}: {error}");
        if !path.exists() {
            let mut secret = [0_u8; 32];
            rand::rng().fill_bytes(&mut secret);
            let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            create_private(path, &format!("k1:{secret}\n")).map_err(|e| told("cannot be made", &e))?;
        }
        let text = read_secret_file(path).map_err(|e| told("cannot be read", &e))?;
        Self::parse(&text).map_err(|e| told("is wrong", &e))
    }

    fn find(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.kid)).finish()
    }
}

fn create_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Under another name first: whoever is stopped half-way leaves no half of a file behind.
    let unfinished = path.with_extension("unfinished");
    let _ = std::fs::remove_file(&unfinished);
    let mut file = options.open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(unfinished, path)
}

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

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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
        let key = keys.keys.first().ok_or(ErrorKind::InvalidKeyFormat)?;
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
        let key = keys.keys.first().ok_or(ErrorKind::InvalidKeyFormat)?;
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
        let mut seen = Ok(self.keys().digest.clone());
        while stop.run_until_cancelled(tokio::time::sleep(RELOAD_PERIOD)).await.is_some() {
            let text = read_secret_file(&path).map_err(|error| error.kind());
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
    use super::*;

    fn keyring(text: &str) -> Result<Keyring, KeyringFault> {
        Keyring::parse(&text.into())
    }

    fn key(kid: &str) -> String {
        format!("{kid}:{}", kid.repeat(16))
    }

    fn tokens(keys: &str, ttl: u64) -> Tokens {
        Tokens::new(keyring(keys).unwrap(), "iss".into(), "aud".into(), Duration::from_secs(ttl))
    }

    fn issue(tokens: &Tokens) -> String {
        tokens.issue(UserId::generate(), 3, TokenId::generate()).unwrap().token.expose_secret().to_owned()
    }

    #[test]
    fn a_keyring_is_checked_without_repeating_a_secret() {
        assert_eq!(keyring("nothing").unwrap_err(), KeyringFault::Form);
        assert_eq!(keyring("k1:short").unwrap_err(), KeyringFault::TooShort("k1".into()));
        assert_eq!(keyring(&format!("{},{}", key("k1"), key("k1"))).unwrap_err(), KeyringFault::Twice("k1".into()));
        assert_eq!(format!("{:?}", keyring(&key("k1")).unwrap()), "[\"k1\"]");
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
            let theirs =
                Tokens::new(keyring(&key("k1")).unwrap(), issuer.into(), audience.into(), Duration::from_secs(60));
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
