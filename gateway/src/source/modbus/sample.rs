//! What the answer of a unit says, also one that nobody was asked for.

use proto::modbus::{Block, Failure, Fault, Request, Table, plan, rtu, tcp};
use proto::{Reading, Timestamp};

use super::registers::{NoReading, Registers};
use crate::config::{BusPlace, Id, ModbusLink, Source};
use crate::decode::{DecodeError, Reader};

/// Why an answer is no reading.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("{0}; a sample is the whole frame that a unit answers with")]
    Frame(Failure),
    #[error("`units` has no unit {0}")]
    Unit(u8),
    #[error("unit {unit} is asked for nothing that begins there")]
    Nothing { unit: u8 },
    #[error("{fault}; unit {unit} is asked for {asked}")]
    Fault { fault: Fault, unit: u8, asked: String },
    #[error("it may answer several requests; name the first register of the right one: {asked}")]
    Ambiguous { asked: String },
    #[error("{0}")]
    Value(NoReading),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl AnswerError {
    /// A short name, by which a running gateway counts it.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Frame(failure) => failure.reason(),
            Self::Unit(unit) => Failure::Unit(*unit).reason(),
            Self::Fault { fault, .. } => Failure::Answer(*fault).reason(),
            Self::Nothing { .. } => "not_asked",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Value(value) => value.reason(),
            Self::Decode(error) => error.reason(),
        }
    }
}

/// What the values of an answer become: all readings together, and each value that is none.
type Values = Vec<Result<Vec<Reading>, AnswerError>>;

/// What a frame says that answers a request of this source `now`: the one for registers from
/// `address` on, where the frame fits several.
pub(crate) fn answer_readings(
    (id, source, link): (&Id, &Source, &ModbusLink),
    reader: &Reader,
    frame: &[u8],
    address: Option<u16>,
    now: Timestamp,
) -> Result<Values, AnswerError> {
    let (unit, pdu) = match link.place() {
        Some(BusPlace::Serial(_) | BusPlace::Tunnel(_)) => {
            rtu::decode(frame).ok_or(AnswerError::Frame(Failure::Checksum))?
        }
        Some(BusPlace::Tcp(_)) | None => match tcp::decode(frame) {
            Ok(Some((answer, len))) if len == frame.len() => (answer.unit, answer.pdu),
            Ok(_) => return Err(AnswerError::Frame(Failure::Truncated)),
            Err(_) => return Err(AnswerError::Frame(Failure::NotModbus)),
        },
    };
    let own = source.units.iter().find(|(address, _)| address.get() == unit);
    let (at, own) = own.ok_or(AnswerError::Unit(unit))?;
    let (registers, config) = Registers::new(id, *at, own, link.timeout.duration());
    let blocks = plan(&config.points, config.limits);
    let blocks: Vec<_> = blocks
        .iter()
        .filter(|block| address.is_none_or(|address| block.read.address() == address))
        .collect();
    let (block, data) = answered(&blocks, unit, pdu)?;
    let values = block.points.iter().filter_map(|at| {
        let value = config.points.get(*at)?.decode(block.read, data);
        registers.draft(*at, value)
    });
    let (mut drafts, mut outcomes) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Ok(draft) => drafts.push(draft),
            Err(error) => outcomes.push(Err(AnswerError::Value(error))),
        }
    }
    if !drafts.is_empty() {
        let readings = reader.complete(drafts, || id.to_string(), now)?;
        outcomes.insert(0, Ok(readings));
    }
    Ok(outcomes)
}

/// The request that an answer fits, and the data in it.
fn answered<'a, 'b>(
    blocks: &[&'a Block],
    unit: u8,
    pdu: &'b [u8],
) -> Result<(&'a Block, &'b [u8]), AnswerError> {
    let mut fault = None;
    let mut fitting = Vec::new();
    for block in blocks {
        match Request::Read(block.read).parse_response(pdu) {
            Ok(data) => fitting.push((*block, data)),
            // A length or an exception says more than another function.
            Err(other) if matches!(fault, None | Some(Fault::Function { .. })) => {
                fault = Some(other);
            }
            Err(_) => {}
        }
    }
    match (fitting.as_slice(), fault) {
        ([one], _) => Ok(*one),
        ([], Some(fault)) => {
            Err(AnswerError::Fault { fault, unit, asked: listed(blocks.iter().copied()) })
        }
        ([], None) => Err(AnswerError::Nothing { unit }),
        ([..], _) => {
            Err(AnswerError::Ambiguous { asked: listed(fitting.iter().map(|(block, _)| *block)) })
        }
    }
}

fn listed<'a>(blocks: impl Iterator<Item = &'a Block>) -> String {
    blocks.map(shown).collect::<Vec<_>>().join("; ")
}

fn shown(block: &Block) -> String {
    let table = match block.read.table() {
        Table::HoldingRegisters => "holding registers",
        Table::InputRegisters => "input registers",
        Table::Coils => "coils",
        Table::DiscreteInputs => "discrete inputs",
    };
    format!("{} {table} from {}", block.read.count(), block.read.address())
}
