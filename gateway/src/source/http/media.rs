//! Media types: what a body is, and what a client wants to have.
//!
//! They are told apart by the numbers of CoAP's Content-Formats, which stand for the same types
//! (RFC 7252 §12.3).

use proto::coap::content_format::{JSON, OCTET_STREAM, SENML_CBOR, SENML_JSON, TEXT_PLAIN};

/// The types that have readings in them.
const TYPES: [(&str, u16); 5] = [
    ("application/json", JSON),
    ("application/senml+json", SENML_JSON),
    ("application/senml+cbor", SENML_CBOR),
    ("application/octet-stream", OCTET_STREAM),
    ("text/plain", TEXT_PLAIN),
];
/// What `curl -d` and forms say of whatever they send: nothing about what it is.
const FORM: &str = "application/x-www-form-urlencoded";

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Media {
    /// Not told.
    Unknown,
    /// One of those with readings in them.
    Known(u16),
    /// Another one.
    Other,
}

impl Media {
    /// What a Content-Type says.
    pub(super) fn of(content_type: Option<&str>) -> Self {
        let Some(content_type) = content_type else { return Self::Unknown };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.is_empty() || essence.eq_ignore_ascii_case(FORM) {
            return Self::Unknown;
        }
        let known = TYPES.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name));
        known.map_or(Self::Other, |(_, format)| Self::Known(*format))
    }
}

/// The name of a format.
pub(super) fn name(format: u16) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == format).map_or("", |(name, _)| name)
}

/// The one of `offers` that an Accept wants most, the first of several (RFC 9110 §12.5.1).
pub(super) fn negotiate(accept: Option<&str>, offers: &[u16]) -> Option<u16> {
    let Some(accept) = accept else { return offers.first().copied() };
    let ranges: Vec<_> = accept.split(',').filter_map(range).collect();
    let mut best = None;
    for &offer in offers {
        let quality = quality(&ranges, name(offer));
        if quality > best.map_or(0, |(quality, _)| quality) {
            best = Some((quality, offer));
        }
    }
    best.map(|(_, offer)| offer)
}

/// The quality of a type: what the most specific range that has it says.
fn quality(ranges: &[(&str, u16)], name: &str) -> u16 {
    let family = name.split('/').next().unwrap_or_default();
    let specific = |range: &str| match range.strip_suffix("/*") {
        Some("*") => Some(0),
        Some(other) if other.eq_ignore_ascii_case(family) => Some(1),
        Some(_) => None,
        None => range.eq_ignore_ascii_case(name).then_some(2),
    };
    let fitting = ranges.iter().filter_map(|(range, q)| Some((specific(range)?, *q)));
    fitting.max_by_key(|(specific, _)| *specific).map_or(0, |(_, quality)| quality)
}

/// A range, and its quality in thousandths.
fn range(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let Some(q) = q else { return Some((range, 1000)) };
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let fraction = format!("{fraction:0<3}").parse::<u16>().ok().filter(|q| *q < 1000)?;
    match whole {
        "0" => Some((range, fraction)),
        "1" => Some((range, 1000)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_says_what_a_body_is() {
        for (content_type, expected) in [
            (None, Media::Unknown),
            (Some("application/x-www-form-urlencoded"), Media::Unknown),
            (Some("Application/JSON; charset=utf-8"), Media::Known(JSON)),
            (Some("application/senml+cbor"), Media::Known(SENML_CBOR)),
            (Some("image/png"), Media::Other),
        ] {
            assert_eq!(Media::of(content_type), expected, "{content_type:?}");
        }
    }

    /// RFC 9110 §12.5.1.
    #[test]
    fn the_type_that_is_wanted_most_is_sent() {
        let offers = [JSON, SENML_JSON, SENML_CBOR];
        for (accept, expected) in [
            (None, Some(JSON)),
            (Some("*/*"), Some(JSON)),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(JSON)),
            (Some("application/senml+cbor"), Some(SENML_CBOR)),
            (Some("application/json;q=0.5, application/senml+json"), Some(SENML_JSON)),
            (Some("application/*;q=0.2, application/json;q=0"), Some(SENML_JSON)),
            (Some("application/json;q=0.123, application/senml+cbor; q=0.12"), Some(JSON)),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
            (Some("application/json;q=x"), None),
            (Some(""), None),
        ] {
            assert_eq!(negotiate(accept, &offers), expected, "{accept:?}");
        }
    }
}
