//! Who may make a request.

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::HeaderValue;
use subtle::ConstantTimeEq as _;

use super::refusal::Refusal;
use crate::config::Secret;

/// What a request is asked for.
pub(super) struct Access {
    token: Option<Secret>,
}

impl Access {
    /// With this token, if any is needed.
    pub(super) const fn new(token: Option<Secret>) -> Self {
        Self { token }
    }

    /// Whether the request has the token: `Authorization: Bearer …` (RFC 6750 §2.1), or `Token …`, as
    /// programs that write to InfluxDB say it.
    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let (scheme, given) = authorization.and_then(split).unwrap_or_default();
        let is_known =
            ["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()));
        // How long this takes does not say how much of the token is right.
        if is_known && bool::from(given.ct_eq(token.expose().as_bytes())) {
            return Ok(());
        }
        Err(Refusal::unauthorized())
    }

    /// Whether a request that changes something comes from a page of this server, or of none: a page
    /// of another one must not make a browser that is in this network post readings.
    pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        match (authority, host) {
            (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
            _ => Err(Refusal::cross_origin()),
        }
    }
}

/// The scheme, and what follows it.
fn split(authorization: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = authorization.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = authorization.split_at_checked(space)?;
    Some((scheme, rest.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(hyper::header::HeaderName, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(_, &'static str)| {
            (hyper::header::HeaderName::clone(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn only_the_whole_token_opens() {
        let access = Access::new(Some(Secret::new("s3cret".to_owned())));
        for (given, expected) in [
            ("Bearer s3cret", true),
            ("bearer  s3cret", true),
            ("Token s3cret", true),
            ("Bearer s3cre", false),
            ("Bearer s3cretx", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic s3cret", false),
            ("s3cret", false),
        ] {
            let headers = headers(&[(AUTHORIZATION, given)]);
            assert_eq!(access.check_token(&headers).is_ok(), expected, "{given}");
        }
        assert!(access.check_token(&HeaderMap::new()).is_err());
        assert!(Access::new(None).check_token(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_page_of_another_server_may_not_post() {
        for (origin, expected) in [
            ("http://gw:8080", true),
            ("https://GW:8080", true),
            ("http://gw", false),
            ("http://evil.example", false),
            ("null", false),
        ] {
            let headers = headers(&[(HOST, "gw:8080"), (ORIGIN, origin)]);
            assert_eq!(Access::check_origin(&headers).is_ok(), expected, "{origin}");
        }
        assert!(Access::check_origin(&HeaderMap::new()).is_ok());
    }
}
