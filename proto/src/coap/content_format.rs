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

/// Content-Formats and their media types (IANA, CoAP Content-Formats), without content coding.
const MEDIA_TYPES: &[(u16, &str)] = &[
    (TEXT_PLAIN, "text/plain"),
    (LINK_FORMAT, "application/link-format"),
    (41, "application/xml"),
    (OCTET_STREAM, "application/octet-stream"),
    (47, "application/exi"),
    (JSON, "application/json"),
    (51, "application/json-patch+json"),
    (52, "application/merge-patch+json"),
    (CBOR, "application/cbor"),
    (61, "application/cwt"),
    (62, "application/multipart-core"),
    (63, "application/cbor-seq"),
    (SENML_JSON, "application/senml+json"),
    (111, "application/sensml+json"),
    (SENML_CBOR, "application/senml+cbor"),
    (113, "application/sensml+cbor"),
    (114, "application/senml-exi"),
    (310, "application/senml+xml"),
    (22, "image/jpeg"),
    (23, "image/png"),
    (21, "image/gif"),
    (30000, "image/svg+xml"),
    (20000, "text/css"),
    (10002, "application/javascript"),
];

/// The media type that a Content-Format stands for, where it is one of those that are known here.
pub fn media_type(format: u16) -> Option<&'static str> {
    MEDIA_TYPES.iter().find(|(known, _)| *known == format).map(|(_, name)| *name)
}

/// The Content-Format of a media type such as `text/plain; charset=utf-8`, where there is one. Its
/// parameters do not count, its case neither (RFC 9110 §8.3.1).
pub fn of_media_type(text: &str) -> Option<u16> {
    let name = text.split(';').next().unwrap_or_default().trim();
    let known = MEDIA_TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
    known.map(|(format, _)| *format)
}

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
    fn a_media_type_is_its_content_format_and_back() {
        for (format, name) in MEDIA_TYPES {
            assert_eq!((media_type(*format), of_media_type(name)), (Some(*name), Some(*format)));
        }
        assert_eq!(of_media_type("Text/Plain ; charset=UTF-8"), Some(TEXT_PLAIN));
        assert_eq!((of_media_type("application/x"), of_media_type("")), (None, None));
        assert_eq!(media_type(65_000), None);
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
