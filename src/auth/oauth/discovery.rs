//! Discovery and keys of an OpenID provider (OpenID Connect Discovery), remembered for an hour.
//!
//! The issuer is what the settings name, and its discovery document is its word for where its endpoints are: Google's are on
//! three hosts. So they may be elsewhere, but must be as safe as the issuer: `https` (plain `http` on loopback for an issuer that is
//! there itself), and a host with a name, unless it is the issuer's own: not the address of something inside.

use std::sync::{self, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::exchange::ClientAuth;
use super::{Client, SignInError, SignInFailure, below, secure_url};
use crate::metrics::Endpoint;

/// How long it is believed what a provider has said of itself. A key that it has withdrawn counts no longer than that.
const BELIEVED_FOR: Duration = Duration::from_secs(60 * 60);

/// How long its discovery document serves where it cannot be had anew: its endpoints may be up while that is down.
const SERVES_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is remembered that a provider did not answer: whoever comes then is told at once, and it is left in peace.
const FAILURE_REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// How often the keys are asked for again because a token names one that is not among them.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);

/// What a provider says of itself.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    jwks_uri: Url,
    pub(super) client_auth: ClientAuth,
    /// Every answer of its names it (RFC 9207).
    pub(super) names_itself: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What is remembered of one provider. The locks are held while it is asked, so that it is asked once.
pub(super) struct Discovery {
    issuer: String,
    metadata: Mutex<Said>,
    /// Not locked while they are asked for: whoever finds the right one does not wait for who seeks another.
    keys: sync::Mutex<Keys>,
    asking_for_keys: Mutex<()>,
}

#[derive(Default)]
struct Said {
    metadata: Option<Remembered<Metadata>>,
    failed: Option<Remembered<SignInError>>,
}

#[derive(Default)]
struct Keys {
    set: Option<Remembered<JwkSet>>,
    failed: Option<Remembered<SignInError>>,
    /// When an unknown key was last asked for.
    sought: Option<Instant>,
}

impl Keys {
    /// What can be answered without asking.
    fn known(&self, suffices: impl Fn(&JwkSet) -> bool) -> Option<Result<JwkSet, SignInError>> {
        let set = Remembered::within(BELIEVED_FOR, self.set.as_ref());
        if let Some(set) = set.clone().filter(suffices) {
            return Some(Ok(set));
        }
        if let Some(error) = Remembered::within(FAILURE_REMEMBERED_FOR, self.failed.as_ref()) {
            return Some(Err(error));
        }
        let paused = self.sought.is_some_and(|sought| sought.elapsed() < UNKNOWN_KEY_PAUSE);
        set.filter(|_| paused).map(Ok)
    }
}

struct Remembered<T> {
    value: T,
    asked: Instant,
}

impl<T: Clone> Remembered<T> {
    fn now(value: T) -> Self {
        Self { value, asked: Instant::now() }
    }

    fn within(time: Duration, remembered: Option<&Self>) -> Option<T> {
        remembered.filter(|known| known.asked.elapsed() < time).map(|known| known.value.clone())
    }
}

impl Discovery {
    pub(super) fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            metadata: Mutex::default(),
            keys: sync::Mutex::default(),
            asking_for_keys: Mutex::default(),
        }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) async fn metadata(&self, client: &Client) -> Result<Metadata, SignInError> {
        let mut said = self.metadata.lock().await;
        if let Some(metadata) = Remembered::within(BELIEVED_FOR, said.metadata.as_ref()) {
            return Ok(metadata);
        }
        let error = match Remembered::within(FAILURE_REMEMBERED_FOR, said.failed.as_ref()) {
            Some(error) => error,
            None => match self.ask(client).await {
                Ok(metadata) => return Ok(said.metadata.insert(Remembered::now(metadata)).value.clone()),
                Err(error) => said.failed.insert(Remembered::now(error)).value.clone(),
            },
        };
        // Not so where it says something else by now that cannot be believed.
        let silent = error.failure == SignInFailure::ProviderUnavailable;
        Remembered::within(SERVES_FOR, said.metadata.as_ref()).filter(|_| silent).ok_or(error)
    }

    async fn ask(&self, client: &Client) -> Result<Metadata, SignInError> {
        let url = below(&self.issuer, "/.well-known/openid-configuration").map_err(SignInError::invalid)?;
        let reply = client.outbound.get(Endpoint::Discovery, &url, |request| request).await?;
        self.read(reply.success()?)
    }

    /// The keys; asked for again where `suffices` says that the right one is not among those that are remembered.
    pub(super) async fn keys(
        &self,
        client: &Client,
        suffices: impl Fn(&JwkSet) -> bool,
    ) -> Result<JwkSet, SignInError> {
        if let Some(known) = self.remembered_keys().known(&suffices) {
            return known;
        }
        let _asking = self.asking_for_keys.lock().await;
        // Whoever asked meanwhile may have been told.
        if let Some(known) = self.remembered_keys().known(&suffices) {
            return known;
        }
        let asked = self.ask_for_keys(client).await;
        let mut keys = self.remembered_keys();
        match asked {
            Ok(set) => {
                if Remembered::within(BELIEVED_FOR, keys.set.as_ref()).is_some() {
                    keys.sought = Some(Instant::now());
                }
                Ok(keys.set.insert(Remembered::now(set)).value.clone())
            }
            Err(error) => Err(keys.failed.insert(Remembered::now(error)).value.clone()),
        }
    }

    fn remembered_keys(&self) -> MutexGuard<'_, Keys> {
        // Nothing that is done under the lock leaves it half done.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_for_keys(&self, client: &Client) -> Result<JwkSet, SignInError> {
        let jwks_uri = self.metadata(client).await?.jwks_uri;
        client.outbound.get(Endpoint::Keys, &jwks_uri, |request| request).await?.success()
    }

    fn read(&self, document: Document) -> Result<Metadata, SignInError> {
        if document.issuer != self.issuer {
            // Or else one provider could speak for another.
            return Err(SignInError::invalid("discovery names another issuer than the setting"));
        }
        let methods = document.token_endpoint_auth_methods_supported;
        let supports = |method: &str| methods.as_ref().is_some_and(|methods| methods.iter().any(|m| m == method));
        let client_auth = if methods.is_none() || supports("client_secret_basic") {
            ClientAuth::Basic
        } else if supports("client_secret_post") {
            ClientAuth::Post
        } else {
            return Err(SignInError::invalid("the provider takes no client secret"));
        };
        Ok(Metadata {
            authorization_endpoint: self.endpoint(&document.authorization_endpoint)?,
            token_endpoint: self.endpoint(&document.token_endpoint)?,
            userinfo_endpoint: document.userinfo_endpoint.map(|text| self.endpoint(&text)).transpose()?,
            jwks_uri: self.endpoint(&document.jwks_uri)?,
            client_auth,
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }

    fn endpoint(&self, text: &str) -> Result<Url, SignInError> {
        let unsafe_one = || SignInError::invalid("discovery names an endpoint that is not as safe as the issuer");
        let (endpoint, issuer) = (secure_url(text), secure_url(&self.issuer));
        let (Ok(endpoint), Ok(issuer)) = (endpoint, issuer) else { return Err(unsafe_one()) };
        let as_safe = endpoint.scheme() == "https" || issuer.scheme() == "http";
        let named = endpoint.domain().is_some_and(is_elsewhere) || endpoint.host() == issuer.host();
        if as_safe && named { Ok(endpoint) } else { Err(unsafe_one()) }
    }
}

/// Can this name be that of another machine (RFC 6761 section 6.3)? A dot at its end changes nothing.
fn is_elsewhere(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !name.is_empty() && name != "localhost" && !name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::oauth::outbound::Outbound;

    fn document(issuer: &str, endpoint: &str) -> Document {
        serde_json::from_value(serde_json::json!({
            "issuer": issuer, "authorization_endpoint": endpoint, "token_endpoint": endpoint, "jwks_uri": endpoint,
        }))
        .unwrap()
    }

    #[test]
    fn endpoints_are_as_safe_as_their_issuer() {
        let public = Discovery::new("https://accounts.example.com");
        for good in ["https://accounts.example.com/token", "https://tokens.example.net/x?y=z"] {
            assert!(public.endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "http://accounts.example.com/token",
            "https://10.0.0.1/token",
            "https://[fd00::1]/token",
            "https://localhost/token",
            "https://localhost./token",
            "https://x.localhost/token",
            "https://X.LOCALHOST./token",
            "http://127.0.0.1/token",
            "https://user@accounts.example.com/",
            "ftp://accounts.example.com/",
            "file:///etc/passwd",
            "/token",
        ] {
            assert!(public.endpoint(bad).is_err(), "{bad}");
        }
        let local = Discovery::new("http://127.0.0.1:4000");
        assert!(local.endpoint("http://127.0.0.1:4001/token").is_ok());
        assert!(local.endpoint("http://169.254.169.254/latest").is_err());
    }

    #[tokio::test]
    async fn an_old_document_serves_for_a_day_while_there_is_no_new_one() {
        // Nothing listens there.
        let (issuer, timeout) = ("http://127.0.0.1:1", Duration::from_secs(5));
        let http = crate::auth::oauth::outbound::client().unwrap();
        let client = Client {
            issuer: issuer.to_owned(),
            id: "id".to_owned(),
            secret: "secret".to_owned().into(),
            redirect_uri: "http://127.0.0.1:2/".to_owned(),
            scopes: "openid".to_owned(),
            outbound: Outbound::new("local".parse().unwrap(), http, timeout),
        };
        for (hours, serves) in [(2, true), (25, false)] {
            let discovery = Discovery::new(issuer);
            let said = discovery.read(document(issuer, "http://127.0.0.1:1/x")).unwrap();
            let asked = Instant::now().checked_sub(Duration::from_secs(hours * 60 * 60)).unwrap();
            discovery.metadata.lock().await.metadata = Some(Remembered { value: said, asked });
            // By the one who finds that it is down, and by the next, who is told.
            for _ in 0..2 {
                assert_eq!(discovery.metadata(&client).await.is_ok(), serves, "{hours} hours");
            }
        }
    }

    #[test]
    fn another_issuer_does_not_speak_for_this_one() {
        let discovery = Discovery::new("https://accounts.example.com");
        let token = "https://accounts.example.com/token";
        assert!(discovery.read(document("https://accounts.example.com", token)).is_ok());
        for other in ["https://accounts.example.com/", "https://evil.example.com", ""] {
            assert!(discovery.read(document(other, token)).is_err(), "{other}");
        }
    }

    #[test]
    fn the_client_proves_itself_in_the_header_unless_that_is_not_taken() {
        let discovery = Discovery::new("https://a.example.com");
        let auth = |methods: Option<&[&str]>| {
            let mut document = document("https://a.example.com", "https://a.example.com/x");
            document.token_endpoint_auth_methods_supported =
                methods.map(|methods| methods.iter().map(|method| (*method).to_owned()).collect());
            discovery.read(document).map(|metadata| metadata.client_auth).ok()
        };
        assert_eq!(auth(None), Some(ClientAuth::Basic));
        assert_eq!(auth(Some(&["client_secret_post", "client_secret_basic"])), Some(ClientAuth::Basic));
        assert_eq!(auth(Some(&["private_key_jwt", "client_secret_post"])), Some(ClientAuth::Post));
        assert_eq!(auth(Some(&["private_key_jwt"])), None);
    }
}
