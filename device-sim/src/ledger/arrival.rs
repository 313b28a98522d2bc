//! What arrived at the far end.

use std::borrow::Cow;

use jiff::Timestamp;
use proto::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Mark;

/// A reading as the far end saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// Who measured.
    pub device: String,
    /// What was measured.
    pub name: String,
    /// Which of its readings it is.
    pub mark: Mark,
    /// The value.
    pub value: Value,
    /// The number that the gateway gave it, where it gives one: that of every copy.
    pub number: Option<u64>,
}

/// A payload is no reading.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// It is no JSON object with the members of a reading.
    #[error("not a reading as JSON")]
    Syntax(#[from] serde_json::Error),
    /// Neither number, boolean nor text.
    #[error("the value `{0}` is no number, boolean or text")]
    Value(String),
    /// Nothing tells it apart from others.
    #[error("neither epoch and seq nor a time")]
    NoMark,
}

/// The gateway's payload `json`; members that are not named here are not looked at.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    device: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    time: Option<&'a str>,
    epoch: Option<u32>,
    seq: Option<u64>,
    n: Option<u64>,
}

impl Arrival {
    /// Reads the payload `json` of a gateway.
    ///
    /// # Errors
    /// When it is no reading, or has nothing that tells it apart from others.
    pub fn from_json(payload: &[u8]) -> Result<Self, ArrivalError> {
        let Json { device, name, value, time, epoch, seq, n } = serde_json::from_slice(payload)?;
        let mark = match (epoch, seq) {
            (Some(epoch), Some(sequence)) => Mark::Sequence { epoch, sequence },
            _ => Mark::Time { millis: time.and_then(millis).ok_or(ArrivalError::NoMark)? },
        };
        let value = read_value(value).ok_or_else(|| ArrivalError::Value(value.get().to_owned()))?;
        let (device, name) = (device.into_owned(), name.into_owned());
        Ok(Self { device, name, mark, value, number: n })
    }

    /// What all copies of it have in common, and nothing else of its stream; later ones have more.
    pub(super) fn copy(&self) -> Mark {
        self.number.map_or(self.mark, |sequence| Mark::Sequence { epoch: 0, sequence })
    }
}

fn millis(time: &str) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

fn read_value(raw: &RawValue) -> Option<Value> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok().map(Value::Text),
        b't' | b'f' => raw.get().parse().ok().map(Value::Boolean),
        _ => raw.get().parse().ok().map(Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(payload: &str) -> Result<Arrival, ArrivalError> {
        Arrival::from_json(payload.as_bytes())
    }

    #[test]
    fn a_numbered_reading_is_marked_by_its_number() {
        let arrival = arrival(
            r#"{"gateway":"g","device":"th\u002d1","name":"temp","value":21.50,"unit":"Cel","time":"2026-11-20T22:39:00.123Z","n":9,"epoch":3,"seq":12}"#,
        )
        .unwrap();
        assert_eq!((&*arrival.device, &*arrival.name), ("th-1", "temp"));
        assert_eq!(arrival.mark, Mark::Sequence { epoch: 3, sequence: 12 });
        assert_eq!(arrival.value, Value::Number("21.50".parse().unwrap()));
    }

    #[test]
    fn any_other_is_marked_by_its_time() {
        let text =
            r#"{"device":"d","name":"n","value":true,"time":"2026-11-20T22:39:00.123Z","seq":1}"#;
        let arrival = arrival(text).unwrap();
        assert_eq!(arrival.mark, Mark::Time { millis: 1_795_214_340_123 });
        assert_eq!(arrival.value, Value::Boolean(true));
    }

    #[test]
    fn what_is_no_reading_is_an_error() {
        for text in [
            "",
            "online",
            r#"{"device":"d","name":"n","value":1}"#,
            r#"{"device":"d","name":"n","value":[1],"epoch":1,"seq":1}"#,
            r#"{"device":"d","value":1,"epoch":1,"seq":1}"#,
        ] {
            assert!(arrival(text).is_err(), "{text}");
        }
    }
}
