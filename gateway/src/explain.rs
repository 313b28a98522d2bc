//! What one sample becomes: the way of a reading without a link, a store or a broker.
//!
//! Every step is that of a running gateway: its framers, decoders and routes, in the same order.

use std::net::IpAddr;
use std::ops::Range;

use proto::coap::{Method, Request};
use proto::frame::{FrameError, Pause};
use proto::{Reading, Timestamp};

use crate::config::{CoapPollLink, Config, Decode, Id, Link, LinkDecode, ModbusLink, Source};
use crate::decode::{DecodeError, Reader};
use crate::frame::{Cutting, Unframed};
use crate::pipeline::{DeviceClock, Explained, Memory, Recipient, Routes, Share};
use crate::source::link_keys::KeysError;
use crate::source::{
    AnswerError, LinkPiece, NOT_ALLOWED, Representation, answer_readings, body_readings,
    is_allowed, link_pieces, posted_readings, representation_readings,
};
use crate::store::{Content, Record};

/// What a device could send.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The bytes of a stream, a datagram or a payload.
    pub(crate) bytes: Vec<u8>,
    /// Who sends it, where the link has senders.
    pub(crate) from: IpAddr,
    /// The path of a CoAP or HTTP request, or that of a resource which is asked for.
    pub(crate) path: Option<String>,
    /// What a CoAP message says that it holds.
    pub(crate) content_format: Option<u16>,
    /// What an HTTP request says that it holds.
    pub(crate) content_type: Option<String>,
    /// The node that answers a CoAP client.
    pub(crate) node: Option<String>,
    /// The first register that a Modbus unit was asked for.
    pub(crate) address: Option<u16>,
    /// When it arrives.
    pub(crate) now: Timestamp,
}

/// What some of its bytes are.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Piece {
    /// Which bytes; empty for a frame that was tried there in vain.
    pub(crate) span: Range<u64>,
    /// The frame as it is decoded.
    pub(crate) frame: Option<Vec<u8>>,
    pub(crate) outcome: Result<Vec<Routed>, Refused>,
}

/// Why bytes become nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    /// The name that `gateway status` counts it by.
    pub(crate) reason: String,
    pub(crate) why: String,
}

/// A reading, and what every route makes of it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Routed {
    pub(crate) reading: Reading,
    /// The time that its device told, where that cannot be right.
    pub(crate) told: Option<Timestamp>,
    pub(crate) routes: Vec<Explained>,
}

/// What every part of `sample` becomes when the source `name` reads it.
///
/// # Errors
/// When the keys of its nodes cannot be read.
pub(crate) fn explain(
    config: &Config,
    name: &Id,
    source: &Source,
    sample: &Sample,
) -> Result<Vec<Piece>, KeysError> {
    let mut way = Way {
        name,
        source,
        reader: Reader::new(source),
        routes: Routes::new(config),
        recipients: config
            .brokers
            .iter()
            .map(|(name, broker)| (Recipient::new(name, broker, Share::All), Memory::default()))
            .collect(),
        device_clock: config.gateway.device_clock(),
        now: sample.now,
        n: 0,
    };
    let whole = 0..sample.bytes.len() as u64;
    if has_senders(&source.link) && !is_allowed(source.link.allow(), sample.from) {
        let outcome = Err(Refused::new("not_allowed", NOT_ALLOWED));
        return Ok(vec![Piece { span: whole, frame: None, outcome }]);
    }
    if let Some(Decode::Link(decode)) = &source.decode {
        return way.link(decode, sample);
    }
    Ok(match &source.link {
        Link::Coap(_) => vec![way.request(sample)],
        Link::Http(_) => vec![way.body(sample)],
        Link::CoapPoll(link) => vec![way.representation(link, sample)],
        Link::Modbus(link) => way.answer(link, sample),
        Link::Serial(_) | Link::Udp(_) | Link::Tcp(_) | Link::TcpClient(_) => way.cut(sample),
    })
}

/// Whether anybody may send on a link.
pub(crate) const fn has_senders(link: &Link) -> bool {
    match link {
        Link::Udp(_) | Link::Tcp(_) | Link::Coap(_) | Link::Http(_) => true,
        Link::Serial(_) | Link::TcpClient(_) | Link::CoapPoll(_) | Link::Modbus(_) => false,
    }
}

struct Way<'a> {
    name: &'a Id,
    source: &'a Source,
    reader: Reader,
    routes: Routes,
    recipients: Vec<(Recipient, Memory)>,
    device_clock: DeviceClock,
    now: Timestamp,
    n: u64,
}

impl Way<'_> {
    fn cut(&mut self, sample: &Sample) -> Vec<Piece> {
        let cutting = Cutting::of_source(self.source);
        let is_datagram = matches!(self.source.link, Link::Udp(_));
        if is_datagram && let Some(frame) = cutting.whole(&sample.bytes) {
            return vec![self.frame(0..sample.bytes.len() as u64, frame, sample.from)];
        }
        let mut framer = cutting.framer();
        framer.handle_bytes(&sample.bytes);
        let mut pieces = Vec::new();
        // A pause is noted when all bytes are decided on that can be without one.
        for pause in [None, Some(if is_datagram { Pause::Datagram } else { Pause::Silence })] {
            if let Some(pause) = pause {
                framer.handle_pause(pause);
            }
            while let Some(frame) = framer.poll_frame().map(|frame| frame.map(<[u8]>::to_vec)) {
                let frame = frame.as_deref().map_err(|error| *error);
                pieces.push(self.frame(framer.span(), frame, sample.from));
            }
        }
        pieces
    }

    fn frame(&mut self, span: Range<u64>, frame: Result<&[u8], FrameError>, from: IpAddr) -> Piece {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                let outcome = Err(Refused::new(error.reason(), Unframed(error)));
                return Piece { span, frame: None, outcome };
            }
        };
        let name = || match &self.source.link {
            Link::Serial(_) => self.name.to_string(),
            Link::TcpClient(link) => link.connect.to_string(),
            Link::Udp(_)
            | Link::Tcp(_)
            | Link::Coap(_)
            | Link::CoapPoll(_)
            | Link::Http(_)
            | Link::Modbus(_) => from.to_canonical().to_string(),
        };
        let drafts = self.reader.decode(frame, self.now);
        let readings = drafts.and_then(|drafts| self.reader.complete(drafts, name, self.now));
        let readings = readings.map_err(|error| Refused::of(&error));
        let outcome = readings.map(|readings| self.route(readings));
        Piece { span, frame: Some(frame.to_vec()), outcome }
    }

    fn request(&mut self, sample: &Sample) -> Piece {
        let request = Request::new(Method::Post).path(sample.path()).payload(sample.bytes.clone());
        let request = match sample.content_format {
            Some(format) => request.content_format(format),
            None => request,
        };
        let readings = posted_readings(&self.reader, &request, || sample.sender(), self.now);
        self.whole(
            sample,
            readings.map_err(|response| {
                let why = String::from_utf8_lossy(&response.payload).into_owned();
                Refused::new(&response.code.to_string(), why)
            }),
        )
    }

    fn body(&mut self, sample: &Sample) -> Piece {
        let kind = (sample.path(), sample.content_type.as_deref());
        let sender = || sample.sender();
        let readings = body_readings(&self.reader, kind, &sample.bytes, sender, self.now);
        self.whole(sample, readings.map_err(|(status, why)| Refused::new(&status, why)))
    }

    fn representation(&mut self, link: &CoapPollLink, sample: &Sample) -> Piece {
        let sent = Representation {
            node: sample.node.as_deref(),
            path: sample.path.as_deref(),
            format: sample.content_format,
            payload: &sample.bytes,
        };
        let readings = representation_readings(&self.reader, link, &sent, self.now);
        self.whole(sample, readings.map_err(|error| Refused::new(error.reason(), error)))
    }

    fn answer(&mut self, link: &ModbusLink, sample: &Sample) -> Vec<Piece> {
        let bus = (self.name, self.source, link);
        let (frame, address) = (&sample.bytes, sample.address);
        let values = answer_readings(bus, &self.reader, frame, address, self.now);
        let values = values.unwrap_or_else(|error| vec![Err(error)]);
        let piece = |readings: Result<_, AnswerError>| {
            self.whole(sample, readings.map_err(|error| Refused::new(error.reason(), error)))
        };
        values.into_iter().map(piece).collect()
    }

    fn link(&mut self, decode: &LinkDecode, sample: &Sample) -> Result<Vec<Piece>, KeysError> {
        let is_datagram = matches!(self.source.link, Link::Udp(_));
        let sent = (sample.bytes.as_slice(), is_datagram);
        let pieces = link_pieces(&self.reader, decode, sent, self.now)?;
        let piece = |piece: LinkPiece| {
            let LinkPiece { span, frame, outcome } = piece;
            let outcome = outcome.map(|readings| self.route(readings));
            let outcome = outcome.map_err(|(reason, why)| Refused::new(reason, why));
            Piece { span, frame, outcome }
        };
        Ok(pieces.into_iter().map(piece).collect())
    }

    /// A sample that is one message.
    fn whole(&mut self, sample: &Sample, readings: Result<Vec<Reading>, Refused>) -> Piece {
        let outcome = readings.map(|readings| self.route(readings));
        let span = 0..sample.bytes.len() as u64;
        Piece { span, frame: Some(sample.bytes.clone()), outcome }
    }

    fn route(&mut self, mut readings: Vec<Reading>) -> Vec<Routed> {
        let told: Vec<_> = readings.iter().map(|reading| reading.time).collect();
        // What is explained runs where the clock is as right as it is here.
        self.device_clock.correct(&mut readings, self.now, true, |_, _| {});
        let route = |(reading, told): (Reading, Timestamp)| {
            self.n += 1;
            let record = Record {
                n: self.n,
                source: self.name.as_str().into(),
                content: Content::Reading(reading.clone()),
                received: self.now,
                origin: None,
                moment: None,
            };
            let routes = self.routes.explain(&mut self.recipients, &record, self.now);
            let told = (told != reading.time).then_some(told);
            Routed { reading, told, routes }
        };
        readings.into_iter().zip(told).map(route).collect()
    }
}

impl Sample {
    /// Where a request goes.
    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/r")
    }

    fn sender(&self) -> String {
        self.from.to_canonical().to_string()
    }
}

impl Refused {
    fn new(reason: &str, why: impl ToString) -> Self {
        Self { reason: reason.to_owned(), why: why.to_string() }
    }

    fn of(error: &DecodeError) -> Self {
        Self::new(error.reason(), error)
    }
}
