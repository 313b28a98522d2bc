//! JSON objects, by path.

use std::collections::BTreeMap;

use proto::Value;
use serde_json::value::RawValue;

use super::draft::{DecodeError, Draft, Identity, field_error, whole};
use super::scalar::from_json;
use super::time;
use crate::config::{JsonDecode, JsonPath};

/// An object is one reading where `value` is configured, else a reading for each of its numbers
/// and booleans. An array is several objects.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    config: JsonDecode,
    /// Whether an object that does not name its device is taken.
    device_optional: bool,
}

type Object<'a> = BTreeMap<String, &'a RawValue>;

impl JsonDecoder {
    pub(super) fn new(config: &JsonDecode) -> Self {
        Self { config: config.clone(), device_optional: false }
    }

    /// For objects that nothing was configured for: the member `device` names it, if there is one.
    pub(crate) fn plain() -> Self {
        let device = "device".parse().ok();
        Self { config: JsonDecode { device, ..JsonDecode::default() }, device_optional: true }
    }

    pub(crate) fn decode(&self, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
        let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?.trim();
        if text.starts_with('[') {
            let objects: Vec<Object<'_>> = parse(text)?;
            let drafts: Result<Vec<_>, _> = objects.iter().map(|o| self.object(o)).collect();
            return self.something(drafts?.concat());
        }
        self.something(self.object(&parse(text)?)?)
    }

    /// Says what a reading would have been, where there is none.
    fn something(&self, drafts: Vec<Draft>) -> Result<Vec<Draft>, DecodeError> {
        if !drafts.is_empty() {
            return Ok(drafts);
        }
        let JsonDecode { device, time, seq, epoch, unit, .. } = &self.config;
        let beside = [device, time, seq, epoch, unit].into_iter().flatten();
        let beside: Vec<_> = beside.map(|path| format!("`{path}`")).collect();
        let mut expected = "members that are numbers, true or false".to_owned();
        if !beside.is_empty() {
            expected.push_str(&format!(" beside {}", beside.join(", ")));
        }
        if !self.device_optional {
            expected.push_str("; `decode.value` names one that lies deeper or is text");
        }
        Err(DecodeError::NoMember { expected })
    }

    fn object(&self, object: &Object<'_>) -> Result<Vec<Draft>, DecodeError> {
        let config = &self.config;
        let identity = Identity {
            device: self.device(object)?,
            time: match &config.time {
                Some(path) => {
                    let text = text_at(object, path)?;
                    Some(time::parse(&path.to_string(), &text, config.time_unit)?)
                }
                None => None,
            },
            epoch: whole_at(object, config.epoch.as_ref())?,
            sequence: whole_at(object, config.seq.as_ref())?,
        };
        let unit = match &config.unit {
            Some(path) => optional(object, path).map(|raw| text(path, raw)).transpose()?,
            None => None,
        };
        let drafts = match &config.value {
            Some(path) => vec![identity.draft(&self.name(object, path)?, value_at(object, path)?)],
            None => object
                .iter()
                .filter(|(key, _)| !self.is_identity(key))
                .filter_map(|(key, raw)| Some(identity.draft(key, number_or_boolean(raw)?)))
                .collect(),
        };
        Ok(drafts.into_iter().map(|draft| Draft { unit: unit.clone(), ..draft }).collect())
    }

    fn device(&self, object: &Object<'_>) -> Result<Option<String>, DecodeError> {
        match &self.config.device {
            Some(path) if self.device_optional && optional(object, path).is_none() => Ok(None),
            Some(path) => text_at(object, path).map(Some),
            None => Ok(None),
        }
    }

    fn name(&self, object: &Object<'_>, value: &JsonPath) -> Result<String, DecodeError> {
        match &self.config.name {
            Some(path) => text_at(object, path),
            None => Ok(value.segments().last().cloned().unwrap_or_default()),
        }
    }

    /// Whether a member says whose or when a reading is, instead of being one.
    fn is_identity(&self, key: &str) -> bool {
        let config = &self.config;
        [&config.device, &config.time, &config.seq, &config.epoch, &config.unit]
            .into_iter()
            .flatten()
            .any(|path| matches!(path.segments(), [only] if only == key))
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::Syntax {
        expected: "a JSON object",
        problem: error.to_string(),
    })
}

/// What lies at a path, one level after the other; a number is an index into an array.
fn lookup<'a>(object: &Object<'a>, path: &JsonPath) -> Option<&'a RawValue> {
    let (first, rest) = path.segments().split_first()?;
    rest.iter().try_fold(*object.get(first)?, |raw, segment| {
        match raw.get().as_bytes().first()? {
            b'{' => serde_json::from_str::<Object<'a>>(raw.get()).ok()?.remove(segment),
            b'[' => {
                let items: Vec<&'a RawValue> = serde_json::from_str(raw.get()).ok()?;
                items.get(segment.parse::<usize>().ok()?).copied()
            }
            _ => None,
        }
    })
}

/// The same, without what is `null`.
fn optional<'a>(object: &Object<'a>, path: &JsonPath) -> Option<&'a RawValue> {
    lookup(object, path).filter(|raw| raw.get() != "null")
}

fn required<'a>(object: &Object<'a>, path: &JsonPath) -> Result<&'a RawValue, DecodeError> {
    optional(object, path).ok_or_else(|| DecodeError::Missing { field: path.to_string() })
}

/// Text as it is, a number as its digits: an identifier may be either.
fn text(path: &JsonPath, raw: &RawValue) -> Result<String, DecodeError> {
    match from_json(raw) {
        Some(Value::Text(text)) => Ok(text),
        Some(Value::Number(_)) => Ok(raw.get().to_owned()),
        _ => Err(field_error(&path.to_string(), raw.get(), "text or a number")),
    }
}

fn text_at(object: &Object<'_>, path: &JsonPath) -> Result<String, DecodeError> {
    text(path, required(object, path)?)
}

fn whole_at<T: std::str::FromStr>(
    object: &Object<'_>,
    path: Option<&JsonPath>,
) -> Result<Option<T>, DecodeError> {
    let Some(path) = path else { return Ok(None) };
    let Some(raw) = optional(object, path) else { return Ok(None) };
    whole(&path.to_string(), raw.get()).map(Some)
}

fn value_at(object: &Object<'_>, path: &JsonPath) -> Result<Value, DecodeError> {
    let raw = required(object, path)?;
    let expected = "a number, a boolean or text";
    from_json(raw).ok_or_else(|| field_error(&path.to_string(), raw.get(), expected))
}

fn number_or_boolean(raw: &RawValue) -> Option<Value> {
    from_json(raw).filter(|value| matches!(value, Value::Number(_) | Value::Boolean(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<JsonPath> {
        Some(text.parse().unwrap())
    }

    fn decode(config: JsonDecode, text: &str) -> Result<Vec<Draft>, DecodeError> {
        JsonDecoder::new(&config).decode(text.as_bytes())
    }

    fn names(drafts: &[Draft]) -> Vec<&str> {
        drafts.iter().map(|draft| draft.name.as_str()).collect()
    }

    /// From the documentation of rtl_433.
    #[test]
    fn a_flat_object_becomes_one_reading_per_number() {
        let text = r#"{"time":"2019-08-29 08:38:19","model":"Nexus-TH","id":42,"channel":2,"battery_ok":1,"temperature_C":20.50,"humidity":83}"#;
        let config = JsonDecode { device: path("id"), ..JsonDecode::default() };
        let drafts = decode(config, text).unwrap();
        assert_eq!(names(&drafts), ["battery_ok", "channel", "humidity", "temperature_C"]);
        assert_eq!(drafts[3].value, Value::Number("20.50".parse().unwrap()));
        assert_eq!(drafts[0].device.as_deref(), Some("42"));
    }

    #[test]
    fn an_object_without_a_reading_says_what_would_be_one() {
        let config =
            JsonDecode { device: path("id"), time: path("meta.at"), ..JsonDecode::default() };
        let text = r#"{"id":"a","meta":{"at":1795214340},"state":"on","data":{"temp":21.5}}"#;
        let error = decode(config, text).unwrap_err();
        let expected = "nothing in it is a reading: expected members that are numbers, true or false \
                        beside `id`, `meta.at`; `decode.value` names one that lies deeper or is text";
        assert_eq!((error.to_string().as_str(), error.reason()), (expected, "empty"));
        let error = JsonDecoder::plain().decode(br#"[{"device":"a"}]"#).unwrap_err().to_string();
        assert!(
            error.ends_with("expected members that are numbers, true or false beside `device`")
        );
    }

    #[test]
    fn paths_find_what_is_nested() {
        let config = JsonDecode {
            device: path("meta.ids.1"),
            name: path("kind"),
            value: path("data.v"),
            unit: path("data.u"),
            time: path("meta.at"),
            seq: path("n"),
            epoch: path("boot"),
            ..JsonDecode::default()
        };
        let text = r#"{"meta":{"ids":["a","b"],"at":1795214340.5},"kind":"temp","data":{"v":"on","u":"Cel"},"n":7,"boot":null}"#;
        let drafts = decode(config.clone(), text).unwrap();
        let [draft] = &drafts[..] else { panic!("{drafts:?}") };
        assert_eq!((draft.device.as_deref(), draft.unit.as_deref()), (Some("b"), Some("Cel")));
        assert_eq!((&*draft.name, &draft.value), ("temp", &Value::Text("on".to_owned())));
        assert_eq!(
            (draft.time.unwrap().as_millis(), draft.sequence, draft.epoch),
            (1_795_214_340_500, Some(7), None)
        );
        let error = decode(config, r#"{"meta":{"ids":["a"]}}"#).unwrap_err();
        assert_eq!(error, DecodeError::Missing { field: "meta.ids.1".to_owned() });
    }

    #[test]
    fn a_value_without_a_name_is_named_like_its_path() {
        let config = JsonDecode { value: path("sensor.temp"), ..JsonDecode::default() };
        assert_eq!(names(&decode(config, r#"{"sensor":{"temp":1}}"#).unwrap()), ["temp"]);
    }

    #[test]
    fn an_array_is_several_objects() {
        let drafts = decode(JsonDecode::default(), r#" [{"a":1},{"b":true,"c":"x"}]"#).unwrap();
        assert_eq!(names(&drafts), ["a", "b"]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "1", "{", "[1]", "null", "{\"a\":}", "{\"a\":1} x"] {
            let error = decode(JsonDecode::default(), text).unwrap_err();
            assert!(matches!(error, DecodeError::Syntax { .. }), "{text}: {error}");
        }
        assert_eq!(
            JsonDecoder::new(&JsonDecode::default()).decode(&[0xff]),
            Err(DecodeError::NotText)
        );
    }
}
