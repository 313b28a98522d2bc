//! `t=21.5 h=40`

use proto::Value;

use super::draft::{DecodeError, Draft, Identity, whole};
use super::scalar::parse_value;
use super::time;
use crate::config::{KeyvalueDecode, TimeUnit};

/// Pairs with white space, commas or semicolons between them. Words without `=` are left out.
#[derive(Debug)]
pub(crate) struct KeyvalueDecoder {
    keys: IdentityKeys,
}

/// Which keys, or columns, identify the frame instead of being readings.
#[derive(Clone, Debug, Default)]
pub(super) struct IdentityKeys {
    pub(super) device: Option<String>,
    pub(super) time: Option<String>,
    pub(super) time_unit: TimeUnit,
    pub(super) seq: Option<String>,
    pub(super) epoch: Option<String>,
}

impl IdentityKeys {
    /// Takes a pair that identifies the frame; false if it is a reading.
    pub(super) fn take(
        &self,
        identity: &mut Identity,
        key: &str,
        value: &str,
    ) -> Result<bool, DecodeError> {
        let is = |wanted: &Option<String>| wanted.as_deref() == Some(key);
        if is(&self.device) {
            identity.device = Some(value.to_owned());
        } else if is(&self.time) {
            identity.time = Some(time::parse(key, value, self.time_unit)?);
        } else if is(&self.seq) {
            identity.sequence = Some(whole(key, value)?);
        } else if is(&self.epoch) {
            identity.epoch = Some(whole(key, value)?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl KeyvalueDecoder {
    pub(super) fn new(config: &KeyvalueDecode) -> Self {
        let KeyvalueDecode { device, time, time_unit, seq, epoch } = config.clone();
        Self { keys: IdentityKeys { device, time, time_unit, seq, epoch } }
    }

    pub(super) fn decode(&self, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
        let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?;
        let mut identity = Identity::default();
        let mut values: Vec<(&str, Value)> = Vec::new();
        let mut rest = text;
        while let Some((key, value, after)) = next_pair(rest)? {
            if !self.keys.take(&mut identity, key, value)? {
                values.push((key, parse_value(value)));
            }
            rest = after;
        }
        if let Some(device) = &self.keys.device
            && identity.device.is_none()
        {
            return Err(DecodeError::Missing { field: device.clone() });
        }
        Ok(values.into_iter().map(|(name, value)| identity.draft(name, value)).collect())
    }
}

/// The next `key=value` or `key="value with spaces"`, and what follows it.
fn next_pair(text: &str) -> Result<Option<(&str, &str, &str)>, DecodeError> {
    let is_gap = |c: char| c.is_whitespace() || c == ',' || c == ';';
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_gap);
        if rest.is_empty() {
            return Ok(None);
        }
        let end = rest.find(|c| is_gap(c) || c == '=').unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix('=').filter(|_| !key.is_empty()) else {
            rest = after.strip_prefix('=').unwrap_or(after);
            continue;
        };
        if let Some(quoted) = value.strip_prefix('"') {
            let (value, after) = quoted.split_once('"').ok_or_else(|| DecodeError::Syntax {
                expected: "key=value pairs",
                problem: format!("the quote after `{key}=` is not closed"),
            })?;
            return Ok(Some((key, value, after)));
        }
        let end = value.find(is_gap).unwrap_or(value.len());
        let (value, after) = value.split_at(end);
        return Ok(Some((key, value, after)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(config: KeyvalueDecode, text: &str) -> Result<Vec<Draft>, DecodeError> {
        KeyvalueDecoder::new(&config).decode(text.as_bytes())
    }

    fn pairs(text: &str) -> Vec<(String, Value)> {
        let drafts = decode(KeyvalueDecode::default(), text).unwrap();
        drafts.into_iter().map(|d| (d.name, d.value)).collect()
    }

    #[test]
    fn every_pair_is_a_reading() {
        let number = |text: &str| Value::Number(text.parse().unwrap());
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            pairs("t=21.5 h=40"),
            [("t".into(), number("21.5")), ("h".into(), number("40"))]
        );
        assert_eq!(
            pairs("OK, a=1;door=\"left open\" ,b=true, c=x=y ="),
            [
                ("a".into(), number("1")),
                ("door".into(), text("left open")),
                ("b".into(), Value::Boolean(true)),
                ("c".into(), text("x=y")),
            ]
        );
        assert_eq!(pairs("no pair at all"), []);
    }

    #[test]
    fn keys_can_identify_the_frame() {
        let config = KeyvalueDecode {
            device: Some("id".into()),
            time: Some("at".into()),
            time_unit: TimeUnit::Ms,
            seq: Some("seq".into()),
            epoch: Some("boot".into()),
        };
        let drafts = decode(config.clone(), "id=007 at=1795214340123 seq=9 boot=2 t=1").unwrap();
        let [draft] = &drafts[..] else { panic!("{drafts:?}") };
        assert_eq!(
            (draft.device.as_deref(), draft.sequence, draft.epoch),
            (Some("007"), Some(9), Some(2))
        );
        assert_eq!(draft.time.unwrap().as_millis(), 1_795_214_340_123);
        assert!(matches!(decode(config.clone(), "t=1"), Err(DecodeError::Missing { .. })));
        assert!(matches!(decode(config, "id=a seq=-1"), Err(DecodeError::Field { .. })));
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(decode(KeyvalueDecode::default(), "a=\"b").is_err());
    }
}
