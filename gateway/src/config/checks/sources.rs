//! Rules of sources: what fits their link, and what two of them cannot share.

mod polled;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::super::model::{CsvDecode, Decode, HttpLink, JsonDecode, Link, Source, UdpLink};
use super::super::tree::{KeyPath, Step};
use super::super::words::all_of;
use super::{Checks, Problem, binary, frames, modbus};

/// A protocol with port numbers of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Udp,
    Tcp,
}

/// What a source takes for itself.
enum Claim<'a> {
    Address(Protocol, SocketAddr),
    Port(&'a std::path::Path),
}

pub(super) fn check(checks: &mut Checks<'_>) {
    let mut claims: Vec<(KeyPath, Claim<'_>)> = Vec::new();
    for (id, source) in &checks.config.sources {
        let path = KeyPath::of(["sources", id.as_str()]);
        check_parts(checks, &path, source);
        frames::check(checks, &path, source);
        modbus::check(checks, id, &path, source);
        match &source.decode {
            Some(Decode::Csv(csv)) => check_columns(checks, &path.key("decode"), csv),
            Some(Decode::Json(json)) => check_paths(checks, &path.key("decode"), json),
            Some(Decode::Link(_)) => check_link_protocol(checks, &path, source),
            Some(Decode::Binary(decode)) => {
                binary::check(checks, &path.key("decode"), source, decode);
            }
            Some(
                Decode::Senml(_)
                | Decode::Keyvalue(_)
                | Decode::Value(_)
                | Decode::Influx(_)
                | Decode::Statsd(_)
                | Decode::Nmea(_)
                | Decode::Dsmr(_)
                | Decode::Sml(_)
                | Decode::MBus(_)
                | Decode::VeDirect(_)
                | Decode::Coiot(_)
                | Decode::Gwmp(_)
                | Decode::Rtl433(_),
            )
            | None => {}
        }
        let link = path.key("link");
        match &source.link {
            Link::Serial(serial) => claims.push((link.key("path"), Claim::Port(&serial.path))),
            Link::Udp(udp) => {
                check_groups(checks, &link, udp);
                check_udp_poll(checks, &link, udp);
                claims.push((link.key("bind"), Claim::Address(Protocol::Udp, udp.bind)));
            }
            Link::Tcp(tcp) => {
                claims.push((link.key("bind"), Claim::Address(Protocol::Tcp, tcp.bind)));
            }
            Link::TcpClient(_) => {}
            Link::Http(http) => {
                check_token(checks, &link, http);
                claims.push((link.key("bind"), Claim::Address(Protocol::Tcp, http.bind)));
            }
            Link::Modbus(modbus) => {
                let port = modbus.serial.as_deref().map(Claim::Port);
                claims.extend(port.map(|port| (link.key("serial"), port)));
            }
            Link::Coap(coap) => {
                let written = checks.whole.get(&link.key("bind")).is_some();
                for (index, address) in coap.bind.iter().enumerate() {
                    let bind = match written {
                        true => link.key("bind").index(index),
                        false => link.clone(),
                    };
                    claims.push((bind, Claim::Address(Protocol::Udp, *address)));
                }
                if let Some(ps) = &coap.ps {
                    checks.check_broker(&link.key("ps").key("broker"), ps.broker.as_str());
                }
                for (index, address) in coap.tcp.iter().enumerate() {
                    let bind = link.key("tcp").index(index);
                    claims.push((bind, Claim::Address(Protocol::Tcp, *address)));
                }
                let uploads = link.key("uploads");
                if coap.uploads.is_some()
                    && coap.files.is_none()
                    && checks.sound([&link.key("files"), &uploads])
                {
                    let problem = checks
                        .at_key(&uploads, format!("`{uploads}` needs a folder"))
                        .help("name the folder that nodes may write to in `files`");
                    checks.findings.add(problem);
                }
            }
            Link::CoapPoll(poll) => polled::check(checks, id, poll),
        }
    }
    for (position, (path, claim)) in claims.iter().enumerate() {
        let earlier = claims.iter().take(position);
        let taken = earlier.filter(|(other, _)| checks.sound([path, other]));
        let clash = taken.filter_map(|(other, taken)| Some((other, clash(taken, claim)?))).next();
        if let Some((other, (title, reason))) = clash {
            let mut problem = checks
                .at(path, title)
                .note(format!("the other one is {other} ({})", checks.origin(other)));
            for default in [path, other].into_iter().filter(|path| is_link(path)) {
                problem = problem.note(format!("{default} is on [::]:5683: it has no `bind`"));
            }
            checks.findings.add(reason.into_iter().fold(problem, Problem::note));
        }
    }
}

/// Whether a claim is that of a link without `bind`.
fn is_link(path: &KeyPath) -> bool {
    matches!(path.split_last(), Some((_, Step::Key(key))) if key == "link")
}

/// What is wrong with the parts of one source.
fn check_parts(checks: &mut Checks<'_>, path: &KeyPath, source: &Source) {
    let (frame, decode) = (path.key("frame"), path.key("decode"));
    // What holds the readings there, and whether a decoder may be named all the same.
    let content = "the content format of a message says what it holds";
    let (foreign, has_decode) = match source.link {
        Link::Coap(_) => (Some(("a coap link", content)), source.decode.is_some()),
        Link::CoapPoll(_) => (Some(("a coap-poll link", content)), source.decode.is_some()),
        // What the content type does not say can be said here.
        Link::Http(_) => {
            (Some(("an http link", content)), matches!(source.decode, Some(Decode::Link(_))))
        }
        Link::Modbus(_) => {
            (Some(("a modbus link", "`units` say what registers hold")), source.decode.is_some())
        }
        Link::Serial(_) | Link::Udp(_) | Link::Tcp(_) | Link::TcpClient(_) => (None, false),
    };
    for (part, is_there) in [(&frame, source.frame.is_some()), (&decode, has_decode)] {
        if let Some((link, instead)) = foreign.filter(|_| is_there) {
            let problem = checks
                .at_key(part, format!("`{part}` does not fit {link}"))
                .expected(format!("expected no such key: {instead}"))
                .help("remove the key");
            checks.findings.add(problem);
        }
    }
    if foreign.is_none()
        && source.decode.is_none()
        && checks.findings.is_complete()
        && checks.sound([&decode])
    {
        let problem = checks
            .at_key(path, format!("missing key `decode` in `{path}`"))
            .help("say what a frame holds, such as `decode = { type = \"json\" }`");
        checks.findings.add(problem);
    }
}

/// Groups need a socket of their family, and an interface needs groups.
fn check_groups(checks: &mut Checks<'_>, link: &KeyPath, udp: &UdpLink) {
    let (groups, interface) = (link.key("groups"), link.key("interface"));
    if !checks.sound([&groups, &interface, &link.key("bind")]) {
        return;
    }
    for (index, group) in udp.groups.iter().enumerate() {
        // `[::]` takes IPv4 too.
        let fits = group.is_ipv4() == udp.bind.is_ipv4()
            || (udp.bind.is_ipv6() && udp.bind.ip().is_unspecified());
        if !fits {
            let family = if group.is_ipv4() { "0.0.0.0" } else { "[::]" };
            let problem = checks
                .at(&groups.index(index), "this group is not of the family of `bind`")
                .expected(format!("expected `bind = \"{family}:{}\"` for it", udp.bind.port()));
            checks.findings.add(problem);
        }
    }
    if udp.groups.is_empty() && udp.interface.is_some() {
        let problem = checks
            .at_key(&interface, "`interface` needs the key `groups`")
            .expected("expected `groups` beside it: an interface is chosen for multicast alone")
            .help("to listen on one address alone, put it into `bind`");
        checks.findings.add(problem);
    }
}

/// Devices that are asked are reached from the socket.
fn check_udp_poll(checks: &mut Checks<'_>, link: &KeyPath, udp: &UdpLink) {
    let to = link.key("poll").key("to");
    let Some(poll) = udp.poll.as_ref().filter(|_| checks.sound([&to, &link.key("bind")])) else {
        return;
    };
    for (index, device) in poll.to.iter().enumerate() {
        let problem = if device.is_ipv4() != udp.bind.is_ipv4() {
            let family = if device.is_ipv4() { "0.0.0.0" } else { "[::]" };
            checks
                .at(&to.index(index), "this address is not of the family of `bind`")
                .help(format!("bind to {family}, or make a source for each family"))
        } else if device.port() == 0 || device.ip().is_unspecified() {
            checks
                .at(&to.index(index), "nothing can be sent there")
                .expected("expected the address and port of a device")
        } else {
            continue;
        };
        checks.findings.add(problem);
    }
}

/// The link protocol has frames and answers of its own.
fn check_link_protocol(checks: &mut Checks<'_>, path: &KeyPath, source: &Source) {
    let is_coap = matches!(source.link, Link::Coap(_));
    if source.frame.is_some() && !is_coap {
        let problem = checks
            .at_key(&path.key("frame"), "`frame` does not fit the link protocol")
            .expected("expected no such key: the protocol says where a frame ends")
            .help("remove the key");
        checks.findings.add(problem);
    }
    let polls = match &source.link {
        Link::Serial(serial) => serial.poll.is_some(),
        Link::Udp(udp) => udp.poll.is_some(),
        Link::Tcp(_)
        | Link::TcpClient(_)
        | Link::Coap(_)
        | Link::CoapPoll(_)
        | Link::Http(_)
        | Link::Modbus(_) => false,
    };
    if polls {
        let problem = checks
            .at_key(&path.key("link").key("poll"), "`poll` does not fit the link protocol")
            .expected("expected no such key: nodes report by themselves")
            .help("remove the key");
        checks.findings.add(problem);
    }
    if matches!(&source.link, Link::Tcp(tcp) if tcp.reply) {
        let problem = checks
            .at_key(&path.key("link").key("reply"), "`reply` does not fit the link protocol")
            .expected("expected no such key: the protocol has acknowledgements of its own")
            .help("remove the key");
        checks.findings.add(problem);
    }
}

/// A token stands in one place, and is one that a header can carry.
fn check_token(checks: &mut Checks<'_>, link: &KeyPath, http: &HttpLink) {
    let (token, file) = (link.key("token"), link.key("token_file"));
    if http.token.is_some() && http.token_file.is_some() {
        let problem = checks
            .at(&file, "`token` and `token_file` are both there")
            .expected("expected one of them")
            .note(format!("`token` is set in {}", checks.origin(&token)))
            .help("keep `token_file`: a file can have its own permissions");
        checks.findings.fail(file, problem);
    }
    let is_sendable =
        |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if http.token.as_ref().is_some_and(|token| !is_sendable(token.expose())) {
        let problem = checks
            .at(&token, "a header cannot carry this token")
            .expected("expected letters, digits and marks of ASCII, without spaces");
        checks.findings.add(problem);
    }
}

/// Every column that has a meaning of its own must be there, and no name twice.
fn check_columns(checks: &mut Checks<'_>, path: &KeyPath, csv: &CsvDecode) {
    let columns = path.key("columns");
    if !checks.sound([&columns]) {
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, column) in csv.columns.iter().enumerate() {
        if column != "_" && !seen.insert(column.as_str()) {
            let problem = checks
                .at(&columns.index(index), format!("column `{column}` is there twice"))
                .expected("expected each name once; `_` leaves a column out");
            checks.findings.add(problem);
        }
    }
    let names: Vec<_> = seen.iter().copied().collect();
    for (key, column) in
        [("device", &csv.device), ("time", &csv.time), ("seq", &csv.seq), ("epoch", &csv.epoch)]
    {
        if let Some(column) = column
            && !seen.contains(column.as_str())
        {
            let problem = checks
                .at(&path.key(key), format!("column `{column}` does not exist"))
                .expected(format!("expected one of `columns`: {}", all_of(&names)));
            checks.findings.add(problem);
        }
    }
}

/// A name or unit in an object belongs to its one value.
fn check_paths(checks: &mut Checks<'_>, path: &KeyPath, json: &JsonDecode) {
    let value = path.key("value");
    for (key, is_there) in [("name", json.name.is_some()), ("unit", json.unit.is_some())] {
        let lacks_value = json.value.is_none() && checks.findings.is_complete();
        if is_there && lacks_value && checks.sound([&value]) {
            let problem = checks
                .at_key(&path.key(key), format!("`{key}` needs the key `value`"))
                .expected("expected `value` beside it: the path of the one value of an object");
            checks.findings.add(problem);
        }
    }
}

/// Why two sources cannot have both, in a title and a note.
fn clash(taken: &Claim<'_>, wanted: &Claim<'_>) -> Option<(String, Option<String>)> {
    match (taken, wanted) {
        (Claim::Port(taken), Claim::Port(wanted)) => (taken == wanted)
            .then(|| (format!("the serial port {} is taken twice", wanted.display()), None)),
        (Claim::Address(protocol, taken), Claim::Address(other, wanted)) => {
            if protocol != other || !overlap(*taken, *wanted) {
                return None;
            }
            let protocol = match protocol {
                Protocol::Udp => "UDP",
                Protocol::Tcp => "TCP",
            };
            let title = format!("{protocol} port {} is taken twice", wanted.port());
            let reason = (taken != wanted).then(|| {
                let all = if taken.ip().is_unspecified() { taken } else { wanted };
                let family = if all.is_ipv6() { ", IPv4 included" } else { "" };
                format!("{} stands for every address{family}", all.ip())
            });
            Some((title, reason))
        }
        (Claim::Port(_), Claim::Address(..)) | (Claim::Address(..), Claim::Port(_)) => None,
    }
}

/// Whether two sockets cannot be bound at a time. The system chooses a free port for 0; `[::]`
/// takes IPv4 as well.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |all: SocketAddr, one: SocketAddr| {
        all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4())
    };
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_overlaps_what_it_covers() {
        for (a, b, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::]:1", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!((overlap(a, b), overlap(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
