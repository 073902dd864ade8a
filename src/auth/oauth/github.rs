//! GitHub, of the cloud and of one's own: OAuth without OpenID Connect. Who it is says `/user`, by a number that stays while
//! names change hands; the address says `/user/emails`, where alone it stands whether it was verified.

use reqwest::{RequestBuilder, Url};
use serde::Deserialize;

use super::exchange::ClientAuth;
use super::flow::Flow;
use super::{Client, Person, SignInError, below, email};
use crate::metrics::Endpoint;

pub(super) struct GitHub {
    authorize: Url,
    token: Url,
    user: Url,
    emails: Url,
}

#[derive(Deserialize)]
struct User {
    id: u64,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    /// Of the site with this address, which does not end in a slash.
    pub(super) fn new(site: &str) -> Result<Self, String> {
        let api = api(site);
        Ok(Self {
            authorize: below(site, "/login/oauth/authorize")?,
            token: below(site, "/login/oauth/access_token")?,
            user: below(&api, "/user")?,
            emails: below(&api, "/user/emails")?,
        })
    }

    pub(super) fn authorization_endpoint(&self) -> Url {
        self.authorize.clone()
    }

    /// Is this what the site with this address calls itself?
    pub(super) fn is_issuer(site: &str, iss: &str) -> bool {
        iss.strip_prefix(site).is_some_and(|rest| matches!(rest, "" | "/login/oauth"))
    }

    pub(super) async fn person(&self, client: &Client, flow: &Flow, code: &str) -> Result<Person, SignInError> {
        let tokens = client.exchange(&self.token, ClientAuth::Post, flow, code).await?;
        let token = tokens.access_token()?;
        let user: User = client.outbound.get(Endpoint::User, &self.user, |r| with(r, token)).await?.success()?;
        let reply = client.outbound.get(Endpoint::Emails, &self.emails, |r| with(r, token)).await?;
        let addresses: Vec<Address> = match reply.status {
            // Somebody may sign in without letting us see the address.
            403 | 404 => Vec::new(),
            _ => reply.success()?,
        };
        let primary = addresses.into_iter().find(|address| address.primary && address.verified);
        client.person(&user.id.to_string(), primary.and_then(|address| email(&address.email)))
    }
}

/// Where the API of a site is.
fn api(site: &str) -> String {
    match site.strip_prefix("https://") {
        Some(host) if host == "github.com" || host.ends_with(".ghe.com") => format!("https://api.{host}"),
        // GitHub Enterprise Server.
        _ => format!("{site}/api/v3"),
    }
}

fn with(request: RequestBuilder, token: &str) -> RequestBuilder {
    request
        .bearer_auth(token)
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_where_each_kind_of_github_has_it() {
        assert_eq!(api("https://github.com"), "https://api.github.com");
        assert_eq!(api("https://octo.ghe.com"), "https://api.octo.ghe.com");
        assert_eq!(api("https://git.example.com"), "https://git.example.com/api/v3");
    }

    #[test]
    fn only_github_itself_speaks_as_github() {
        let speaks = |iss| GitHub::is_issuer("https://github.com", iss);
        assert!(speaks("https://github.com/login/oauth") && speaks("https://github.com"));
        assert!(!speaks("https://github.com.evil.example") && !speaks("https://accounts.google.com"));
    }
}
