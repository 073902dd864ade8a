//! Addresses of providers: what is sent there holds secrets.

use reqwest::Url;

/// An address to which secrets may be sent: `https`, or `http` on this machine's loopback, which nobody else hears. With
/// neither a user nor a fragment.
pub fn secure_url(text: &str) -> Result<Url, String> {
    const RIGHT: &str = "must be an https:// URL (http:// on loopback only) without a user and without #";
    let url = Url::parse(text).map_err(|_| RIGHT.to_owned())?;
    let safe = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if safe && plain { Ok(url) } else { Err(RIGHT.to_owned()) }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// The endpoint below a base address.
pub(super) fn below(base: &str, path: &str) -> Result<Url, String> {
    secure_url(&format!("{}{path}", base.trim_end_matches('/')))
}
