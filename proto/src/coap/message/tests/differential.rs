//! What we read and build beside what `coap-lite` reads and builds: an implementation by others is
//! the judge.
//!
//! What it rejects we reject, what both take reads the same, and what we alone reject has a reason
//! in [`Stricter::ALL`]. Any other difference is a mistake of one of the two and fails.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use coap_lite::{CoapOption, MessageType as PacketType, Packet};

use super::super::super::{Options, encode, golden};
use super::super::*;
use super::listed;
use crate::Rng;

/// Inputs of each kind.
const CASES: u64 = 20_000;

/// Why we reject what `coap-lite` takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stricter {
    /// It takes any version, RFC 7252 §3 only 1.
    Version,
    /// It takes a marker at the end for no payload, which §3 forbids.
    EmptyPayload,
    /// It gives Empty messages whatever follows, which §4.1 forbids.
    EmptyWithContent,
    /// It leaves reserved classes to its caller, §4.2 rejects them.
    ReservedCode,
}

impl Stricter {
    /// All of them, each with a datagram that differs in nothing else.
    const ALL: [(Self, &[u8]); 4] = [
        (Self::Version, b"\x80\x01\x12\x34"),
        (Self::EmptyPayload, b"\x40\x01\x12\x34\xb1a\xff"),
        (Self::EmptyWithContent, b"\x41\x00\x12\x34\x07"),
        (Self::ReservedCode, b"\x40\x20\x12\x34"),
    ];

    /// The reason behind a fault; `None` where `coap-lite` has to reject it too.
    const fn of(fault: Fault) -> Option<Self> {
        match fault {
            Fault::UnknownVersion(_) => Some(Self::Version),
            Fault::EmptyPayload => Some(Self::EmptyPayload),
            Fault::EmptyWithContent => Some(Self::EmptyWithContent),
            Fault::ReservedCode(_) => Some(Self::ReservedCode),
            Fault::HeaderTruncated { .. }
            | Fault::TokenLength(_)
            | Fault::TokenTooLong(_)
            | Fault::TokenTruncated
            | Fault::ReservedDelta
            | Fault::ReservedLength
            | Fault::OptionTruncated
            | Fault::OptionNumber => None,
        }
    }
}

/// What came of reading a datagram twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    BothTake,
    BothReject,
    Stricter(Stricter),
}

/// Reads a datagram both ways; a difference without a reason is a panic.
fn compare(datagram: &[u8]) -> Verdict {
    match (Message::parse(datagram), Packet::from_bytes(datagram)) {
        (Ok(message), Ok(packet)) => {
            assert_same(datagram, &message, &packet);
            Verdict::BothTake
        }
        (Ok(_), Err(error)) => panic!("coap-lite alone rejects {datagram:02x?}: {error:?}"),
        (Err(malformed), Ok(_)) => match Stricter::of(malformed.fault) {
            Some(reason) => Verdict::Stricter(reason),
            None => panic!("we alone reject {datagram:02x?}: {malformed}"),
        },
        (Err(_), Err(_)) => Verdict::BothReject,
    }
}

fn assert_same(datagram: &[u8], message: &Message<'_>, packet: &Packet) {
    assert_eq!(packet_type(message.kind()), packet.header.get_type(), "{datagram:02x?}");
    assert_eq!(message.code().as_byte(), u8::from(packet.header.code), "{datagram:02x?}");
    assert_eq!(message.message_id(), packet.header.message_id, "{datagram:02x?}");
    assert_eq!(&*message.token(), packet.get_token(), "{datagram:02x?}");
    assert_eq!(message.payload(), packet.payload, "{datagram:02x?}");
    let options: Vec<_> = packet
        .options()
        .flat_map(|(&number, values)| values.iter().map(move |v| (number, v.clone())))
        .collect();
    assert_eq!(listed(message), options, "{datagram:02x?}");
}

/// Reads a datagram with extended tokens switched on: the same as without where its token is a
/// short one, and otherwise as `coap-lite` reads it with the token taken out.
fn compare_extended(datagram: &[u8]) {
    let extended = Message::parse_extended(datagram, Token::MAX_LEN);
    match (extended, Message::parse(datagram)) {
        (extended, Ok(plain)) => assert_eq!(extended, Ok(plain), "{datagram:02x?}"),
        (Ok(extended), Err(plain)) => {
            let len = extended.token().len();
            assert_eq!(plain.fault, Fault::TokenLength(datagram[0] & 0x0f));
            assert!(len > Token::MAX_SHORT && len <= Token::MAX_LEN);
            let start = 4 + usize::from(len >= 13);
            assert_eq!(&datagram[start..start + len], &*extended.token());
            let mut without = datagram[..4].to_vec();
            without[0] &= 0xf0;
            without.extend(&datagram[start + len..]);
            assert_eq!(compare(&without), Verdict::BothTake);
            let rest = Message::parse(&without).unwrap();
            assert_eq!((listed(&rest), rest.payload()), (listed(&extended), extended.payload()));
        }
        (Err(extended), Err(plain)) => {
            let length = matches!(plain.fault, Fault::TokenLength(_));
            assert!(extended == plain || length, "{datagram:02x?}");
        }
    }
}

/// Inputs made from a seed.
struct Inputs(Rng);

impl Inputs {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.0.next_u64().to_le_bytes()[0]
    }

    fn bytes(&mut self, bound: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(bound)];
        self.0.fill(&mut bytes);
        bytes
    }

    fn golden(&mut self) -> &'static [u8] {
        golden::ALL[self.below(golden::ALL.len())].1
    }

    /// Any bytes.
    fn noise(&mut self) -> Vec<u8> {
        self.bytes(80)
    }

    /// A header of version 1 with a token length that it may have, then any bytes.
    fn plausible(&mut self) -> Vec<u8> {
        let mut datagram = vec![0x40 | self.byte() & 0x3f, self.byte(), 0x12, 0x34];
        if self.0.chance(0.8) {
            datagram[0] &= 0xf7;
        }
        datagram.extend(self.bytes(80));
        datagram
    }

    /// A message of the RFCs with bytes changed, bits flipped, and parts taken out, put in, doubled
    /// or exchanged with those of another one.
    fn mutated(&mut self) -> Vec<u8> {
        let mut datagram = self.golden().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(datagram.len() + 1);
            let end = at + self.below(datagram.len() - at + 1);
            match self.below(7) {
                0 if at < datagram.len() => datagram[at] = self.byte(),
                1 if at < datagram.len() => datagram[at] ^= 1 << self.below(8),
                2 => drop(datagram.drain(at..end)),
                3 => {
                    let part = self.bytes(6);
                    drop(datagram.splice(at..at, part));
                }
                4 => {
                    let part = datagram[at..end].to_vec();
                    drop(datagram.splice(end..end, part));
                }
                5 => {
                    let other = self.golden();
                    let from = self.below(other.len());
                    datagram.truncate(at);
                    datagram.extend(&other[from..]);
                }
                _ => datagram.push(0xff),
            }
        }
        datagram
    }

    /// Options of all forms of delta and length, in any order.
    fn options(&mut self) -> Options {
        let mut options = Options::new();
        for _ in 0..self.below(9) {
            let number = if self.0.chance(0.7) { self.below(70) } else { self.below(65_536) };
            let longest = [1, 14, 300][self.below(3)];
            options.push(OptionNumber(u16::try_from(number).unwrap()), &self.bytes(longest));
        }
        options
    }
}

/// Compares so many inputs, and counts what came of it.
fn compare_all(seed: u64, make: fn(&mut Inputs) -> Vec<u8>) -> BTreeMap<Verdict, u64> {
    let mut inputs = Inputs(Rng::new(seed));
    let mut verdicts = BTreeMap::new();
    for _ in 0..CASES {
        let datagram = make(&mut inputs);
        *verdicts.entry(compare(&datagram)).or_default() += 1;
        compare_extended(&datagram);
    }
    verdicts
}

#[test]
fn every_reason_to_be_stricter_has_an_example() {
    for (reason, example) in Stricter::ALL {
        assert_eq!(compare(example), Verdict::Stricter(reason), "{reason:?}");
    }
}

#[test]
fn every_truncation_and_single_byte_mutation_is_read_alike() {
    for (name, golden) in golden::ALL {
        assert_eq!(compare(golden), Verdict::BothTake, "{name}");
        for len in 0..golden.len() {
            compare(&golden[..len]);
        }
        for at in 0..golden.len() {
            let mut mutated = golden.to_vec();
            for byte in 0..=u8::MAX {
                mutated[at] = byte;
                compare(&mutated);
            }
        }
    }
}

#[test]
fn noise_is_read_alike() {
    let verdicts = compare_all(1, Inputs::noise);
    assert!(verdicts[&Verdict::BothReject] > CASES / 2, "{verdicts:?}");
    let verdicts = compare_all(2, Inputs::plausible);
    assert!(verdicts[&Verdict::BothTake] > CASES / 100, "{verdicts:?}");
}

#[test]
fn mutated_messages_are_read_alike() {
    let verdicts = compare_all(3, Inputs::mutated);
    // Inputs that are all rejected, or all taken, would prove little.
    for verdict in [Verdict::BothTake, Verdict::BothReject] {
        assert!(verdicts[&verdict] > CASES / 10, "{verdicts:?}");
    }
    for (reason, _) in Stricter::ALL {
        assert!(verdicts[&Verdict::Stricter(reason)] > 10, "{reason:?}: {verdicts:?}");
    }
}

#[test]
fn messages_with_extended_tokens_are_read_alike_without_the_token() {
    // RFC 8974 §2.1
    let mut inputs = Inputs(Rng::new(4));
    for _ in 0..CASES {
        let golden = inputs.golden();
        let message = Message::parse(golden).unwrap();
        let mut token = vec![0; 9 + inputs.below(32)];
        inputs.0.fill(&mut token);
        let len = u8::try_from(token.len()).unwrap();
        let mut datagram = golden[..4].to_vec();
        datagram[0] = datagram[0] & 0xf0 | len.min(13);
        datagram.extend(len.checked_sub(13));
        datagram.extend(&token);
        datagram.extend(&golden[4 + message.token().len()..]);
        compare_extended(&datagram);
        let at = inputs.below(datagram.len());
        datagram[at] = inputs.byte();
        compare_extended(&datagram);
    }
}

#[test]
fn messages_are_built_alike() {
    let mut inputs = Inputs(Rng::new(5));
    for _ in 0..CASES {
        let kinds = [
            MessageType::Confirmable,
            MessageType::NonConfirmable,
            MessageType::Acknowledgement,
            MessageType::Reset,
        ];
        let kind = kinds[inputs.below(4)];
        let code = Code::new([0, 2, 4, 5][inputs.below(4)], 1 + inputs.byte() % 31);
        let message_id = inputs.0.next_u16();
        let token = Token::new(&inputs.bytes(Token::MAX_SHORT + 1)).unwrap();
        let (options, payload) = (inputs.options(), inputs.bytes(40));
        let mut packet = Packet::new();
        packet.header.set_version(1);
        packet.header.set_type(packet_type(kind));
        packet.header.code = code.as_byte().into();
        packet.header.message_id = message_id;
        packet.set_token(token.to_vec());
        for (number, value) in options.iter() {
            packet.add_option(CoapOption::from(number.0), value.to_vec());
        }
        packet.payload.clone_from(&payload);
        let theirs = packet.to_bytes_unlimited().unwrap();
        let build =
            |limit| encode::message(kind, code, message_id, token, &options, &payload, limit);
        assert_eq!(build(theirs.len()).as_ref(), Ok(&theirs));
        assert_eq!(build(theirs.len() - 1), Err(encode::TooLarge));
    }
}

#[test]
fn empty_messages_are_built_alike() {
    // RFC 7252 §4.1
    for kind in [MessageType::Acknowledgement, MessageType::Reset] {
        let mut packet = Packet::new();
        packet.header.set_version(1);
        packet.header.set_type(packet_type(kind));
        packet.header.code = Code::EMPTY.as_byte().into();
        packet.header.message_id = 0x1234;
        assert_eq!(encode::empty(kind, 0x1234), packet.to_bytes_unlimited().unwrap());
    }
}

fn packet_type(kind: MessageType) -> PacketType {
    match kind {
        MessageType::Confirmable => PacketType::Confirmable,
        MessageType::NonConfirmable => PacketType::NonConfirmable,
        MessageType::Acknowledgement => PacketType::Acknowledgement,
        MessageType::Reset => PacketType::Reset,
    }
}
