//! The media ranges of `Accept`.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The ranges that the caller accepts, in lower case and without parameters, each with its weight (RFC 9110 section 12.5.1).
pub fn accepted(headers: &HeaderMap) -> impl Iterator<Item = (String, f32)> {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|range| !range.is_empty()).map(|range| {
        let range = range.to_ascii_lowercase();
        let (kind, parameters) = range.split_once(';').unwrap_or((&range, ""));
        let mut parameters = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        let weight = parameters.find(|(name, _)| name.trim() == "q").and_then(|(_, weight)| weight.trim().parse().ok());
        (kind.trim().to_owned(), weight.unwrap_or(1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_with_their_weights() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "text/plain;version=0.0.4;q=0.3, Application/JSON; Q = 0,".parse().unwrap());
        headers.append(ACCEPT, "*/*".parse().unwrap());
        let expected = [("text/plain", 0.3), ("application/json", 0.0), ("*/*", 1.0)];
        assert_eq!(accepted(&headers).collect::<Vec<_>>(), expected.map(|(range, weight)| (range.to_owned(), weight)));
    }
}
