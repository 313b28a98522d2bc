//! JSON values as CBOR, and back (RFC 8949 §6.1, §6.2), for devices that would rather not read text.
//!
//! Bytes become base64, keys of maps that are numbers their digits, decimal fractions numbers;
//! what JSON has no word for (tags but for their content, `undefined`, simple values) is left out or `null`.

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use proto::senml::cbor::widen_half;
use proto::{Number, base64};
use serde_json::{Map, Value as Json};

/// How deep arrays and maps may be in each other.
const MAX_DEPTH: usize = 16;
/// A decimal fraction (RFC 8949 §3.4.4).
const DECIMAL: Tag = Tag::new(4);

/// Why bytes are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CborError {
    #[error("expected one item of CBOR")]
    NotCbor,
    #[error("expected arrays and maps at most {MAX_DEPTH} deep")]
    TooDeep,
}

impl From<minicbor::decode::Error> for CborError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::NotCbor
    }
}

/// A JSON value as CBOR; whole numbers are integers, others floating-point numbers.
pub(crate) fn encode(json: &Json) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector cannot fail.
    let _ = put(&mut Encoder::new(&mut bytes), json);
    bytes
}

/// Bytes as CBOR.
pub(crate) fn encode_bytes(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector cannot fail.
    let _ = Encoder::new(&mut bytes).bytes(value);
    bytes
}

/// One item of CBOR as JSON.
pub(crate) fn decode(bytes: &[u8]) -> Result<Json, CborError> {
    let mut decoder = Decoder::new(bytes);
    let json = take(&mut decoder, 0)?;
    if decoder.position() == bytes.len() { Ok(json) } else { Err(CborError::NotCbor) }
}

fn put(
    encoder: &mut Encoder<&mut Vec<u8>>,
    json: &Json,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    match json {
        Json::Null => encoder.null()?,
        Json::Bool(value) => encoder.bool(*value)?,
        Json::String(text) => encoder.str(text)?,
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), ..) => encoder.u64(whole)?,
            (None, Some(whole), _) => encoder.i64(whole)?,
            (None, None, value) => encoder.f64(value.unwrap_or(f64::NAN))?,
        },
        Json::Array(items) => {
            encoder.array(items.len() as u64)?;
            for item in items {
                put(encoder, item)?;
            }
            encoder
        }
        Json::Object(members) => {
            encoder.map(members.len() as u64)?;
            for (name, value) in members {
                encoder.str(name)?;
                put(encoder, value)?;
            }
            encoder
        }
    };
    Ok(())
}

fn take(decoder: &mut Decoder<'_>, depth: usize) -> Result<Json, CborError> {
    if depth > MAX_DEPTH {
        return Err(CborError::TooDeep);
    }
    Ok(match decoder.datatype()? {
        Type::Bool => Json::Bool(decoder.bool()?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64()?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64()?.into(),
        Type::F16 => half(decoder)?.into(),
        Type::F32 => f64::from(decoder.f32()?).into(),
        Type::F64 => decoder.f64()?.into(),
        Type::String | Type::StringIndef => Json::String(text(decoder)?),
        Type::Bytes | Type::BytesIndef => {
            let mut bytes = Vec::new();
            for piece in decoder.bytes_iter()? {
                bytes.extend_from_slice(piece?);
            }
            let mut text = String::new();
            base64::encode(&bytes, &mut text);
            Json::String(text)
        }
        Type::Array | Type::ArrayIndef => {
            let mut items = Vec::new();
            let mut left = decoder.array()?;
            while has_more(decoder, &mut left)? {
                items.push(take(decoder, depth + 1)?);
            }
            Json::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let mut members = Map::new();
            let mut left = decoder.map()?;
            while has_more(decoder, &mut left)? {
                let key = take(decoder, depth + 1)?;
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                members.insert(name, take(decoder, depth + 1)?);
            }
            Json::Object(members)
        }
        Type::Tag => match decoder.tag()? == DECIMAL {
            true => decimal(decoder)?,
            false => take(decoder, depth + 1)?,
        },
        Type::Int
        | Type::Null
        | Type::Undefined
        | Type::Simple
        | Type::Break
        | Type::Unknown(_) => {
            decoder.skip()?;
            Json::Null
        }
    })
}

/// A floating-point number of 16 bits (RFC 8949 appendix D).
fn half(decoder: &mut Decoder<'_>) -> Result<f64, CborError> {
    let at = decoder.position();
    let bytes = decoder.input().get(at + 1..at + 3).ok_or(CborError::NotCbor)?;
    let bits = bytes.iter().fold(0_u16, |bits, byte| bits << 8 | u16::from(*byte));
    decoder.set_position(at + 3);
    Ok(widen_half(bits))
}

fn decimal(decoder: &mut Decoder<'_>) -> Result<Json, CborError> {
    if decoder.array()? != Some(2) {
        return Err(CborError::NotCbor);
    }
    let (exponent, mantissa) = (decoder.i32()?, decoder.int()?);
    let number = Number::from_decimal(mantissa.into(), exponent).ok_or(CborError::NotCbor)?;
    serde_json::from_str(&number.to_string()).map_err(|_| CborError::NotCbor)
}

/// Whether there is another one: of so many, or up to the break.
fn has_more(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, CborError> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.skip()?;
            Ok(false)
        }
        None => Ok(true),
    }
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, CborError> {
    let mut text = String::new();
    for piece in decoder.str_iter()? {
        text.push_str(piece?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let all = json!({"id": "42", "value": 21.5, "on": true, "n": [1, -3, null, {"": "é"}]});
        assert_eq!(decode(&encode(&all)), Ok(all));
        // RFC 8949 appendix A
        assert_eq!(encode(&json!({"a": 1, "b": [2, 3]})), b"\xa2\x61a\x01\x61b\x82\x02\x03");
        assert_eq!(encode(&json!(1.1)), b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a");
    }

    #[test]
    fn what_json_has_no_word_for_is_the_nearest() {
        // RFC 8949 appendix A
        for (bytes, expected) in [
            (&b"\x44\x01\x02\x03\x04"[..], json!("AQIDBA")),
            (b"\xc1\x1a\x51\x4b\x67\xb0", json!(1_363_896_240)),
            (b"\xf7", json!(null)),
            (b"\xa2\x01\x02\x03\x04", json!({"1": 2, "3": 4})),
            (b"\x9f\x01\x82\x02\x03\xff", json!([1, [2, 3]])),
            (b"\x7f\x65strea\x64ming\xff", json!("streaming")),
            (b"\xf9\x3e\x00", json!(1.5)),
            (b"\xf9\xc4\x00", json!(-4.0)),
            (b"\xf9\x00\x01", json!(5.960_464_477_539_063e-8)),
            (b"\xf9\x7c\x00", json!(null)),
        ] {
            assert_eq!(decode(bytes), Ok(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_no_item_is_refused() {
        for bytes in [
            &b""[..],
            b"\x01\x02",
            b"\x82\x01",
            b"\x9f\x01",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(decode(bytes), Err(CborError::NotCbor), "{bytes:02x?}");
        }
        assert_eq!(decode(&[0x81; 100]), Err(CborError::TooDeep));
    }
}
