//! The last readings of every device, of all sources: what is shown and observed.
//!
//! Only what is on disk comes here: the source follows the store, and after a start it begins with
//! what the store still has for the de-duplication. "Last" is the order of the store, whatever
//! time a reading carries.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::coap::content_format::{SENML_CBOR, SENML_JSON};
use proto::coap::{Code, ETag, OptionNumber, Request, Response, Target};
use proto::senml::{self, MAX_RECORDS};
use proto::{Reading, Value};
use tokio::sync::watch;

use super::resources::{check_get, not_found};
use crate::store::Record;

/// Readings that are kept; the one that was stored first gives way.
const MAX_READINGS: usize = 4096;
/// Bytes of text in them; the same.
const MAX_BYTES: usize = 4 << 20;

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
}

/// The readings.
pub(super) struct Latest {
    kept: Mutex<Kept>,
    /// The number of the newest.
    newest: watch::Sender<u64>,
}

/// Every reading has the number that the store gave it.
#[derive(Default)]
struct Kept {
    by_number: BTreeMap<u64, Reading>,
    by_device: BTreeMap<String, BTreeMap<String, u64>>,
    bytes: usize,
}

impl Latest {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default(), newest: watch::Sender::new(0) }
    }

    /// Takes records in their order.
    pub(super) fn store(&self, records: impl IntoIterator<Item = impl Borrow<Record>>) {
        let mut kept = self.kept();
        for record in records {
            let record = record.borrow();
            if let Some(reading) = record.reading() {
                kept.insert(record.n, reading);
            }
        }
        let newest = kept.by_number.last_key_value().map_or(0, |(number, _)| *number);
        drop(kept);
        self.newest.send_replace(newest);
    }

    /// The number of the newest reading, and its changes.
    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Calls `see` with those that came after the one with the number `seen`.
    pub(super) fn since(&self, seen: u64, mut see: impl FnMut(&Reading)) {
        let kept = self.kept();
        for (_, reading) in kept.by_number.range(seen.saturating_add(1)..) {
            see(reading);
        }
    }

    /// The response to a request for a view.
    pub(super) fn show(&self, view: &View) -> Response {
        let kept = self.kept();
        let names = kept.by_device.get(&view.device);
        let wanted = |(name, _): &(&String, &u64)| view.name.as_ref().is_none_or(|n| n == *name);
        let numbers = names.into_iter().flatten().filter(wanted).map(|(_, number)| number);
        let readings = numbers.filter_map(|number| kept.by_number.get(number));
        let records: Vec<_> = readings.take(MAX_RECORDS).map(senml::Record::of_reading).collect();
        drop(kept);
        if records.is_empty() {
            return not_found();
        }
        let payload = match view.format {
            SENML_CBOR => senml::cbor::encode(&records),
            _ => senml::json::encode(&records).into_bytes(),
        };
        let etag = ETag::of(Some(view.format), &payload);
        Response::new(Code::CONTENT).etag(etag).content_format(view.format).payload(payload)
    }

    /// Whether a reading may take the place of the last one, which is in whichever format the
    /// client saw it; otherwise the 4.12 to answer (RFC 7252 §5.10.8).
    pub(super) fn check_conditions(
        &self,
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
            let last = self.show(&View { device, name, format });
            let target = match last.code {
                Code::CONTENT => Target::Present(last.options.etag()),
                _ => Target::Absent,
            };
            request.check_conditions(target)
        };
        check(SENML_JSON).or_else(|_| check(SENML_CBOR))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, number: u64, reading: &Reading) {
        let last = self.by_device.get_mut(&reading.device).and_then(|n| n.get_mut(&reading.name));
        if let Some(last) = last {
            let before = self.by_number.remove(last);
            self.bytes -= before.as_ref().map_or(0, size);
            *last = number;
        } else {
            let names = self.by_device.entry(reading.device.clone()).or_default();
            names.insert(reading.name.clone(), number);
        }
        self.bytes += size(reading);
        self.by_number.insert(number, reading.clone());
        while self.by_number.len() > MAX_READINGS || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.by_number.pop_first() else { return };
            self.bytes -= size(&oldest);
            if let Some(names) = self.by_device.get_mut(&oldest.device) {
                names.remove(&oldest.name);
                if names.is_empty() {
                    self.by_device.remove(&oldest.device);
                }
            }
        }
    }
}

fn size(reading: &Reading) -> usize {
    let unit = reading.unit.as_ref().map_or(0, String::len);
    let value = match &reading.value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Number(_) | Value::Boolean(_) => 0,
    };
    reading.device.len() + reading.name.len() + unit + value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::coap::Method;
    use proto::{TimeQuality, Timestamp};

    use crate::store::Content;

    fn record(n: u64, device: &str, name: &str, value: Value) -> Record {
        let reading = Reading {
            device: device.to_owned(),
            name: name.to_owned(),
            unit: None,
            value,
            time: Timestamp::from_nanos(1_732_198_755_000_000_000),
            time_quality: TimeQuality::Device,
            epoch: None,
            sequence: None,
        };
        let received = reading.time;
        let content = Content::Reading(reading);
        Record { n, source: "s".into(), content, received, origin: None, moment: None }
    }

    fn number(value: u64) -> Value {
        Value::Number(i64::try_from(value).unwrap().into())
    }

    fn shown(latest: &Latest, device: &str, name: Option<&str>) -> Option<String> {
        let view = View::of(&Request::new(Method::Get), device, name).unwrap();
        let response = latest.show(&view);
        response.code.is_success().then(|| String::from_utf8(response.payload).unwrap())
    }

    #[test]
    fn the_last_reading_is_shown_and_a_device_shows_all_of_them() {
        let latest = Latest::new();
        assert_eq!(shown(&latest, "a", Some("t")), None);
        latest.store(&[record(1, "a", "t", number(1)), record(2, "a", "u", number(2))]);
        latest.store(&[record(3, "a", "t", number(3)), record(4, "b", "t", number(4))]);
        let one = r#"[{"bn":"a/","n":"t","t":1732198755,"v":3}]"#.to_owned();
        assert_eq!(shown(&latest, "a", Some("t")), Some(one));
        let all = shown(&latest, "a", None).unwrap();
        assert!(all.contains(r#""v":3"#) && all.contains(r#""v":2"#), "{all}");
        assert!(!all.contains(r#""v":1"#) && !all.contains(r#""v":4"#), "{all}");
        let mut seen = Vec::new();
        latest.since(2, |reading| seen.push(reading.value.clone()));
        assert_eq!(seen, [number(3), number(4)]);
    }

    #[test]
    fn the_oldest_gives_way_at_either_limit() {
        let latest = Latest::new();
        let most = MAX_READINGS as u64;
        let many: Vec<_> =
            (0..=most).map(|n| record(n + 1, &format!("d{n}"), "t", number(n))).collect();
        latest.store(&many);
        assert_eq!(shown(&latest, "d0", None), None);
        assert!(shown(&latest, "d1", None).is_some());
        let long = || Value::Bytes(vec![0; MAX_BYTES / 2]);
        latest.store(&[record(most + 2, "x", "a", long()), record(most + 3, "x", "b", long())]);
        assert_eq!(shown(&latest, "x", Some("a")), None);
        assert!(shown(&latest, "x", Some("b")).is_some());
        let kept = latest.kept();
        assert_eq!((kept.by_number.len(), kept.by_device.len()), (1, 1));
        assert_eq!(kept.bytes, kept.by_number.values().map(size).sum::<usize>());
    }
}
