//! What a sample becomes, for programs.

use proto::{TimeQuality, Value as Measured};
use serde_json::{Map, Value, json};

use super::text::hex;
use crate::config::Id;
use crate::explain::{Piece, Routed, Sample};
use crate::pipeline::{Explained, Gathered, LeftOut, Publish, Verdict, rfc3339_text};

pub(super) fn of(name: &Id, sample: &Sample, pieces: &[Piece]) -> Value {
    json!({
        "source": name.as_str(),
        "bytes": sample.bytes.len(),
        "pieces": pieces.iter().map(piece).collect::<Vec<_>>(),
    })
}

fn piece(piece: &Piece) -> Value {
    let mut object = Map::new();
    let mut insert = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    insert("from", json!(piece.span.start));
    insert("to", json!(piece.span.end));
    if let Some(frame) = &piece.frame {
        insert("frame", json!(hex(frame)));
    }
    match &piece.outcome {
        Ok(readings) => insert("readings", readings.iter().map(routed).collect()),
        Err(refused) => {
            insert("refused", json!(refused.reason));
            insert("why", json!(refused.why));
        }
    }
    Value::Object(object)
}

fn routed(routed: &Routed) -> Value {
    let reading = &routed.reading;
    let value = match &reading.value {
        Measured::Number(number) => {
            serde_json::from_str(&number.to_string()).unwrap_or(Value::Null)
        }
        Measured::Boolean(boolean) => json!(boolean),
        Measured::Text(text) => json!(text),
        Measured::Bytes(bytes) => json!(hex(bytes)),
    };
    let time_quality = match reading.time_quality {
        TimeQuality::Device => "device",
        TimeQuality::Gateway => "gateway",
        TimeQuality::Estimated => "estimated",
    };
    json!({
        "device": reading.device,
        "name": reading.name,
        "value": value,
        "unit": reading.unit,
        "time": rfc3339_text(reading.time),
        "time_quality": time_quality,
        "device_time": routed.told.map(rfc3339_text),
        "epoch": reading.epoch,
        "seq": reading.sequence,
        "routes": routed.routes.iter().map(route).collect::<Vec<_>>(),
    })
}

fn route(explained: &Explained) -> Value {
    match &explained.verdict {
        Verdict::NotTaken { key, wanted } => {
            json!({ "route": explained.route, "taken": false, "key": key, "wanted": wanted })
        }
        Verdict::Taken(publishes) => {
            let publishes = publishes.iter().map(|(broker, outcome)| match outcome {
                Ok(publish) => published(broker, publish),
                Err(why) => json!({ "broker": broker, "left_out": left_out(why) }),
            });
            let publishes: Vec<_> = publishes.collect();
            json!({ "route": explained.route, "taken": true, "publishes": publishes })
        }
        Verdict::Gathered(Ok(Gathered { due, names })) => json!({
            "route": explained.route,
            "taken": true,
            "gathered": { "names": names, "due": rfc3339_text(*due) },
        }),
        Verdict::Gathered(Err(why)) => {
            json!({ "route": explained.route, "taken": true, "left_out": left_out(why) })
        }
    }
}

fn left_out(why: &LeftOut) -> Value {
    match why {
        LeftOut::Meant(key) => json!({ "reason": key }),
        LeftOut::Failed(reason, why) => json!({ "reason": reason, "why": why }),
    }
}

fn published(broker: &str, publish: &Publish) -> Value {
    let (key, payload) = match std::str::from_utf8(&publish.payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_hex", hex(&publish.payload)),
    };
    json!({
        "broker": broker,
        "topic": publish.topic,
        key: payload,
        "qos": publish.qos as u8,
        "retain": publish.retain,
    })
}
