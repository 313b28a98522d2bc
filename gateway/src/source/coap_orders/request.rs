//! What is sent to a node.

use proto::coap::content_format::{CBOR, JSON, OCTET_STREAM, TEXT_PLAIN};
use proto::coap::{Method, Request};
use proto::{Value, base64};

use crate::cbor;
use crate::commands::value_json;
use crate::config::{CoapMethod, CoapVia, ValueRule};

/// The request that tells `device` a value, which is as `rule` wants it.
pub(super) fn order_request(
    via: &CoapVia,
    rule: &ValueRule,
    device: &str,
    value: Option<&Value>,
) -> Request {
    let request = via.path.request(Request::new(method(via.method)));
    let has_payload = match via.method {
        // RFC 7252 §5.8.1, §5.8.4: a payload has no meaning in these.
        CoapMethod::Get | CoapMethod::Delete | CoapMethod::Observe => false,
        CoapMethod::Put
        | CoapMethod::Post
        | CoapMethod::Fetch
        | CoapMethod::Patch
        | CoapMethod::Ipatch => via.payload.is_some() || value.is_some(),
    };
    if !has_payload {
        return request;
    }
    let format = via.content_format.unwrap_or_else(|| format_of(rule, via.payload.is_some()));
    let payload = match (&via.payload, value) {
        (Some(template), value) => {
            let value = value.map(|value| text(format, rule, value)).unwrap_or_default();
            fill(template, device, &value).into_bytes()
        }
        (None, Some(value)) => bytes(format, rule, value),
        (None, None) => Vec::new(),
    };
    request.content_format(format).payload(payload)
}

const fn method(method: CoapMethod) -> Method {
    match method {
        CoapMethod::Get | CoapMethod::Observe => Method::Get,
        CoapMethod::Put => Method::Put,
        CoapMethod::Post => Method::Post,
        CoapMethod::Delete => Method::Delete,
        CoapMethod::Fetch => Method::Fetch,
        CoapMethod::Patch => Method::Patch,
        CoapMethod::Ipatch => Method::IPatch,
    }
}

/// The Content-Format where the operation names none.
const fn format_of(rule: &ValueRule, has_template: bool) -> u16 {
    match rule {
        ValueRule::Json(_) if !has_template => JSON,
        ValueRule::Bytes(_) if !has_template => OCTET_STREAM,
        ValueRule::None
        | ValueRule::Number(_)
        | ValueRule::Boolean
        | ValueRule::Text(_)
        | ValueRule::Json(_)
        | ValueRule::Bytes(_) => TEXT_PLAIN,
    }
}

/// A value alone, as its Content-Format has it.
fn bytes(format: u16, rule: &ValueRule, value: &Value) -> Vec<u8> {
    match (format, value) {
        (CBOR, Value::Bytes(bytes)) => cbor::encode_bytes(bytes),
        (CBOR, Value::Text(json)) if matches!(rule, ValueRule::Json(_)) => {
            // The rule has checked that it is JSON.
            cbor::encode(&serde_json::from_str(json).unwrap_or_default())
        }
        (CBOR, value) => cbor::encode(&value_json(value)),
        (format, Value::Bytes(bytes)) if format != JSON => bytes.clone(),
        (format, value) => text(format, rule, value).into_bytes(),
    }
}

/// A value as text: as JSON where the Content-Format is that, else as it is.
fn text(format: u16, rule: &ValueRule, value: &Value) -> String {
    match value {
        Value::Text(text) if format != JSON || matches!(rule, ValueRule::Json(_)) => text.clone(),
        Value::Bytes(bytes) if format != JSON => {
            let mut text = String::new();
            base64::encode(bytes, &mut text);
            text
        }
        Value::Text(_) | Value::Bytes(_) | Value::Number(_) | Value::Boolean(_) => {
            value_json(value).to_string()
        }
    }
}

/// A template with the device and the value in it; what they contain is not looked at.
fn fill(template: &str, device: &str, value: &str) -> String {
    let mut filled = String::with_capacity(template.len() + value.len());
    let mut rest = template;
    while let Some((before, from)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        filled.push_str(before);
        let (put, name) = match from {
            from if from.starts_with("{value}") => (value, "{value}"),
            from if from.starts_with("{device}") => (device, "{device}"),
            _ => ("{", "{"),
        };
        filled.push_str(put);
        rest = from.strip_prefix(name).unwrap_or_default();
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(via: &str, rule: &str, value: Option<Value>) -> (String, Option<u16>, String) {
        let via: CoapVia = toml::from_str(&format!("path = \"/a/b?c\"\n{via}")).unwrap();
        let rule: ValueRule = toml::from_str(&format!("type = \"{rule}\"")).unwrap();
        let request = order_request(&via, &rule, "n{value}", value.as_ref());
        assert_eq!(request.segments().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(request.queries().collect::<Vec<_>>(), ["c"]);
        let payload = String::from_utf8_lossy(&request.payload).into_owned();
        (format!("{:?}", request.method), request.options.content_format(), payload)
    }

    fn text(text: &str) -> Option<Value> {
        Some(Value::Text(text.to_owned()))
    }

    #[test]
    fn a_value_is_as_its_content_format_has_it() {
        let number = || Some(Value::Number("21.5".parse().unwrap()));
        let bytes = || Some(Value::Bytes(vec![b'a', b'b']));
        for (via, rule, value, format, payload) in [
            ("", "number", number(), 0, "21.5"),
            ("content_format = 50", "number", number(), 50, "21.5"),
            ("content_format = 60", "number", number(), 60, "\u{fffd}@5\u{fffd}\0\0\0\0\0"),
            ("", "text", text("a\"b"), 0, "a\"b"),
            ("content_format = 50", "text", text("a\"b"), 50, "\"a\\\"b\""),
            ("", "json", text("{\"a\": 1}"), 50, "{\"a\": 1}"),
            ("content_format = 60", "json", text("{\"a\": 1}"), 60, "\u{fffd}aa\u{1}"),
            ("", "bytes", bytes(), 42, "ab"),
            ("content_format = 50", "bytes", bytes(), 50, "\"YWI\""),
            ("content_format = 60", "bytes", bytes(), 60, "Bab"),
        ] {
            let found = sent(via, rule, value);
            assert_eq!((found.1, found.2.as_str()), (Some(format), payload), "{via} {rule}");
        }
        assert_eq!(sent("", "none", None), ("Put".to_owned(), None, String::new()));
    }

    #[test]
    fn a_template_is_filled_once_and_its_other_braces_stay() {
        let via =
            "content_format = 50\npayload = '{\"set\": {value}, \"of\": \"{device}\", \"x\": {}}'";
        let expected = "{\"set\": \"{device}\", \"of\": \"n{value}\", \"x\": {}}";
        assert_eq!(sent(via, "text", text("{device}")).2, expected);
        let via = "method = \"post\"\npayload = 'go'";
        assert_eq!(sent(via, "none", None), ("Post".to_owned(), Some(0), "go".to_owned()));
    }

    #[test]
    fn what_only_reads_or_removes_has_no_payload() {
        // RFC 7252 §5.8.1, §5.8.4
        for method in ["get", "delete", "observe"] {
            let (_, format, payload) = sent(&format!("method = \"{method}\""), "text", text("x"));
            assert_eq!((format, payload.as_str()), (None, ""), "{method}");
        }
        assert_eq!(sent("method = \"fetch\"", "text", text("x")).2, "x");
    }
}
