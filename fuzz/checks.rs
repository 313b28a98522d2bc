//! What has to hold for any input: used by the fuzz targets, and by `proto/tests/corpora.rs`, which
//! replays the inputs that they found.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "each target uses one, and a check may panic"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use proto::binary::{Bits, Field, FieldError, Kind as FieldKind};
use proto::checksum::Checksum;
use proto::coap::{
    Code, Delivery, Endpoint, EndpointConfig, Event, ExchangeId, Message, Method, Node, NodeConfig,
    NodeEvent, NodeOutput, Output, Request, ResourceId, Response, link_format,
};
use proto::frame::{
    Check, Counts, Delimited, Endian, FrameError, Framer, Framing, LengthField, LengthPrefixed,
    MAX_ADU, Pause, Template, TemplateLength,
};
use proto::link::{
    self, Channel, Flags, GatewayEvent, GatewayOutput, Header, Kind, NodeEvent as LinkEvent,
    NodeOutput as LinkOutput,
};
use proto::modbus::{
    self, Format, Limits, Master, MasterConfig, Order, Point, Read, Table, Transport, UnitConfig,
};
use proto::{Instant, Number, Timestamp, senml};

/// A view that accepts a datagram shows what `coap-lite` reads in it.
pub fn coap_message(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let oracle = coap_lite::Packet::from_bytes(data).expect("we are not laxer than coap-lite");
    assert_eq!(message.message_id(), oracle.header.message_id);
    assert_eq!(&*message.token(), oracle.get_token());
    assert_eq!(message.payload(), oracle.payload);
    let mut seen = 0;
    for (number, value) in message.options() {
        assert!(number.0 >= seen, "options come in order");
        seen = number.0;
        let number = coap_lite::CoapOption::from(number.0);
        let values = oracle.get_option(number).expect("an option that coap-lite has too");
        assert!(values.iter().any(|other| other == value));
    }
}

/// Two endpoints and a network that does what the input says: it delivers, drops, repeats and
/// changes datagrams, and makes some of its own. Every request ends at most once, every message is
/// handed over at most once, and what is asked of an endpoint comes to an end.
pub fn coap_endpoint(data: &[u8]) {
    let mut input = Input(data);
    let config = EndpointConfig { max_peers: 4, max_requests: 8, ..EndpointConfig::default() };
    let mut ends = [End::new(&config, 1), End::new(&config, 2)];
    let mut now = Instant::ZERO;
    let mut network: Vec<(usize, Vec<u8>)> = Vec::new();
    while let Some(operation) = input.byte() {
        let at = usize::from(operation >> 7);
        let end = &mut ends[at];
        match operation & 0x07 {
            0 => now = now + Duration::from_millis(u64::from(input.byte().unwrap_or(0)).pow(2)),
            1 => {
                let request =
                    Request::new(if operation & 8 == 0 { Method::Get } else { Method::Post });
                let request = request.path("a/b").payload(vec![0; usize::from(operation >> 4)]);
                if let Ok(id) = end.endpoint.request(now, 1 - at, request) {
                    end.open.insert(id);
                }
            }
            2 => {
                if let Some(exchange) = end.exchanges.pop() {
                    end.endpoint.respond(now, exchange, Response::new(Code::CONTENT));
                }
            }
            3 if !network.is_empty() => {
                let index = usize::from(input.byte().unwrap_or(0)) % network.len();
                let (to, mut datagram) = network[index].clone();
                // One in four is repeated, one in four is changed.
                if operation & 0x30 != 0 {
                    network.swap_remove(index);
                }
                if operation & 0x30 == 0x10 {
                    let bit = usize::from(input.byte().unwrap_or(0));
                    let len = datagram.len();
                    datagram[bit / 8 % len] ^= 1 << (bit % 8);
                }
                ends[to].endpoint.handle_datagram(now, 1 - to, &datagram, Delivery::Unicast);
            }
            4 => {
                let len = usize::from(input.byte().unwrap_or(0) % 64);
                let group =
                    if operation & 8 == 0 { Delivery::Unicast } else { Delivery::Multicast };
                let from = 2 + usize::from(operation >> 4 & 7);
                end.endpoint.handle_datagram(now, from, input.take(len), group);
            }
            5 if !network.is_empty() => drop(network.swap_remove(0)),
            6 => {
                if let Some(id) = end.open.first().copied() {
                    end.endpoint.cancel(now, id);
                }
            }
            _ => end.endpoint.handle_timeout(now),
        }
        for (at, end) in ends.iter_mut().enumerate() {
            end.drain(now, at, &mut network);
        }
        network.truncate(64);
    }
}

struct End {
    endpoint: Endpoint<usize>,
    open: BTreeSet<proto::coap::RequestId>,
    exchanges: Vec<ExchangeId>,
}

impl End {
    fn new(config: &EndpointConfig, seed: u64) -> Self {
        let endpoint = Endpoint::new(config.clone(), seed);
        Self { endpoint, open: BTreeSet::new(), exchanges: Vec::new() }
    }

    fn drain(&mut self, now: Instant, at: usize, network: &mut Vec<(usize, Vec<u8>)>) {
        for _ in 0..10_000 {
            match self.endpoint.poll_output() {
                Output::Transmit { to, datagram } => {
                    Message::parse(&datagram).expect("what is sent is a message");
                    if to == 1 - at {
                        network.push((to, datagram));
                    }
                }
                Output::Event(Event::Request { exchange, .. }) => {
                    assert!(!self.exchanges.contains(&exchange), "handed over twice");
                    self.exchanges.push(exchange);
                }
                Output::Event(Event::Response { id, .. } | Event::Failed { id, .. }) => {
                    assert!(self.open.remove(&id), "a request ends once");
                }
                Output::Event(
                    Event::Malformed { .. }
                    | Event::Notification { .. }
                    | Event::Acknowledged { .. }
                    | Event::Delivered { .. }
                    | Event::Undelivered { .. },
                ) => {}
                Output::Wait(Some(at)) if at <= now => self.endpoint.handle_timeout(now),
                Output::Wait(_) => return,
            }
        }
        panic!("the endpoint never comes to rest");
    }
}

/// A server with one observable resource gets requests from clients of several addresses that the
/// input makes up: every datagram that it sends is a message, and it comes to rest.
pub fn coap_node(data: &[u8]) {
    let mut input = Input(data);
    let mut node = Node::new(NodeConfig::default(), 1);
    let resource = ResourceId(1);
    let mut now = Instant::ZERO;
    while let Some(operation) = input.byte() {
        match operation & 3 {
            0 => now = now + Duration::from_millis(u64::from(input.byte().unwrap_or(0)).pow(2)),
            1 => node.notify(now, resource, body(operation)),
            _ => {
                let len = usize::from(input.byte().unwrap_or(0));
                let from = usize::from(operation >> 2 & 3);
                node.handle_datagram(now, from, input.take(len), Delivery::Unicast);
            }
        }
        let mut outputs = 0;
        loop {
            match node.poll_output() {
                NodeOutput::Transmit { datagram, .. } => {
                    Message::parse(&datagram).expect("what is sent is a message");
                }
                NodeOutput::Event(NodeEvent::Request { ask, request, .. }) => {
                    if request.method == Method::Get {
                        node.respond_observed(now, ask, resource, body(operation));
                    } else {
                        node.respond(now, ask, Response::new(Code::CHANGED));
                    }
                }
                NodeOutput::Event(_) => {}
                NodeOutput::Wait(Some(at)) if at <= now => node.handle_timeout(now),
                NodeOutput::Wait(_) => break,
            }
            outputs += 1;
            assert!(outputs < 10_000, "the node never comes to rest");
        }
    }
}

/// A representation of one block or of many.
fn body(operation: u8) -> Response {
    Response::new(Code::CONTENT).payload(vec![operation; usize::from(operation) * 8])
}

/// Two ends of the link protocol and a line that does what the input says: it delivers, drops, repeats
/// and changes frames, and makes some of its own. No report is handed over twice, what is acknowledged
/// was durable, and both ends come to rest.
pub fn link_session(data: &[u8]) {
    let mut input = Input(data);
    let channel = Channel { name: "v".into(), unit: None, exponent: 0 };
    let mut node = link::Node::new(link::NodeConfig::new(1, 1, vec![channel]), 1);
    let mut gateway = link::Gateway::new(link::GatewayConfig::default());
    let wall = Timestamp::from_nanos(1_795_214_340_000_000_000);
    let (mut now, mut line) = (Instant::ZERO, Vec::<(bool, Vec<u8>)>::new());
    let (mut open, mut durable) = (BTreeSet::new(), BTreeSet::new());
    let (mut acknowledged, mut forged) = (0, false);
    while let Some(operation) = input.byte() {
        match operation & 0x07 {
            0 => now = now + Duration::from_millis(u64::from(input.byte().unwrap_or(0)).pow(2)),
            1 => drop(node.report(now, &[(0, operation.into())])),
            2 => {
                if let Some(ticket) = open.pop_first() {
                    durable.insert(ticket);
                    gateway.handle_durable(ticket);
                }
            }
            3 if !line.is_empty() => {
                let index = usize::from(input.byte().unwrap_or(0)) % line.len();
                let (is_up, mut frame) = line[index].clone();
                if operation & 0x30 != 0 {
                    line.swap_remove(index);
                }
                if operation & 0x30 == 0x10 {
                    let bit = usize::from(input.byte().unwrap_or(0));
                    let len = frame.len();
                    frame[bit / 8 % len] ^= 1 << (bit % 8);
                }
                match is_up {
                    true => gateway.handle_frame(now, wall, (), &frame),
                    false => node.handle_frame(now, &frame),
                }
            }
            4 => {
                // A right trailer behind what the input has: that is where a reader can be wrong.
                forged = true;
                let kinds =
                    [Kind::Hello, Kind::Data, Kind::Ack, Kind::Command, Kind::Response, Kind::Time];
                let kind = kinds[usize::from(operation >> 3) % kinds.len()];
                let flags = Flags { ack_requested: true, ..Flags::default() };
                let sequence = u16::from(input.byte().unwrap_or(0));
                let epoch = u32::from(input.byte().unwrap_or(0)) % 4;
                let len = usize::from(input.byte().unwrap_or(0) % 64);
                let header = Header { kind, flags, device: 1, epoch, sequence };
                let frame = header.seal(input.take(len), None);
                gateway.handle_frame(now, wall, (), &frame);
                node.handle_frame(now, &frame);
            }
            5 if !line.is_empty() => drop(line.swap_remove(0)),
            6 => {
                if let Some(ticket) = open.pop_first() {
                    gateway.handle_refused(ticket, Duration::from_millis(operation.into()));
                }
            }
            _ => node.handle_timeout(now),
        }
        for step in 0.. {
            assert!(step < 10_000, "it never comes to rest");
            match gateway.poll_output() {
                GatewayOutput::Transmit { frame, .. } => line.push((false, frame)),
                GatewayOutput::Event(GatewayEvent::Report(report)) => {
                    assert!(!durable.contains(&report.ticket), "handed over twice");
                    assert!(open.insert(report.ticket), "handed over twice");
                }
                GatewayOutput::Event(_) => {}
                GatewayOutput::Wait(_) => break,
            }
        }
        for step in 0.. {
            assert!(step < 10_000, "it never comes to rest");
            match node.poll_output() {
                LinkOutput::Transmit(frame) => line.push((true, frame)),
                LinkOutput::Event(LinkEvent::Acknowledged(_)) => acknowledged += 1,
                LinkOutput::Event(_) => {}
                LinkOutput::Wait(Some(at)) if at <= now => node.handle_timeout(now),
                LinkOutput::Wait(_) => break,
            }
        }
        assert!(forged || acknowledged <= durable.len(), "acknowledged and not durable");
        line.truncate(64);
    }
}

/// A frame that is read is sealed again as the same bytes, and what its payload holds reads back.
pub fn link_frame(data: &[u8]) {
    let mut framer = Framer::new(Framing::Cobs, link::MAX_FRAME);
    framer.handle_bytes(data);
    while let Some(frame) = framer.poll_frame() {
        let Ok(frame) = frame.map(<[u8]>::to_vec) else { continue };
        let Ok(Ok(read)) = link::Unverified::parse(&frame).map(|frame| frame.verify(None)) else {
            continue;
        };
        let sealed = read.header.seal(read.payload, None);
        let parsed = link::Unverified::parse(&sealed).and_then(|frame| frame.verify(None));
        assert_eq!(parsed, Ok(read));
    }
    if let Ok(hello) = link::Hello::decode(data) {
        assert_eq!(link::Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(report) = link::Data::decode(data) {
        assert_eq!(link::Data::decode(&report.encode()), Ok(report));
    }
    if let Ok(ack) = link::Ack::decode(data) {
        assert_eq!(link::Ack::decode(&ack.encode()), Ok(ack));
    }
    if let Ok(time) = link::Time::decode(data) {
        assert_eq!(link::Time::decode(&time.encode()), Ok(time));
    }
}

/// Links that were read can be written, and read again as the same.
pub fn link_format(data: &[u8]) {
    let Some(links) = std::str::from_utf8(data).ok().and_then(|text| link_format::parse(text).ok())
    else {
        return;
    };
    let written = link_format::write(&links);
    assert_eq!(link_format::parse(&written).expect("our own links"), links);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// What was decoded and encoded decodes again, and from then on stays as it is. The first time a
/// relative time becomes an absolute one, and a decimal the nearest float in CBOR.
pub fn senml(data: &[u8]) {
    let now = Timestamp::from_nanos(1_795_214_340_000_000_000);
    for decoded in [senml::json::decode(data, now), senml::cbor::decode(data, now)] {
        // A pack of base fields alone has no records, and cannot be written.
        let Some(records) = decoded.ok().filter(|records| !records.is_empty()) else { continue };
        let json = |records: &[_]| {
            let text = senml::json::encode(records);
            senml::json::decode(text.as_bytes(), now).expect("our own JSON")
        };
        let again = json(&records);
        assert_eq!(again.len(), records.len());
        assert_eq!(json(&again), again);
        let cbor = |records: &[_]| {
            senml::cbor::decode(&senml::cbor::encode(records), now).expect("our own CBOR")
        };
        let again = cbor(&records);
        assert_eq!(again.len(), records.len());
        assert_eq!(cbor(&again), again);
    }
}

/// However a stream is split, the frames and the errors are the same; no frame is longer than it may
/// be, and a pause decides everything.
pub fn frames(data: &[u8]) {
    let Some((&[choice, size], stream)) = data.split_first_chunk::<2>() else { return };
    let (framing, max) = framing(choice, usize::from(size % 40) + 1);
    let at_once = cut(&framing, max, std::iter::once(stream));
    let size = usize::from(choice / 16) + 1;
    assert_eq!(cut(&framing, max, stream.chunks(size)), at_once);
    for frame in at_once.iter().flatten() {
        assert!(frame.len() <= max.max(MAX_ADU), "a frame of {} bytes", frame.len());
    }
}

/// A field of a frame is a value or an error; it is short exactly where its bytes are not all there,
/// and reading it again says the same.
pub fn fields(data: &[u8]) {
    let Some((&[choice, at, first, count, absent, scale], frame)) = data.split_first_chunk::<6>()
    else {
        return;
    };
    let width = u16::from(choice >> 4);
    let bytes = Some(width).filter(|&width| width > 0);
    let small = (choice >> 4) % 8 + 1;
    let kind = match choice % 9 {
        0 => FieldKind::Unsigned(small),
        1 => FieldKind::Signed(small),
        2 => FieldKind::Float32,
        3 => FieldKind::Float64,
        4 => FieldKind::Boolean(small),
        5 => FieldKind::Bcd(small),
        6 => FieldKind::Text(bytes),
        7 => FieldKind::Hex(bytes),
        _ => FieldKind::Bytes(bytes),
    };
    let at = i32::from(at.cast_signed() / 4);
    let endian = if count & 128 == 0 { Endian::Big } else { Endian::Little };
    let number = Number::from_decimal(i128::from(scale) * 1_000_003, i32::from(absent) - 128);
    let field = Field {
        bits: (count & 64 != 0).then_some(Bits { first, count: count & 63 }),
        scale: number.filter(|_| scale > 100),
        offset: number.filter(|_| scale > 200),
        absent: vec![absent.cast_signed().into()],
        ..Field::new(at, kind, endian)
    };
    let value = field.read(frame);
    assert_eq!(value, field.read(frame));
    let len = i32::try_from(frame.len()).expect("a short input");
    let start = if at < 0 { len + at } else { at };
    let end = start + kind.width().map_or(0, |width| i32::try_from(width).expect("small"));
    let is_short = start < 0 || end > len;
    assert_eq!(is_short, value == Err(FieldError::Short { len: frame.len() }));
}

fn framing(choice: u8, max: usize) -> (Framing, usize) {
    let length = LengthField {
        at: usize::from(choice >> 7),
        width: if choice & 64 == 0 { 1 } else { 2 },
        endian: if choice & 32 == 0 { Endian::Big } else { Endian::Little },
        header: 3,
        counts: if choice & 16 == 0 { Counts::Rest } else { Counts::Whole },
        adjust: 0,
    };
    let delimited = |start: &[u8]| {
        let (start, strip) = (start.to_vec(), choice & 16 == 0);
        let tail = usize::from(choice >> 6);
        Framing::Delimited(Delimited { start, end: b"!\n".to_vec(), tail, strip })
    };
    let template = |length| {
        let checksum = if choice & 16 == 0 { Checksum::Sum8 } else { Checksum::Crc16Arc };
        let check = Check { checksum, from: 1, to: -3, at: -3, endian: Endian::Little };
        let (start, end) = (b"/".to_vec(), b"!".to_vec());
        Framing::Template(Template { start, length, check: Some(check), end, strip: false })
    };
    let framing = match choice % 14 {
        0 => Framing::Lines,
        1 => delimited(b""),
        2 => delimited(b"/"),
        3 => delimited(b"//!"),
        4 => Framing::Fixed(max),
        5 => Framing::LengthPrefixed(LengthPrefixed { length, strip: choice & 16 == 0 }),
        6 => template(TemplateLength::Fixed(max)),
        7 => template(TemplateLength::Coded(LengthField { at: 1, ..length })),
        8 => Framing::Cobs,
        9 => Framing::Slip,
        10 => Framing::Hdlc,
        11 => Framing::Sml,
        12 => Framing::VeDirect,
        _ => Framing::ModbusRtu,
    };
    (framing, max)
}

fn cut<'a>(
    framing: &Framing,
    max: usize,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Vec<Result<Vec<u8>, FrameError>> {
    let mut framer = Framer::new(framing.clone(), max);
    let mut outcomes = Vec::new();
    for part in parts {
        framer.handle_bytes(part);
        while let Some(outcome) = framer.poll_frame() {
            outcomes.push(outcome.map(<[u8]>::to_vec));
        }
    }
    framer.handle_pause(Pause::Silence);
    while let Some(outcome) = framer.poll_frame() {
        outcomes.push(outcome.map(<[u8]>::to_vec));
    }
    assert!(!framer.awaits_pause(), "a pause decides everything");
    outcomes
}

/// A request that is read is written as the same, and its answer is taken. A master whose bus says
/// what the input says has one request under way at a time, asks only what can be answered, and comes
/// to rest.
pub fn modbus(data: &[u8]) {
    if let Ok(request) = modbus::Request::decode(data) {
        let pdu = request.encode().expect("what was read can be written");
        assert_eq!(modbus::Request::decode(&pdu).as_ref(), Ok(&request));
        let answer = answer(&request).encode(&request);
        assert!(request.parse_response(&answer).is_ok());
        let _ = request.parse_response(data);
    }
    if let Ok(Some((frame, len))) = modbus::tcp::decode(data) {
        assert_eq!(modbus::tcp::encode(frame.transaction, frame.unit, frame.pdu), data[..len]);
    }
    if let Some((unit, pdu)) = modbus::rtu::decode(data) {
        assert_eq!(modbus::rtu::encode(unit, pdu), data);
    }
    for transport in [
        Transport::Tcp,
        Transport::Tunnel,
        Transport::Line { character: Duration::from_millis(1), silence: Duration::from_millis(4) },
    ] {
        run_master(data, transport);
    }
}

/// What a server answers that has every register.
fn answer(request: &modbus::Request) -> modbus::Response {
    let modbus::Request::Read(read) = request else { return modbus::Response::Written };
    match read.table().is_bits() {
        true => modbus::Response::Bits(vec![true; read.count().into()]),
        false => modbus::Response::Registers(vec![7; read.count().into()]),
    }
}

fn run_master(data: &[u8], transport: Transport) {
    let point = |at| {
        let second = Duration::from_secs(1);
        Point::new(Table::HoldingRegisters, at, Format::U16, Order::Abcd, second)
    };
    let unit = |address| UnitConfig {
        address,
        timeout: Duration::from_millis(500),
        points: [0, 1, 9].into_iter().filter_map(point).collect(),
        limits: Limits { gap: 0, registers: 125 },
    };
    let units = vec![unit(1), unit(2)];
    let longest_rest = Duration::from_secs(60);
    let mut master = Master::new(MasterConfig { transport, units, longest_rest });
    let mut now = Instant::ZERO;
    master.handle_connected(now);
    let mut input = Input(data);
    let mut asked: Option<Vec<u8>> = None;
    while let Some(operation) = input.byte() {
        match operation & 3 {
            0 => now = now + Duration::from_millis(u64::from(operation)),
            1 => master.handle_bytes(now, input.take(usize::from(operation >> 2))),
            2 => {
                if let Some(frame) = &asked {
                    let mut frame = reply(frame, transport);
                    let at = usize::from(input.byte().unwrap_or(0)) % frame.len();
                    frame[at] ^= operation >> 2 & 0x0f;
                    master.handle_bytes(now, &frame);
                }
            }
            _ => {
                master.handle_disconnected(now);
                master.handle_connected(now);
            }
        }
        let mut outputs = 0;
        loop {
            match master.poll_output(now) {
                modbus::Output::Transmit { frame, .. } => {
                    assert!(asked.replace(frame).is_none(), "two requests at once");
                }
                modbus::Output::Event(
                    modbus::Event::Answered { .. } | modbus::Event::Failed { .. },
                ) => asked = None,
                modbus::Output::Event(_) | modbus::Output::Disconnect => {}
                modbus::Output::Wait(Some(at)) if at <= now => master.handle_timeout(now),
                modbus::Output::Wait(_) => break,
            }
            outputs += 1;
            assert!(outputs < 10_000, "the master never comes to rest");
        }
    }
}

/// The right answer to a frame.
fn reply(frame: &[u8], transport: Transport) -> Vec<u8> {
    let is_tcp = transport == Transport::Tcp;
    let (transaction, unit, pdu) = match modbus::tcp::decode(frame) {
        Ok(Some((frame, _))) if is_tcp => (frame.transaction, frame.unit, frame.pdu),
        _ => {
            let (unit, pdu) = modbus::rtu::decode(frame).expect("a frame of ours");
            (0, unit, pdu)
        }
    };
    let request = modbus::Request::decode(pdu).expect("a request of ours");
    assert!(matches!(request, modbus::Request::Read(read) if Read::data_len(read) > 0));
    let pdu = answer(&request).encode(&request);
    match is_tcp {
        true => modbus::tcp::encode(transaction, unit, &pdu),
        false => modbus::rtu::encode(unit, &pdu),
    }
}
