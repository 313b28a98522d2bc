//! Content-Formats (RFC 7252 §12.3) and what follows from them: 4.06 (§5.10.4) and 4.15 (§5.9.2.9).

use super::{Code, Request, Response};

/// text/plain;charset=utf-8 (RFC 7252 §12.3)
pub const TEXT_PLAIN: u16 = 0;
/// application/link-format (RFC 6690)
pub const LINK_FORMAT: u16 = 40;
/// application/octet-stream
pub const OCTET_STREAM: u16 = 42;
/// application/json
pub const JSON: u16 = 50;
/// application/cbor (RFC 8949)
pub const CBOR: u16 = 60;
/// application/senml+json (RFC 8428 §12.3)
pub const SENML_JSON: u16 = 110;
/// application/senml+cbor (RFC 8428 §12.3)
pub const SENML_CBOR: u16 = 112;

impl Request {
    /// Which of the `offered` formats, the preferred one first, the response has to have, or the
    /// 4.06 to answer (RFC 7252 §5.10.4). A caller that offers nothing has no such resource.
    pub fn negotiate(&self, offered: &[u16]) -> Result<u16, Response> {
        let acceptable = match self.accepts() {
            None => offered.first(),
            Some(wanted) => offered.iter().find(|&&format| format == wanted),
        };
        acceptable.copied().ok_or_else(|| Response::new(Code::NOT_ACCEPTABLE))
    }

    /// The format of the payload if it is one of `supported` or not said, otherwise the 4.15 to
    /// answer (RFC 7252 §5.9.2.9). Without Content-Format the receiver may guess (§5.5.1).
    pub fn supported_format(&self, supported: &[u16]) -> Result<Option<u16>, Response> {
        match self.options.content_format() {
            Some(format) if !supported.contains(&format) => {
                Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT))
            }
            format => Ok(format),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::Method;

    #[test]
    fn the_response_has_the_format_that_is_accepted_or_the_preferred_one() {
        // RFC 7252 §5.10.4
        let get = Request::new(Method::Get);
        assert_eq!(get.negotiate(&[SENML_JSON, JSON]), Ok(SENML_JSON));
        assert_eq!(get.clone().accept(JSON).negotiate(&[SENML_JSON, JSON]), Ok(JSON));
        let refused = get.accept(CBOR).negotiate(&[SENML_JSON, JSON]).unwrap_err();
        assert_eq!(refused, Response::new(Code::NOT_ACCEPTABLE));
    }

    #[test]
    fn a_payload_of_another_format_is_refused() {
        // RFC 7252 §5.9.2.9
        let put = Request::new(Method::Put);
        assert_eq!(put.supported_format(&[JSON]), Ok(None));
        assert_eq!(put.clone().content_format(JSON).supported_format(&[JSON]), Ok(Some(JSON)));
        let refused = put.content_format(CBOR).supported_format(&[JSON]).unwrap_err();
        assert_eq!(refused, Response::new(Code::UNSUPPORTED_CONTENT_FORMAT));
    }
}
