//! Rules of the ways in which devices are told: what an operation takes can be sent, as text, as bytes
//! or in registers.

mod coap;

use proto::Value;

use super::super::model::{Link, ModbusVia, Operation, RegisterOrder, SendVia, ValueRule, Via};
use super::super::tree::KeyPath;
use super::super::values::Filling;
use super::Checks;

/// What is wrong with how the operation at `path` is carried out.
pub(super) fn check(checks: &mut Checks<'_>, path: &KeyPath, operation: &Operation) {
    let via = path.key("via");
    let keys = [&via, &path.key("value"), &path.key("source")];
    if !checks.sound(keys) || !checks.findings.is_complete() {
        return;
    }
    if let Via::Coap(coap) = &operation.via {
        coap::check(checks, path, operation, coap);
    }
    if let Via::Send(send) = &operation.via {
        check_send(checks, path, operation, send);
    }
    if let Via::Modbus(modbus) = &operation.via {
        check_modbus(checks, path, operation, modbus);
    }
}

fn check_send(checks: &mut Checks<'_>, path: &KeyPath, operation: &Operation, send: &SendVia) {
    let via = path.key("via");
    let (key, has_value) = match (&send.text, &send.hex) {
        (Some(text), None) => ("text", text.has_value()),
        (None, Some(hex)) => ("hex", hex.has_value()),
        (None, None) => {
            let problem = checks
                .at_key(&via, "nothing is sent")
                .help("say what, such as `text = \"SET {value}\\r\\n\"` or `hex = \"aa {u8}\"`");
            return checks.findings.add(problem);
        }
        (Some(_), Some(_)) => {
            let problem = checks
                .at_key(&via.key("hex"), "`text` and `hex` cannot both be sent")
                .expected("expected one of them");
            return checks.findings.add(problem);
        }
    };
    let source = checks.config.sources.get(&operation.source);
    let is_udp = source.is_none_or(|source| matches!(source.link, Link::Udp(_)));
    let misplaced = [
        (
            "to",
            send.to.is_some() && !is_udp,
            "expected no such key: only a datagram goes somewhere",
        ),
        ("scale", send.scale.is_some() && key == "text", "expected no such key beside `text`"),
        (
            "decode",
            send.decode && send.expect.is_none() && send.refuse.is_none(),
            "expected `expect` or `refuse` beside it: without them there is no answer",
        ),
    ];
    for (name, is_wrong, expected) in misplaced {
        if is_wrong {
            let title = format!("`{name}` does not fit here");
            let problem = checks.at_key(&via.key(name), title).expected(expected);
            checks.findings.add(problem);
        }
    }
    if !has_value && !matches!(operation.value, ValueRule::None) {
        let problem = checks
            .at(&via.key(key), "the value is not sent")
            .expected("expected a field for it, such as {value} in `text` or {u16be} in `hex`")
            .help("remove `value` where the operation has none");
        return checks.findings.add(problem);
    }
    let fill = |value: Option<&Value>| {
        let filling = Filling { value, device: "device", id: "id", scale: send.scale };
        let text = send.text.as_ref().map(|text| text.fill(filling));
        text.or_else(|| send.hex.as_ref().map(|hex| hex.fill(filling)))
    };
    let samples = operation.value.samples();
    let wrong = samples.iter().find_map(|value| fill(value.as_ref())?.err());
    if let Some(why) = wrong {
        let problem = checks
            .at(&via.key(key), "what the operation takes cannot be sent")
            .expected(why.to_string())
            .note("the values that it takes are those of `value`");
        checks.findings.add(problem);
    }
}

fn check_modbus(checks: &mut Checks<'_>, path: &KeyPath, operation: &Operation, via: &ModbusVia) {
    let here = path.key("via");
    let source = checks.config.sources.get(&operation.source);
    if let (Some(unit), Some(source)) = (via.unit, source)
        && !source.units.keys().any(|known| known.get() == unit)
    {
        let problem = checks
            .at(&here.key("unit"), format!("the bus has no unit {unit}"))
            .help(format!("add a table [sources.{}.units.{unit}]", operation.source));
        checks.findings.add(problem);
    }
    if matches!(operation.value, ValueRule::None) {
        let problem = checks
            .at_key(&here, "there is nothing to write")
            .help("say what its value is, such as `value = { type = \"number\", integer = true }`");
        return checks.findings.add(problem);
    }
    let Some(point) = via.point(RegisterOrder::Abcd) else {
        let problem = checks
            .at(&here.key("at"), "there is no such register or coil")
            .expected("expected a coil without `holds`, or a register that what it `holds` fits below 65536")
            .help("a `string` needs its `length` in registers");
        return checks.findings.add(problem);
    };
    let samples = operation.value.samples();
    let wrong =
        samples.iter().flatten().find_map(|value| Some((value, via.request(&point, value).err()?)));
    if let Some((value, why)) = wrong {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Text(text) => format!("`{text}`"),
            Value::Bytes(_) => "bytes".to_owned(),
        };
        let problem = checks
            .at_key(&here, format!("{value}, which the operation takes, cannot be written"))
            .expected(why.to_string())
            .help("see `holds`, `scale` and `offset`, or narrow `value`");
        checks.findings.add(problem);
    }
}
