//! Rules of frames: what cannot be in one together.

use proto::frame::{Check, TemplateLength};

use super::super::model::{
    DelimitedFrame, Frame, LengthPrefixedFrame, Link, Source, TemplateFrame,
};
use super::super::report::Problem;
use super::super::tree::KeyPath;
use super::Checks;

/// What is wrong with the frame of the source at `path`.
pub(super) fn check(checks: &mut Checks<'_>, path: &KeyPath, source: &Source) {
    let path = path.key("frame");
    let Some(frame) = &source.frame else { return };
    check_link(checks, &path, &source.link, frame);
    match frame {
        Frame::Delimited(delimited) => check_delimited(checks, &path, delimited),
        Frame::LengthPrefixed(prefixed) => check_prefixed(checks, &path, prefixed),
        Frame::Template(template) => check_template(checks, &path, template),
        Frame::Lines(_)
        | Frame::Datagram(_)
        | Frame::Fixed(_)
        | Frame::Cobs(_)
        | Frame::Slip(_)
        | Frame::Hdlc(_)
        | Frame::ModbusRtu(_)
        | Frame::Chunk(_) => {}
    }
}

fn check_link(checks: &mut Checks<'_>, path: &KeyPath, link: &Link, frame: &Frame) {
    let problem = match (link, frame) {
        (Link::Serial(_) | Link::Tcp(_) | Link::TcpClient(_), Frame::Datagram(_)) => checks
            .at(&path.key("type"), "frames of type `datagram` need a udp link")
            .expected("expected `lines`: a stream of bytes has no datagrams")
            .help("`chunk` takes what comes without a pause"),
        (Link::Udp(_), Frame::Chunk(_)) => checks
            .at(&path.key("type"), "frames of type `chunk` need a stream of bytes")
            .expected("expected `datagram`: what arrives together on a udp link is one"),
        _ => return,
    };
    checks.findings.add(problem);
}

fn check_delimited(checks: &mut Checks<'_>, path: &KeyPath, delimited: &DelimitedFrame) {
    let (start, end, max) = (path.key("start"), path.key("end"), path.key("max"));
    if !checks.sound([&start, &end, &max, &path.key("tail")]) {
        return;
    }
    if delimited.start.as_ref() == Some(&delimited.end) {
        let problem = checks
            .at(&start, "start and end of a frame are the same")
            .expected("expected two that can be told apart")
            .help("leave `start` out where the same bytes stand between frames");
        checks.findings.add(problem);
    }
    let start = delimited.start.as_ref().map_or(0, |start| start.bytes().len());
    let least = start + delimited.end.bytes().len() + usize::from(delimited.tail);
    check_max(checks, &max, path, least, delimited.max.bytes());
}

fn check_prefixed(checks: &mut Checks<'_>, path: &KeyPath, prefixed: &LengthPrefixedFrame) {
    let (header, max) = (path.key("header"), path.key("max"));
    if !checks.sound([&header, &max, &path.key("at"), &path.key("bytes")]) {
        return;
    }
    let length = prefixed.length();
    if length.header < length.at + length.width {
        let problem = header_problem(checks, &header, length.at + length.width);
        checks.findings.add(problem);
    }
    check_max(checks, &max, path, length.header, prefixed.max.bytes());
}

fn check_template(checks: &mut Checks<'_>, path: &KeyPath, template: &TemplateFrame) {
    let keys = ["start", "end", "max", "length", "check"].map(|key| path.key(key));
    let inner = ["fixed", "at", "bytes", "header"].map(|key| path.key("length").key(key));
    let of_check = ["type", "from", "to", "at"].map(|key| path.key("check").key(key));
    if !checks.sound(keys.iter().chain(&inner).chain(&of_check)) {
        return;
    }
    let length = path.key("length");
    let max = usize::try_from(template.max.bytes()).unwrap_or(usize::MAX);
    let start = template.start.bytes().len();
    let end = template.end.as_ref().map_or(0, |end| end.bytes().len());
    let check = template.check.as_ref().map(|check| check.check());
    let width = check.map_or(0, |check| check.checksum.width());
    match template.length.length() {
        None => {
            let problem = checks
                .at_key(&length, "the length of a frame is not clear")
                .expected("expected `fixed` alone, or `at` and `bytes`")
                .help("such as `length = { fixed = 10 }` or `length = { at = 2, bytes = 2 }`");
            checks.findings.add(problem);
        }
        Some(TemplateLength::Fixed(fixed)) if fixed < start + width + end => {
            let problem = checks
                .at(&length.key("fixed"), "start, checksum and end have no room in the frame")
                .expected(format!("expected {} or more", start + width + end));
            checks.findings.add(problem);
        }
        Some(TemplateLength::Fixed(fixed)) => check_max(checks, &path.key("max"), path, fixed, max),
        Some(TemplateLength::Coded(field)) if field.at < start => {
            let problem = checks
                .at(&length.key("at"), "the length stands in the start bytes")
                .expected(format!("expected {start} or more"));
            checks.findings.add(problem);
        }
        Some(TemplateLength::Coded(field)) if field.header < field.at + field.width => {
            let problem = header_problem(checks, &length.key("header"), field.at + field.width);
            checks.findings.add(problem);
        }
        Some(TemplateLength::Coded(field)) => {
            check_max(checks, &path.key("max"), path, field.header + end, max);
        }
    }
    if let Some((key, title, expected)) =
        check.and_then(|check| check_problem(check, template.length.length(), end))
    {
        let problem = checks.at(&path.key("check").key(key), title).expected(expected);
        checks.findings.add(problem);
    }
}

/// What is wrong with a checksum, and at which key.
fn check_problem(
    check: Check,
    length: Option<TemplateLength>,
    end: usize,
) -> Option<(&'static str, &'static str, String)> {
    let width = i32::try_from(check.checksum.width()).unwrap_or(i32::MAX);
    let end = i32::try_from(end).unwrap_or(i32::MAX);
    let fixed = match length {
        Some(TemplateLength::Fixed(fixed)) => i32::try_from(fixed).ok(),
        Some(TemplateLength::Coded(_)) | None => None,
    };
    // Where the length is known, all places can be compared; else those that count from one side.
    let place = |place: i32| fixed.map_or(place, |len| if place < 0 { len + place } else { place });
    let comparable = |a: i32, b: i32| fixed.is_some() || (a < 0) == (b < 0);
    let (from, to, at) = (place(check.from), place(check.to), place(check.at));
    if fixed.is_some_and(|len| from < 0 || from >= len) {
        return Some(("from", "this place is not in the frame", places(fixed)));
    }
    if fixed.is_some_and(|len| to < 0 || to > len) {
        return Some(("to", "this place is not in the frame", places(fixed)));
    }
    if comparable(check.from, check.to) && from >= to {
        let expected = format!("expected a place behind `from`, which is {}", check.from);
        return Some(("to", "the checksum covers nothing", expected));
    }
    let is_before_end = match fixed {
        Some(len) => at >= 0 && at + width + end <= len,
        None => check.at >= 0 || check.at + width + end <= 0,
    };
    if !is_before_end {
        let expected = match end {
            0 => format!("expected {width} bytes for it, such as `at = -{width}`"),
            _ => format!(
                "expected {width} bytes for it before the end bytes, such as `at = -{}`",
                width + end
            ),
        };
        return Some(("at", "the checksum has no room there", expected));
    }
    let behind_from =
        if comparable(check.from, check.at) { at + width > from } else { check.at < 0 };
    let before_to = if comparable(check.to, check.at) { at < to } else { check.at >= 0 };
    (behind_from && before_to).then(|| {
        let expected = "expected a place outside of `from` to `to`".to_owned();
        ("at", "the checksum covers itself", expected)
    })
}

fn places(fixed: Option<i32>) -> String {
    let len = fixed.unwrap_or_default();
    format!("expected a place in its {len} bytes: 0 to {len}, or -{len} to -1 from its end")
}

fn header_problem(checks: &Checks<'_>, header: &KeyPath, least: usize) -> Problem {
    checks
        .at(header, "the length stands behind its header")
        .expected(format!("expected {least} or more, so that the length is in it"))
}

/// A frame that has `least` bytes must be allowed.
fn check_max(
    checks: &mut Checks<'_>,
    max: &KeyPath,
    frame: &KeyPath,
    least: usize,
    allowed: usize,
) {
    if least <= allowed {
        return;
    }
    let is_written = checks.whole.get(max).is_some();
    let problem = match is_written {
        true => checks.at(max, "no frame is as short as that"),
        false => {
            checks.at_key(frame, format!("no frame is as short as its `max` of {allowed} bytes"))
        }
    };
    checks.findings.add(problem.expected(format!("expected {least} bytes or more in `max`")));
}
