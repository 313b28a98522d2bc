//! Rules of Modbus: one bus, units that can be on it, registers that exist and names that are there
//! once.

use std::collections::BTreeMap;

use proto::modbus::{Format, Read};

use super::super::model::{
    BusPlace, Link, ModbusLink, ModbusUnit, Register, RegisterTable, RegisterType, Source,
};
use super::super::tree::KeyPath;
use super::super::values::Id;
use super::super::words::all_of;
use super::{Checks, Problem};

/// The highest address on a serial line ("MODBUS over Serial Line" V1.02 §2.2); 0 is for all units,
/// and none of them answers.
const MAX_LINE_ADDRESS: u8 = 247;

/// Checks the units of a source, or that it has none.
pub(super) fn check(checks: &mut Checks<'_>, id: &Id, path: &KeyPath, source: &Source) {
    let Link::Modbus(link) = &source.link else {
        if !source.units.is_empty() {
            let problem = checks
                .at_key(&path.key("units"), "`units` need a modbus link")
                .expected("expected no such key: only a modbus link has units");
            checks.findings.add(problem);
        }
        return;
    };
    if source.device.is_some() {
        let problem = checks
            .at_key(&path.key("device"), "`device` does not fit a modbus link")
            .expected("expected a name for each unit: `units.ADDRESS.device`");
        checks.findings.add(problem);
    }
    check_link(checks, &path.key("link"), link);
    let units = path.key("units");
    if source.units.is_empty() && checks.findings.is_complete() && checks.sound([&units]) {
        let problem = checks
            .at_key(path, format!("missing key `units` in `{path}`"))
            .help("say what is read, such as `units.1.registers.voltage = { at = 0 }`");
        checks.findings.add(problem);
    }
    // Names of readings by device: two units may be parts of one.
    let mut names: BTreeMap<(String, &str), KeyPath> = BTreeMap::new();
    for (address, unit) in &source.units {
        let here = units.key(&address.to_string());
        let is_address = (1..=MAX_LINE_ADDRESS).contains(&address.get());
        if !is_address && !matches!(link.place(), None | Some(BusPlace::Tcp(_))) {
            let problem = checks
                .at_key(&here, format!("no unit has the address {address} on a serial line"))
                .expected(format!("expected 1 to {MAX_LINE_ADDRESS}"));
            checks.findings.add(problem);
        }
        let registers = here.key("registers");
        if unit.registers.is_empty() && checks.findings.is_complete() && checks.sound([&registers])
        {
            let problem = checks
                .at_key(&here, format!("missing key `registers` in `{here}`"))
                .help("say what is read, such as `registers.voltage = { at = 0 }`");
            checks.findings.add(problem);
        }
        let device = unit.device.clone().unwrap_or_else(|| format!("{id}-{address}"));
        for (key, register) in &unit.registers {
            let at = registers.key(key.as_str());
            check_register(checks, &at, unit, register);
            let name = register.name.as_deref().unwrap_or(key.as_str());
            match names.get(&(device.clone(), name)) {
                Some(other) if checks.sound([&at, other]) => {
                    let title = format!("the reading `{name}` of `{device}` is there twice");
                    let place = if register.name.is_some() { at.key("name") } else { at };
                    let problem = checks
                        .at(&place, title)
                        .note(format!("the other one is {other} ({})", checks.origin(other)));
                    checks.findings.add(problem);
                }
                Some(_) => {}
                None => drop(names.insert((device.clone(), name), at)),
            }
        }
    }
}

/// There is one bus, and what is said about its line needs one.
fn check_link(checks: &mut Checks<'_>, path: &KeyPath, link: &ModbusLink) {
    let places = [
        ("tcp", link.tcp.is_some()),
        ("rtu_over_tcp", link.rtu_over_tcp.is_some()),
        ("serial", link.serial.is_some()),
    ];
    let keys = places.map(|(key, _)| path.key(key));
    if !checks.sound(&keys) {
        return;
    }
    let named: Vec<_> = places.iter().filter(|(_, is_there)| *is_there).map(|(k, _)| *k).collect();
    let expected = "expected one of `tcp`, `rtu_over_tcp` and `serial`: a source is one bus";
    match named.as_slice() {
        [] if checks.findings.is_complete() => {
            let problem = checks.at(path, "this link leads nowhere").expected(expected);
            checks.findings.add(problem);
        }
        [_, second, ..] => {
            let title = format!("a bus cannot be at {} at once", all_of(&named));
            let problem = checks.at_key(&path.key(second), title).expected(expected);
            checks.findings.add(problem);
        }
        [] | [_] => {}
    }
    if link.serial.is_none() && !named.is_empty() {
        let of_a_line = [
            ("baud", link.baud.is_some()),
            ("parity", link.parity.is_some()),
            ("stop_bits", link.stop_bits.is_some()),
            ("rs485", link.rs485.is_some()),
        ];
        for (key, is_there) in of_a_line {
            let place = path.key(key);
            if is_there {
                let problem = checks
                    .at_key(&place, format!("`{key}` needs the key `serial`"))
                    .expected("expected no such key: the converter has the line, and its settings");
                checks.findings.add(problem);
            }
        }
    }
}

fn check_register(checks: &mut Checks<'_>, at: &KeyPath, unit: &ModbusUnit, register: &Register) {
    if !checks.sound([at]) {
        return;
    }
    let Some(format) = register.format() else {
        let problem = contradiction(checks, at, register);
        checks.findings.add(problem);
        return;
    };
    let count = format.count();
    if Read::new(register.table(), register.at, count).is_none() {
        let last = u32::from(register.at) + u32::from(count) - 1;
        let problem = checks
            .at(&at.key("at"), format!("its last register is {last}, and there is none"))
            .expected(format!(
                "expected at most {} for {count} registers",
                65_536 - u32::from(count)
            ));
        checks.findings.add(problem);
    }
    if !register.table().is_bits() && count > unit.max_read {
        let key = if register.length.is_some() { "length" } else { "type" };
        let title = format!("it takes {count} registers, and `max_read` is {}", unit.max_read);
        let problem = checks
            .at(&at.key(key), title)
            .expected("expected no more than one request reads: a value in halves can be wrong");
        checks.findings.add(problem);
    }
    let is_integer = !matches!(
        format,
        Format::Bool | Format::Bit(_) | Format::Text(_) | Format::F32 | Format::F64
    );
    let is_number = is_integer || matches!(format, Format::F32 | Format::F64);
    let has_meanings = !register.values.is_empty();
    for (key, is_there, fits, of) in [
        ("scale", register.scale.is_some(), is_number && !has_meanings, "a number"),
        ("offset", register.offset.is_some(), is_number && !has_meanings, "a number"),
        ("values", has_meanings, is_integer, "an integer"),
    ] {
        if is_there && !fits {
            let and = if has_meanings && key != "values" { " without `values`" } else { "" };
            let problem = checks
                .at_key(&at.key(key), format!("`{key}` needs {of}{and}"))
                .expected("expected no such key: see `type` and `table`");
            checks.findings.add(problem);
        }
    }
}

/// Why keys of a register do not fit each other.
fn contradiction(checks: &Checks<'_>, at: &KeyPath, register: &Register) -> Problem {
    let is_bits = register.table().is_bits();
    let table = match register.table {
        RegisterTable::Coil => "coil",
        RegisterTable::Discrete => "discrete input",
        RegisterTable::Holding | RegisterTable::Input => "register",
    };
    match (register.kind, register.bit, register.length) {
        (Some(kind), _, _) if is_bits && kind != RegisterType::Bool => checks
            .at(&at.key("type"), format!("a {table} holds one bit"))
            .expected("expected `bool`, or a `table` of registers: `holding` or `input`"),
        (_, Some(_), _) if is_bits => checks
            .at_key(&at.key("bit"), format!("a {table} holds one bit"))
            .expected("expected no such key: `bit` is for registers"),
        (Some(RegisterType::Bool), None, _) => checks
            .at(&at.key("type"), "a register holds 16 bits")
            .expected("expected the key `bit` beside it: which of them is wanted"),
        (Some(RegisterType::String), _, None) => checks
            .at(&at.key("type"), "a string needs the key `length`")
            .expected("expected `length` beside it: how many registers it takes"),
        (Some(RegisterType::String) | None, Some(_), Some(_)) | (_, Some(_), None) => checks
            .at_key(&at.key("bit"), "`bit` is of one register")
            .expected("expected no `type` beside it but `bool`, and no `length`"),
        _ => checks
            .at_key(&at.key("length"), "`length` is of a string")
            .expected("expected `type = \"string\"` beside it"),
    }
}
