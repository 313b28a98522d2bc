//! Signalling: messages about the connection itself (RFC 8323 §5).
//!
//! Their option numbers have a meaning only together with their code, so they are read without
//! the definitions of request and response options. An elective option that is known but has a
//! value that it cannot have is ignored (RFC 7252 §5.4.3), except in a CSM, where it is what
//! Bad-CSM-Option is for (RFC 8323 §5.6).

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::{Code, MessageOptions, OptionNumber, Options};
use super::StreamFault;

/// The Max-Message-Size of a peer that did not say one (RFC 8323 §5.3.1).
pub(super) const BASE_MAX_MESSAGE: usize = 1152;
/// No endpoint works with less: every message that has neither options nor a long payload fits,
/// and so does each that this one says by itself.
pub(super) const LEAST_MAX_MESSAGE: usize = 64;
/// Characters of a peer's diagnostic payload that are kept.
const MAX_DIAGNOSTIC: usize = 200;
/// Hold-Off has three bytes.
const LONGEST_HOLD_OFF_S: u32 = 0xff_ffff;
/// Alternative addresses that are kept.
const MAX_ALTERNATIVES: usize = 8;

// RFC 8323 §5.3
const MAX_MESSAGE_SIZE: OptionNumber = OptionNumber(2);
const BLOCK_WISE_TRANSFER: OptionNumber = OptionNumber(4);
// RFC 8323 §5.4.1
const CUSTODY: OptionNumber = OptionNumber(2);
// RFC 8323 §5.5
const ALTERNATIVE_ADDRESS: OptionNumber = OptionNumber(2);
const HOLD_OFF: OptionNumber = OptionNumber(4);
// RFC 8323 §5.6
const BAD_CSM_OPTION: OptionNumber = OptionNumber(2);

/// What a peer can do (RFC 8323 §5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The largest message that it takes, in bytes.
    pub max_message: usize,
    /// Whether it said that it supports block-wise transfer; with a `max_message` above 1152 that
    /// includes BERT (RFC 8323 §6).
    pub block_wise: bool,
}

/// A wish to end the connection in good order (RFC 8323 §5.5).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Release {
    /// Where to connect instead: any of these, each as the authority of a URI.
    pub alternatives: Vec<String>,
    /// How long not to connect again.
    pub hold_off: Option<Duration>,
    /// Why, for people.
    pub diagnostic: String,
}

/// A signalling message as received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Signal {
    /// The capabilities, with what it changes.
    Csm(Capabilities),
    Ping {
        /// Whether the Pong has to wait for the answers to earlier requests.
        custody: bool,
    },
    Pong,
    Release(Release),
    Abort {
        diagnostic: String,
    },
}

impl Default for Capabilities {
    /// Those of a peer that said nothing.
    fn default() -> Self {
        Self { max_message: BASE_MAX_MESSAGE, block_wise: false }
    }
}

impl Signal {
    /// Reads a message of class 7; `known` is what the peer's earlier CSMs said.
    pub(super) fn read(
        code: Code,
        mut options: MessageOptions<'_>,
        payload: &[u8],
        known: Capabilities,
    ) -> Result<Self, StreamFault> {
        // RFC 8323 §5.2. None of the options with a definition is critical, and whatever stands in
        // an Abort, the connection is over.
        if let Some((option, _)) = options.clone().find(|(number, _)| number.is_critical())
            && code != Code::ABORT
        {
            return Err(StreamFault::SignalOption { signal: code, option });
        }
        match code {
            Code::CSM => read_csm(options, known).map(Self::Csm),
            Code::PING => {
                let custody = options.any(|(number, value)| number == CUSTODY && value.is_empty());
                Ok(Self::Ping { custody })
            }
            Code::PONG => Ok(Self::Pong),
            Code::RELEASE => Ok(Self::Release(read_release(options, payload))),
            Code::ABORT => Ok(Self::Abort { diagnostic: read_diagnostic(payload) }),
            unknown => Err(StreamFault::UnknownSignal(unknown)),
        }
    }
}

/// The options of a CSM.
pub(super) fn csm(max_message: u32, block_wise: bool) -> Options {
    let mut options = Options::new();
    options.push_uint(MAX_MESSAGE_SIZE, max_message);
    if block_wise {
        options.push(BLOCK_WISE_TRANSFER, &[]);
    }
    options
}

/// The options of a Pong.
pub(super) fn pong(custody: bool) -> Options {
    let mut options = Options::new();
    if custody {
        options.push(CUSTODY, &[]);
    }
    options
}

/// The options of a Release.
pub(super) fn release(release: &Release) -> Options {
    let mut options = Options::new();
    for authority in &release.alternatives {
        options.push(ALTERNATIVE_ADDRESS, authority.as_bytes());
    }
    if let Some(hold_off) = release.hold_off {
        let seconds = u32::try_from(hold_off.as_secs()).unwrap_or(u32::MAX);
        options.push_uint(HOLD_OFF, seconds.min(LONGEST_HOLD_OFF_S));
    }
    options
}

/// The options of an Abort.
pub(super) fn abort(fault: StreamFault) -> Options {
    let mut options = Options::new();
    if let Some(option) = fault.bad_csm_option() {
        options.push_uint(BAD_CSM_OPTION, option.0.into());
    }
    options
}

fn read_csm(
    options: MessageOptions<'_>,
    mut capabilities: Capabilities,
) -> Result<Capabilities, StreamFault> {
    for (number, value) in options {
        match number {
            MAX_MESSAGE_SIZE => {
                let size = uint(value, 4).and_then(|size| usize::try_from(size).ok());
                capabilities.max_message = size
                    .filter(|&size| size >= LEAST_MAX_MESSAGE)
                    .ok_or(StreamFault::CsmValue(number))?;
            }
            BLOCK_WISE_TRANSFER if !value.is_empty() => {
                return Err(StreamFault::CsmValue(number));
            }
            BLOCK_WISE_TRANSFER => capabilities.block_wise = true,
            _ => {}
        }
    }
    Ok(capabilities)
}

fn read_release(options: MessageOptions<'_>, payload: &[u8]) -> Release {
    let mut release = Release { diagnostic: read_diagnostic(payload), ..Release::default() };
    for (number, value) in options {
        if number == ALTERNATIVE_ADDRESS
            && (1..=255).contains(&value.len())
            && release.alternatives.len() < MAX_ALTERNATIVES
            && let Ok(authority) = str::from_utf8(value)
        {
            release.alternatives.push(authority.into());
        } else if number == HOLD_OFF
            && let Some(seconds) = uint(value, 3)
        {
            release.hold_off.get_or_insert(Duration::from_secs(seconds.into()));
        }
    }
    release
}

/// What a peer has to say to people, shortened and without control characters.
fn read_diagnostic(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload.get(..4 * MAX_DIAGNOSTIC).unwrap_or(payload));
    text.chars().filter(|c| !c.is_control()).take(MAX_DIAGNOSTIC).collect()
}

/// An option of the format `uint` of up to `longest` bytes (RFC 7252 §3.2).
fn uint(value: &[u8], longest: usize) -> Option<u32> {
    let fits = value.len() <= longest;
    fits.then(|| value.iter().fold(0, |uint, &byte| uint << 8 | u32::from(byte)))
}
