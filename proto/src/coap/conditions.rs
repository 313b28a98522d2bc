//! Conditional requests: If-Match, If-None-Match (RFC 7252 §5.10.8) and ETag in a request (§5.6.2).

use super::{Code, ETag, OptionNumber, Request, Response};

/// What a request is aimed at, as it is before the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// There is no such resource.
    Absent,
    /// It is there, with the entity-tag of its representation if it has one.
    Present(Option<ETag>),
}

impl Request {
    /// Whether the request may be executed on `target`; otherwise the 4.12 to answer.
    ///
    /// An If-Match that is empty is fulfilled by anything that exists, several of them by the one
    /// that matches (RFC 7252 §5.10.8.1).
    pub fn check_conditions(&self, target: Target) -> Result<(), Response> {
        let mut wanted = self.options.all(OptionNumber::IF_MATCH).peekable();
        let is_match = |wanted: &[u8]| match target {
            Target::Absent => false,
            Target::Present(etag) => wanted.is_empty() || etag.is_some_and(|etag| *etag == *wanted),
        };
        let matches = wanted.peek().is_none() || wanted.any(is_match);
        let unwanted = self.options.first(OptionNumber::IF_NONE_MATCH).is_some();
        if matches && !(unwanted && target != Target::Absent) {
            return Ok(());
        }
        Err(Response::new(Code::PRECONDITION_FAILED))
    }

    /// The 2.03 that answers a GET or FETCH whose sender still has the representation `etag`
    /// (RFC 7252 §5.6.2).
    pub fn still_valid(&self, etag: ETag) -> Option<Response> {
        let has_it = self.options.all(OptionNumber::ETAG).any(|known| *known == *etag);
        has_it.then(|| Response::new(Code::VALID).etag(etag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::Method;

    fn put(options: &[(OptionNumber, &[u8])]) -> Request {
        options.iter().fold(Request::new(Method::Put), |put, (n, value)| put.option(*n, value))
    }

    fn is_allowed(request: &Request, target: Target) -> bool {
        match request.check_conditions(target) {
            Ok(()) => true,
            Err(response) => {
                assert_eq!(response, Response::new(Code::PRECONDITION_FAILED));
                false
            }
        }
    }

    fn tagged(etag: &[u8]) -> Target {
        Target::Present(ETag::new(etag))
    }

    #[test]
    fn if_match_wants_one_of_its_entity_tags() {
        // RFC 7252 §5.10.8.1
        let request = put(&[(OptionNumber::IF_MATCH, b"a"), (OptionNumber::IF_MATCH, b"b")]);
        assert!(is_allowed(&request, tagged(b"a")) && is_allowed(&request, tagged(b"b")));
        assert!(!is_allowed(&request, tagged(b"c")));
        assert!(!is_allowed(&request, Target::Present(None)));
        assert!(!is_allowed(&request, Target::Absent));
    }

    #[test]
    fn an_empty_if_match_wants_anything_that_exists() {
        // RFC 7252 §5.10.8.1
        let request = put(&[(OptionNumber::IF_MATCH, b"")]);
        assert!(is_allowed(&request, tagged(b"a")));
        assert!(is_allowed(&request, Target::Present(None)));
        assert!(!is_allowed(&request, Target::Absent));
    }

    #[test]
    fn if_none_match_wants_nothing_there() {
        // RFC 7252 §5.10.8.2
        let request = put(&[(OptionNumber::IF_NONE_MATCH, b"")]);
        assert!(is_allowed(&request, Target::Absent));
        assert!(!is_allowed(&request, Target::Present(None)));
        assert!(!is_allowed(&request, tagged(b"a")));
    }

    #[test]
    fn without_a_condition_everything_is_allowed() {
        for target in [Target::Absent, Target::Present(None), tagged(b"a")] {
            assert!(is_allowed(&put(&[]), target));
        }
    }

    #[test]
    fn a_representation_that_the_client_has_is_still_valid() {
        // RFC 7252 §5.6.2, §5.9.1.3: 2.03 with the ETag.
        let request = put(&[(OptionNumber::ETAG, b"a"), (OptionNumber::ETAG, b"b")]);
        let etag = ETag::new(b"b").unwrap();
        let response = request.still_valid(etag).unwrap();
        assert_eq!((response.code, response.options.etag()), (Code::VALID, Some(etag)));
        assert_eq!(request.still_valid(ETag::new(b"c").unwrap()), None);
    }
}
