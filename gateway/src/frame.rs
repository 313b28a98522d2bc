//! How a configuration cuts bytes: the framers are those of [`proto::frame`].

use std::fmt;
use std::time::Duration;

use proto::checksum::Checksum;
use proto::frame::{
    self, Check, Delimited, FrameError, Framer, Framing, LengthField, LengthPrefixed, MAX_ADU,
    Template, TemplateLength,
};

use crate::config::{self, Frame, HexBytes, Interval, Link, Source};

/// How the frames of a source are cut.
#[derive(Clone, Debug)]
pub(crate) struct Cutting {
    framing: Framing,
    max: usize,
    idle: Duration,
}

impl Cutting {
    /// As configured, or as its link has it.
    pub(crate) fn of_source(source: &Source) -> Self {
        match &source.link {
            Link::Udp(_) => Self::of_datagrams(source.frame.as_ref()),
            Link::Serial(_)
            | Link::Tcp(_)
            | Link::TcpClient(_)
            | Link::Coap(_)
            | Link::CoapPoll(_)
            | Link::Http(_)
            | Link::Modbus(_) => Self::of_stream(source.frame.as_ref()),
        }
    }

    /// As configured; lines where nothing is.
    fn of_stream(frame: Option<&Frame>) -> Self {
        frame.map_or_else(
            || {
                Self::new(
                    Framing::Lines,
                    config::FrameSize::default().bytes(),
                    config::default_idle(),
                )
            },
            Self::of,
        )
    }

    /// As configured; whole datagrams where nothing is.
    fn of_datagrams(frame: Option<&Frame>) -> Self {
        let whole = config::DatagramFrame::default();
        Self::of(frame.unwrap_or(&Frame::Datagram(whole)))
    }

    fn of(frame: &Frame) -> Self {
        match frame {
            Frame::Lines(lines) => Self::new(Framing::Lines, lines.max.bytes(), lines.idle),
            Frame::Datagram(datagram) => {
                Self::new(Framing::Chunk, datagram.max.bytes(), Interval::default())
            }
            Frame::Delimited(delimited) => {
                let framing = Framing::Delimited(Delimited {
                    start: bytes(delimited.start.as_ref()),
                    end: delimited.end.bytes().to_vec(),
                    tail: delimited.tail.into(),
                    strip: delimited.strip,
                });
                Self::new(framing, delimited.max.bytes(), delimited.idle)
            }
            Frame::Fixed(fixed) => {
                let size = fixed.size.bytes();
                Self::new(Framing::Fixed(size), size, fixed.idle)
            }
            Frame::LengthPrefixed(prefixed) => {
                let (length, strip) = (prefixed.length(), prefixed.strip);
                let framing = Framing::LengthPrefixed(LengthPrefixed { length, strip });
                Self::new(framing, prefixed.max.bytes(), prefixed.idle)
            }
            Frame::Template(template) => {
                let max = usize::try_from(template.max.bytes()).unwrap_or(usize::MAX);
                let framing = Framing::Template(Template {
                    start: template.start.bytes().to_vec(),
                    // A configuration without any length is refused by its checks.
                    length: template.length.length().unwrap_or(TemplateLength::Fixed(max)),
                    check: template.check.as_ref().map(config::TemplateCheck::check),
                    end: bytes(template.end.as_ref()),
                    strip: template.strip,
                });
                Self::new(framing, max, template.idle)
            }
            Frame::Cobs(encoded) => Self::new(Framing::Cobs, encoded.max.bytes(), encoded.idle),
            Frame::Slip(encoded) => Self::new(Framing::Slip, encoded.max.bytes(), encoded.idle),
            Frame::Hdlc(encoded) => Self::new(Framing::Hdlc, encoded.max.bytes(), encoded.idle),
            Frame::ModbusRtu(modbus) => Self::new(Framing::ModbusRtu, MAX_ADU, modbus.idle),
            Frame::Sml(encoded) => Self::new(Framing::Sml, encoded.max.bytes(), encoded.idle),
            Frame::VeDirect(encoded) => {
                Self::new(Framing::VeDirect, encoded.max.bytes(), encoded.idle)
            }
            Frame::Chunk(chunk) => Self::new(Framing::Chunk, chunk.max.bytes(), chunk.idle),
        }
    }

    fn new(framing: Framing, max: usize, idle: Interval) -> Self {
        Self { framing, max, idle: idle.duration() }
    }

    /// For a stream that begins with a frame, or for one datagram.
    pub(crate) fn framer(&self) -> Framer {
        Framer::new(self.framing.clone(), self.max)
    }

    /// For a stream that may have begun earlier.
    pub(crate) fn opening_framer(&self) -> Framer {
        Framer::opening(self.framing.clone(), self.max)
    }

    /// The silence after which what has begun is given up, or whole.
    pub(crate) const fn idle(&self) -> Duration {
        self.idle
    }

    /// The frame that a datagram is as it is; `None` where frames are cut within it.
    pub(crate) fn whole<'a>(&self, datagram: &'a [u8]) -> Option<Result<&'a [u8], FrameError>> {
        let max = self.max;
        let is_long = datagram.len() > max;
        let frame = if is_long { Err(FrameError::Oversize { max }) } else { Ok(datagram) };
        matches!(self.framing, Framing::Chunk).then_some(frame)
    }

    /// Whether a line feed ends a frame.
    pub(crate) const fn is_lines(&self) -> bool {
        matches!(self.framing, Framing::Lines)
    }
}

/// An error of framing, with what to do about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unframed(pub(crate) FrameError);

impl fmt::Display for Unframed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.0 {
            FrameError::Oversize { .. } => "; see `frame.max`",
            FrameError::Unterminated => "; see `frame.idle`",
            FrameError::Check { .. } => "; if it always is, see `frame.check`",
            FrameError::End | FrameError::Length(_) => "; if it always is so, see `frame.length`",
            FrameError::Encoding(_) => "",
            FrameError::Resync { .. } => {
                "; if it goes on, is `frame` right, and `link.baud` on a serial port?"
            }
        };
        write!(f, "{}{hint}", self.0)
    }
}

fn bytes(marked: Option<&HexBytes>) -> Vec<u8> {
    marked.map(|marked| marked.bytes().to_vec()).unwrap_or_default()
}

impl config::LengthPrefixedFrame {
    /// Where the length stands and what it means.
    pub(crate) fn length(&self) -> LengthField {
        let end = u16::from(self.at) + self.bytes.count();
        LengthField {
            at: self.at.into(),
            width: self.bytes.count().into(),
            endian: self.endian.into(),
            header: self.header.map_or(end, u16::from).into(),
            counts: self.counts.into(),
            adjust: self.adjust.into(),
        }
    }
}

impl config::TemplateLength {
    /// The length; `None` where the keys do not say it.
    pub(crate) fn length(&self) -> Option<TemplateLength> {
        match (self.fixed, self.at, self.bytes) {
            (Some(fixed), None, None) => Some(TemplateLength::Fixed(fixed.into())),
            (None, Some(at), Some(bytes)) => {
                let end = u16::from(at) + bytes.count();
                Some(TemplateLength::Coded(LengthField {
                    at: at.into(),
                    width: bytes.count().into(),
                    endian: self.endian.into(),
                    header: self.header.map_or(end, u16::from).into(),
                    counts: self.counts.into(),
                    adjust: self.adjust.into(),
                }))
            }
            (_, _, _) => None,
        }
    }
}

impl config::TemplateCheck {
    /// As a framer takes it.
    pub(crate) fn check(&self) -> Check {
        Check {
            checksum: self.checksum.into(),
            from: self.from.into(),
            to: self.to.into(),
            at: self.at.into(),
            endian: self.endian.into(),
        }
    }
}

impl config::LengthBytes {
    const fn count(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

impl From<config::Endian> for frame::Endian {
    fn from(endian: config::Endian) -> Self {
        match endian {
            config::Endian::Big => Self::Big,
            config::Endian::Little => Self::Little,
        }
    }
}

impl From<config::Counts> for frame::Counts {
    fn from(counts: config::Counts) -> Self {
        match counts {
            config::Counts::Rest => Self::Rest,
            config::Counts::Whole => Self::Whole,
        }
    }
}

impl From<config::Checksum> for Checksum {
    fn from(checksum: config::Checksum) -> Self {
        match checksum {
            config::Checksum::Sum8 => Self::Sum8,
            config::Checksum::Sum8Negated => Self::Sum8Negated,
            config::Checksum::Sum8Inverted => Self::Sum8Inverted,
            config::Checksum::Sum16 => Self::Sum16,
            config::Checksum::Xor8 => Self::Xor8,
            config::Checksum::Crc16Modbus => Self::Crc16Modbus,
            config::Checksum::Crc16Ccitt => Self::Crc16Ccitt,
            config::Checksum::Crc16Xmodem => Self::Crc16Xmodem,
            config::Checksum::Crc16X25 => Self::Crc16X25,
            config::Checksum::Crc16Arc => Self::Crc16Arc,
            config::Checksum::Crc32 => Self::Crc32,
        }
    }
}
