//! What is in commands and their answers, between JSON and CBOR (RFC 8949).

use minicbor::Decoder;
use minicbor::data::{Tag, Type};
use minicbor::decode::Error;
use proto::link::{Reply, ReplyStatus};
use proto::{Number, base64};
use serde_json::{Map, Value as Json, json};

/// The deepest result.
const MAX_DEPTH: usize = 8;
/// A decimal fraction (RFC 8949 §3.4.4).
const DECIMAL: Tag = Tag::new(4);

/// Why something is not done: for programs, and for people.
pub(super) type Refusal = (&'static str, String);

/// The result in an RSP, or why there is none.
pub(super) fn outcome(payload: &[u8]) -> Result<Option<Json>, Refusal> {
    let reply = Reply::decode(payload).map_err(|fault| bad_answer(&fault.to_string()))?;
    match (reply.status, &reply.result) {
        (ReplyStatus::Done, None) => Ok(None),
        (ReplyStatus::Done, Some(result)) => {
            let json = json_of(&mut Decoder::new(result), MAX_DEPTH);
            json.map(Some).map_err(|error| bad_answer(&error.to_string()))
        }
        _ => Err(refusal(reply)),
    }
}

/// Why a node does not do it.
pub(super) fn refusal(reply: Reply) -> Refusal {
    let (code, usual) = match reply.status {
        ReplyStatus::UnknownCode => ("unknown_code", "the node has no operation with this `code`"),
        ReplyStatus::BadValue => ("bad_value", "the node does not take this value"),
        ReplyStatus::Failed => ("failed", "the node has failed to do it"),
        ReplyStatus::Other(status) => {
            let detail = reply.detail.unwrap_or_else(|| "the node refuses".to_owned());
            return ("refused", format!("status {status}: {detail}"));
        }
        ReplyStatus::Done | ReplyStatus::More | ReplyStatus::Checksum => {
            return bad_answer("a status that is none of this command");
        }
    };
    (code, reply.detail.unwrap_or_else(|| usual.to_owned()))
}

/// A node answers what it must not.
pub(super) fn bad_answer(why: &str) -> Refusal {
    ("bad_answer", format!("the RSP of the node cannot be read: {why}"))
}

/// One item as JSON has it: bytes in base64, keys of maps as text.
fn json_of(d: &mut Decoder<'_>, depth: usize) -> Result<Json, Error> {
    let deeper = depth.checked_sub(1).ok_or(Error::message("too deep"))?;
    Ok(match d.datatype()? {
        Type::Bool => json!(d.bool()?),
        Type::Null => {
            d.null()?;
            Json::Null
        }
        Type::Undefined => {
            d.undefined()?;
            Json::Null
        }
        Type::F32 => Number::from_f32(d.f32()?).map_or(Json::Null, number),
        Type::F64 => Number::from_f64(d.f64()?).map_or(Json::Null, number),
        Type::String => json!(d.str()?),
        Type::Bytes => {
            let mut text = String::new();
            base64::encode(d.bytes()?, &mut text);
            json!(text)
        }
        Type::Array => {
            let count = d.array()?.unwrap_or(0);
            Json::Array((0..count).map(|_| json_of(d, deeper)).collect::<Result<_, _>>()?)
        }
        Type::Map => {
            let mut object = Map::new();
            for _ in 0..d.map()?.unwrap_or(0) {
                let key = match json_of(d, deeper)? {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                object.insert(key, json_of(d, deeper)?);
            }
            Json::Object(object)
        }
        Type::Tag if d.tag()? == DECIMAL => {
            if d.array()? != Some(2) {
                return Err(Error::message("a decimal fraction has two members"));
            }
            let (exponent, mantissa) = (d.i32()?, i128::from(d.int()?));
            let value = Number::from_decimal(mantissa, exponent);
            value.map(number).ok_or(Error::message("a number out of range"))?
        }
        Type::Tag => json_of(d, deeper)?,
        _ => {
            let value = Number::from_decimal(i128::from(d.int()?), 0);
            value.map(number).ok_or(Error::message("a number out of range"))?
        }
    })
}

/// With all its digits.
fn number(number: Number) -> Json {
    serde_json::from_str(&number.to_string()).unwrap_or(Json::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Value;

    fn done(result: &[u8]) -> Result<Option<Json>, Refusal> {
        outcome(&[b"\xa2\x00\x00\x01", result].concat())
    }

    #[test]
    fn results_are_json() {
        let cases: [(&[u8], Json); 8] = [
            (b"\x18\x2a", json!(42)),
            (b"\x20", json!(-1)),
            (b"\xf5", json!(true)),
            (b"\xf6", json!(null)),
            (b"\x62on", json!("on")),
            (b"\x42\x00\xff", json!("AP8=")),
            (b"\xa2\x00\x01\x61a\x82\x02\x03", json!({"0": 1, "a": [2, 3]})),
            (b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00", json!(1.5)),
        ];
        for (result, expected) in cases {
            assert_eq!(done(result), Ok(Some(expected)), "{result:x?}");
        }
        let exact = Reply::default().with(&Value::Number("21.50".parse().unwrap()));
        assert_eq!(outcome(&exact.encode()).unwrap().unwrap().to_string(), "21.50");
        assert_eq!(outcome(b"\xa1\x00\x00"), Ok(None));
    }

    #[test]
    fn what_is_no_result_is_a_bad_answer() {
        let deep = [vec![0x81; MAX_DEPTH], vec![0]].concat();
        for result in [&b"\x1c"[..], b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", &deep, b"\x9f\xff"] {
            assert_eq!(done(result).unwrap_err().0, "bad_answer", "{result:x?}");
        }
        assert_eq!(outcome(b"").unwrap_err().0, "bad_answer");
    }

    #[test]
    fn a_node_that_refuses_says_why() {
        let refused = |payload: &[u8]| outcome(payload).unwrap_err();
        assert_eq!(refused(b"\xa1\x00\x01").0, "unknown_code");
        assert_eq!(refused(b"\xa2\x00\x03\x02\x63jam"), ("failed", "jam".to_owned()));
        let other = ("refused", "status 99: the node refuses".to_owned());
        assert_eq!(refused(b"\xa1\x00\x18\x63"), other);
    }
}
