//! ID tokens (OpenID Connect Core section 3.1.3.7): who signed, for whom, when, and for which flow.

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::SignInError;
use crate::domain::Timestamp;

/// How far the provider's clock may be from ours.
const CLOCK_SKEW_S: u64 = 60;

/// Signatures that only the provider can make. An `HS…` one could be made by whoever knows what is public.
const ALGORITHMS: [(Algorithm, KeyAlgorithm); 9] = [
    (Algorithm::RS256, KeyAlgorithm::RS256),
    (Algorithm::RS384, KeyAlgorithm::RS384),
    (Algorithm::RS512, KeyAlgorithm::RS512),
    (Algorithm::PS256, KeyAlgorithm::PS256),
    (Algorithm::PS384, KeyAlgorithm::PS384),
    (Algorithm::PS512, KeyAlgorithm::PS512),
    (Algorithm::ES256, KeyAlgorithm::ES256),
    (Algorithm::ES384, KeyAlgorithm::ES384),
    (Algorithm::EdDSA, KeyAlgorithm::EdDSA),
];

/// What an ID token says.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    aud: Audience,
    azp: Option<String>,
    iat: i64,
    nonce: Option<String>,
    pub(super) email: Option<String>,
    pub(super) email_verified: Option<Verified>,
}

/// For how many. Who they are, the library has checked.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    Several(Vec<IgnoredAny>),
    One(IgnoredAny),
}

/// A truth value; some providers write it as a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Verified {
    Flag(bool),
    Text(String),
}

impl Verified {
    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Flag(true)) || matches!(self, Self::Text(text) if text == "true")
    }
}

/// For whom a token must have been made, and by whom.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

/// The key that a token names.
#[derive(Debug)]
pub(super) struct Signature {
    algorithm: Algorithm,
    jwk_algorithm: KeyAlgorithm,
    kid: Option<String>,
}

impl Signature {
    /// What a token says of its signature.
    pub(super) fn of(token: &str) -> Result<Self, SignInError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| SignInError::invalid("the ID token is none"))?;
        let known = ALGORITHMS.into_iter().find(|(algorithm, _)| *algorithm == header.alg);
        let (algorithm, jwk_algorithm) =
            known.ok_or_else(|| SignInError::invalid("the ID token is signed in a way that anybody could"))?;
        Ok(Self { algorithm, jwk_algorithm, kid: header.kid })
    }

    /// The key, if it is there. A token that names none is signed with the only one there is.
    pub(super) fn key<'a>(&self, keys: &'a JwkSet) -> Option<&'a Jwk> {
        let mut fitting = keys.keys.iter().filter(|key| {
            let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)));
            let for_this = key.common.key_algorithm.is_none_or(|algorithm| algorithm == self.jwk_algorithm);
            signs && for_this && (self.kid.is_none() || key.common.key_id == self.kid)
        });
        let first = fitting.next();
        first.filter(|_| self.kid.is_some() || fitting.next().is_none())
    }

    /// Checks the token in full.
    pub(super) fn verify(&self, token: &str, keys: &JwkSet, expected: &Expected<'_>) -> Result<Claims, SignInError> {
        let invalid = |what: &str| SignInError::invalid(format!("the ID token {what}"));
        let key = self.key(keys).ok_or_else(|| invalid("is signed with no key of the provider"))?;
        let key = DecodingKey::from_jwk(key).map_err(|_| invalid("is signed with a key that cannot be read"))?;
        let mut validation = Validation::new(self.algorithm);
        validation.leeway = CLOCK_SKEW_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[expected.issuer]);
        validation.set_audience(&[expected.client_id]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| invalid(&format!("is not valid: {}", reason(&error))))?
            .claims;
        // What the library leaves to us.
        let several = matches!(&claims.aud, Audience::Several(audiences) if audiences.len() > 1);
        if claims.azp.as_deref().map_or(several, |party| party != expected.client_id) {
            return Err(invalid("was made for another party"));
        }
        if claims.iat > Timestamp::now().seconds() + i64::try_from(CLOCK_SKEW_S).unwrap_or(0) {
            return Err(invalid("is from the future"));
        }
        if claims.nonce.as_deref() != Some(expected.nonce) {
            // With a nonce of its own it came for a code of another sign-in, which the browser brought.
            let of_another = claims.nonce.is_some();
            return Err(SignInError { brought: of_another, ..invalid("was made for another sign-in (nonce)") });
        }
        Ok(claims)
    }
}

/// The library's words for what is wrong; none of them repeats the token.
fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => "signature",
        ErrorKind::ExpiredSignature => "exp",
        ErrorKind::ImmatureSignature => "nbf",
        ErrorKind::InvalidIssuer => "iss",
        ErrorKind::InvalidAudience => "aud",
        ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
        ErrorKind::Json(_) => "a claim is missing or of another type",
        _ => "form",
    }
}
