//! The keys of the tokens, by `kid` (RFC 7515), so that a key can be rotated without logging anyone out: put the new key behind
//! the old one on every replica, then in front of it, and drop the old one when the last token that it signed has ended.

use std::fmt;
use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};

use super::{hex, sha256_hex};
use crate::secret;

/// The least length of a key, in bytes: that of the hash (RFC 7518 section 3.2).
const MIN_SECRET_LEN: usize = 32;

/// From which the keys of seals are derived, with a token's key: HMAC as a key derivation function (NIST SP 800-108).
const SEAL_LABEL: &[u8] = b"counter-api sealed cookies 1";

/// Keys by `kid`. The first signs, all verify.
pub struct Keyring {
    keys: Vec<Key>,
    /// SHA-256 of the text that it was read from: tells whether a file has changed since.
    digest: String,
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
    /// Nothing can be signed with a secret.
    #[error("holds a secret that cannot be used as a key: the one of kid {0:?}")]
    Unusable(String),
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
            create_private(path, &format!("k1:{}\n", hex(&secret))).map_err(|e| told("cannot be made", &e))?;
        }
        let text = secret::read_file(path).map_err(|e| told("cannot be read", &e))?;
        Self::parse(&text).map_err(|e| told("is wrong", &e))
    }

    /// The key that signs.
    pub(super) fn first(&self) -> Option<&Key> {
        self.keys.first()
    }

    pub(super) fn find(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.kid)).finish()
    }
}

pub(super) struct Key {
    pub(super) kid: String,
    pub(super) signs: EncodingKey,
    pub(super) verifies: DecodingKey,
    /// What is sealed with it is no token, and no token is what is sealed.
    pub(super) seals: EncodingKey,
    pub(super) unseals: DecodingKey,
}

impl Key {
    fn new(kid: &str, secret: &[u8]) -> Result<Self, KeyringFault> {
        let signs = EncodingKey::from_secret(secret);
        let derived = jsonwebtoken::crypto::sign(SEAL_LABEL, &signs, Algorithm::HS256)
            .map_err(|_| KeyringFault::Unusable(kid.to_owned()))?;
        Ok(Self {
            kid: kid.to_owned(),
            signs,
            verifies: DecodingKey::from_secret(secret),
            seals: EncodingKey::from_secret(derived.as_bytes()),
            unseals: DecodingKey::from_secret(derived.as_bytes()),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(text: &str) -> Result<Keyring, KeyringFault> {
        Keyring::parse(&text.into())
    }

    #[test]
    fn a_keyring_is_checked_without_repeating_a_secret() {
        let key = format!("k1:{}", "k".repeat(32));
        assert_eq!(keyring("nothing").unwrap_err(), KeyringFault::Form);
        assert_eq!(keyring("k1:short").unwrap_err(), KeyringFault::TooShort("k1".into()));
        assert_eq!(keyring(&format!("{key},{key}")).unwrap_err(), KeyringFault::Twice("k1".into()));
        assert_eq!(format!("{:?}", keyring(&key).unwrap()), "[\"k1\"]");
    }
}
