//! Who is on the other end: the peer of the connection, or the address that a trusted proxy names.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: put into the request's extensions by `observe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Walks back from the peer for as long as the proxies on the way are trusted. What anybody else says is not believed.
    ///
    /// `Forwarded` (RFC 7239) counts only where there is no `X-Forwarded-For`: a proxy that adds the one may let a client's
    /// own other pass.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let peer = peer.to_canonical();
        let mut named = if headers.contains_key(X_FORWARDED_FOR) {
            hops(headers, &X_FORWARDED_FOR, address)
        } else {
            hops(headers, &header::FORWARDED, forwarded_for)
        };
        let mut client = peer;
        while trusts(client) {
            // A hop that is no address ends the walk at the last one that is.
            let Some(Some(hop)) = named.pop() else { break };
            client = hop;
        }
        Self(client)
    }

    /// What a limit counts by: an IPv4 address, or the /64 that an IPv6 client has to itself.
    pub fn limited_by(self) -> IpAddr {
        match self.0 {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// The hops that a header names over all its lines, nearest last.
fn hops(headers: &HeaderMap, name: &HeaderName, parse: impl Fn(&str) -> Option<IpAddr>) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    lines.flat_map(|line| line.split(',')).map(|hop| parse(hop.trim())).collect()
}

fn forwarded_for(hop: &str) -> Option<IpAddr> {
    let pair = hop
        .split(';')
        .find_map(|pair| pair.trim().split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("for")));
    address(pair?.1.trim_matches('"'))
}

/// An address, with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(inner, _)| inner);
    let parsed = bracketed.unwrap_or(text).parse::<IpAddr>().ok();
    let parsed = parsed.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|with_port| with_port.ip()));
    parsed.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        ClientAddress::of(peer.parse().unwrap(), &map, &trusted).0.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let forged = [("x-forwarded-for", "1.1.1.1")];
        assert_eq!(client("203.0.113.9", &forged), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &forged), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_wrote_before_the_first_untrusted_hop_is_ignored() {
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.2.3.4")]), "203.0.113.9");
        let two_lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client("10.0.0.1", &two_lines), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, nonsense")]), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_where_it_stands_alone() {
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=\"[2001:db8::1]:4711\";proto=https")]), "2001:db8::1");
        let both = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client("10.0.0.1", &both), "203.0.113.9");
    }

    #[test]
    fn an_ipv6_client_is_its_slash_64() {
        let address = ClientAddress("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(address.limited_by().to_string(), "2001:db8:1:2::");
        assert_eq!(client("::ffff:203.0.113.9", &[]), "203.0.113.9");
    }
}
