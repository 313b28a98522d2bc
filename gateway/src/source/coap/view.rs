//! What a client wants to see of the last readings, and observes.

use proto::Reading;
use proto::coap::content_format::{SENML_CBOR, SENML_JSON};
use proto::coap::{Code, ETag, OptionNumber, Request, Response, Target};
use proto::senml::{self, MAX_RECORDS};

use super::resources::{check_get, not_found};
use crate::source::latest::Latest;

/// What a client wants to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct View {
    pub(super) device: String,
    /// One quantity, or all of the device.
    pub(super) name: Option<String>,
    /// Its Content-Format.
    format: u16,
}

impl View {
    /// What a request wants to see of a device.
    pub(super) fn of(
        request: &Request,
        device: &str,
        name: Option<&str>,
    ) -> Result<Self, Response> {
        check_get(request)?;
        let format = request.negotiate(&[SENML_JSON, SENML_CBOR])?;
        Ok(Self { device: device.to_owned(), name: name.map(str::to_owned), format })
    }

    /// Whether this reading belongs to it.
    pub(super) fn shows(&self, reading: &Reading) -> bool {
        self.device == reading.device && self.name.as_ref().is_none_or(|name| *name == reading.name)
    }

    /// The response to a request for it.
    pub(super) fn show(&self, latest: &Latest) -> Response {
        let mut records = Vec::new();
        latest.of(&self.device, self.name.as_deref(), |_, reading| {
            if records.len() < MAX_RECORDS {
                records.push(senml::Record::of_reading(reading));
            }
        });
        if records.is_empty() {
            return not_found();
        }
        let payload = match self.format {
            SENML_CBOR => senml::cbor::encode(&records),
            _ => senml::json::encode(&records).into_bytes(),
        };
        let etag = ETag::of(Some(self.format), &payload);
        Response::new(Code::CONTENT).etag(etag).content_format(self.format).payload(payload)
    }
}

/// Whether a reading may take the place of the last one, which is in whichever format the
/// client saw it; otherwise the 4.12 to answer (RFC 7252 §5.10.8).
pub(super) fn check_conditions(
    latest: &Latest,
    request: &Request,
    device: &str,
    name: &str,
) -> Result<(), Response> {
    let is_conditional = |number| request.options.first(number).is_some();
    if ![OptionNumber::IF_MATCH, OptionNumber::IF_NONE_MATCH].into_iter().any(is_conditional) {
        return Ok(());
    }
    let check = |format| {
        let (device, name) = (device.to_owned(), Some(name.to_owned()));
        let last = View { device, name, format }.show(latest);
        let target = match last.code {
            Code::CONTENT => Target::Present(last.options.etag()),
            _ => Target::Absent,
        };
        request.check_conditions(target)
    };
    check(SENML_JSON).or_else(|_| check(SENML_CBOR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Content, Record};
    use proto::coap::Method;
    use proto::{TimeQuality, Timestamp, Value};

    #[test]
    fn a_view_is_a_pack_of_what_it_shows() {
        let latest = Latest::new();
        let view = View::of(&Request::new(Method::Get), "a", Some("t")).unwrap();
        assert_eq!(view.show(&latest).code, Code::NOT_FOUND);
        let reading = Reading {
            device: "a".to_owned(),
            name: "t".to_owned(),
            unit: None,
            value: Value::Number(3.into()),
            time: Timestamp::from_nanos(1_732_198_755_000_000_000),
            time_quality: TimeQuality::Device,
            epoch: None,
            sequence: None,
        };
        let received = reading.time;
        let content = Content::Reading(reading);
        latest.store(&[Record {
            n: 1,
            source: "s".into(),
            content,
            received,
            origin: None,
            moment: None,
        }]);
        let expected = br#"[{"bn":"a/","n":"t","t":1732198755,"v":3}]"#;
        assert_eq!(view.show(&latest).payload, expected);
    }
}
