//! Rules of the `binary` decoder: what fits a type, and what has room in a frame.

use std::collections::{BTreeMap, BTreeSet};

use proto::binary::Kind;

use super::super::model::{
    BinaryDecode, BinaryField, BinaryItems, BinaryType, BinaryWhen, Frame, Source, TemplateFrame,
};
use super::super::report::Problem;
use super::super::tree::KeyPath;
use super::super::words::all_of;
use super::Checks;

/// What is wrong with the decoder at `path`, whose frames come from `source`.
pub(super) fn check(
    checks: &mut Checks<'_>,
    path: &KeyPath,
    source: &Source,
    decode: &BinaryDecode,
) {
    if !checks.sound([path]) {
        return;
    }
    let len = source.frame.as_ref().and_then(fixed_length);
    let room = Room { of: "a frame", len };
    let fields = path.key("fields");
    let mut names = BTreeSet::new();
    check_fields(checks, &fields, &decode.fields, &mut names, room);
    let mut known = BTreeMap::new();
    for (index, message) in decode.messages.iter().enumerate() {
        let path = path.key("messages").index(index);
        check_kind(checks, &path, (&message.when, "frames"), &mut known, room);
        check_fields(checks, &path.key("fields"), &message.fields, &mut names.clone(), room);
    }
    if let Some(items) = &decode.items {
        check_items(checks, &path.key("items"), items);
    }
    check_roles(checks, path, decode);
    let in_items = decode.items.iter().flat_map(|items| &items.kinds);
    let is_any = in_items.flat_map(|kind| &kind.fields).next().is_some()
        || !decode.fields.is_empty()
        || decode.messages.iter().any(|message| !message.fields.is_empty());
    if !is_any && checks.findings.is_complete() {
        let problem = checks
            .at_key(path, format!("`{path}` has no fields: no frame would be a reading"))
            .help("add one, such as `fields = [{ name = \"temp\", at = 0, type = \"i16\", scale = 0.1 }]`");
        checks.findings.add(problem);
    }
}

/// Each item is of a kind that can be told, and of a length that is said once.
fn check_items(checks: &mut Checks<'_>, path: &KeyPath, items: &BinaryItems) {
    let mut known = BTreeMap::new();
    for (index, kind) in items.kinds.iter().enumerate() {
        let path = path.key("kinds").index(index);
        let (size, problem) = (
            path.key("size"),
            match (kind.size, items.length) {
                (None, None) => Some("how many bytes the item has, or `length` beside `kinds`"),
                (Some(0), _) => Some("1 to 65535"),
                (Some(_), Some(_)) => Some("no such key: `length` says it"),
                _ => None,
            },
        );
        if let Some(expected) = problem {
            let problem = checks.at_key(&size, "the size of these items is not said once");
            let problem = problem.expected(format!("expected {expected}"));
            checks.findings.add(problem);
        }
        let len = kind.size.filter(|size| *size > 0).map(i32::from);
        let room = Room { of: "an item", len };
        check_kind(checks, &path, (&kind.when, "items"), &mut known, room);
        check_fields(checks, &path.key("fields"), &kind.fields, &mut BTreeSet::new(), room);
        if let Some(channel) = items.channel.filter(|at| len.is_some_and(|len| len <= (*at).into()))
        {
            let problem = checks
                .at(&size, format!("there is no byte {channel} in it for the channel"))
                .expected(format!("expected {} or more", i32::from(channel) + 1));
            checks.findings.add(problem);
        }
    }
}

/// A kind is told by something that is possible, and by which no other is told.
fn check_kind(
    checks: &mut Checks<'_>,
    path: &KeyPath,
    (when, what): (&BinaryWhen, &str),
    known: &mut BTreeMap<(i16, u8, i64), KeyPath>,
    room: Room,
) {
    check_when(checks, &path.key("when"), when, room);
    if let Some(earlier) = known.insert((when.at, when.kind as u8, when.equals), path.clone()) {
        let problem = checks
            .at_key(&path.key("when"), format!("another kind of {what} is told by the same"))
            .note(format!("the other one is {earlier} ({})", checks.origin(&earlier)));
        checks.findings.add(problem);
    }
}

/// What fields are in, and how long it is, where that is known.
#[derive(Clone, Copy)]
struct Room {
    of: &'static str,
    len: Option<i32>,
}

/// How long every frame is, where the configuration says so.
fn fixed_length(frame: &Frame) -> Option<i32> {
    match frame {
        Frame::Fixed(fixed) => i32::try_from(fixed.size.bytes()).ok(),
        Frame::Template(TemplateFrame { length, strip: false, .. }) => length.fixed.map(i32::from),
        Frame::Template(_)
        | Frame::Lines(_)
        | Frame::Datagram(_)
        | Frame::Delimited(_)
        | Frame::LengthPrefixed(_)
        | Frame::Cobs(_)
        | Frame::Slip(_)
        | Frame::Hdlc(_)
        | Frame::ModbusRtu(_)
        | Frame::Sml(_)
        | Frame::VeDirect(_)
        | Frame::Chunk(_) => None,
    }
}

fn check_fields<'a>(
    checks: &mut Checks<'_>,
    path: &KeyPath,
    fields: &'a [BinaryField],
    names: &mut BTreeSet<&'a str>,
    room: Room,
) {
    for (index, field) in fields.iter().enumerate() {
        let path = path.index(index);
        if !names.insert(&field.name) {
            let title = format!("the field `{}` is there twice", field.name);
            let problem =
                checks.at(&path.key("name"), title).expected("expected each name once in a frame");
            checks.findings.add(problem);
        }
        check_field(checks, &path, field);
        let kind = field.kind.kind(field.bytes);
        check_place(checks, &path.key("at"), field.at, kind, room);
    }
}

fn check_field(checks: &mut Checks<'_>, path: &KeyPath, field: &BinaryField) {
    let kind = field.kind.kind(field.bytes);
    let kinds = Fit::of(kind);
    let at_most_8 = matches!(kind, Kind::Bcd(_) | Kind::Boolean(_));
    if field.bytes.is_some() && (kinds.number && !at_most_8) {
        refuse(checks, path, "bytes", field, "bcd, bool, text, hex and bytes");
    } else if at_most_8 && field.bytes.is_some_and(|bytes| bytes > 8) {
        let problem = checks
            .at(&path.key("bytes"), "too many bytes for this type")
            .expected("expected 1 to 8");
        checks.findings.add(problem);
    } else if matches!(kind, Kind::Bcd(_)) && field.bytes.is_none() {
        let problem = checks
            .at(&path.key("type"), "a bcd needs the key `bytes`")
            .expected("expected `bytes` beside it: how many bytes it takes");
        checks.findings.add(problem);
    }
    let is_bits = field.bit.is_some() || field.bits.is_some();
    for (key, is_there, fits, what) in [
        ("bit", field.bit.is_some(), kinds.bits, "an integer or bool"),
        ("bits", field.bits.is_some(), kinds.bits, "an integer or bool"),
        ("scale", field.scale.is_some(), kinds.number, "a number"),
        ("offset", field.offset.is_some(), kinds.number, "a number"),
        ("absent", !field.absent.is_empty(), kinds.absent, "a number, bool or hex"),
        ("values", !field.values.is_empty(), kinds.integer, "an integer"),
        ("endian", field.endian.is_some(), kinds.number || kinds.bits, "a number or bool"),
    ] {
        if is_there && !fits {
            refuse(checks, path, key, field, what);
        }
    }
    if is_bits && kinds.bits {
        check_bits(checks, path, field, kind);
    }
    let is_scaled = field.scale.is_some() || field.offset.is_some();
    if is_scaled && !field.values.is_empty() {
        let key = if field.scale.is_some() { "scale" } else { "offset" };
        let problem = checks
            .at_key(&path.key(key), format!("`{key}` does not fit `values`"))
            .expected("expected one of both: what has a meaning is no number");
        checks.findings.add(problem);
    }
    if field.scale.is_some_and(|scale| scale.number().mantissa() == 0) {
        let problem = checks
            .at(&path.key("scale"), "a scale of 0 makes every value the same")
            .expected("expected another number");
        checks.findings.add(problem);
    }
    if kinds.absent && !matches!(kind, Kind::Float32 | Kind::Float64) {
        check_codes(checks, path, field, kind);
    }
}

/// What keys a type can have.
struct Fit {
    number: bool,
    integer: bool,
    bits: bool,
    absent: bool,
}

impl Fit {
    const fn of(kind: Kind) -> Self {
        let integer = matches!(kind, Kind::Unsigned(_) | Kind::Signed(_) | Kind::Bcd(_));
        let number = integer || matches!(kind, Kind::Float32 | Kind::Float64);
        let boolean = matches!(kind, Kind::Boolean(_));
        let bits = matches!(kind, Kind::Unsigned(_) | Kind::Signed(_)) || boolean;
        let hex = matches!(kind, Kind::Hex(Some(0..=8)));
        Self { number, integer, bits, absent: number || boolean || hex }
    }
}

fn refuse(checks: &mut Checks<'_>, path: &KeyPath, key: &str, field: &BinaryField, what: &str) {
    let kind = format!("{:?}", field.kind).to_lowercase();
    let mut problem = checks
        .at_key(&path.key(key), format!("`{key}` does not fit the type `{kind}`"))
        .expected(format!("expected no such key: it is for {what}"));
    if key == "absent" && matches!(field.kind, BinaryType::Hex) {
        problem = problem.help("say with `bytes` how long it is, 8 or less");
    }
    checks.findings.add(problem);
}

fn check_bits(checks: &mut Checks<'_>, path: &KeyPath, field: &BinaryField, kind: Kind) {
    let all = kind.width().unwrap_or(0) * 8;
    let (first, count) = (field.bit.unwrap_or(0), field.bits.unwrap_or(1));
    let end = usize::from(first) + usize::from(count);
    if end > all {
        let key = if field.bits.is_some() { "bits" } else { "bit" };
        let problem = checks
            .at(&path.key(key), format!("bits {first} to {} are not in it", end - 1))
            .expected(format!("expected bits within 0 to {}", all - all.min(1)));
        checks.findings.add(problem);
    }
}

/// What stands for no value, or has a meaning, must be possible.
fn check_codes(checks: &mut Checks<'_>, path: &KeyPath, field: &BinaryField, kind: Kind) {
    let bytes = kind.width().unwrap_or(8).min(8);
    let width = match (field.bit, field.bits) {
        (None, None) => u32::try_from(bytes * 8).unwrap_or(64),
        (_, count) => count.unwrap_or(1).into(),
    };
    let fits = |code: i64| {
        let code = i128::from(code);
        -(1_i128 << (width.max(1) - 1)) <= code && code < 1_i128 << width
    };
    for (index, &code) in field.absent.iter().enumerate() {
        if !fits(code) {
            let problem = checks
                .at(&path.key("absent").index(index), "no value is ever this")
                .expected(format!("expected what {width} bits can hold"));
            checks.findings.add(problem);
        }
    }
    for code in field.values.keys().filter(|code| !fits(code.integer())) {
        let problem = checks
            .at_key(&path.key("values"), format!("no value is ever {code}"))
            .expected(format!("expected what {width} bits can hold"));
        checks.findings.add(problem);
    }
}

/// A field has room in the frame.
fn check_place(checks: &mut Checks<'_>, path: &KeyPath, at: i16, kind: Kind, room: Room) {
    let at = i32::from(at);
    let width = kind.width().and_then(|width| i32::try_from(width).ok()).unwrap_or(1);
    let problem = match room.len {
        Some(len) if at + width > len || at < -len || (at < 0 && at + width > 0) => {
            let last = (len - width).max(0);
            checks
                .at(
                    path,
                    format!("there is no room for {} in {} of {len} bytes", count(width), room.of),
                )
                .expected(format!("expected a place from 0 to {last}, or from -{len} to -{width}"))
        }
        None if at < 0 && at + width > 0 => checks
            .at(path, format!("there is no room for {} before the end", count(width)))
            .expected(format!("expected -{width} or less")),
        _ => return,
    };
    checks.findings.add(problem);
}

fn count(bytes: i32) -> String {
    if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") }
}

fn check_when(checks: &mut Checks<'_>, path: &KeyPath, when: &BinaryWhen, room: Room) {
    let kind = when.kind.kind(None);
    if !matches!(kind, Kind::Unsigned(_) | Kind::Signed(_)) {
        let problem = checks
            .at(&path.key("type"), "kinds of frames are told by an integer")
            .expected("expected u8 to u64, or i8 to i64");
        checks.findings.add(problem);
        return;
    }
    check_place(checks, &path.key("at"), when.at, kind, room);
    let bits = u32::try_from(kind.width().unwrap_or(8) * 8).unwrap_or(64);
    let equals = i128::from(when.equals);
    if equals < -(1_i128 << (bits - 1)) || equals >= 1_i128 << bits {
        let problem = checks
            .at(&path.key("equals"), "no frame ever has this")
            .expected(format!("expected what {bits} bits can hold"))
            .help("`type` says how wide the integer is; it is a u8 where nothing else is said");
        checks.findings.add(problem);
    }
}

/// A field that identifies must be there, and of a type that can.
fn check_roles(checks: &mut Checks<'_>, path: &KeyPath, decode: &BinaryDecode) {
    let fields = || decode.fields.iter().chain(decode.messages.iter().flat_map(|m| &m.fields));
    let names: BTreeSet<&str> = fields().map(|field| field.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, name) in [
        ("device", &decode.device),
        ("time", &decode.time),
        ("seq", &decode.seq),
        ("epoch", &decode.epoch),
    ] {
        let Some(name) = name else { continue };
        let problem = match fields().find(|field| field.name == *name) {
            None if names.is_empty() => continue,
            None => not_there(checks, &path.key(key), name, &names),
            Some(field) if !can_be(key, field) => checks
                .at(&path.key(key), format!("the field `{name}` cannot be this"))
                .expected(match key {
                    "device" => "expected an integer, bcd, text or hex",
                    "time" => "expected a number",
                    _ => "expected an integer without `scale`, `offset` and `values`",
                }),
            Some(_) => match taken.insert(name, key) {
                Some(other) => checks
                    .at(&path.key(key), format!("the field `{name}` is `{other}` already"))
                    .expected("expected a field for each"),
                None => continue,
            },
        };
        checks.findings.add(problem);
    }
}

fn not_there(checks: &Checks<'_>, path: &KeyPath, name: &str, names: &[&str]) -> Problem {
    checks
        .at(path, format!("the field `{name}` does not exist"))
        .expected(format!("expected the name of a field: {}", all_of(names)))
}

fn can_be(key: &str, field: &BinaryField) -> bool {
    let kind = field.kind.kind(field.bytes);
    let fit = Fit::of(kind);
    match key {
        "device" => fit.integer || matches!(kind, Kind::Text(_) | Kind::Hex(_)),
        "time" => fit.number && field.values.is_empty(),
        _ => {
            let is_plain = field.scale.is_none() && field.offset.is_none();
            fit.integer && is_plain && field.values.is_empty()
        }
    }
}
